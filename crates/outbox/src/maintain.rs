//! Maintain: what keeps the rest going. Every step may run on any worker, at any time, twice.

mod carry;
mod cured;
mod deadlines;
mod evidence;
mod promote;
mod stuck;

use jiff::Timestamp;

use crate::query::{Query, query};
use crate::{Database, Error};

pub use carry::{carry, month_end};
pub use cured::{return_cured, return_cured_if_wanted, return_cured_shadow};
pub use deadlines::{Followed, move_deadlines};
pub use evidence::review;
pub use promote::promote;
pub use stuck::reconsider_stuck;

const QUOTA_TAKE: Query = query!("quota_take", [INT4, INT4]);
const QUOTA_AHEAD: Query = query!("quota_ahead", [INT4]);
const PARTITIONS: Query = query!("maintain_partitions", [INT4]);
const NOW: Query = query!("clock", []);

/// The database's time of decisions.
///
/// # Errors
/// As Postgres says.
pub async fn clock(database: &Database) -> Result<Timestamp, Error> {
    Ok(database.one(&NOW, &[]).await?.first().expect("one row").try_get(0)?)
}

/// A remittance by its number, as what a step handles one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remittance {
    id: i64,
    destination: i32,
}

impl Remittance {
    fn read(row: &tokio_postgres::Row) -> Result<Self, Error> {
        Ok(Self { id: row.try_get("delivery_id")?, destination: row.try_get("destination_id")? })
    }
}

impl crate::setback::Member for Remittance {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn destination(&self) -> Option<i32> {
        Some(self.destination)
    }
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

/// Until when the slots of a quota are given away: `first_ms` from now; `None`: it has no limit.
///
/// # Errors
/// As Postgres says.
pub async fn next_slot(database: &Database, quota: i32) -> Result<Option<Slots>, Error> {
    let rows = database.one(&QUOTA_AHEAD, &[&quota]).await?;
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
