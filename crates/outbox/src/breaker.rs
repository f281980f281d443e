//! The health of destinations, shared by the fleet: a fault of a destination as a whole stops all workers, one call of
//! one worker probes, and its answer lets all of them go on, slowly first. Nothing is written while all is well.
//!
//! All times are real (`clock_timestamp()`): a fault passes in real time, whatever clock decides about deadlines.

use std::time::Duration;

use remittance::Answer;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::claim::Floor;
use crate::query::{Query, query};
use crate::{Database, Error, pace};

const READ: Query = query!("breaker_read", []);
const FAULT: Query = query!("breaker_fault", [INT4, UUID, TEXT, TEXT, INT4, FLOAT8, FLOAT8, FLOAT8]);
const PROBE: Query = query!("breaker_probe", [INT4, UUID, FLOAT8]);
const PROBED: Query = query!("breaker_probed", [INT4, UUID, TIMESTAMPTZ, INT8]);
const RAMP: Query = query!("breaker_ramp", [INT4, UUID, INT4, INT4]);
const CLOSE: Query = query!("breaker_close", [INT4, UUID, INT4]);

/// The pause after the first fault.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A destination that is not healthy, as all workers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// The destination.
    pub destination: i32,
    /// Where it stands.
    pub standing: Standing,
    /// How long nobody has written about it.
    pub quiet: Duration,
}

/// Where the breaker of a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No call for so long; zero: it may be probed.
    Open {
        /// Until then.
        pause: Duration,
    },
    /// A worker has the right to probe, for so long.
    Probing {
        /// Which one.
        by: Uuid,
        /// How long its right lasts.
        left: Duration,
    },
    /// A probe was answered: each worker may have so many calls in flight.
    Recovering {
        /// So many.
        ramp: i32,
    },
}

/// Every destination that is not healthy, and every quota that is paced or waits.
///
/// # Errors
/// As Postgres says.
pub async fn read(database: &Database) -> Result<(Vec<Shared>, Vec<pace::Standing>), Error> {
    let rows = database.one(&READ, &[]).await?;
    let (mut shared, mut paces) = (Vec::new(), Vec::new());
    for row in &rows {
        if row.try_get::<_, Option<i32>>("quota_id")?.is_some() {
            paces.push(pace::standing(row)?);
        } else {
            shared.push(read_row(row)?);
        }
    }
    Ok((shared, paces))
}

fn read_row(row: &Row) -> Result<Shared, Error> {
    let probing = match (row.try_get::<_, Option<Uuid>>("probing_by")?, row.try_get::<_, Option<f64>>("probing_ms")?) {
        (Some(by), Some(ms)) if ms > 0.0 => Some((by, millis(ms))),
        _ => None,
    };
    let standing = match (row.try_get::<_, Option<i32>>("ramp")?, probing) {
        (Some(ramp), _) => Standing::Recovering { ramp },
        (None, Some((by, left))) => Standing::Probing { by, left },
        (None, None) => Standing::Open { pause: millis(row.try_get("open_ms")?) },
    };
    Ok(Shared { destination: row.try_get("destination_id")?, standing, quiet: millis(row.try_get("quiet_ms")?) })
}

/// Reports a fault: opens the breaker, or keeps it open twice as long as the last time. Returns for how long; `None` if it
/// was open already and this was not the probe.
///
/// # Errors
/// As Postgres says.
pub async fn fault(
    database: &Database,
    destination: i32,
    worker: Uuid,
    answer: &Answer,
) -> Result<Option<Duration>, Error> {
    let status = answer.http_status.map(i32::from);
    let rows = database
        .one(
            &FAULT,
            &[
                &destination,
                &worker,
                &answer.outcome.as_str(),
                &answer.outcome.code(),
                &status,
                &(FIRST_PAUSE.as_secs_f64() * 1000.0),
                &(LONGEST_PAUSE.as_secs_f64() * 1000.0),
                &jitter(worker),
            ],
        )
        .await?;
    rows.first().map(|row| Ok(millis(row.try_get("open_ms")?))).transpose()
}

/// Up to a quarter is taken off a pause, drawn from who reports: destinations that broke together are not probed together
/// for ever.
#[must_use]
pub fn jitter(worker: Uuid) -> f64 {
    f64::from(worker.as_bytes()[15]) / 256.0 / 4.0
}

/// The right to the fleet's one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// What the last probe took, if it failed: this one takes a record behind it.
    pub behind: Option<Floor>,
}

/// Takes the right to probe for so long. Only one worker of the fleet has it; it ends by itself.
///
/// # Errors
/// As Postgres says.
pub async fn probe(
    database: &Database,
    destination: i32,
    worker: Uuid,
    right: Duration,
) -> Result<Option<Right>, Error> {
    let rows = database.one(&PROBE, &[&destination, &worker, &(right.as_secs_f64() * 1000.0)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let last = (row.try_get("probed_deadline")?, row.try_get("probed_delivery")?);
    let behind = match last {
        (Some(deadline), Some(delivery)) => Some(Floor { deadline, delivery }),
        _ => None,
    };
    Ok(Some(Right { behind }))
}

/// Notes what a probe takes: should it fail, the next one takes another.
///
/// # Errors
/// As Postgres says.
pub async fn probed(database: &Database, destination: i32, worker: Uuid, took: Floor) -> Result<(), Error> {
    database.one(&PROBED, &[&destination, &worker, &took.deadline, &took.delivery]).await?;
    Ok(())
}

/// Lets each worker have `to` calls in flight, after `from` (`None`: after the probe) were answered. `false`: another
/// worker was first, or it is broken again.
///
/// # Errors
/// As Postgres says.
pub async fn ramp(
    database: &Database,
    destination: i32,
    worker: Uuid,
    from: Option<i32>,
    to: i32,
) -> Result<bool, Error> {
    Ok(!database.one(&RAMP, &[&destination, &worker, &from, &to]).await?.is_empty())
}

/// Says that a destination is healthy again. `false`: another worker was first, or it is broken again.
///
/// # Errors
/// As Postgres says.
pub async fn close(database: &Database, destination: i32, worker: Uuid, from: Option<i32>) -> Result<bool, Error> {
    Ok(!database.one(&CLOSE, &[&destination, &worker, &from]).await?.is_empty())
}

fn millis(length: f64) -> Duration {
    Duration::from_secs_f64(length.max(0.0) / 1000.0)
}
