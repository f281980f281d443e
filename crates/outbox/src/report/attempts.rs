//! The ledger: every attempt with what was answered.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{ATTEMPTS, fields};
use crate::{Database, Error};

/// Which attempts; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    /// Of this delivery.
    pub delivery: Option<i64>,
    /// Of this key.
    pub key: Option<String>,
    /// Of deliveries that count usage of this org.
    pub org: Option<String>,
    /// At this destination.
    pub destination: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Its id.
    pub attempt_id: Uuid,
    /// What was sent.
    pub delivery_id: i64,
    /// Its key.
    pub key: String,
    /// Where.
    pub destination: String,
    /// Which attempt of this delivery.
    pub number: i32,
    /// Attempts of one call share it.
    pub call_id: Uuid,
    /// When it was claimed; the call was made after.
    pub claimed_at: Timestamp,
    /// What one call told us; `open`: nothing yet.
    pub outcome: String,
    /// The marketplace's or the transport's word.
    pub code: Option<String>,
    /// It counts against the retry policy.
    pub is_try: Option<bool>,
    /// Billing units sent.
    pub quantity: Option<String>,
    /// Billing units they showed.
    pub shown_quantity: Option<String>,
    /// Their receipt.
    pub receipt: Option<String>,
    /// HTTP status.
    pub http_status: Option<i32>,
    /// Their id of the call.
    pub their_request_id: Option<String>,
    /// What they said.
    pub excerpt: Option<String>,
    /// How long the call took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// When the outcome was recorded.
    pub recorded_at: Option<Timestamp>,
    /// Status of the delivery today.
    pub status: String,
}

/// The newest `most` attempts of a filter, oldest of them first.
///
/// # Errors
/// As Postgres says.
pub async fn attempts(database: &Database, filter: &AttemptFilter, most: i64) -> Result<Vec<Attempt>, Error> {
    let AttemptFilter { delivery, key, org, destination, outcome } = filter;
    database.one(&ATTEMPTS, &[delivery, key, org, destination, outcome, &most]).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Attempt, Error> {
    Ok(fields!(row => Attempt {
        attempt_id, delivery_id, key, destination, number, call_id, claimed_at, outcome, code, is_try, quantity,
        shown_quantity, receipt, http_status, their_request_id, excerpt, duration_ms, recorded_at, status
    }))
}
