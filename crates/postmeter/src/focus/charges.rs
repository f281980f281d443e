//! Which charges of an export are usage.
//!
//! The specification was read for every column that says that something was not used, 1.0 to 1.3; `docs/integrate/exports.md`
//! has the table.

use csv::StringRecord;

use super::columns::Columns;

/// Why a row is no usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Other {
    /// It is none, and nobody needs to do anything: the column, and why.
    NotUsage(&'static str, String),
    /// It may change usage, and does not say which: a person has to see it.
    Unclear(&'static str, String),
}

/// Tells what a row is, before its quantity is looked at; none: usage.
#[must_use]
pub fn other(columns: &Columns, row: &StringRecord) -> Option<Other> {
    let is = |name: &str, word: &str| columns.get(row, name).is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
    // ChargeType is what 0.5 called it
    for name in ["ChargeCategory", "ChargeType"] {
        if let Some(category) = columns.get(row, name).map(str::trim)
            && !category.eq_ignore_ascii_case("Usage")
        {
            let known =
                ["Purchase", "Tax", "Credit", "Adjustment"].iter().find(|known| category.eq_ignore_ascii_case(known));
            return Some(match known {
                Some(known) => Other::NotUsage(name, format!("{known} is not usage")),
                None => Other::Unclear(name, format!("{category:?} is no category that FOCUS knows")),
            });
        }
    }
    for name in ["CommitmentDiscountStatus", "CapacityReservationStatus"] {
        if is(name, "Unused") {
            return Some(Other::NotUsage(name, "Unused: it was paid for, and not used".to_owned()));
        }
    }
    // 1.0-preview said it here
    if is("ChargeSubcategory", "Unused Commitment") {
        return Some(Other::NotUsage(
            "ChargeSubcategory",
            "Unused Commitment: it was paid for, and not used".to_owned(),
        ));
    }
    if let Some(class) = columns.get(row, "ChargeClass") {
        return Some(Other::Unclear(
            "ChargeClass",
            if class.trim().eq_ignore_ascii_case("correction") {
                "Correction: which rows of an earlier month it corrects is not said".to_owned()
            } else {
                format!("{class:?} is no class that FOCUS knows")
            },
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &str = "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart";

    fn told(name: &str, value: &str) -> Option<Other> {
        let columns = Columns::of(format!("{NEEDED},{name}").split(',').collect()).unwrap();
        other(&columns, &["7", "S", "GB", "1", "2024-09-18", value].iter().collect())
    }

    #[test]
    fn l6_only_what_was_used_is_usage() {
        for (name, value) in [
            ("ChargeCategory", "Usage"),
            ("ChargeCategory", "usage"),
            ("ChargeCategory", ""),
            ("ChargeClass", "NULL"),
            ("CommitmentDiscountStatus", "Used"),
            ("CapacityReservationStatus", "Used"),
            ("ChargeSubcategory", "On-Demand"),
            ("ChargeFrequency", "Recurring"),
        ] {
            assert_eq!(told(name, value), None, "{name} {value}");
        }
        for (name, value) in [
            ("ChargeCategory", "Purchase"),
            ("ChargeCategory", "Tax"),
            ("ChargeCategory", "Credit"),
            ("ChargeCategory", "Adjustment"),
            ("ChargeType", "Purchase"),
            ("CommitmentDiscountStatus", "Unused"),
            ("CapacityReservationStatus", "Unused"),
            ("ChargeSubcategory", "Unused Commitment"),
        ] {
            assert!(matches!(told(name, value), Some(Other::NotUsage(column, _)) if column == name), "{name} {value}");
        }
        for (name, value) in [("ChargeCategory", "Rebate"), ("ChargeClass", "Correction"), ("ChargeClass", "Odd")] {
            assert!(matches!(told(name, value), Some(Other::Unclear(column, _)) if column == name), "{name} {value}");
        }
    }
}
