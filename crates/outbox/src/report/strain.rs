//! What keeps single buyers, or the pace of a quota, from being as usual.

use serde::Serialize;

use super::{PACES, REFUSED, fields};
use crate::{Database, Error};

/// Who is refused, and what is slower than it may be.
#[derive(Debug, Clone, Serialize)]
pub struct Strain {
    /// Buyers that were refused in a call of their own.
    pub refused: Vec<RefusedBuyer>,
    /// Quotas that are paced, or wait because they were told to.
    pub paces: Vec<QuotaPace>,
}

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

/// Reads who is refused and what is slow.
///
/// # Errors
/// As Postgres says.
pub async fn strain(database: &Database) -> Result<Strain, Error> {
    let refused = database.one(&REFUSED, &[]).await?;
    let paces = database.one(&PACES, &[]).await?;
    let buyer = |row: &tokio_postgres::Row| -> Result<RefusedBuyer, Error> {
        Ok(fields!(row => RefusedBuyer {
            destination, buyer, code, http_status, refusals, to_blame, delivery_id, status
        }))
    };
    let pace = |row: &tokio_postgres::Row| -> Result<QuotaPace, Error> {
        Ok(fields!(row => QuotaPace { quota, rate, calls_per_second, wait_seconds }))
    };
    Ok(Strain {
        refused: refused.iter().map(buyer).collect::<Result<_, _>>()?,
        paces: paces.iter().map(pace).collect::<Result<_, _>>()?,
    })
}
