//! Recording usage in the caller's own transaction.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use remittance::Quantity;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::Error;

/// A usage to record. The fields are those of `postmeter.record_usage`; `docs/integrate.md` explains them.
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
    /// When it was used.
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

fn as_text<S: serde::Serializer>(quantity: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(quantity)
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
    Refused(crate::Refused),
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "recorded",
            Self::Repeated(_) => "repeated",
            Self::Refused(_) => "refused",
        }
    }
}

/// Records one usage in the caller's transaction and returns its id; the same usage again returns the first id.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; [`Error::Away`] and [`Error::Again`] as for any statement.
pub async fn record_usage(transaction: &Transaction<'_>, usage: &NewUsage) -> Result<Uuid, Error> {
    if let Some(refused) = nul(usage) {
        return Err(Error::Refused(refused));
    }
    let quantity = decimal(usage.quantity);
    // the driver would round, and the last moment of a month be the next one's
    let micros = TimestampRound::new().smallest(Unit::Microsecond).mode(RoundMode::Floor);
    let used_at = usage.used_at.round(micros).expect("microseconds divide a second");
    let rows = transaction
        .query_typed(
            "select postmeter.record_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            &[
                (&usage.source, Type::TEXT),
                (&usage.event_id, Type::TEXT),
                (&usage.org, Type::TEXT),
                (&usage.product, Type::TEXT),
                (&usage.metric, Type::TEXT),
                (&quantity, Type::NUMERIC),
                (&used_at, Type::TIMESTAMPTZ),
                (&usage.account, Type::TEXT),
                (&usage.corrects, Type::TEXT),
                (&usage.request_id, Type::TEXT),
                (&usage.traceparent, Type::TEXT),
                (&usage.attributes, Type::JSONB),
            ],
        )
        .await?;
    let row = rows.first().expect("a function returns one row");
    Ok(row.try_get(0)?)
}

/// Records many usages in one round trip; one verdict each, in order. What is refused does not stop the rest.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`] as for any statement; refusals are verdicts.
pub async fn record_usages(transaction: &Transaction<'_>, usages: &[NewUsage]) -> Result<Vec<Verdict>, Error> {
    let flawed: Vec<Option<crate::Refused>> = usages.iter().map(nul).collect();
    let sent: Vec<&NewUsage> = usages.iter().zip(&flawed).filter(|(_, nul)| nul.is_none()).map(|(u, _)| u).collect();
    let body = serde_json::to_value(sent).expect("usages are plain data");
    let rows = transaction
        .query_typed(
            "select b.verdict, b.usage_id, b.error_code, b.field, b.message from postmeter.record_usage_batch($1) b
             order by b.item",
            &[(&body, Type::JSONB)],
        )
        .await?;
    let mut rows = rows.iter();
    flawed
        .into_iter()
        .map(|nul| match nul {
            Some(refused) => Ok(Verdict::Refused(refused)),
            None => verdict(rows.next().expect("a verdict per usage")),
        })
        .collect()
}

/// Those among hours for which an import recorded usage of a source under another recipe, or, where it has no recipe,
/// another query.
///
/// # Errors
/// As Postgres says.
pub async fn hours_of_other_recipes(
    transaction: &Transaction<'_>,
    source: &str,
    hours: &[Timestamp],
    recipe: Option<&str>,
    query: Option<&str>,
) -> Result<Vec<Timestamp>, Error> {
    let rows = transaction
        .query_typed(
            "select h.hour from postmeter.hours_of_other_recipes($1, $2, $3, $4) h(hour)",
            &[(&source, Type::TEXT), (&hours, Type::TIMESTAMPTZ_ARRAY), (&recipe, Type::TEXT), (&query, Type::TEXT)],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(crate) fn verdict(row: &Row) -> Result<Verdict, Error> {
    let id: Option<Uuid> = row.try_get("usage_id")?;
    Ok(match (row.try_get::<_, &str>("verdict")?, id) {
        ("recorded", Some(id)) => Verdict::Recorded(id),
        ("repeated", Some(id)) => Verdict::Repeated(id),
        _ => Verdict::Refused(refused(row)?),
    })
}

/// Why a usage of a batch is refused.
pub(crate) fn refused(row: &Row) -> Result<crate::Refused, Error> {
    Ok(crate::Refused {
        code: row.try_get("error_code")?,
        field: row.try_get("field")?,
        constraint: None,
        message: row.try_get("message")?,
        hint: None,
    })
}

/// A text with U+0000, which no text of Postgres can hold: it would refuse the whole of a batch for it.
fn nul(usage: &NewUsage) -> Option<crate::Refused> {
    let holds = |value: &Option<String>| value.as_ref().is_some_and(|text| text.contains('\0'));
    let field = [
        ("source", usage.source.contains('\0')),
        ("event_id", usage.event_id.contains('\0')),
        ("org", usage.org.contains('\0')),
        ("product", usage.product.contains('\0')),
        ("metric", usage.metric.contains('\0')),
        ("account", holds(&usage.account)),
        ("corrects", holds(&usage.corrects)),
        ("request_id", holds(&usage.request_id)),
        ("traceparent", holds(&usage.traceparent)),
        ("attributes", has_nul(&usage.attributes)),
    ];
    let (field, _) = field.into_iter().find(|(_, holds)| *holds)?;
    Some(crate::Refused {
        code: "22P05".to_owned(),
        field: Some(field.to_owned()),
        constraint: None,
        message: format!("usage {:?}: {field} must not contain the character U+0000", usage.event_id),
        hint: None,
    })
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// A quantity as the type that the driver sends as `numeric`; exact, because a quantity has at most 28 digits.
pub(crate) fn decimal(quantity: Quantity) -> Decimal {
    quantity.to_string().parse().expect("a quantity fits a decimal")
}
