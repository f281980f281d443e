//! A usage record read back: from our own frozen bytes, and from what AWS echoes of them.

use jiff::Timestamp;
use remittance::Quantity;
use serde_json::Value;

/// What of a usage record identifies it, and the quantity beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageRecord {
    account: Option<String>,
    customer: Option<String>,
    licence_arn: Option<String>,
    dimension: String,
    hour_seconds: i64,
    /// The quantity it shows: `None` if it shows none, `Some(None)` if what it shows is no quantity.
    pub(super) quantity: Option<Option<Quantity>>,
}

impl UsageRecord {
    /// Reads a record; `None` if it cannot be told which it is.
    pub(super) fn read(record: &Value) -> Option<Self> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let read = Self {
            account: text("CustomerAWSAccountId"),
            customer: text("CustomerIdentifier"),
            licence_arn: text("LicenseArn"),
            dimension: text("Dimension")?,
            hour_seconds: seconds(record.get("Timestamp")?)?,
            quantity: quantity(record),
        };
        (read.account.is_some() || read.customer.is_some()).then_some(read)
    }

    /// True if `echo` is this record: every part that we sent is there and equal. Parts that AWS adds by itself (the
    /// account behind a legacy identifier, a licence) are no contradiction.
    pub(super) fn is_echoed_by(&self, echo: &Self) -> bool {
        let same = |ours: &Option<String>, theirs: &Option<String>| ours.is_none() || ours == theirs;
        same(&self.account, &echo.account)
            && same(&self.customer, &echo.customer)
            && same(&self.licence_arn, &echo.licence_arn)
            && self.dimension == echo.dimension
            && self.hour_seconds == echo.hour_seconds
    }
}

/// A timestamp as AWS's JSON protocol writes it (seconds, perhaps `1.7266968E9`), or as text of RFC 3339.
fn seconds(timestamp: &Value) -> Option<i64> {
    match timestamp {
        // Exact: seconds of this millennium are far below 2^53.
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e12)?;
            format!("{float:.0}").parse().ok()
        }),
        Value::String(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_second),
        _ => None,
    }
}

/// The quantity by value, whichever field shows it; the decimal field is the newer and the more exact one.
fn quantity(record: &Value) -> Option<Option<Quantity>> {
    let shown = |name: &str| record.get(name).filter(|value| !value.is_null());
    let shown = shown("QuantityAsDecimal").or_else(|| shown("Quantity"))?;
    Some(match shown {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(value: &Value) -> UsageRecord {
        UsageRecord::read(value).expect("a record")
    }

    #[test]
    fn d3_a_record_is_known_by_its_content() {
        let ours = record(&json!({ "Timestamp": 1_726_696_800, "CustomerAWSAccountId": "1", "Dimension": "d" }));
        for echo in [
            json!({ "Timestamp": 1_726_696_800.0, "CustomerAWSAccountId": "1", "Dimension": "d", "Quantity": 3 }),
            json!({ "Timestamp": 1.726_696_8e9, "CustomerAWSAccountId": "1", "Dimension": "d", "LicenseArn": "a" }),
            json!({ "Timestamp": "2024-09-18T22:00:00Z", "CustomerAWSAccountId": "1", "Dimension": "d" }),
        ] {
            assert!(ours.is_echoed_by(&record(&echo)), "{echo}");
        }
        for other in [
            json!({ "Timestamp": 1_726_700_400, "CustomerAWSAccountId": "1", "Dimension": "d" }),
            json!({ "Timestamp": 1_726_696_800, "CustomerAWSAccountId": "2", "Dimension": "d" }),
            json!({ "Timestamp": 1_726_696_800, "CustomerIdentifier": "1", "Dimension": "d" }),
            json!({ "Timestamp": 1_726_696_800, "CustomerAWSAccountId": "1", "Dimension": "e" }),
        ] {
            assert!(!ours.is_echoed_by(&record(&other)), "{other}");
        }
    }

    #[test]
    fn quantities_are_read_by_value() {
        let shown = |extra: Value| {
            let mut value = json!({ "Timestamp": 0, "CustomerAWSAccountId": "1", "Dimension": "d" });
            value.as_object_mut().expect("object").extend(extra.as_object().expect("object").clone());
            record(&value).quantity
        };
        let seventeen = Some(Some(Quantity::from(17)));
        assert_eq!(shown(json!({ "Quantity": 17 })), seventeen);
        assert_eq!(shown(json!({ "Quantity": 17.0 })), seventeen);
        assert_eq!(shown(json!({ "QuantityAsDecimal": "17.00" })), seventeen);
        assert_eq!(shown(json!({ "QuantityAsDecimal": "17.00", "Quantity": 0 })), seventeen);
        assert_eq!(shown(json!({ "QuantityAsDecimal": null, "Quantity": 17 })), seventeen);
        assert_eq!(shown(json!({})), None);
        assert_eq!(shown(json!({ "QuantityAsDecimal": "many" })), Some(None));
    }

    #[test]
    fn what_names_nobody_is_no_record() {
        for value in [json!(null), json!([]), json!({}), json!({ "Timestamp": 0, "Dimension": "d" })] {
            assert_eq!(UsageRecord::read(&value), None, "{value}");
        }
    }
}
