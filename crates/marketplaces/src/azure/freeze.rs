//! The bytes of one usage event. Once written they are sent to the letter, ever after.
//!
//! Shape: commercial-marketplace-openapi, `meteringapi.v1.json`, schema `UsageEvent`. Its quantity is a double.

use remittance::{Quantity, Reason};
use serde::Serialize;
use serde_json::value::RawValue;

use super::identity::{Identity, Resource};
use crate::{Frozen, Record, Refusal};

/// Decimals that a dimension may have. They leave nine digits before the point, so that no quantity met in practice is
/// refused for its digits; what is below them is carried by the meter.
pub(super) const DECIMALS_MAX: u32 = 6;
/// Digits that every double keeps, there and back (IEEE 754: 15 for binary64).
const DIGITS_MAX: usize = 15;
/// Characters of a dimension's name (Partner Center: at most 50; room is left for what moves).
const DIMENSION_CHARS_MAX: usize = 255;
/// All events of a destination may share a call: one credential, any resource, any plan.
pub(super) const BATCH_GROUP: &str = "azure";

/// A usage event as it goes out; the order of fields is the order in the bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_uri: Option<&'a str>,
    quantity: Box<RawValue>,
    dimension: &'a str,
    effective_start_time: String,
    plan_id: &'a str,
}

/// Builds the bytes of an event.
pub(super) fn freeze(record: &Record<'_>) -> Result<Frozen, Refusal> {
    let identity = Identity::read(record.identity)?;
    let (resource_id, resource_uri) = match &identity.resource {
        Resource::Id(id) => (Some(id.as_str()), None),
        Resource::Uri(uri) => (None, Some(uri.as_str())),
    };
    let event = UsageEvent {
        resource_id,
        resource_uri,
        quantity: quantity(record.quantity, record.decimals)?,
        dimension: dimension(record.dimension)?,
        effective_start_time: hour(record)?,
        plan_id: &identity.plan,
    };
    let body = serde_json::to_string(&event).expect("texts and a number are always JSON");
    Ok(Frozen { body, batch_group: BATCH_GROUP.to_owned() })
}

/// The hour's start: two stamps of one hour would collide at Microsoft.
fn hour(record: &Record<'_>) -> Result<String, Refusal> {
    let hour = record.hour;
    if hour.as_second().rem_euclid(3_600) == 0 && hour.subsec_nanosecond() == 0 {
        Ok(hour.to_string())
    } else {
        let message = format!("hour {hour} is not the start of an hour; records are cut by the hour");
        Err(Refusal { reason: Reason::InvalidSubscription, message })
    }
}

/// A slash would end the buyer in the key, whose resource may have slashes of its own.
fn dimension(name: &str) -> Result<&str, Refusal> {
    if (1..=DIMENSION_CHARS_MAX).contains(&name.chars().count()) && !name.contains('/') {
        Ok(name)
    } else {
        let message = format!(
            "dimension {name:?} must have 1 to {DIMENSION_CHARS_MAX} characters and no slash; map the metric anew"
        );
        Err(Refusal { reason: Reason::UnmappedDimension, message })
    }
}

/// The quantity as a JSON number, printed from the decimal itself: no float of ours ever sees it, and it has no more
/// digits than the double that Microsoft makes of it keeps.
fn quantity(quantity: Quantity, decimals: u32) -> Result<Box<RawValue>, Refusal> {
    let refused = |why: String| {
        Err(Refusal { reason: Reason::QuantityOutOfRange, message: format!("quantity {quantity} {why}") })
    };
    if quantity.is_zero() || quantity.is_negative() {
        return refused("is not above zero; Microsoft takes nothing else".to_owned());
    }
    let decimals_max = decimals.min(DECIMALS_MAX);
    if quantity.decimals() > decimals_max {
        return refused(format!("has more than the {decimals_max} decimals it may have; round it before it is cut"));
    }
    let text = quantity.to_string();
    let digits = text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let significant = digits.iter().skip_while(|&&digit| digit == b'0').count();
    if significant > DIGITS_MAX {
        return refused(format!("has more than {DIGITS_MAX} digits, the most a double keeps"));
    }
    Ok(RawValue::from_string(text).expect("a plain decimal is a JSON number"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const GUID: &str = "11112222-3333-4444-5555-666677778888";
    const URI: &str = "/subscriptions/11112222-3333-4444-5555-666677778888/resourceGroups/rg/providers/Microsoft.Solutions/applications/App";

    fn frozen(identity: &Value, amount: &str, decimals: u32) -> Result<String, Reason> {
        at("2024-09-18T22:00:00Z", "cores", identity, amount, decimals)
    }

    fn at(hour: &str, dimension: &str, identity: &Value, amount: &str, decimals: u32) -> Result<String, Reason> {
        let record = Record {
            identity,
            product: "cloud",
            dimension,
            hour: hour.parse().expect("an hour"),
            ends: None,
            quantity: amount.parse().expect("a quantity"),
            shares: &[],
            decimals,
            idempotency_key: Uuid::nil(),
        };
        freeze(&record).map(|frozen| frozen.body).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn d4_the_bytes_of_each_form() {
        for (identity, resource) in [
            (json!({ "resource_id": GUID, "plan_id": "gold" }), format!(r#""resourceId":"{GUID}""#)),
            (json!({ "resource_uri": URI, "plan_id": "gold" }), format!(r#""resourceUri":"{URI}""#)),
        ] {
            let body = format!(
                r#"{{{resource},"quantity":7.5,"dimension":"cores","effectiveStartTime":"2024-09-18T22:00:00Z","planId":"gold"}}"#
            );
            assert_eq!(frozen(&identity, "7.50", 6), Ok(body));
        }
    }

    #[test]
    fn b11_a_quantity_is_printed_exactly_or_refused() {
        let identity = json!({ "resource_id": GUID, "plan_id": "gold" });
        for (amount, printed) in [
            ("7", "7"),
            ("0.000001", "0.000001"),
            ("999999999.999999", "999999999.999999"),
            ("1000000000000", "1000000000000"),
        ] {
            let body = frozen(&identity, amount, 6).expect("fits");
            assert!(body.contains(&format!(r#""quantity":{printed},"#)), "{body}");
            assert_eq!(printed.parse::<f64>().expect("a double").to_string(), printed, "a double keeps it");
        }
        for (amount, decimals) in
            [("0", 6), ("-1", 6), ("0.0000001", 15), ("0.5", 0), ("1.25", 1), ("1000000000.000001", 6)]
        {
            assert_eq!(frozen(&identity, amount, decimals), Err(Reason::QuantityOutOfRange), "{amount}, {decimals}");
        }
    }

    #[test]
    fn d4_stamps_are_hour_aligned_and_dimensions_have_no_slash() {
        let identity = json!({ "resource_id": GUID, "plan_id": "gold" });
        assert!(at("2024-09-18T22:00:01Z", "cores", &identity, "1", 0).is_err());
        for name in ["", "a/b", "d".repeat(256).as_str()] {
            assert_eq!(at("2024-09-18T22:00:00Z", name, &identity, "1", 0), Err(Reason::UnmappedDimension));
        }
    }
}
