//! The bytes of one operation. Once written they are sent to the letter, ever after.
//!
//! Shapes: Service Control v1, revision 20261015, schemas `Operation`, `MetricValueSet`, `MetricValue`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use remittance::{Quantity, Reason};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::identity::Identity;
use crate::{Frozen, Record, Refusal};

/// Digits after the point that a quantity may have. Google takes any double; with six, every hour below 10⁹ keeps
/// within the digits that a double holds.
pub(super) const DECIMALS_MAX: u32 = 6;
/// Significant decimal digits that every double gives back unchanged.
const DIGITS_MAX: usize = 15;
/// Characters of a metric's full name.
const METRIC_CHARS_MAX: usize = 255;

/// An operation as it goes out; the order of fields is the order in the bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    operation_id: Uuid,
    operation_name: String,
    consumer_id: &'a str,
    start_time: String,
    end_time: String,
    metric_value_sets: [MetricValueSet; 1],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricValueSet {
    metric_name: String,
    metric_values: [MetricValue; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum MetricValue {
    /// Proto3's JSON writes 64-bit integers as text.
    Int64Value(String),
    DoubleValue(Box<RawValue>),
}

/// Builds the bytes of a record: the whole hour as the window, so that the windows of a meter follow one another
/// without a gap, and none crosses a month (in US Pacific, too, months begin at a full hour). The last hour of a
/// subscription is sent before it is over, and no window may end in the future: it ends with the subscription.
pub(super) fn freeze(record: &Record<'_>, service: &str) -> Result<Frozen, Refusal> {
    let identity = Identity::read(record.identity)?;
    let (start_time, end_time) = window(record.hour, record.ends)?;
    let value = MetricValueSet {
        metric_name: metric_name(record.dimension, service)?,
        metric_values: [value(record.quantity, record.decimals)?],
    };
    let operation = Operation {
        operation_id: record.idempotency_key,
        operation_name: operation_name(service),
        consumer_id: &identity.consumer_id,
        start_time,
        end_time,
        metric_value_sets: [value],
        user_labels: &identity.labels,
    };
    let body = serde_json::to_string(&operation).expect("texts and numbers are always JSON");
    Ok(Frozen { body, batch_group: batch_group(service) })
}

/// All operations of a service may share a call.
pub(super) fn batch_group(service: &str) -> String {
    format!("service:{service}")
}

/// A name for Google's logs; it decides nothing.
pub(super) fn operation_name(service: &str) -> String {
    format!("{service}/report")
}

fn window(hour: Timestamp, ends: Option<Timestamp>) -> Result<(String, String), Refusal> {
    let end = ends.map_or_else(|| hour.checked_add(SignedDuration::from_hours(1)), Ok);
    match end {
        Ok(end) if hour.as_second().rem_euclid(3_600) == 0 && hour.subsec_nanosecond() == 0 => {
            Ok((hour.to_string(), end.to_string()))
        }
        _ => {
            let message = format!("hour {hour} is not the start of an hour; records are cut by the hour");
            Err(Refusal { reason: Reason::InvalidSubscription, message })
        }
    }
}

/// `<service>/<metric>`; a dimension with a slash is the full name already.
fn metric_name(dimension: &str, service: &str) -> Result<String, Refusal> {
    let name = if dimension.contains('/') { dimension.to_owned() } else { format!("{service}/{dimension}") };
    let fits = !dimension.is_empty() && name.len() <= METRIC_CHARS_MAX && name.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(name).ok_or_else(|| {
        let message = format!(
            "dimension {dimension:?} must be a metric's name of 1 to {METRIC_CHARS_MAX} printable characters; map the metric anew"
        );
        Refusal { reason: Reason::UnmappedDimension, message }
    })
}

/// The quantity in the metric's declared type, as the dimension's decimals choose it.
fn value(quantity: Quantity, decimals: u32) -> Result<MetricValue, Refusal> {
    let refused =
        |why: String| Refusal { reason: Reason::QuantityOutOfRange, message: format!("quantity {quantity} {why}") };
    if quantity.is_negative() {
        return Err(refused("is negative; Google takes nothing back".to_owned()));
    }
    let decimals_max = decimals.min(DECIMALS_MAX);
    if quantity.decimals() > decimals_max {
        return Err(refused(format!(
            "has more than the {decimals_max} decimals it may have; round it before it is cut"
        )));
    }
    if decimals == 0 {
        let integer = quantity.to_i64().ok_or_else(|| refused("is beyond a 64-bit integer".to_owned()))?;
        return Ok(MetricValue::Int64Value(integer.to_string()));
    }
    let text = quantity.to_string();
    let digits = text.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
    if digits > DIGITS_MAX {
        return Err(refused(format!("has more than {DIGITS_MAX} significant digits, the most a double keeps exactly")));
    }
    // Written digit by digit from the decimal: no float in between.
    Ok(MetricValue::DoubleValue(RawValue::from_string(text).expect("a plain decimal is JSON")))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::{Value, json};

    use super::*;

    const SERVICE: &str = "db.example.com";

    fn frozen(identity: &Value, dimension: &str, hour: &str, amount: &str, decimals: u32) -> Result<Frozen, Refusal> {
        let record = Record {
            identity,
            product: "cloud",
            dimension,
            hour: hour.parse().expect("a time"),
            ends: None,
            quantity: amount.parse().expect("a quantity"),
            shares: &[],
            decimals,
            idempotency_key: Uuid::from_u128(7),
        };
        freeze(&record, SERVICE)
    }

    fn body(amount: &str, decimals: u32) -> Result<String, Reason> {
        let identity = json!({ "consumer_id": "project:acme" });
        frozen(&identity, "cores", "2024-09-18T22:00:00Z", amount, decimals).map(|f| f.body).map_err(|r| r.reason)
    }

    #[test]
    fn k9_the_window_of_a_subscriptions_last_hour_ends_with_it() {
        let identity = json!({ "consumer_id": "project:acme" });
        let time = |text: &str| text.parse().expect("a time");
        let record = Record {
            identity: &identity,
            product: "cloud",
            dimension: "cores",
            hour: time("2024-09-18T22:00:00Z"),
            ends: Some(time("2024-09-18T22:02:00Z")),
            quantity: "7".parse().expect("a quantity"),
            shares: &[],
            decimals: 0,
            idempotency_key: Uuid::from_u128(7),
        };
        let body = freeze(&record, SERVICE).expect("frozen").body;
        assert!(body.contains(r#""startTime":"2024-09-18T22:00:00Z","endTime":"2024-09-18T22:02:00Z""#), "{body}");
    }

    #[test]
    fn d6_the_bytes_of_an_operation() {
        let labels = json!({ "cloudmarketplace.googleapis.com/resource_name": "vm-1" });
        let identity = json!({ "consumer_id": "project_number:123", "labels": labels });
        let expected = concat!(
            r#"{"operationId":"00000000-0000-0000-0000-000000000007","operationName":"db.example.com/report","#,
            r#""consumerId":"project_number:123","startTime":"2024-09-18T22:00:00Z","endTime":"2024-09-18T23:00:00Z","#,
            r#""metricValueSets":[{"metricName":"db.example.com/cores","metricValues":[{"int64Value":"7"}]}],"#,
            r#""userLabels":{"cloudmarketplace.googleapis.com/resource_name":"vm-1"}}"#
        );
        let frozen = frozen(&identity, "cores", "2024-09-18T22:00:00Z", "7.00", 0).expect("freezes");
        assert_eq!((frozen.body.as_str(), frozen.batch_group.as_str()), (expected, "service:db.example.com"));
    }

    #[test]
    fn d6_integers_travel_as_text_and_decimals_as_exact_numbers() {
        let tail = |amount, decimals| -> Result<String, Reason> {
            let body = body(amount, decimals)?;
            let (_, from) = body.split_once(r#""metricValues":["#).expect("values");
            Ok(from.split_once(']').expect("an end").0.to_owned())
        };
        assert_eq!(tail("1000000000000", 0), Ok(r#"{"int64Value":"1000000000000"}"#.to_owned()));
        assert_eq!(tail("0", 0), Ok(r#"{"int64Value":"0"}"#.to_owned()));
        assert_eq!(tail("17.50", 6), Ok(r#"{"doubleValue":17.5}"#.to_owned()));
        assert_eq!(tail("17", 2), Ok(r#"{"doubleValue":17}"#.to_owned()));
        assert_eq!(tail("0.000001", 6), Ok(r#"{"doubleValue":0.000001}"#.to_owned()));
        assert_eq!(tail("999999999.999999", 6), Ok(r#"{"doubleValue":999999999.999999}"#.to_owned()));
        assert_eq!(tail("1000000000000", 6), Ok(r#"{"doubleValue":1000000000000}"#.to_owned()));
    }

    #[test]
    fn b11_a_quantity_beyond_type_or_digits_is_refused() {
        for (amount, decimals) in
            [("0.5", 0), ("-1", 0), ("-0.1", 6), ("0.0000001", 15), ("0.123", 2), ("9999999999.999999", 6)]
        {
            assert_eq!(body(amount, decimals), Err(Reason::QuantityOutOfRange), "{amount} with {decimals}");
        }
    }

    #[test]
    fn d6_a_dimension_with_a_slash_is_the_full_name() {
        let identity = json!({ "consumer_id": "project:acme" });
        let of = |dimension: &str| frozen(&identity, dimension, "2024-09-18T22:00:00Z", "1", 0);
        assert!(of("other.example.com/cores").expect("freezes").body.contains(r#":"other.example.com/cores","#));
        for dimension in ["", "two words", "x".repeat(255).as_str()] {
            assert_eq!(of(dimension).map_err(|refusal| refusal.reason), Err(Reason::UnmappedDimension), "{dimension}");
        }
    }

    /// The four months' ends around both clock changes, and every hour of the two days of the change.
    #[test]
    fn d6_windows_are_contiguous_and_none_crosses_the_billing_month() {
        let pacific = TimeZone::get("America/Los_Angeles").expect("a zone");
        let identity = json!({ "consumer_id": "project:acme" });
        for (from, hours) in [
            ("2024-02-29T00:00:00Z", 72),
            ("2024-03-10T00:00:00Z", 48),
            ("2024-03-31T00:00:00Z", 72),
            ("2024-10-31T00:00:00Z", 72),
            ("2024-11-03T00:00:00Z", 48),
            ("2024-11-30T00:00:00Z", 72),
        ] {
            let from: Timestamp = from.parse().expect("a time");
            let mut previous_end: Option<String> = None;
            for hour in (0..hours).map(|n| from + SignedDuration::from_hours(n)) {
                let body = frozen(&identity, "cores", &hour.to_string(), "1", 0).expect("freezes").body;
                let read: Value = serde_json::from_str(&body).expect("JSON");
                let at = |name: &str| read[name].as_str().expect("a time").parse::<Timestamp>().expect("a time");
                let (start, end) = (at("startTime"), at("endTime"));
                assert_eq!(end.duration_since(start), SignedDuration::from_hours(1), "also at a change");
                let last = end - SignedDuration::from_nanos(1);
                let month = |at: Timestamp| at.to_zoned(pacific.clone()).date().first_of_month();
                assert_eq!(month(start), month(last), "{body}");
                assert!(previous_end.is_none_or(|end| end == read["startTime"]), "no gap before {body}");
                previous_end = read["endTime"].as_str().map(str::to_owned);
            }
        }
    }

    #[test]
    fn d6_a_window_begins_at_a_full_hour() {
        let identity = json!({ "consumer_id": "project:acme" });
        for hour in ["2024-09-18T22:00:01Z", "2024-09-18T22:00:00.5Z", "2024-09-18T22:30:00Z"] {
            assert!(frozen(&identity, "cores", hour, "1", 0).is_err(), "{hour}");
        }
    }
}
