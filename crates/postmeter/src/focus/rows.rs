//! The rows of an export, one at a time: a file may be larger than memory.

use std::io::Read;

use anyhow::Context;
use csv::{ByteRecord, StringRecord};

use super::bounded::{Bounded, Progress};
use super::columns::Columns;

/// A row, or why there is none in its place.
pub struct Row {
    /// Its line in the file, from 1; in Parquet its number.
    pub line: u64,
    /// Its values, or why it cannot be read: it is damaged in itself, and the next one may be whole.
    pub values: Result<StringRecord, String>,
}

/// See the module.
pub struct Rows {
    columns: Columns,
    kind: Kind,
}

enum Kind {
    Csv(Csv),
    #[cfg(feature = "parquet")]
    Parquet(super::parquet::Parquet),
}

struct Csv {
    reader: csv::Reader<Bounded<Box<dyn Read + Send>>>,
    progress: Progress,
    record: ByteRecord,
    behind: u64,
    /// The line of the last record, where that has a line end inside.
    spans: Option<u64>,
}

impl Rows {
    /// Of CSV.
    ///
    /// # Errors
    /// It cannot be read, or is no export.
    pub fn csv(text: Box<dyn Read + Send>) -> anyhow::Result<Self> {
        let progress = Progress::default();
        let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(Bounded::new(text, progress.clone()));
        let names = reader.headers().context("the first line is no CSV header")?.clone();
        let behind = lines_behind(&names, reader.position());
        let columns = Columns::of(names)?;
        progress.record_is_whole();
        Ok(Self { columns, kind: Kind::Csv(Csv { reader, progress, record: ByteRecord::new(), behind, spans: None }) })
    }

    /// Of Parquet.
    #[cfg(feature = "parquet")]
    pub(super) fn parquet(parquet: super::parquet::Parquet) -> Self {
        Self { columns: parquet.columns.clone(), kind: Kind::Parquet(parquet) }
    }

    /// Its columns.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// SHA-256 of its text, once it is read whole; none: of Parquet.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        match &self.kind {
            Kind::Csv(csv) => Some(csv.progress.digest()),
            #[cfg(feature = "parquet")]
            Kind::Parquet(_) => None,
        }
    }

    /// The next row; none: that was the last.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next(&mut self) -> anyhow::Result<Option<Row>> {
        match &mut self.kind {
            Kind::Csv(csv) => csv.next(),
            #[cfg(feature = "parquet")]
            Kind::Parquet(parquet) => parquet.next(),
        }
    }
}

impl Csv {
    fn next(&mut self) -> anyhow::Result<Option<Row>> {
        let row = match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => return self.end(),
            Ok(true) => {
                let line = self.record.position().map_or(0, csv::Position::line) + self.behind;
                self.spans = self.record.iter().any(|field| field.contains(&b'\n')).then_some(line);
                let values = StringRecord::from_byte_record(self.record.clone())
                    .map_err(|error| format!("is not UTF-8: {}", error.utf8_error()));
                Row { line, values }
            }
            Err(error) => damaged(error, self.behind)?,
        };
        self.progress.record_is_whole();
        Ok(Some(row))
    }
}

impl Csv {
    /// The end of the file, unless it lies inside a quoted field: then rows behind the mark were taken for its text.
    fn end(&self) -> anyhow::Result<Option<Row>> {
        match self.spans {
            Some(line) if !self.progress.marks_are_paired() => {
                anyhow::bail!("line {line}: a quotation mark is never closed, so all behind it was read as one field")
            }
            _ => Ok(None),
        }
    }
}

/// A row that is damaged in itself is told; a file that cannot be read ends the reading.
fn damaged(error: csv::Error, behind: u64) -> anyhow::Result<Row> {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line) + behind;
            Ok(Row { line, values: Err(format!("has {len} columns, and the first line {expected_len}")) })
        }
        _ => Err(error).context("the file cannot be read on"),
    }
}

/// How many lines the reader is behind at the beginning of a record: in a file whose lines end in CR LF it has not
/// seen the LF of the line before. Where a file mixes both, a line may be off by one.
fn lines_behind(names: &StringRecord, after: &csv::Position) -> u64 {
    let inside = names.iter().flat_map(str::bytes).filter(|byte| *byte == b'\n').count() as u64;
    (2 + inside).saturating_sub(after.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &str = "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart";

    fn lines(text: String) -> Vec<(u64, bool)> {
        let mut rows = Rows::csv(Box::new(std::io::Cursor::new(text.into_bytes()))).unwrap();
        std::iter::from_fn(|| rows.next().unwrap()).map(|row| (row.line, row.values.is_ok())).collect()
    }

    #[test]
    fn a7_lines_are_counted_from_one_however_they_end() {
        for (more, end) in [("", "\n"), ("", "\r\n"), (",\"b\nc\"", "\n"), (",\"b\nc\"", "\r\n")] {
            let cell = if more.is_empty() { "" } else { ",x" };
            let text = format!("{NEEDED}{more}{end}1,2,3,4,5{cell}{end}3,4,5,6,7{cell}{end}");
            let first = 2 + u64::from(!more.is_empty());
            assert_eq!(lines(text), [(first, true), (first + 1, true)], "{more:?} {end:?}");
        }
    }

    #[test]
    fn l6_a_file_that_ends_inside_quotation_marks_is_no_whole_file() {
        let rows = |text: &str| -> Result<u64, String> {
            let text = format!("{NEEDED}\n{text}");
            let mut rows = Rows::csv(Box::new(std::io::Cursor::new(text.into_bytes()))).unwrap();
            let mut count = 0;
            while rows.next().map_err(|error| error.to_string())?.is_some() {
                count += 1;
            }
            Ok(count)
        };
        assert_eq!(rows("1,2,3,4,\"5\n6\"\n1,2,3,4,5\n"), Ok(2), "a line end inside");
        assert_eq!(rows("1,2,3,4,5\" wide\n1,2,3,4,5\n"), Ok(2), "a mark inside a field that has none around it");
        let error = rows("1,2,3,4,5\n1,2,3,4,\"5\n1,2,3,4,5\n1,2,3,4,5\n").unwrap_err();
        assert!(error.contains("line 3: a quotation mark is never closed"), "{error}");
    }

    #[test]
    fn a7_a_damaged_row_does_not_end_the_file() {
        assert_eq!(lines(format!("{NEEDED}\n1,2\n1,2,3,4,5\n")), [(2, false), (3, true)]);
    }
}
