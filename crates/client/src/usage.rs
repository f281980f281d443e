//! A usage, and what became of it.

use jiff::Timestamp;
use postmeter_quantity::Quantity;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Refused;

/// A usage to record. The fields are those of `postmeter.record_usage`.
///
/// `source`, `event_id`, `org`, `product`, `metric`, `quantity` and `used_at` are required. [`Default`] leaves them
/// empty, and the database refuses what is left empty with a sentence that names the field:
///
/// ```
/// use postmeter_client::NewUsage;
///
/// let usage = NewUsage {
///     source: "shop".into(),
///     event_id: "job-4711".into(),
///     org: "acme".into(),
///     product: "compute".into(),
///     metric: "hours".into(),
///     quantity: "2.5".parse()?,
///     used_at: "2026-03-01T09:30:00Z".parse()?,
///     request_id: Some("req-42".into()),
///     ..Default::default()
/// };
/// # let _ = usage;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewUsage {
    /// The service that records; with `event_id` the usage's identity.
    pub source: String,
    /// The service's own id of the event; the same for every repetition.
    pub event_id: String,
    /// The customer.
    pub org: String,
    /// The product, by stable tag.
    pub product: String,
    /// What was metered, by stable tag.
    pub metric: String,
    /// An increment, never a running total; negative only with `corrects`.
    #[serde(serialize_with = "as_text")]
    pub quantity: Quantity,
    /// When it was used. Postgres keeps microseconds; what is finer is cut off, so that the last moment of a month
    /// stays in its month.
    pub used_at: Timestamp,
    /// Which marketplace account, where the org has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Event id of the usage that this one corrects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<String>,
    /// The request that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// W3C trace context of that request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Evidence (service level, region …), a JSON object.
    pub attributes: Value,
}

/// As text, which keeps every digit; null where it is missing, so that the database refuses it as missing.
fn as_text<S: serde::Serializer>(quantity: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
    match text(*quantity) {
        Some(text) => serializer.serialize_str(&text),
        None => serializer.serialize_none(),
    }
}

/// A quantity's text, if a quantity was given.
pub(crate) fn text(quantity: Quantity) -> Option<String> {
    (quantity != Quantity::MISSING).then(|| quantity.to_string())
}

impl Default for NewUsage {
    /// Empty. The quantity is [`Quantity::MISSING`] instead of zero, which would be recorded; the time is 1970.
    fn default() -> Self {
        Self::new("", "", "", "", "", Quantity::MISSING, Timestamp::UNIX_EPOCH)
    }
}

impl NewUsage {
    /// A usage with the required fields; the rest can be set on it.
    #[must_use]
    pub fn new(
        source: &str,
        event_id: &str,
        org: &str,
        product: &str,
        metric: &str,
        quantity: Quantity,
        used_at: Timestamp,
    ) -> Self {
        Self {
            source: source.to_owned(),
            event_id: event_id.to_owned(),
            org: org.to_owned(),
            product: product.to_owned(),
            metric: metric.to_owned(),
            quantity,
            used_at,
            account: None,
            corrects: None,
            request_id: None,
            traceparent: None,
            attributes: Value::Object(serde_json::Map::new()),
        }
    }
}

/// What became of one usage of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Recorded under this id.
    Recorded(Uuid),
    /// The same usage had been recorded under this id.
    Repeated(Uuid),
    /// Refused; the others of the batch are not touched by it.
    Refused(Refused),
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "recorded",
            Self::Repeated(_) => "repeated",
            Self::Refused(_) => "refused",
        }
    }
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
