//! Maintain: what keeps the rest going. Every step may run on any worker, at any time, twice.

use jiff::Timestamp;
use serde_json::Value;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const PROMOTE: Query = query!("promote", [INT8]);
const CARRY: Query = query!("maintain_carry", [INT8, BOOL]);
const MONTH_END: Query = query!("maintain_month_end", [INT8, BOOL]);
const OPEN: Query = query!("maintain_open", [INT8, TIMESTAMPTZ, JSONB, TEXT]);
const REVIEW: Query = query!("review_evidence", [INT8]);
const REVIEW_SETTLE: Query = query!("review_settle", [INT8_ARRAY]);
const QUOTA_TAKE: Query = query!("quota_take", [INT4, INT4]);
const RETURN_CURED: Query = query!("maintain_cured", [INT4]);
const PARTITIONS: Query = query!("maintain_partitions", [INT4]);
const NOW: Query = query!("clock", []);

/// The database's time of decisions.
///
/// # Errors
/// As Postgres says.
pub async fn clock(database: &Database) -> Result<Timestamp, Error> {
    Ok(database.one(&NOW, &[]).await?.first().expect("one row").try_get(0)?)
}

/// Puts deliveries whose time has come back into the queue; returns how many.
///
/// # Errors
/// As Postgres says.
pub async fn promote(database: &Database, most: i64) -> Result<u64, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "set local enable_seqscan = off; set local enable_bitmapscan = off").await?;
    let promoted = tx.run(&PROMOTE, &[&most]).await?;
    tx.commit().await?;
    Ok(promoted)
}

/// Opens hours for quantity that has none: released or deferred quantity, and remainders at the month's end; of
/// live destinations, or of shadows: one never waits for the other.
///
/// # Errors
/// As Postgres says.
pub async fn carry(database: &Database, most: i64, shadows: bool) -> Result<usize, Error> {
    let mut opened = 0;
    for (query, has_hour) in [(&CARRY, false), (&MONTH_END, true)] {
        for row in database.one(query, &[&most, &shadows]).await? {
            let (meter, identity, product): (i64, Value, &str) =
                (row.try_get("id")?, row.try_get("identity")?, row.try_get("product")?);
            let hour: Option<Timestamp> = if has_hour { Some(row.try_get("hour")?) } else { None };
            let rows = database.one(&OPEN, &[&meter, &hour, &identity, &product]).await?;
            opened +=
                usize::from(rows.first().is_some_and(|row| row.try_get::<_, Option<i64>>(0).ok().flatten().is_some()));
        }
    }
    Ok(opened)
}

/// Considers late evidence; returns for how many deliveries.
///
/// # Errors
/// As Postgres says.
pub async fn review(database: &Database, most: i64) -> Result<usize, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let ids = tx.rows(&REVIEW, &[&most]).await?.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    tx.run(&REVIEW_SETTLE, &[&ids]).await?;
    tx.commit().await?;
    Ok(ids.len())
}

/// Sends back to the outbox held usage that the catalogue knows by now.
///
/// # Errors
/// As Postgres says.
pub async fn return_cured(database: &Database, most: i32) -> Result<i64, Error> {
    Ok(database.one(&RETURN_CURED, &[&most]).await?.first().expect("one row").try_get(0)?)
}

/// Moves dead letters that may move without a person: buyers who were not entitled are asked for again, and what
/// expired is rolled forward where the destination says so. Returns how many moved.
///
/// # Errors
/// As Postgres says.
pub async fn reconsider_stuck(database: &Database, most: i32, shadows: bool) -> Result<i32, Error> {
    const STUCK: Query = query!("maintain_stuck", [INT4, BOOL]);
    Ok(database.one(&STUCK, &[&most, &shadows]).await?.first().expect("one row").try_get(0)?)
}

/// Makes the partitions of the coming months, and those of months whose rows are in a default partition, each in a
/// transaction of its own. Returns how many were made.
///
/// # Errors
/// As Postgres says.
pub async fn create_partitions(database: &Database, months_ahead: i32) -> Result<i32, Error> {
    let mut made = 0;
    loop {
        let more: i32 = database.one(&PARTITIONS, &[&months_ahead]).await?.first().expect("one row").try_get(0)?;
        if more == 0 {
            return Ok(made);
        }
        made += more;
    }
}

/// Slots of a quota: when the first call may start and how far apart the calls are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slots {
    /// Milliseconds from now until the first.
    pub first_ms: f64,
    /// Milliseconds between two.
    pub every_ms: f64,
}

/// Takes slots for calls from a quota; `None`: it has no limit.
///
/// # Errors
/// As Postgres says.
pub async fn take_slots(database: &Database, quota: i32, calls: i32) -> Result<Option<Slots>, Error> {
    let rows = database.one(&QUOTA_TAKE, &[&quota, &calls]).await?;
    rows.first().map(|row| Ok(Slots { first_ms: row.try_get(0)?, every_ms: row.try_get(1)? })).transpose()
}

/// Moves the clock of a test or demo database to a time, from which it runs on.
///
/// # Errors
/// [`Error::Refused`] on a production database.
pub async fn move_clock(database: &Database, to: Timestamp) -> Result<(), Error> {
    const MOVE: Query = query!("move_clock", [TIMESTAMPTZ]);
    database.one(&MOVE, &[&to]).await.map(drop)
}

/// Lets the clock of a test or demo database go with the server's, unless it is ahead of it: clocks do not go back.
/// Returns what it says then.
///
/// # Errors
/// [`Error::Refused`] on a production database whose clock was moved.
pub async fn clock_to_present(database: &Database) -> Result<Timestamp, Error> {
    const PRESENT: Query = query!("clock_to_present", []);
    database.one(&PRESENT, &[]).await?;
    clock(database).await
}
