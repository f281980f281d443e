//! The requests of the metering API as they travel.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Refusal;

/// Events that one call may carry.
const MAX_EVENTS: usize = 25;
const HOUR: i64 = 3600;

#[derive(Debug, Deserialize)]
struct BatchUsageEvent {
    request: Vec<UsageEvent>,
}

/// An event; what is missing is told apart later, because a batch takes the others all the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageEvent {
    pub(crate) resource_id: Option<String>,
    pub(crate) resource_uri: Option<String>,
    quantity: Option<Box<RawValue>>,
    pub(crate) dimension: Option<String>,
    pub(crate) effective_start_time: Option<String>,
    pub(crate) plan_id: Option<String>,
}

impl UsageEvent {
    /// One event, or all of a batch: each with its number in words of JSON.
    pub(crate) fn parse(body: &[u8], is_batch: bool) -> Result<Vec<UsageEvent>, Refusal> {
        let unreadable = |error: serde_json::Error| Refusal::bad_argument("usageEventRequest", &error.to_string());
        let events = if is_batch {
            serde_json::from_slice::<BatchUsageEvent>(body).map_err(unreadable)?.request
        } else {
            vec![serde_json::from_slice(body).map_err(unreadable)?]
        };
        if events.is_empty() || events.len() > MAX_EVENTS {
            return Err(Refusal::bad_argument("request", "A batch has 1 to 25 usage events."));
        }
        if events
            .iter()
            .filter_map(|event| event.quantity.as_ref())
            .any(|number| number.get().starts_with(['"', '{', '[', 't', 'f']))
        {
            return Err(Refusal::bad_argument("quantity", "The quantity must be a number."));
        }
        Ok(events)
    }

    /// The resource in whichever form, in lower case; empty if it has none.
    pub(crate) fn resource(&self) -> String {
        self.resource_id
            .as_ref()
            .or(self.resource_uri.as_ref())
            .map(|name| name.to_ascii_lowercase())
            .unwrap_or_default()
    }

    /// The time as it was sent; one without a zone is UTC.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        let text = self.effective_start_time.as_deref()?;
        let civil = || Some(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
        text.parse().ok().or_else(civil)
    }

    /// The start of the UTC hour for which it counts.
    pub(crate) fn hour(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.time()?.as_second().div_euclid(HOUR) * HOUR).ok()
    }

    /// The quantity as the double that the API declares it to be: what a double does not keep is lost here, as it would be
    /// there.
    pub(crate) fn amount(&self) -> Option<Decimal> {
        let double: f64 = self.quantity.as_ref()?.get().parse().ok()?;
        // `f64` prints the shortest decimal that it reads back as itself.
        Decimal::from_str(&double.to_string()).ok().map(|amount| amount.normalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(number: &str) -> Option<String> {
        let body = format!("{{\"quantity\":{number}}}");
        UsageEvent::parse(body.as_bytes(), false).ok()?[0].amount().map(|amount| amount.to_string())
    }

    #[test]
    fn quantities_are_doubles() {
        for (sent, held) in [("7", "7"), ("7.50", "7.5"), ("1e3", "1000"), ("0.1", "0.1"), ("-2", "-2")] {
            assert_eq!(amount(sent).as_deref(), Some(held), "{sent}");
        }
        assert_eq!(amount("1000000000.00000001").as_deref(), Some("1000000000"), "more digits than a double keeps");
        assert_eq!((amount("\"7\""), amount("null"), amount("1e400")), (None, None, None));
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        let hour =
            |text: &str| UsageEvent { effective_start_time: Some(text.to_owned()), ..UsageEvent::default() }.hour();
        for text in ["2026-07-22T10:00:00Z", "2026-07-22T10:59:59.9999999", "2026-07-22T12:30:00+02:00"] {
            assert_eq!(hour(text), "2026-07-22T10:00:00Z".parse().ok(), "{text}");
        }
        assert_eq!(hour("today"), None);
    }
}
