//! Billing exports in the FinOps Open Cost and Usage Specification (FOCUS 1.0), as CSV.
//!
//! `catalog derive focus` makes a catalogue of such a file and `import focus` usage of its rows. Both must come to the
//! same tags, so the rules are here: org is `SubAccountId`, product the tag of `ServiceName`, metric the tag of
//! `ConsumedUnit`.

use std::io::Read;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};

/// Columns without which a row says nothing to us.
const NEEDED: &[&str] = &["SubAccountId", "ServiceName", "ConsumedUnit", "ConsumedQuantity", "ChargePeriodStart"];

/// A row, by the names of its columns; exports write `NULL` (or nothing) for what is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FocusRow {
    /// The row's own id, if the export has one.
    #[serde(deserialize_with = "present")]
    pub id: Option<String>,
    /// The customer: our org.
    #[serde(deserialize_with = "present")]
    pub sub_account_id: Option<String>,
    /// The service: its tag is our product.
    #[serde(deserialize_with = "present")]
    pub service_name: Option<String>,
    /// What was sold, finer than the service; evidence.
    #[serde(deserialize_with = "present")]
    pub sku_id: Option<String>,
    /// The unit: its tag is our metric.
    #[serde(deserialize_with = "present")]
    pub consumed_unit: Option<String>,
    /// The quantity, as it is written: nothing may be lost by reading it as a float.
    #[serde(deserialize_with = "present")]
    pub consumed_quantity: Option<String>,
    /// Begin of use, see [`time`].
    #[serde(deserialize_with = "present")]
    pub charge_period_start: Option<String>,
    /// End of use, see [`time`].
    #[serde(deserialize_with = "present")]
    pub charge_period_end: Option<String>,
    /// `Usage`, `Adjustment`, `Credit` …
    #[serde(deserialize_with = "present")]
    pub charge_category: Option<String>,
    /// Evidence.
    #[serde(deserialize_with = "present")]
    pub resource_id: Option<String>,
    /// Evidence.
    #[serde(deserialize_with = "present")]
    pub region_id: Option<String>,
    /// Evidence.
    #[serde(deserialize_with = "present")]
    pub provider_name: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(value)?.filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null")))
}

/// Rows of an export, one at a time: a file may be larger than memory. Refuses a file without the columns we need.
///
/// # Errors
/// The file cannot be read as CSV, or lacks a column.
pub fn rows<R: Read>(file: R) -> anyhow::Result<csv::DeserializeRecordsIntoIter<R, FocusRow>> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(file);
    let headers = reader.headers().context("the first line is no CSV header")?;
    let missing: Vec<&str> =
        NEEDED.iter().copied().filter(|needed| !headers.iter().any(|header| header == *needed)).collect();
    if !missing.is_empty() {
        bail!("this is no FOCUS 1.0 export: column {} is missing from its first line", missing.join(", "));
    }
    Ok(reader.into_deserialize())
}

/// The product of a service's name: `Amazon EC2 Container Registry (ECR)` is `amazon-ec2-container-registry-ecr`.
#[must_use]
pub fn product_tag(service_name: &str) -> String {
    tag(service_name)
}

/// The metric of a unit's name: `GB-Months` and `GB Months` are `gb-months`, `GB/Month` is `gb-per-month`.
#[must_use]
pub fn metric_tag(consumed_unit: &str) -> String {
    tag(&consumed_unit.replace('/', " per "))
}

/// Lower case; every run of anything but letters and digits is one hyphen; none at the ends.
fn tag(name: &str) -> String {
    let spaced: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.to_lowercase().split_whitespace().collect::<Vec<_>>().join("-")
}

/// A time of an export: RFC 3339, or without a zone, which means UTC (so says FOCUS). Cut down to microseconds, so that
/// the last moment of a month stays in it.
///
/// # Errors
/// The text is no time.
pub fn time(text: &str) -> anyhow::Result<Timestamp> {
    let cut = in_microseconds(text);
    cut.parse::<Timestamp>()
        .or_else(|_| {
            cut.parse::<DateTime>().and_then(|civil| civil.to_zoned(TimeZone::UTC)).map(|zoned| zoned.timestamp())
        })
        .with_context(|| format!("{text:?} is no time; expected 2024-09-18T22:00:00Z or 2024-09-18 22:00:00 (UTC)"))
}

/// The text without what follows the sixth decimal of its second.
fn in_microseconds(text: &str) -> String {
    let Some((whole, fraction)) = text.split_once('.') else { return text.to_owned() };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    format!("{whole}.{}{}", &fraction[..digits.min(6)], &fraction[digits..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_stable_and_plain() {
        assert_eq!(product_tag("Amazon EC2 Container Registry (ECR)"), "amazon-ec2-container-registry-ecr");
        assert_eq!(product_tag("BLOCK_STORAGE"), "block-storage");
        assert_eq!(metric_tag("GB-Months"), metric_tag("GB Months"));
        assert_eq!(metric_tag("GiB/Second-Months"), "gib-per-second-months");
        assert_eq!(metric_tag("(?)"), "");
    }

    #[test]
    fn a_row_is_read_by_its_columns_and_null_is_nothing() {
        let file = "Tags,SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ResourceId\n\
                    x,7,AWS Lambda,NULL,0.000083819032000,2024-09-18 22:00:00,\n";
        let row = rows(file.as_bytes()).unwrap().next().unwrap().unwrap();
        assert_eq!((row.sub_account_id.as_deref(), row.consumed_unit, row.resource_id), (Some("7"), None, None));
        assert_eq!(row.consumed_quantity.as_deref(), Some("0.000083819032000"), "to the letter");
    }

    #[test]
    fn another_file_is_refused_by_the_missing_columns() {
        let refused =
            rows("SubAccountId,ServiceName,ConsumedQuantity\n".as_bytes()).err().map(|error| error.to_string());
        let sentence =
            "this is no FOCUS 1.0 export: column ConsumedUnit, ChargePeriodStart is missing from its first line";
        assert_eq!(refused.as_deref(), Some(sentence));
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        assert_eq!(time("2024-09-18 22:00:00").unwrap(), time("2024-09-18T22:00:00Z").unwrap());
        assert!(time("18.09.2024").is_err());
        let last = time("2024-09-30T23:59:59.999999Z").unwrap();
        for text in
            ["2024-09-30 23:59:59.9999999", "2024-09-30T23:59:59.99999999999999Z", "2024-10-01T01:59:59.999999999+02"]
        {
            assert_eq!(time(text).unwrap(), last, "{text}");
        }
    }
}
