//! What a marketplace holds, as a file says it: a row for each remittance, by its key or receipt, with the quantity.
//!
//! Other columns and fields are left alone: a seller's report has many.

use std::io::Read;

use remittance::Quantity;
use serde_json::{Map, Value, json};

use super::lines::{FIELDS, Lines};

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

/// A key or receipt has no more bytes.
const NAME_MAX: usize = 1024;
impl Rows {
    /// Reads the file's first line.
    ///
    /// # Errors
    /// As [`Lines::open`].
    pub fn open(file: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        Ok(Self { lines: Lines::open(file)? })
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
        let [key, receipt, quantity] = FIELDS.map(|name| fields.get(name).map_or("", |text| text.trim()));
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
    // who writes -0 does not mean that they hold nothing, and +5 may be a difference
    if quantity.starts_with(['-', '+']) {
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
    fn j10_json_says_nothing_only_where_it_is_written() {
        let rows = |text: &str| {
            let mut rows = Rows::open(Box::new(std::io::Cursor::new(text.to_owned()))).expect("a file");
            rows.next().expect("a row").expect("a row").says
        };
        for fields in [
            "\"quantity\": 7, \"quantity\": 0",
            "\"quantity\": 7, \"Quantity\": 0",
            "\"quantity\": 7, \"qu\\u0061ntity\": 0",
            "\"quantity\": 0, \"key\": \"b\"",
            "\"quantity\": 0, \"receipt\": 1e2",
            "\"quantity\": 0, \"receipt\": [1]",
            "\"quantity\": 1e-400",
            "\"quantity\": 1e2",
            "\"quantity\": -0",
            "\"quantity\": -0.0",
            "\"quantity\": \"-0\"",
            "\"quantity\": \"+5\"",
            "\"quantity\": 7.0000000000000000001",
            "\"quantity\": 12345678901234567890",
            "\"quantity\": false",
            "\"quantity\": null",
            "\"quantity\": 0} {",
        ] {
            let said = rows(&format!("{{\"key\": \"a\", {fields}}}"));
            assert!(said.is_err(), "{fields}: {said:?}");
        }
        assert!(rows("quantity,key\n-0,a\n").is_err(), "CSV says the same");
        let said = rows("{\"receipt\": 123456789012345678901234567890, \"quantity\": 7.00, \"note\": 1, \"note\": 2}");
        let asks = json!({"receipt": "123456789012345678901234567890", "quantity": "7"});
        assert_eq!(said.expect("a row").asks(None), asks, "to the last digit");
    }

    #[test]
    fn j10_a_file_is_read_as_it_was_saved_or_refused_with_what_to_do() {
        let opened = |bytes: &[u8]| Rows::open(Box::new(std::io::Cursor::new(bytes.to_owned())));
        for text in ["\u{feff}{\"key\": \"a\", \"quantity\": 5}\n", "\u{feff}key,quantity\na,5\n"] {
            let row = opened(text.as_bytes()).expect("a file").next().expect("a row").expect("a row");
            assert_eq!(row.says.expect("read").asks(None), json!({"key": "a", "quantity": "5"}), "{text:?}");
        }
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for bytes in [utf16("\u{feff}key,quantity\na,5\n"), utf16("key,quantity\n"), b"key,\xfcber,quantity\n".to_vec()]
        {
            let error = opened(&bytes).err().expect("refused");
            assert!(error.to_string().contains("save the file as UTF-8"), "{error}");
            assert!(error.is::<crate::cli::output::Wrong>(), "{error}");
        }
        for line in ["{\"key\": \"\u{a0}\", \"quantity\": 0}", "key,quantity\n\u{a0},0\n"] {
            let latin1: Vec<u8> = line.chars().map(|c| c as u8).collect();
            let says = opened(&latin1).expect("a file").next().expect("a row").expect("a row").says;
            assert!(says.expect_err("no UTF-8").contains("save the file as UTF-8"));
        }
        let open_quote = format!("key,quantity\na,5\n\"b,5\n{}", format!("{},5\n", "c".repeat(999)).repeat(2000));
        let mut rows = opened(open_quote.as_bytes()).expect("a file");
        assert!(rows.next().expect("a row").expect("a row").says.is_ok());
        let error = rows.next().expect_err("no end");
        assert!(error.to_string().contains("line 3 has more than 1048576 bytes"), "{error}");
        let many = format!("key,quantity\n{}", format!("{},5\n", "c".repeat(999)).repeat(2000));
        let mut rows = opened(many.as_bytes()).expect("a file");
        let read = std::iter::from_fn(|| rows.next().expect("a row")).count();
        assert_eq!(read, 2000, "a file may be longer than a line");
    }

    #[test]
    fn every_row_that_cannot_be_meant_has_its_verdict_and_the_rest_goes_on() {
        let rows = read("receipt,quantity\nr1,5\n,5\nr2,many\nr3,-1\nr4,7\n");
        let read: Vec<_> = rows.iter().map(|row| row.says.is_ok()).collect();
        assert_eq!(read, [true, false, false, false, true]);
        assert!(Rows::open(Box::new(&b"product,quantity\ndb,5\n"[..])).is_err(), "no column names a remittance");
    }
}
