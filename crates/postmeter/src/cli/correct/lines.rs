//! The lines of a file, each with its named texts: CSV with a line of names, or a JSON object a line.
//!
//! Which of them is told by the first character. A number of JSON stays the text that it was written as: a reader that
//! made it a double would round it, or make it nothing at all. No line is longer than [`LINE_MAX`], whatever the file.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::cli::output::Wrong;

/// The columns or fields that count.
pub(super) const FIELDS: [&str; 3] = ["key", "receipt", "quantity"];

/// A line has no more bytes.
const LINE_MAX: u64 = 1 << 20;

const SAVE: &str = "save the file as UTF-8";

/// The fields of a line that count and that it says.
pub(super) type Texts = HashMap<&'static str, String>;

/// Reads line by line, however many there are.
pub(super) enum Lines {
    Csv { reader: csv::Reader<Bounded>, names: Vec<String> },
    Json { reader: Box<dyn BufRead + Send>, line: u64 },
}

impl Lines {
    /// Reads the file's first line.
    ///
    /// # Errors
    /// [`Wrong`]: it is no text, has no column that names a remittance, or none with the quantity.
    pub fn open(file: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        let mut reader = BufReader::new(file);
        let head = head(&mut reader)?;
        let first = head.last().copied();
        if reader.fill_buf()?.first() == Some(&0) {
            return Err(no_text());
        }
        let reader = Cursor::new(head).chain(reader);
        if first == Some(b'{') {
            return Ok(Self::Json { reader: Box::new(reader), line: 0 });
        }
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_reader(Bounded { file: Box::new(reader), left: LINE_MAX });
        let names: Vec<String> = match reader.headers() {
            Ok(names) => names.iter().map(folded).collect(),
            Err(error) => return Err(unread(&error, &reader, 1)),
        };
        if let Some(twice) = FIELDS.iter().find(|field| names.iter().filter(|name| name == field).count() > 1) {
            return Err(Wrong(format!("the file has two columns {twice}: leave the one that is meant")).into());
        }
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if !(has("key") || has("receipt")) || !has("quantity") {
            let found = names.join(", ");
            let needs = "needs a column key or receipt, and a column quantity: what they hold, 0 for nothing";
            return Err(Wrong(format!("the file {needs}; its first line says {found:?}")).into());
        }
        Ok(Self::Csv { reader, names })
    }

    /// The next line, by its number: its texts, or why it cannot be read. None: that was the last.
    ///
    /// # Errors
    /// The file cannot be read, or a line does not end.
    pub fn next(&mut self) -> anyhow::Result<Option<(u64, Result<Texts, String>)>> {
        match self {
            Self::Csv { reader, names } => {
                let mut record = csv::StringRecord::new();
                let line = reader.position().line();
                reader.get_mut().left = LINE_MAX;
                match reader.read_record(&mut record) {
                    Ok(false) => Ok(None),
                    Ok(true) if record.len() > names.len() => {
                        let wants = format!("has {} fields, and the first line {} names", record.len(), names.len());
                        Ok(Some((line, Err(format!("{wants}: a number with a comma needs quotes or none")))))
                    }
                    Ok(true) => {
                        let line = record.position().map_or(line, csv::Position::line);
                        let pairs = names.iter().zip(record.iter());
                        let known = pairs.filter_map(|(name, text)| Some((known(name)?, text.to_owned())));
                        Ok(Some((line, Ok(known.collect()))))
                    }
                    Err(error) if error.is_io_error() => Err(unread(&error, reader, line)),
                    Err(error) => Ok(Some((line, Err(format!("{error}: {SAVE}"))))),
                }
            }
            Self::Json { reader, line } => loop {
                let mut text = Vec::new();
                if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut text)? == 0 {
                    return Ok(None);
                }
                *line += 1;
                if u64::try_from(text.len()).is_ok_and(|length| length == LINE_MAX) && !text.ends_with(b"\n") {
                    return Err(endless(*line, "is it a JSON object a line?"));
                }
                if text.trim_ascii().is_empty() {
                    continue;
                }
                let text = String::from_utf8(text).map_err(|error| format!("{}: {SAVE}", error.utf8_error()));
                return Ok(Some((*line, text.and_then(|text| object(&text)))));
            },
        }
    }
}

/// What stands before the first character that is no space, and that character. A mark of UTF-8 is left out.
fn head(reader: &mut impl BufRead) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    for byte in reader.bytes() {
        head.push(byte?);
        match head[..] {
            [0xff, 0xfe] | [0xfe, 0xff] | [.., 0] => {
                return Err(no_text());
            }
            [0xef, 0xbb, 0xbf] => head.clear(),
            [0xef | 0xff | 0xfe] | [0xef, 0xbb] => {}
            [.., last] if !last.is_ascii_whitespace() => return Ok(head),
            _ if head.len() > 4096 => return Ok(head),
            _ => {}
        }
    }
    Ok(head)
}

fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

fn known(name: &str) -> Option<&'static str> {
    FIELDS.into_iter().find(|field| *field == name)
}

fn no_text() -> anyhow::Error {
    Wrong(format!("the file is no text in UTF-8 (UTF-16?): {SAVE}")).into()
}

fn endless(line: u64, perhaps: &str) -> anyhow::Error {
    Wrong(format!("line {line} has more than {LINE_MAX} bytes: {perhaps}")).into()
}

fn unread(error: &csv::Error, reader: &csv::Reader<Bounded>, line: u64) -> anyhow::Error {
    match error.kind() {
        csv::ErrorKind::Io(_) if reader.get_ref().left == 0 => endless(line, "is a quote left open?"),
        csv::ErrorKind::Utf8 { err, .. } => Wrong(format!("line {line}: {err}: {SAVE}")).into(),
        csv::ErrorKind::Io(error) => io::Error::new(error.kind(), error.to_string()).into(),
        _ => anyhow::anyhow!("line {line}: {error}"),
    }
}

/// A file that is read only as far as allowed: a record of CSV ends where its quotes do.
pub(super) struct Bounded {
    file: Box<dyn Read + Send>,
    /// So many bytes more.
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 && !into.is_empty() {
            return Err(io::Error::other("the line does not end"));
        }
        let read = self.file.read(&mut into[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

fn object(text: &str) -> Result<Texts, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let said = reader.deserialize_map(Once).and_then(|said| reader.end().map(|()| said));
    said.map_err(|error| format!("is no JSON object that can be read: {error}"))
}

/// The known fields of an object, each said once.
struct Once;

impl<'de> Visitor<'de> for Once {
    type Value = Texts;

    fn expecting(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut said: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::new();
        while let Some(name) = said.next_key::<String>()? {
            let Some(field) = known(&folded(&name)) else {
                said.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = said.next_value::<&RawValue>()?;
            if texts.insert(field, worded(field, value.get()).map_err(A::Error::custom)?).is_some() {
                return Err(A::Error::custom(format_args!("{field} is said twice: leave the one that is meant")));
            }
        }
        Ok(texts)
    }
}

/// The text of a value, a number as it stands there.
fn worded(field: &str, value: &str) -> Result<String, String> {
    match value.as_bytes() {
        [b'"', ..] => serde_json::from_str(value).map_err(|error| format!("{field}: {error}")),
        b"null" => Ok(String::new()),
        [b'0'..=b'9' | b'-', ..] if field == "quantity" => Ok(value.to_owned()),
        digits if digits.iter().all(u8::is_ascii_digit) => Ok(value.to_owned()),
        _ if field == "quantity" => Err("quantity must be a number, or a text with one".to_owned()),
        _ => Err(format!("{field} must be a text")),
    }
}
