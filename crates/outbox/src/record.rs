//! Recording usage in the caller's own transaction.

use jiff::Timestamp;
use remittance::Quantity;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;
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

/// Records one usage in the caller's transaction and returns its id; the same usage again returns the first id.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; [`Error::Away`] and [`Error::Again`] as for any statement.
pub async fn record_usage(transaction: &Transaction<'_>, usage: &NewUsage) -> Result<Uuid, Error> {
    let quantity = decimal(usage.quantity);
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
                (&usage.used_at, Type::TIMESTAMPTZ),
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
    let body = serde_json::to_value(usages).expect("usages are plain data");
    let rows = transaction
        .query_typed(
            "select verdict, usage_id, error_code, field, message from postmeter.record_usage_batch($1)",
            &[(&body, Type::JSONB)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let id: Option<Uuid> = row.try_get("usage_id")?;
            Ok(match (row.try_get::<_, &str>("verdict")?, id) {
                ("recorded", Some(id)) => Verdict::Recorded(id),
                ("repeated", Some(id)) => Verdict::Repeated(id),
                _ => Verdict::Refused(crate::Refused {
                    code: row.try_get("error_code")?,
                    field: row.try_get("field")?,
                    constraint: None,
                    message: row.try_get("message")?,
                    hint: None,
                }),
            })
        })
        .collect()
}

/// A quantity as the type that the driver sends as `numeric`; exact, because a quantity has at most 28 digits.
pub(crate) fn decimal(quantity: Quantity) -> Decimal {
    quantity.to_string().parse().expect("a quantity fits a decimal")
}
