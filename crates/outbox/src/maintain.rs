//! Maintain: what keeps the rest going. Every step may run on any worker, at any time, twice.

mod carry;
mod cured;
mod deadlines;
mod evidence;
mod marked;
mod promote;
mod stuck;
mod zero;

use std::time::Duration;

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::query::{Query, query};
use crate::{Database, Error};

pub use carry::{carry, month_end};
pub use cured::{return_cured, return_cured_if_wanted, return_cured_shadow};
pub use deadlines::{Followed, move_deadlines};
pub use evidence::review;
pub use marked::{Returned, return_marked};
pub use promote::promote;
pub use stuck::reconsider_stuck;
pub use zero::zero;

const QUOTA_TAKE: Query = query!("quota_take", [INT4, INT4, FLOAT8]);
const QUOTA_AHEAD: Query = query!("quota_ahead", [INT4, FLOAT8]);
const PARTITIONS: Query = query!("maintain_partitions", [INT4]);
const IDENTITIES: Query = query!("maintain_identities", []);
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
    fn read(row: &Row) -> Result<Self, Error> {
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

/// Lets the generations of identities take a turn, when that is due and nobody holds the outbox for long: the oldest is
/// dropped. Returns whether they did.
///
/// # Errors
/// As Postgres says.
pub async fn turn_identities(database: &Database) -> Result<bool, Error> {
    Ok(database.one(&IDENTITIES, &[]).await?.first().expect("one row").try_get(0)?)
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

/// However slow a quota is: its slots are looked at anew once a day, and no moment is beyond the clock's end.
const SLOT_MAX: Duration = Duration::from_secs(86_400);

/// Slots of a quota: when the first call may start and how far apart the calls are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slots {
    /// From now until the first.
    pub first: Duration,
    /// Between two.
    pub every: Duration,
    /// How many there are.
    pub count: usize,
}

/// Takes slots for calls from a quota, of those that begin so soon, but one at least; `None`: it has no limit.
///
/// # Errors
/// As Postgres says.
pub async fn take_slots(
    database: &Database,
    quota: i32,
    calls: usize,
    within: Duration,
) -> Result<Option<Slots>, Error> {
    let calls = i32::try_from(calls).unwrap_or(i32::MAX);
    let rows = database.one(&QUOTA_TAKE, &[&quota, &calls, &(within.as_secs_f64() * 1000.0)]).await?;
    let read = |row: &Row| slots(row, usize::try_from(row.try_get::<_, i32>("slots")?).unwrap_or_default());
    rows.first().map(read).transpose()
}

/// The slots of a quota that begin so soon and nobody has; `None`: it has no limit. What is given away to others meanwhile
/// is still among them.
///
/// # Errors
/// As Postgres says.
pub async fn free_slots(database: &Database, quota: i32, within: Duration) -> Result<Option<Slots>, Error> {
    let rows = database.one(&QUOTA_AHEAD, &[&quota, &(within.as_secs_f64() * 1000.0)]).await?;
    let read = |row: &Row| {
        let slots = slots(row, 0)?;
        let (left, every) = (within.saturating_sub(slots.first).as_secs_f64(), slots.every.as_secs_f64());
        // a pace is a small number of calls; one whose slot begins in time is one
        let count = if left > 0.0 { (left / every).clamp(1.0, 10_000.0) as usize } else { 0 };
        Ok(Slots { count, ..slots })
    };
    rows.first().map(read).transpose()
}

fn slots(row: &Row, count: usize) -> Result<Slots, Error> {
    let length = |ms: f64| Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).unwrap_or(SLOT_MAX).min(SLOT_MAX);
    Ok(Slots { first: length(row.try_get(0)?), every: length(row.try_get(1)?), count })
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
