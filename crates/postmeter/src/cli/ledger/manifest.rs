//! The manifest of an exported month, and what is counted over its rows: by the export, and again by verify.

use std::collections::BTreeMap;

use outbox::ledger::Table;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The format's name; another number is another format.
const FORMAT: &str = "postmeter-ledger/2";

/// The one before, without what is kept for each usage beside the ledger.
const FORMAT_1: &str = "postmeter-ledger/1";

/// That of a billing month with its remittances.
const BILLING_FORMAT: &str = "postmeter-month/1";

/// What a manifest says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format: String,
    /// Which export this is, from 1.
    pub number: i32,
    /// Such as 2024-09.
    pub month: String,
    /// Of a billing month: its destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Digest of the manifest before; none: this is the first.
    pub previous: Option<String>,
    pub tables: Vec<Part>,
}

/// One table of the month.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub table: String,
    pub file: String,
    pub rows: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    pub sums: BTreeMap<String, String>,
    pub bytes: u64,
    pub sha256: String,
    pub compressed_bytes: u64,
    pub compressed_sha256: String,
    pub chain: String,
}

impl Manifest {
    /// How the names of its files begin.
    pub fn stem(&self) -> String {
        stem(&self.month, self.destination.as_deref(), self.number)
    }

    /// The format of what this program writes.
    pub fn format_of(destination: Option<&str>) -> &'static str {
        if destination.is_some() { BILLING_FORMAT } else { FORMAT }
    }

    /// The tables that it must have; `None`: its format is none of ours.
    pub fn wanted(&self) -> Option<&'static [Table]> {
        match (self.destination.is_some(), self.format.as_str()) {
            (true, BILLING_FORMAT) => Some(&Table::BILLING),
            (false, FORMAT) => Some(&Table::LEDGER),
            (false, FORMAT_1) => Some(&Table::LEDGER_1),
            _ => None,
        }
    }

    /// The one way to write it: a manifest that is written otherwise was changed.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data");
        text.push('\n');
        text
    }
}

/// How the names of a month's files begin. A billing month may be exported again: it has its number, too.
pub(super) fn stem(month: &str, destination: Option<&str>, number: i32) -> String {
    destination.map_or_else(|| month.to_owned(), |destination| format!("{month}-{destination}-{number}"))
}

/// Name of a month's manifest.
pub(super) fn manifest_name(stem: &str) -> String {
    format!("{stem}.manifest.json")
}

/// Name of a table's file.
pub(super) fn file_name(stem: &str, table: &str) -> String {
    format!("{stem}-{table}.ndjson.gz")
}

/// Hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256, hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The fields of a row that a manifest counts: of the ledger, whose ids are texts.
#[derive(Deserialize)]
struct Fields {
    #[serde(alias = "usage_id", alias = "attempt_id")]
    id: String,
    quantity: Option<String>,
    shown_quantity: Option<String>,
}

/// The same of a billing month, whose ids are numbers; a cut and a part bear that of their remittance.
#[derive(Deserialize)]
struct Numbered {
    #[serde(alias = "delivery_id")]
    id: i64,
    quantity: Option<String>,
    to_bill: Option<String>,
}

/// The id of a row, and what of it is summed.
fn fields(table: Table, row: &str) -> serde_json::Result<(String, Option<String>)> {
    if Table::BILLING.contains(&table) {
        let fields: Numbered = serde_json::from_str(row)?;
        return Ok((fields.id.to_string(), if table == Table::Cut { fields.to_bill } else { fields.quantity }));
    }
    let fields: Fields = serde_json::from_str(row)?;
    Ok((fields.id, if table == Table::Outcome { fields.shown_quantity } else { fields.quantity }))
}

/// Counts, sums and digests over the rows of a file.
#[derive(Debug)]
pub(super) struct Tally {
    table: Table,
    rows: u64,
    first: Option<String>,
    last: Option<String>,
    summed: Option<(&'static str, Sum)>,
    bytes: u64,
    content: Sha256,
    head: [u8; 32],
}

impl Tally {
    pub fn new(table: Table) -> Self {
        let summed = match table {
            Table::Usage | Table::Allocation | Table::Delivery => Some("quantity"),
            Table::Outcome => Some("shown_quantity"),
            Table::Cut => Some("to_bill"),
            Table::Attempt
            | Table::Exempted
            | Table::UsageWrittenOff
            | Table::Part
            | Table::Meter
            | Table::MeterMetric => None,
        };
        let summed = summed.map(|column| (column, Sum::default()));
        Self { table, rows: 0, first: None, last: None, summed, bytes: 0, content: Sha256::new(), head: [0; 32] }
    }

    /// Counts a row; returns its line. The line begins with the chain's first half at this row, so that verify can name
    /// the first line that differs.
    pub fn line(&mut self, row: &str) -> Result<String, String> {
        let (id, quantity) = fields(self.table, row).map_err(|error| format!("no row: {error}"))?;
        let mut link = Sha256::new_with_prefix(self.head);
        link.update(row);
        self.head = link.finalize().into();
        if let (Some((column, sum)), Some(quantity)) = (&mut self.summed, quantity) {
            sum.add(&quantity).ok_or_else(|| format!("{column} {quantity} cannot be summed exactly"))?;
        }
        self.rows += 1;
        self.first.get_or_insert_with(|| id.clone());
        self.last = Some(id);
        let line = format!("{{\"check\":\"{}\",\"row\":{row}}}\n", hex(&self.head[..16]));
        self.bytes += line.len() as u64;
        self.content.update(&line);
        Ok(line)
    }

    /// What a manifest says of it.
    pub fn part(self, stem: &str, compressed_bytes: u64, compressed_sha256: String) -> Part {
        Part {
            table: self.table.name().to_owned(),
            file: file_name(stem, self.table.name()),
            rows: self.rows,
            first: self.first,
            last: self.last,
            sums: self.summed.into_iter().map(|(column, sum)| (column.to_owned(), sum.to_string())).collect(),
            bytes: self.bytes,
            sha256: hex(&self.content.finalize()),
            compressed_bytes,
            compressed_sha256,
            chain: hex(&self.head),
        }
    }
}

/// An exact sum of decimals: whole units, and units of 10⁻²⁸.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    whole: i128,
    fraction: i128,
}

const DECIMALS: usize = 28;
const ONE: i128 = 10_i128.pow(28);

impl Sum {
    /// None: it does not fit, or is no number.
    fn add(&mut self, text: &str) -> Option<()> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.len() > DECIMALS || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let sum = self.fraction + sign * format!("{fraction:0<DECIMALS$}").parse::<i128>().ok()?;
        self.whole = self.whole.checked_add(sign * whole.parse::<i128>().ok()?)?.checked_add(sum.div_euclid(ONE))?;
        self.fraction = sum.rem_euclid(ONE);
        Some(())
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // below zero the fraction counts back from the next whole
        let is_below = self.whole < 0;
        let (whole, fraction) = match (is_below, self.fraction) {
            (true, 0) => (-self.whole, 0),
            (true, fraction) => (-self.whole - 1, ONE - fraction),
            (false, fraction) => (self.whole, fraction),
        };
        let digits = format!("{fraction:0DECIMALS$}");
        let digits = digits.trim_end_matches('0');
        let point = if digits.is_empty() { "" } else { "." };
        write!(f, "{}{whole}{point}{digits}", if is_below { "-" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_sums_are_exact() {
        let sum = |texts: &[&str]| {
            let mut sum = Sum::default();
            texts.iter().for_each(|text| sum.add(text).expect("a number"));
            sum.to_string()
        };
        assert_eq!(sum(&["0.1", "0.2", "-0.3"]), "0");
        assert_eq!(sum(&["-0.5", "-0.75"]), "-1.25");
        assert_eq!(sum(&["1000000000000", "0.000000000000001"]), "1000000000000.000000000000001");
        assert_eq!(sum(&["-1", "0.25"]), "-0.75");
        assert_eq!(sum(&["-3"]), "-3");
        assert!(Sum::default().add("NaN").is_none() && Sum::default().add("1e3").is_none());
    }
}
