//! Reading a message as services send it: one way for HTTP, files and pipes. `postmeter.read_statuses` reads batches in SQL
//! by the same table; `tests/suite/tracker/doors.rs` compares them.

use remittance::request::{NoDate, date};
use serde_json::value::RawValue;

use super::NewStatus;
use crate::json::{Flaw, Members};

/// What is quoted of a value.
const EXCERPT_MAX: usize = 100;
/// Digits that a number may come to as a text: more than any field takes.
const DIGITS_MAX: usize = 9000;

/// Which rule a message breaks that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A required field is missing.
    Missing,
    /// A field is neither text nor number.
    Text,
    /// The date is none.
    Unreadable,
    /// The date is out of range.
    Range,
    /// U+0000, which no database text can hold.
    Nul,
    /// It is no JSON.
    Json,
    /// It is not UTF-8.
    Utf8,
    /// It is no object.
    Object,
    /// A key stands twice.
    Twice,
}

impl Rule {
    /// Its name, as refusals are counted by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Text => "text",
            Self::Unreadable => "unreadable",
            Self::Range => "range",
            Self::Nul => "nul",
            Self::Json => "json",
            Self::Utf8 => "utf8",
            Self::Object => "object",
            Self::Twice => "twice",
        }
    }
}

/// Why a message is no request status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The field that is wrong; `None`: the whole.
    pub field: Option<&'static str>,
    /// Which rule it breaks.
    pub rule: Rule,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.field.unwrap_or("the message"), self.reason)
    }
}

impl Malformed {
    fn whole(rule: Rule, reason: impl Into<String>) -> Self {
        Self { field: None, rule, reason: reason.into() }
    }

    fn of(field: &'static str, rule: Rule, reason: impl Into<String>) -> Self {
        Self { field: Some(field), rule, reason: reason.into() }
    }
}

/// Reads a line's bytes as [`status_from_json`] its text.
///
/// # Errors
/// It is not UTF-8, or no message.
pub fn status_from_line(line: &[u8]) -> Result<NewStatus, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed::whole(Rule::Utf8, "is not UTF-8"))?;
    status_from_json(text)
}

/// Reads a message's text as services send it: fields nobody knows are ignored, numbers count as text with all their
/// digits, `org_id` is `org` where that is missing, and the date may lack its `T`, its seconds and its zone. A key that
/// stands twice is refused: which of the two was meant, nobody can tell.
///
/// # Errors
/// It is no JSON object, has a key twice, lacks a required field, or has one that cannot be read.
pub fn status_from_json(text: &str) -> Result<NewStatus, Malformed> {
    let no_json = |error: serde_json::Error| Malformed::whole(Rule::Json, format!("is no JSON: {error}"));
    let whole: &RawValue = serde_json::from_str(text).map_err(no_json)?;
    if !whole.get().starts_with('{') {
        return Err(Malformed::whole(Rule::Object, "must be a JSON object"));
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(no_json)?;
    if let Some(key) = members.twice() {
        return Err(Malformed::whole(Rule::Twice, Flaw::twice(key).reason));
    }
    let text = |field: &'static str| match members.0.iter().find(|(key, _)| key == field) {
        Some((_, value)) => read(field, value.get()),
        None => Ok(None),
    };
    // in this order, as postmeter.track_message does: of two wrong fields both name the same one
    let (request_id, service, status) = (text("request_id")?, text("service")?, text("status")?);
    let [source, status_msg, account] = [text("source")?, text("status_msg")?, text("account")?].map(given);
    let [org, org_id, inventory_id, system_id] =
        [text("org")?, text("org_id")?, text("inventory_id")?, text("system_id")?].map(given);
    let date = text("date")?.filter(|text| !text.is_empty()).map(|text| moment(&text)).transpose()?;
    let required = |field: &'static str, text: Option<String>| {
        text.ok_or_else(|| Malformed::of(field, Rule::Missing, "is missing"))
    };
    let org = org.or(org_id);
    let request_id = required("request_id", request_id)?;
    let (service, status) = (required("service", service)?, required("status", status)?);
    Ok(NewStatus { service, request_id, status, date, source, status_msg, account, org, inventory_id, system_id })
}

/// An empty text says nothing.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A field's value, as JSON writes it.
fn read(field: &'static str, json: &str) -> Result<Option<String>, Malformed> {
    match json.as_bytes()[0] {
        b'n' => Ok(None),
        b'"' => {
            let text: String = serde_json::from_str(json)
                .map_err(|error| Malformed::of(field, Rule::Json, format!("is no text: {error}")))?;
            if text.contains('\0') {
                return Err(Malformed::of(field, Rule::Nul, "must not contain the character U+0000"));
            }
            Ok(Some(text))
        }
        b'-' | b'0'..=b'9' => match digits(json) {
            Some(text) => Ok(Some(text)),
            None => Err(Malformed::of(field, Rule::Text, format!("is a number of more than {DIGITS_MAX} digits"))),
        },
        _ => Err(Malformed::of(field, Rule::Text, "must be text")),
    }
}

fn moment(text: &str) -> Result<jiff::Timestamp, Malformed> {
    date(text).map_err(|no_date| match no_date {
        NoDate::Range => Malformed::of("date", Rule::Range, "must lie in the years 1 to 9999"),
        NoDate::Unreadable => {
            let shown: String = text.chars().take(EXCERPT_MAX).collect();
            Malformed::of("date", Rule::Unreadable, format!("{shown:?} is no time such as 2026-03-10T09:00:00Z"))
        }
    })
}

/// A number's text as Postgres writes a `numeric`: every digit, no exponent. None: it would be too long.
fn digits(json: &str) -> Option<String> {
    let (is_negative, rest) = json.strip_prefix('-').map_or((false, json), |rest| (true, rest));
    let (number, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
    let limit = i64::try_from(DIGITS_MAX).expect("small");
    if exponent.abs() > limit || number.len() > DIGITS_MAX {
        return None;
    }
    let mut all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).expect("bounded") + exponent;
    let places = i64::try_from(fraction.len()).expect("bounded") - exponent;
    let places = usize::try_from(places.max(0)).expect("not below zero");
    if point <= 0 {
        all.insert_str(0, &"0".repeat(usize::try_from(1 - point).expect("bounded")));
    }
    let point = usize::try_from(point.max(1)).expect("above zero");
    while all.len() < point + places {
        all.push('0');
    }
    let (whole, fraction) = all.split_at(all.len() - places);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
    let sign = if is_negative && !is_zero { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn from(message: &Value) -> Result<NewStatus, Malformed> {
        status_from_json(&message.to_string())
    }

    #[test]
    fn h2_a_message_lacks_a_field_by_name() {
        let whole = json!({"service": "a", "request_id": 7, "status": "s", "date": "2026-03-10 09:00:00",
            "org_id": "acme",
            "source": "", "status_msg": null, "unknown": []});
        let status = from(&whole).unwrap();
        assert_eq!((status.request_id.as_str(), status.org.as_deref()), ("7", Some("acme")));
        assert_eq!((status.source, status.status_msg), (None, None));
        assert_eq!(status.date, "2026-03-10T09:00:00Z".parse().ok());
        for (field, value, sentence) in [
            ("service", Value::Null, "service is missing"),
            ("request_id", Value::Null, "request_id is missing"),
            ("status", json!({}), "status must be text"),
            ("date", json!("soon"), "date \"soon\" is no time such as 2026-03-10T09:00:00Z"),
        ] {
            let mut message = whole.clone();
            message[field] = value;
            assert_eq!(from(&message).unwrap_err().to_string(), sentence);
        }
        assert_eq!(from(&json!([])).unwrap_err().to_string(), "the message must be a JSON object");
        let twice = r#"{"service": "a", "request_id": "r", "status": "s", "status": "t"}"#;
        let refused = status_from_json(twice).unwrap_err().to_string();
        assert_eq!(refused, "the message has the key \"status\" twice");
        assert_eq!(status_from_json(&twice.replace("\"t\"", "\"s\"")).unwrap_err().to_string(), refused);
        assert_eq!(status_from_json(&twice.replace("status\": \"t", "x\": \"t")).unwrap().status, "s");
    }

    #[test]
    fn h9_a_number_keeps_every_digit() {
        for (json, text) in [
            ("7", "7"),
            ("-1", "-1"),
            ("18446744073709551617", "18446744073709551617"),
            ("1.50", "1.50"),
            ("1e3", "1000"),
            ("1.25E+1", "12.5"),
            ("10e-1", "1.0"),
            ("12.5e-3", "0.0125"),
            ("-0", "0"),
            ("-0.0", "0.0"),
            ("0e5", "0"),
            ("1.0e1", "10"),
        ] {
            assert_eq!(digits(json).as_deref(), Some(text), "{json}");
        }
        assert_eq!((digits("1e9001"), digits("1e99999999999999999999")), (None, None));
    }
}
