//! Billing months: their export with remittances, cuts and meters, and dropping these in shares.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Row;

use super::Dropped;
use crate::corrections::Decider;
use crate::query::{Query, query};
use crate::{Database, Error};

const ALL: Query = query!("ledger_billing", []);
const TO_EXPORT: Query = query!("ledger_billing_export", [DATE]);
const FREE: Query = query!("ledger_billing_free", [DATE]);
const RECORD: Query = query!("ledger_billing_record", [TEXT, DATE, TEXT, TEXT, TEXT]);
const BEGIN: Query = query!("ledger_billing_begin", [TEXT, DATE, TEXT, TEXT, BOOL, DATE]);
const SHARE: Query = query!("ledger_billing_share", [TEXT, DATE, INT4]);

/// So many remittances are deleted in a transaction.
const REMITTANCES_MAX: i32 = 1000;

/// A month of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Billing {
    /// The destination.
    pub destination: String,
    /// Its first day, in the destination's zone.
    pub month: Date,
}

/// A billing month, and whether its remittances may be dropped.
#[derive(Debug, Clone, Serialize)]
pub struct BillingMonth {
    /// Which.
    #[serde(flatten)]
    pub of: Billing,
    /// Why its remittances may not be dropped; none: they may, once they are exported.
    pub why_not: Option<String>,
    /// When it was exported with its remittances.
    pub exported_at: Option<Timestamp>,
    /// Digest of that manifest.
    pub digest: Option<String>,
    /// When its drop began.
    pub begun_at: Option<Timestamp>,
    /// When nothing was left of it.
    pub dropped_at: Option<Timestamp>,
}

/// What a share has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Meters, each with what it came to.
    pub meters: i64,
    /// Remittances with their cuts.
    pub remittances: i64,
    /// Nothing is left.
    pub is_done: bool,
}

fn billing(row: &Row) -> Result<Billing, Error> {
    Ok(Billing { destination: row.try_get("destination")?, month: row.try_get("month")? })
}

/// The billing months there are, and those that were dropped: reads those whose ledger is gone.
///
/// # Errors
/// As Postgres says.
pub async fn billing_months(database: &Database) -> Result<Vec<BillingMonth>, Error> {
    let rows = database.one(&ALL, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(BillingMonth {
                of: billing(row)?,
                why_not: row.try_get("why_not")?,
                exported_at: row.try_get("exported_at")?,
                digest: row.try_get("digest")?,
                begun_at: row.try_get("begun_at")?,
                dropped_at: row.try_get("dropped_at")?,
            })
        })
        .collect()
}

/// Finished billing months that wait for their export: of one month, or all that are old enough.
///
/// # Errors
/// As Postgres says.
pub async fn to_export(database: &Database, month: Option<Date>) -> Result<Vec<Billing>, Error> {
    database.one(&TO_EXPORT, &[&month]).await?.iter().map(billing).collect()
}

/// Billing months whose remittances may be dropped, or are being dropped; `without`: if that month of the ledger were
/// gone.
///
/// # Errors
/// As Postgres says.
pub async fn free(database: &Database, without: Option<Date>) -> Result<Vec<Billing>, Error> {
    database.one(&FREE, &[&without]).await?.iter().map(billing).collect()
}

/// Records the export of a billing month that was written and read again; returns its digest.
///
/// # Errors
/// As [`super::record`].
pub async fn record_billing(
    database: &Database,
    of: &Billing,
    manifest: &str,
    by: Decider<'_>,
) -> Result<String, Error> {
    let rows = database.one(&RECORD, &[&of.destination, &of.month, &manifest, &by.who, &by.why]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Marks a billing month as being dropped, or says what would be: nothing of it is decided from then on.
///
/// # Errors
/// [`Error::Refused`]: not finished (PM041), not exported with its remittances (PM042), not the rows that are here
/// (PM043).
pub async fn begin_drop(
    database: &Database,
    of: &Billing,
    by: Decider<'_>,
    dry_run: bool,
    without: Option<Date>,
) -> Result<Vec<Dropped>, Error> {
    let rows = database.one(&BEGIN, &[&of.destination, &of.month, &by.who, &by.why, &dry_run, &without]).await?;
    rows.iter()
        .map(|row| Ok(Dropped { table: row.try_get(0)?, rows: row.try_get(1)?, bytes: row.try_get(2)? }))
        .collect()
}

/// Drops the next share of a billing month that is being dropped, in a transaction of its own.
///
/// # Errors
/// [`Error::Retryable`] while somebody proves the balance; nothing is dropped then.
pub async fn drop_share(database: &Database, of: &Billing) -> Result<Share, Error> {
    let rows = database.one(&SHARE, &[&of.destination, &of.month, &REMITTANCES_MAX]).await?;
    let row = rows.first().expect("one row");
    Ok(Share { meters: row.try_get(0)?, remittances: row.try_get(1)?, is_done: row.try_get(2)? })
}
