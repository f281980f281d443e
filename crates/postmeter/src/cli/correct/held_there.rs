//! What a marketplace holds, as a file says it: a row for each remittance, by its key or receipt, with the quantity.
//!
//! CSV with a line of names, or a JSON object a line; which of them is told by the first character. Other columns and
//! fields are left alone: a seller's report has many.

use std::io::{BufRead, BufReader, Read};

use remittance::Quantity;
use serde_json::{Map, Value, json};

use crate::cli::output::Wrong;

/// A row of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Its line.
    pub line: u64,
    /// The key or receipt that it names, for people.
    pub name: String,
    /// What it says, or why it cannot be read.
    pub says: Result<Says, String>,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Says {
    key: Option<String>,
    receipt: Option<String>,
    /// What they hold, in billing units.
    pub quantity: Quantity,
}

impl Says {
    /// What is asked of the database about it.
    pub fn asks(&self, destination: Option<&str>) -> Value {
        let mut asks = Map::from_iter([("quantity".to_owned(), json!(self.quantity.to_string()))]);
        let names = [("key", self.key.as_deref()), ("receipt", self.receipt.as_deref()), ("destination", destination)];
        asks.extend(names.into_iter().filter_map(|(field, name)| Some((field.to_owned(), json!(name?)))));
        Value::Object(asks)
    }
}

/// Reads rows, however many there are.
pub(super) struct Rows {
    lines: Lines,
}

enum Lines {
    Csv { reader: csv::Reader<Box<dyn Read + Send>>, names: Vec<String> },
    Json { reader: Box<dyn BufRead + Send>, line: u64 },
}

/// A key or receipt has no more bytes.
const NAME_MAX: usize = 1024;
/// A line of JSON has no more bytes.
const LINE_MAX: u64 = 1 << 20;

/// The columns or fields that count.
const FIELDS: [&str; 3] = ["key", "receipt", "quantity"];

impl Rows {
    /// Reads the file's first line.
    ///
    /// # Errors
    /// [`Wrong`]: it has no column that names a remittance, or none with the quantity.
    pub fn open(file: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        let mut reader = BufReader::new(file);
        let first = reader.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        let lines = if first == Some(b'{') {
            Lines::Json { reader: Box::new(reader), line: 0 }
        } else {
            let mut reader =
                csv::ReaderBuilder::new().flexible(true).from_reader(Box::new(reader) as Box<dyn Read + Send>);
            let names: Vec<String> = reader
                .headers()?
                .iter()
                .map(|name| name.trim_start_matches('\u{feff}').trim().to_lowercase())
                .collect();
            if let Some(twice) = FIELDS.iter().find(|field| names.iter().filter(|name| name == field).count() > 1) {
                return Err(Wrong(format!("the file has two columns {twice}: leave the one that is meant")).into());
            }
            let has = |wanted: &str| names.iter().any(|name| name == wanted);
            if !(has("key") || has("receipt")) || !has("quantity") {
                let found = names.join(", ");
                let needs = "needs a column key or receipt, and a column quantity: what they hold, 0 for nothing";
                return Err(Wrong(format!("the file {needs}; its first line says {found:?}")).into());
            }
            Lines::Csv { reader, names }
        };
        Ok(Self { lines })
    }

    /// The next row; none: that was the last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> anyhow::Result<Option<Row>> {
        let Some((line, fields)) = self.lines.next()? else { return Ok(None) };
        let fields = match fields {
            Ok(fields) => fields,
            Err(problem) => return Ok(Some(Row { line, name: String::new(), says: Err(problem) })),
        };
        let [key, receipt, quantity] = FIELDS.map(|name| fields.get(name).map(|text| text.trim()).unwrap_or_default());
        let name = if key.is_empty() { receipt } else { key };
        Ok(Some(Row { line, name: name.to_owned(), says: says(key, receipt, quantity) }))
    }
}

fn says(key: &str, receipt: &str, quantity: &str) -> Result<Says, String> {
    if key.is_empty() && receipt.is_empty() {
        return Err("names neither a key nor a receipt".to_owned());
    }
    let wants = "quantity must be a number from 0 upwards";
    let held: Quantity = quantity.parse().map_err(|error| format!("{wants}, not {quantity:?}: {error}"))?;
    if held < Quantity::ZERO {
        return Err(format!("{wants}, not {quantity:?}"));
    }
    let name = |field: &str, name: &str| {
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(format!("{field} has more than {NAME_MAX} bytes, or control characters"));
        }
        Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
    };
    Ok(Says { key: name("key", key)?, receipt: name("receipt", receipt)?, quantity: held })
}

type Fields = Map<String, Value>;

/// The fields of a row that are texts or numbers.
struct Texts(Fields);

impl Texts {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

impl Lines {
    fn next(&mut self) -> anyhow::Result<Option<(u64, Result<Texts, String>)>> {
        match self {
            Self::Csv { reader, names } => {
                let mut record = csv::StringRecord::new();
                let line = reader.position().line();
                match reader.read_record(&mut record) {
                    Ok(false) => Ok(None),
                    Ok(true) if record.len() > names.len() => {
                        let wants = format!("has {} fields, and the first line {} names", record.len(), names.len());
                        Ok(Some((line, Err(format!("{wants}: a number with a comma needs quotes or none")))))
                    }
                    Ok(true) => {
                        let line = record.position().map_or(line, csv::Position::line);
                        let pairs = names.iter().zip(record.iter());
                        let fields = pairs.map(|(name, value)| (name.clone(), Value::from(value))).collect();
                        Ok(Some((line, Ok(Texts(fields)))))
                    }
                    Err(error) if error.is_io_error() => Err(error.into()),
                    Err(error) => Ok(Some((line, Err(error.to_string())))),
                }
            }
            Self::Json { reader, line } => loop {
                let mut text = String::new();
                if reader.by_ref().take(LINE_MAX).read_line(&mut text)? == 0 {
                    return Ok(None);
                }
                *line += 1;
                if u64::try_from(text.len()).is_ok_and(|length| length == LINE_MAX) && !text.ends_with('\n') {
                    anyhow::bail!(Wrong(format!(
                        "line {line} has more than {LINE_MAX} bytes: is it a JSON object a line?"
                    )));
                }
                if text.trim().is_empty() {
                    continue;
                }
                return Ok(Some((*line, object(&text))));
            },
        }
    }
}

fn object(text: &str) -> Result<Texts, String> {
    let fields: Fields = serde_json::from_str(text).map_err(|error| format!("is no JSON object: {error}"))?;
    let text = |value: Value| match value {
        Value::Number(number) => Value::from(number.to_string()),
        other => other,
    };
    Ok(Texts(fields.into_iter().map(|(name, value)| (name, text(value))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Vec<Row> {
        let mut rows = Rows::open(Box::new(text.as_bytes())).expect("a file");
        std::iter::from_fn(|| rows.next().expect("a row")).collect()
    }

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let csv = read("Product,Key,Quantity\ndb,aws/a, 5\ndb,aws/b,0\n");
        let json =
            read("{\"key\": \"aws/a\", \"quantity\": 5, \"more\": [1]}\n\n{\"key\": \"aws/b\", \"quantity\": \"0\"}\n");
        let asks =
            |rows: &[Row]| rows.iter().map(|row| row.says.as_ref().expect("a row").asks(None)).collect::<Vec<_>>();
        assert_eq!(asks(&csv), asks(&json));
        assert_eq!(asks(&csv)[0], json!({"key": "aws/a", "quantity": "5"}));
        assert_eq!((csv[0].line, json[1].line), (2, 3));
    }

    #[test]
    fn every_row_that_cannot_be_meant_has_its_verdict_and_the_rest_goes_on() {
        let rows = read("receipt,quantity\nr1,5\n,5\nr2,many\nr3,-1\nr4,7\n");
        let read: Vec<_> = rows.iter().map(|row| row.says.is_ok()).collect();
        assert_eq!(read, [true, false, false, false, true]);
        assert!(Rows::open(Box::new(&b"product,quantity\ndb,5\n"[..])).is_err(), "no column names a remittance");
    }
}
