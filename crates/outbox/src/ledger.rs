//! Months of the ledger: what is in them, whether they are finished, their exports, and dropping them. The rules are
//! functions of the schema (`0019_pre_retention`, `0058_pre_dropped_months`); `docs/operate/ledger.md` explains them.

mod billing;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Row;

use crate::corrections::Decider;
use crate::query::{Query, Tx, query};
use crate::{Database, Error};
pub use billing::{
    Billing, BillingMonth, Share, begin_drop, billing_months, drop_share, free, record_billing, to_export,
};

const MONTH: Query = query!("ledger_month", [DATE]);
const MONTHS: Query = query!("ledger_months", []);
const EXPORTS: Query = query!("ledger_exports", []);
const RECORD: Query = query!("ledger_record", [DATE, TEXT, TEXT, TEXT]);
const DROP: Query = query!("ledger_drop", [DATE, TEXT, TEXT, BOOL]);
const LEFTOVERS: Query = query!("ledger_drop_leftovers", [DATE]);
const RETAIN: Query = query!("ledger_retain", [TEXT, TEXT, TEXT]);

/// A table that is exported: of a month of the ledger, or of a billing month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `postmeter.usage`.
    Usage,
    /// `postmeter.allocation`.
    Allocation,
    /// `postmeter.attempt`.
    Attempt,
    /// `postmeter.outcome`.
    Outcome,
    /// `postmeter.exempted`.
    Exempted,
    /// `postmeter.usage_written_off`.
    UsageWrittenOff,
    /// `postmeter.delivery`.
    Delivery,
    /// `postmeter.cut`.
    Cut,
    /// `postmeter.part`.
    Part,
    /// `postmeter.meter`.
    Meter,
    /// `postmeter.meter_metric`.
    MeterMetric,
}

impl Table {
    /// Those of a month of the ledger, in the order in which they are exported.
    pub const LEDGER: [Self; 6] =
        [Self::Usage, Self::Allocation, Self::Attempt, Self::Outcome, Self::Exempted, Self::UsageWrittenOff];
    /// Those that programs before `0058_pre_dropped_months` exported.
    pub const LEDGER_1: [Self; 4] = [Self::Usage, Self::Allocation, Self::Attempt, Self::Outcome];
    /// Those of a billing month.
    pub const BILLING: [Self; 5] = [Self::Delivery, Self::Cut, Self::Part, Self::Meter, Self::MeterMetric];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Allocation => "allocation",
            Self::Attempt => "attempt",
            Self::Outcome => "outcome",
            Self::Exempted => "exempted",
            Self::UsageWrittenOff => "usage_written_off",
            Self::Delivery => "delivery",
            Self::Cut => "cut",
            Self::Part => "part",
            Self::Meter => "meter",
            Self::MeterMetric => "meter_metric",
        }
    }

    const fn lines(self) -> Query {
        match self {
            Self::Usage => query!("ledger_usage", [DATE]),
            Self::Allocation => query!("ledger_allocation", [DATE]),
            Self::Attempt => query!("ledger_attempt", [DATE]),
            Self::Outcome => query!("ledger_outcome", [DATE]),
            Self::Exempted => query!("ledger_exempted", [DATE]),
            Self::UsageWrittenOff => query!("ledger_usage_written_off", [DATE]),
            Self::Delivery => query!("ledger_delivery", [TEXT, DATE]),
            Self::Cut => query!("ledger_cut", [TEXT, DATE]),
            Self::Part => query!("ledger_part", [TEXT, DATE]),
            Self::Meter => query!("ledger_meter", [TEXT, DATE]),
            Self::MeterMetric => query!("ledger_meter_metric", [TEXT, DATE]),
        }
    }
}

/// A month of the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct Month {
    /// Its first day.
    pub month: Date,
    /// How large it is; none if it was dropped.
    pub bytes: Option<i64>,
    /// Why it is not finished; none: it is.
    pub why_not: Option<String>,
    /// When it was exported.
    pub exported_at: Option<Timestamp>,
    /// Digest of its manifest.
    pub digest: Option<String>,
    /// When it was dropped.
    pub dropped_at: Option<Timestamp>,
}

/// An export that was recorded.
#[derive(Debug, Clone)]
pub struct Export {
    /// Which one, from 1.
    pub number: i32,
    /// The month.
    pub month: Date,
    /// Of a billing month: its destination.
    pub destination: Option<String>,
    /// Digest of its manifest.
    pub digest: String,
    /// The manifest, to the letter.
    pub manifest: String,
}

/// What is dropped of a table.
#[derive(Debug, Clone, Serialize)]
pub struct Dropped {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: i64,
    /// Its size, with indexes.
    pub bytes: Option<i64>,
}

/// The months there are, and those that were dropped: reads those that are old enough.
///
/// # Errors
/// As Postgres says.
pub async fn months(database: &Database) -> Result<Vec<Month>, Error> {
    database.one(&MONTHS, &[]).await?.iter().map(month_of).collect()
}

/// One month; `None`: there is nothing of it.
///
/// # Errors
/// As Postgres says.
pub async fn month(database: &Database, month: Date) -> Result<Option<Month>, Error> {
    database.one(&MONTH, &[&month]).await?.first().map(month_of).transpose()
}

fn month_of(row: &Row) -> Result<Month, Error> {
    Ok(Month {
        month: row.try_get("month")?,
        bytes: row.try_get("bytes")?,
        why_not: row.try_get("why_not")?,
        exported_at: row.try_get("exported_at")?,
        digest: row.try_get("digest")?,
        dropped_at: row.try_get("dropped_at")?,
    })
}

/// The exports that were recorded, in order.
///
/// # Errors
/// As Postgres says.
pub async fn exports(database: &Database) -> Result<Vec<Export>, Error> {
    let rows = database.one(&EXPORTS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Export {
                number: row.try_get("number")?,
                month: row.try_get("month")?,
                destination: row.try_get("destination")?,
                digest: row.try_get("digest")?,
                manifest: row.try_get("manifest")?,
            })
        })
        .collect()
}

/// Hands each row of a month to `take`, as the export writes it, in the order of their keys: they need not fit into
/// memory. Ends at the first error of `take`. A billing month has a destination.
///
/// # Errors
/// As Postgres says, or as `take` does.
pub async fn lines<E: From<Error>>(
    database: &Database,
    table: Table,
    destination: Option<&str>,
    month: Date,
    mut take: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let rows = match &destination {
        Some(destination) => tx.stream(&table.lines(), &[destination, &month]).await?,
        None => tx.stream(&table.lines(), &[&month]).await?,
    };
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(Error::from)? {
        take(row.try_get(0).map_err(Error::from)?)?;
    }
    Ok(())
}

/// Records an export that was written and read again; returns its digest. The same again changes nothing.
///
/// # Errors
/// [`Error::Refused`]: not finished (PM041), not the next one (PM042), not the rows that are here (PM043).
pub async fn record(database: &Database, month: Date, manifest: &str, by: Decider<'_>) -> Result<String, Error> {
    let rows = database.one(&RECORD, &[&month, &manifest, &by.who, &by.why]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Drops a month, or says what would be dropped.
///
/// # Errors
/// As [`record`]; [`Error::Retryable`] while somebody reads the ledger.
pub async fn drop_month(
    database: &Database,
    month: Date,
    by: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<Dropped>, Error> {
    let rows = database.one(&DROP, &[&month, &by.who, &by.why, &dry_run]).await?;
    rows.iter()
        .map(|row| Ok(Dropped { table: row.try_get(0)?, rows: row.try_get(1)?, bytes: row.try_get(2)? }))
        .collect()
}

/// Deletes a share of what is kept for each usage of a dropped month: how many rows; 0: none is left, or an older
/// program exported it without them.
///
/// # Errors
/// As Postgres says.
pub async fn drop_leftovers(database: &Database, month: Date) -> Result<i64, Error> {
    Ok(database.one(&LEFTOVERS, &[&month]).await?.first().expect("one row").try_get(0)?)
}

/// Says for how long the ledger is kept at least; `None`: for ever. `false`: it was so already.
///
/// # Errors
/// [`Error::Refused`]: no span of time, or shorter than usage is taken (PM044).
pub async fn retain(database: &Database, span: Option<&str>, by: Decider<'_>) -> Result<bool, Error> {
    let rows = database.one(&RETAIN, &[&span, &by.who, &by.why]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}
