//! Exports in Parquet: rows become the texts that CSV would have.
//!
//! One row group is read after the other, column by column in pages; of nested columns only `Tags` is read, a map.

use std::fs::File;

use anyhow::Context;
use csv::StringRecord;
use jiff::Timestamp;
use jiff::civil::date;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, MapAccessor as _};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::columns::Columns;
use super::rows::Row;

/// A file that is read.
pub struct Parquet {
    /// Its columns.
    pub columns: Columns,
    rows: RowIter<'static>,
    /// Which columns count nanoseconds.
    nanos: Vec<bool>,
    number: u64,
}

/// Opens a file.
///
/// # Errors
/// It is damaged, or no export.
pub fn open(file: File) -> anyhow::Result<Parquet> {
    let reader = SerializedFileReader::new(file).context("a Parquet file that cannot be read")?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let fields: Vec<_> = schema.get_fields().iter().filter(|field| is_read(field)).cloned().collect();
    let names: StringRecord = fields.iter().map(|field| field.name()).collect();
    let nanos = fields.iter().map(|field| is_nanos(field)).collect();
    let wanted = Type::group_type_builder(schema.name()).with_fields(fields).build()?;
    let rows = RowIter::from_file_into(Box::new(reader)).project(Some(wanted)).context("its columns cannot be read")?;
    Ok(Parquet { columns: Columns::of(names)?, rows, nanos, number: 0 })
}

fn is_read(field: &Type) -> bool {
    let is_map = matches!(field.get_basic_info().converted_type(), ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE);
    field.is_primitive() || (field.name() == "Tags" && is_map)
}

fn is_nanos(field: &Type) -> bool {
    let kind = field.get_basic_info().logical_type_ref();
    matches!(kind, Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::NANOS)
}

impl Parquet {
    /// The next row; none: that was the last.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next(&mut self) -> anyhow::Result<Option<Row>> {
        let Some(row) = self.rows.next() else { return Ok(None) };
        let row = row.context("the file cannot be read on")?;
        self.number += 1;
        let values = row.get_column_iter().zip(&self.nanos).map(|((_, field), nanos)| text(field, *nanos)).collect();
        Ok(Some(Row { line: self.number, values: Ok(values) }))
    }
}

/// A value as CSV would have it.
fn text(field: &Field, is_nanos: bool) -> String {
    let time = |moment: Result<Timestamp, jiff::Error>| moment.map(|moment| moment.to_string()).unwrap_or_default();
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(count) if is_nanos => time(Timestamp::from_nanosecond(i128::from(*count))),
        Field::TimestampMillis(count) => time(Timestamp::from_millisecond(*count)),
        Field::TimestampMicros(count) => time(Timestamp::from_microsecond(*count)),
        Field::Date(days) => {
            let day = date(1970, 1, 1).checked_add(jiff::Span::new().days(*days));
            day.map(|day| day.to_string()).unwrap_or_default()
        }
        Field::Float(value) => float(f64::from(*value), 6),
        Field::Double(value) => float(*value, 15),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        Field::MapInternal(map) => tags(map),
        other => other.to_string(),
    }
}

/// A binary float: its digits that mean something, and no more than 15 decimals.
fn float(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let mut before = 0;
    let mut rest = value.abs();
    while rest >= 1.0 && before < digits {
        rest /= 10.0;
        before += 1;
    }
    format!("{value:.*}", digits - before)
}

fn tags(map: &parquet::record::Map) -> String {
    let mut object = Map::new();
    let (keys, values) = (map.get_keys(), map.get_values());
    for place in 0..map.len() {
        if let (Ok(key), value) = (keys.get_string(place), values.get_string(place)) {
            object.insert(key.clone(), value.map_or(Value::Null, |value| Value::from(value.as_str())));
        }
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    const SCHEMA: &str = "message export {
        optional binary SubAccountId (UTF8); optional binary ServiceName (UTF8); optional binary ConsumedUnit (UTF8);
        optional double ConsumedQuantity; optional int64 ChargePeriodStart (TIMESTAMP(NANOS,true));
        optional int64 ChargePeriodEnd (TIMESTAMP(MICROS,true)); optional int64 BilledCost (DECIMAL(18,3));
        optional group Tags (MAP) { repeated group key_value { required binary key (UTF8); optional binary value (UTF8); } }
    }";

    fn written(compression: Compression, rows: usize) -> File {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let file = tempfile::tempfile().unwrap();
        let mut writer = SerializedFileWriter::new(file.try_clone().unwrap(), schema, properties).unwrap();
        // several row groups
        for _ in 0..rows {
            let mut group = writer.next_row_group().unwrap();
            let nanos = 1_726_696_800_000_000_000_i64;
            let mut place = 0;
            while let Some(mut column) = group.next_column().unwrap() {
                let text = |text: &str| vec![ByteArray::from(text)];
                match place {
                    0 => column.typed::<ByteArrayType>().write_batch(&text("7"), Some(&[1]), None),
                    1 => column.typed::<ByteArrayType>().write_batch(&text("S3"), Some(&[1]), None),
                    2 => column.typed::<ByteArrayType>().write_batch(&text("GB"), Some(&[1]), None),
                    3 => column.typed::<DoubleType>().write_batch(&[0.1 + 0.2], Some(&[1]), None),
                    4 => column.typed::<Int64Type>().write_batch(&[nanos], Some(&[1]), None),
                    5 => column.typed::<Int64Type>().write_batch(&[], Some(&[0]), None),
                    6 => column.typed::<Int64Type>().write_batch(&[1500], Some(&[1]), None),
                    7 => column.typed::<ByteArrayType>().write_batch(&text("env"), Some(&[2]), Some(&[0])),
                    _ => column.typed::<ByteArrayType>().write_batch(&text("dev"), Some(&[3]), Some(&[0])),
                }
                .unwrap();
                column.close().unwrap();
                place += 1;
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
        file
    }

    #[test]
    fn l6_rows_of_parquet_are_those_of_csv() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(Default::default()),
        ] {
            let mut export = open(written(compression, 3)).unwrap();
            let mut count = 0;
            while let Some(row) = export.next().unwrap() {
                count += 1;
                assert_eq!(row.line, count);
                let values = row.values.unwrap();
                let get = |name: &str| export.columns.get(&values, name);
                assert_eq!(
                    (get("SubAccountId"), get("ChargePeriodEnd"), get("BilledCost")),
                    (Some("7"), None, Some("1.500"))
                );
                assert_eq!(get("ChargePeriodStart"), Some("2024-09-18T22:00:00Z"));
                assert_eq!(get("ConsumedQuantity"), Some("0.300000000000000"), "a float's last digits mean nothing");
                assert_eq!(get("Tags"), Some(r#"{"env":"dev"}"#));
            }
            assert_eq!(count, 3);
        }
    }

    #[test]
    fn l6_parquet_is_told_by_its_bytes() {
        let mut bytes = Vec::new();
        let mut file = written(Compression::SNAPPY, 2);
        std::io::Seek::rewind(&mut file).unwrap();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut export = super::super::file::open(&path).unwrap();
        let mut count = 0;
        while export.rows.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 2);
    }

    #[test]
    fn l6_floats_keep_their_digits() {
        for (value, expected) in [
            (0.000_083_819_032, "0.000083819032000"),
            (1234.5, "1234.50000000000"),
            (-2.25, "-2.25000000000000"),
            (1e12, "1000000000000.00"),
            (0.0, "0.000000000000000"),
        ] {
            assert_eq!(float(value, 15), expected);
        }
        assert_eq!(float(f64::NAN, 15), "NaN");
    }

    #[test]
    fn l6_another_parquet_file_is_refused() {
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, b"PAR1 and nothing more").unwrap();
        assert!(open(file).is_err());
    }
}
