//! What keeps single buyers, or the pace of a quota, from being as usual.

use serde::Serialize;
use tokio_postgres::Row;

use super::fields;
use crate::Error;

/// A buyer that was refused in a call of its own.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedBuyer {
    /// The destination.
    pub destination: String,
    /// The buyer, as the marketplace knows it.
    pub buyer: String,
    /// Their word for it.
    pub code: String,
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// How often.
    pub refusals: i32,
    /// buyer, credential or unknown.
    pub to_blame: String,
    /// The remittance that was refused last.
    pub delivery_id: i64,
    /// Where that stands.
    pub status: String,
}

/// A quota that is slower than it may be. All lengths are of real time.
#[derive(Debug, Clone, Serialize)]
pub struct QuotaPace {
    /// Its name.
    pub quota: String,
    /// Calls a second at present; none: as fast as it may be.
    pub rate: Option<f64>,
    /// Calls a second that the quota allows, if it has a limit.
    pub calls_per_second: Option<f64>,
    /// Seconds that the marketplace asked to wait.
    pub wait_seconds: Option<f64>,
}

pub(super) fn refused(row: &Row) -> Result<RefusedBuyer, Error> {
    Ok(fields!(row => RefusedBuyer {
        destination, buyer, code, http_status, refusals, to_blame, delivery_id, status
    }))
}

pub(super) fn pace(row: &Row) -> Result<QuotaPace, Error> {
    Ok(fields!(row => QuotaPace { quota, rate, calls_per_second, wait_seconds }))
}
