//! The whole of a database in one row, and what we say was accepted: for comparing with a marketplace's own record.

use super::{ACCEPTED, VERDICT};
use crate::{Database, Error};

/// Counts of everything, and the two differences that must be zero.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Usages recorded.
    pub usages: i64,
    /// In the outbox.
    pub waiting: i64,
    /// Held usage.
    pub held: i64,
    /// Open hours.
    pub open: i64,
    /// Due now or later.
    pub unsent: i64,
    /// In flight.
    pub in_flight: i64,
    /// Remittances accepted.
    pub accepted: i64,
    /// Hours with nothing to bill.
    pub nothing_due: i64,
    /// Remittances that need a person.
    pub stuck: i64,
    /// Attempts.
    pub attempts: i64,
    /// Calls.
    pub calls: i64,
    /// Attempts after the first of their remittance.
    pub retries: i64,
    /// Remittances with an attempt of unknown outcome that were resolved by evidence.
    pub unknown_resolved: i64,
    /// Remittances that may have been billed.
    pub unknown_open: i64,
    /// Workers that died.
    pub workers_lost: i64,
    /// Sum of the differences of all meters; exact.
    pub meters_difference: String,
    /// Sum of the differences per org, product and metric; exact.
    pub usage_difference: String,
}

impl Verdict {
    /// Nothing is under way any more.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.waiting == 0 && self.unsent == 0 && self.in_flight == 0
    }
}

/// Reads it.
///
/// # Errors
/// As Postgres says.
pub async fn verdict(database: &Database) -> Result<Verdict, Error> {
    let rows = database.one(&VERDICT, &[]).await?;
    let row = rows.first().expect("counts are one row");
    Ok(Verdict {
        usages: row.try_get("usages")?,
        waiting: row.try_get("waiting")?,
        held: row.try_get("held")?,
        open: row.try_get("open")?,
        unsent: row.try_get("unsent")?,
        in_flight: row.try_get("in_flight")?,
        accepted: row.try_get("accepted")?,
        nothing_due: row.try_get("nothing_due")?,
        stuck: row.try_get("stuck")?,
        attempts: row.try_get("attempts")?,
        calls: row.try_get("calls")?,
        retries: row.try_get("retries")?,
        unknown_resolved: row.try_get("unknown_resolved")?,
        unknown_open: row.try_get("unknown_open")?,
        workers_lost: row.try_get("workers_lost")?,
        meters_difference: row.try_get("meters_difference")?,
        usage_difference: row.try_get("usage_difference")?,
    })
}

/// What we call accepted: key and quantity of every remittance, in order of keys.
///
/// # Errors
/// As Postgres says.
pub async fn accepted(database: &Database) -> Result<Vec<(String, String)>, Error> {
    database.one(&ACCEPTED, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
