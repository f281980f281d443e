//! The columns of an export, by their names.

use anyhow::bail;
use csv::StringRecord;

/// Columns without which a row says nothing to us.
const NEEDED: [&str; 5] = ["SubAccountId", "ServiceName", "ConsumedUnit", "ConsumedQuantity", "ChargePeriodStart"];

/// The first line of an export.
#[derive(Debug, Clone)]
pub struct Columns(StringRecord);

impl Columns {
    /// Of the first line's names. Refuses a file without what we need.
    ///
    /// # Errors
    /// A column is missing, or stands twice.
    pub fn of(names: StringRecord) -> anyhow::Result<Self> {
        let named = |name: &str| names.iter().filter(|column| *column == name).count();
        let missing: Vec<&str> = NEEDED.iter().copied().filter(|name| named(name) == 0).collect();
        if missing.len() == NEEDED.len() && names.len() == 1 {
            let line = names.get(0).unwrap_or_default();
            for (mark, what) in [(';', "semicolons"), ('\t', "tabs"), ('|', "vertical bars")] {
                if line.contains(mark) {
                    bail!("its columns are set apart by {what}, and CSV has commas: export it again with commas");
                }
            }
        }
        if !missing.is_empty() {
            bail!("this is no FOCUS export: column {} is missing from its first line", missing.join(", "));
        }
        if let Some(name) = names.iter().find(|name| !name.is_empty() && named(name) > 1) {
            bail!("column {name} stands twice in its first line: nobody can tell which one is meant");
        }
        Ok(Self(names))
    }

    /// Whether a column is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|column| column == name)
    }

    /// A row's value in a column, without white space around it; exports write `NULL` (or nothing) for what is not there.
    #[must_use]
    pub fn get<'a>(&self, row: &'a StringRecord, name: &str) -> Option<&'a str> {
        self.untrimmed(row, name).map(str::trim).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null"))
    }

    /// As [`get`](Self::get), with white space around it.
    #[must_use]
    pub fn untrimmed<'a>(&self, row: &'a StringRecord, name: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|column| column == name)?;
        row.get(place).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null"))
    }

    /// As [`get`](Self::get), of an id: Azure writes `-2` and `Unassigned` where there is none.
    #[must_use]
    pub fn id<'a>(&self, row: &'a StringRecord, name: &str) -> Option<&'a str> {
        self.get(row, name).filter(|text| !["-2", "Unassigned"].contains(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(line: &str) -> Result<Columns, String> {
        Columns::of(line.split(',').collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn another_file_is_refused_by_the_missing_columns() {
        let refused = columns("SubAccountId,ServiceName,ConsumedQuantity").unwrap_err();
        let sentence = "this is no FOCUS export: column ConsumedUnit, ChargePeriodStart is missing from its first line";
        assert_eq!(refused, sentence);
        assert!(columns(&(NEEDED.join(",") + ",ServiceName")).unwrap_err().contains("twice"));
    }

    #[test]
    fn l6_other_marks_than_commas_are_named() {
        for (mark, what) in [(";", "semicolons"), ("\t", "tabs")] {
            assert!(columns(&NEEDED.join(mark)).unwrap_err().contains(what), "{what}");
        }
    }

    #[test]
    fn null_is_nothing() {
        let columns = columns(&NEEDED.join(",")).unwrap();
        let row: StringRecord = ["-2", "AWS Lambda", "NULL", "0.000083819032000", ""].iter().collect();
        assert_eq!(columns.get(&row, "ConsumedUnit"), None);
        assert_eq!(columns.get(&row, "ConsumedQuantity"), Some("0.000083819032000"), "to the letter");
        assert_eq!((columns.id(&row, "SubAccountId"), columns.get(&row, "SubAccountId")), (None, Some("-2")));
        assert_eq!(columns.get(&row, "Tags"), None);
        let padded: StringRecord = [" acme ", "S3", " NULL ", " ", "\t"].iter().collect();
        assert_eq!(columns.get(&padded, "SubAccountId"), Some("acme"));
        for name in ["ConsumedUnit", "ConsumedQuantity", "ChargePeriodStart"] {
            assert_eq!(columns.get(&padded, name), None, "{name}");
        }
    }
}
