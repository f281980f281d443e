//! A usage event read back: from our own frozen bytes, and from what Microsoft echoes of them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use remittance::Quantity;
use serde_json::Value;

/// What of an event identifies it, and the quantity beside it. A part that the answer leaves out is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UsageEvent {
    /// In lower case.
    id: Option<String>,
    /// In lower case.
    uri: Option<String>,
    dimension: Option<String>,
    /// Start of the hour, in seconds since 1970.
    hour: Option<i64>,
    /// The quantity it shows: `None` if it shows none, `Some(None)` if what it shows is no quantity.
    pub(super) quantity: Option<Option<Quantity>>,
}

impl UsageEvent {
    /// Reads what is there. The time of the message is never looked at: a duplicate's is the year 1.
    pub(super) fn read(event: &Value) -> Self {
        let text = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let shown = event.get("quantity").filter(|value| !value.is_null());
        Self {
            id: text("resourceId").map(str::to_ascii_lowercase),
            uri: text("resourceUri").map(str::to_ascii_lowercase),
            dimension: text("dimension").map(str::to_owned),
            hour: text("effectiveStartTime").and_then(hour),
            quantity: shown.map(quantity),
        }
    }

    /// True if it names a resource, a dimension and an hour: an event of ours always does.
    pub(super) fn is_whole(&self) -> bool {
        self.id.is_some() != self.uri.is_some() && self.dimension.is_some() && self.hour.is_some()
    }

    /// True if `echo` is this event: every part that we sent is there and equal. What Microsoft adds by itself (a managed
    /// application's other name) is no contradiction.
    pub(super) fn is_echoed_by(&self, echo: &Self) -> bool {
        let same = |ours: &Option<String>, theirs: &Option<String>| ours.is_none() || ours == theirs;
        same(&self.id, &echo.id)
            && same(&self.uri, &echo.uri)
            && self.dimension == echo.dimension
            && self.hour == echo.hour
    }

    /// True if nothing in `echo` speaks against its being this event.
    pub(super) fn is_not_contradicted_by(&self, echo: &Self) -> bool {
        let open =
            |ours: &Option<String>, theirs: &Option<String>| ours.is_none() || theirs.is_none() || ours == theirs;
        open(&self.id, &echo.id)
            && open(&self.uri, &echo.uri)
            && open(&self.dimension, &echo.dimension)
            && (echo.hour.is_none() || self.hour == echo.hour)
    }
}

/// The start of the hour. Microsoft's own samples leave the zone out; it is UTC.
fn hour(text: &str) -> Option<i64> {
    let time = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<DateTime>().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(time.as_second().div_euclid(3_600) * 3_600)
}

/// A quantity by value. Their doubles keep every quantity that [`super::freeze`] lets out, so its shortest decimal form
/// is the one we sent (`f64` prints that form, and no exponent).
pub(super) fn quantity(shown: &Value) -> Option<Quantity> {
    match shown {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string().parse().ok(),
            (None, Some(double)) => double.to_string().parse().ok(),
            (None, None) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GUID: &str = "11112222-3333-4444-5555-66667777aaaa";

    fn event(value: &Value) -> UsageEvent {
        UsageEvent::read(value)
    }

    #[test]
    fn d4_an_event_is_known_by_its_content() {
        let ours = event(
            &json!({ "resourceId": GUID, "dimension": "d", "effectiveStartTime": "2024-09-18T22:00:00Z", "quantity": 1 }),
        );
        assert!(ours.is_whole());
        for (time, resource) in [
            ("2024-09-18T22:00:00Z", GUID.to_owned()),
            ("2024-09-18T22:00:00", GUID.to_uppercase()),
            ("2024-09-18T22:00:00.0000000+00:00", GUID.to_owned()),
            ("2024-09-18T22:17:03.1234567Z", GUID.to_owned()),
        ] {
            let echo = json!({ "resourceId": resource, "resourceUri": "/x", "dimension": "d", "effectiveStartTime": time, "messageTime": "0001-01-01T00:00:00" });
            assert!(ours.is_echoed_by(&event(&echo)), "{echo}");
        }
        for (name, value) in [
            ("effectiveStartTime", json!("2024-09-18T23:00:00Z")),
            ("dimension", json!("e")),
            ("resourceId", json!("11112222-3333-4444-5555-666677778888")),
        ] {
            let mut echo =
                json!({ "resourceId": GUID, "dimension": "d", "effectiveStartTime": "2024-09-18T22:00:00Z" });
            echo[name] = value;
            assert!(!ours.is_echoed_by(&event(&echo)) && !ours.is_not_contradicted_by(&event(&echo)), "{echo}");
            echo[name] = Value::Null;
            assert!(!ours.is_echoed_by(&event(&echo)) && ours.is_not_contradicted_by(&event(&echo)), "{echo}");
        }
    }

    #[test]
    fn d4_quantities_are_read_by_value() {
        let shown =
            |text: &str| event(&serde_json::from_str(&format!(r#"{{"quantity":{text}}}"#)).expect("JSON")).quantity;
        let seventeen = Some(Some(Quantity::from(17)));
        for text in ["17", "17.0", "1.7e1", "\"17.00\""] {
            assert_eq!(shown(text), seventeen, "{text}");
        }
        for text in ["0.000001", "999999999.999999", "123456.789012", "0.1"] {
            assert_eq!(shown(text), Some(text.parse().ok()), "{text}");
        }
        assert_eq!(shown("1e-6"), Some("0.000001".parse().ok()));
        for text in ["\"many\"", "[]", "1e300", "0.30000000000000004"] {
            assert_eq!(shown(text), Some(None), "{text}");
        }
        assert_eq!((shown("null"), event(&json!({})).quantity), (None, None));
    }
}
