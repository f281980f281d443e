//! Claim: takes due deliveries, earliest deadline first, and writes the intent to send each before anything is sent.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use remittance::Quantity;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::timeline::Position;
use crate::{Database, Error};

const CLAIM: Query = query!("claim", [INT4, UUID, INT8, TIMESTAMPTZ, INT8, INT4, INT4, TEXT, TEXT, INT8, INT8]);
const LAST_TRIES: Query = query!("claim_last_tries", [INT4]);
const SUSPECT: Query = query!("claim_suspect", [INT4, UUID, TEXT, TEXT, INT8]);

/// A claim goes by its index, whatever statistics say about a queue that was empty a minute ago.
const PLANNER: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off; \
                       set local enable_hashjoin = off; set local enable_mergejoin = off";

/// A delivery in our hands, with its open attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The delivery.
    pub delivery: i64,
    /// The attempt that the claim has written.
    pub attempt: Uuid,
    /// Claims with the same call id go out in one call.
    pub call: Uuid,
    /// The frozen record.
    pub body: String,
    /// Its batch group.
    pub batch_group: String,
    /// The frozen quantity.
    pub quantity: Quantity,
    /// The idempotency key.
    pub idempotency_key: Uuid,
    /// When it was cut, as this process's clock has it, if this is its first call.
    pub cut_at: Option<Instant>,
    /// Why no call is to be made: `deadline` has passed, or it may have arrived longer ago than their `memory` lasts.
    pub too_late: Option<String>,
}

/// Where a worker goes on looking in a destination's queue, so that dead entries of the past are not walked over again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor {
    /// Deadline of the last row claimed, as the queue had it.
    pub deadline: Timestamp,
    /// Its delivery.
    pub delivery: i64,
}

impl Floor {
    /// The beginning of the queue.
    pub const START: Self = Self { deadline: Timestamp::UNIX_EPOCH, delivery: 0 };
}

/// A destination, under the rules by which a worker has read it: of other rules, and of a pause, a claim takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Its number.
    pub destination: i32,
    /// The version of its row.
    pub version: i64,
}

/// What a call of the destination can take.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// Records.
    pub records: i32,
    /// Bytes of the body.
    pub bytes: i32,
}

/// Claims at most `most` deliveries and moves `floor` on. Never waits for another worker. From a server whose history
/// stands before `seen`, or is another, nothing is claimed.
///
/// # Errors
/// As Postgres says; nothing is claimed then.
pub async fn claim(
    database: &Database,
    rules: Rules,
    worker: Uuid,
    most: i64,
    limits: CallLimits,
    floor: &mut Floor,
    seen: Option<&Position>,
) -> Result<Vec<Claim>, Error> {
    let rows = take(database, rules, worker, most, limits, (*floor, None), seen).await?;
    let claims = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = rows
        .iter()
        .filter_map(|row| {
            Some(Floor { deadline: row.try_get("queued_deadline").ok()?, delivery: row.try_get("id").ok()? })
        })
        .max()
    {
        *floor = last;
    }
    Ok(claims)
}

/// Claims by the reserved share: at most `most` deliveries, the oldest first, whatever their deadlines, and moves `above`
/// on. For the rest as [`claim`].
///
/// # Errors
/// As Postgres says; nothing is claimed then.
pub async fn claim_oldest(
    database: &Database,
    rules: Rules,
    worker: Uuid,
    most: i64,
    limits: CallLimits,
    above: &mut i64,
    seen: Option<&Position>,
) -> Result<Vec<Claim>, Error> {
    let rows = take(database, rules, worker, most, limits, (Floor::START, Some(*above)), seen).await?;
    let claims = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    *above = claims.iter().map(|claim| claim.delivery).max().unwrap_or(*above);
    Ok(claims)
}

async fn take(
    database: &Database,
    rules: Rules,
    worker: Uuid,
    most: i64,
    limits: CallLimits,
    (floor, oldest_above): (Floor, Option<i64>),
    seen: Option<&Position>,
) -> Result<Vec<Row>, Error> {
    let (timeline, flushed) = parts(seen);
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PLANNER).await?;
    let rows = tx
        .rows(
            &CLAIM,
            &[
                &rules.destination,
                &worker,
                &most,
                &floor.deadline,
                &floor.delivery,
                &limits.records,
                &limits.bytes,
                &timeline,
                &flushed,
                &oldest_above,
                &rules.version,
            ],
        )
        .await?;
    tx.commit().await?;
    Ok(rows)
}

/// How many deliveries are due for their last try: their deadline is near or over. They come first in a claim.
///
/// # Errors
/// As Postgres says.
pub async fn last_tries(database: &Database, destination: i32) -> Result<i64, Error> {
    Ok(database.one(&LAST_TRIES, &[&destination]).await?.first().expect("a count is one row").try_get(0)?)
}

/// Destinations with due deliveries that were in the hands of a dying worker.
///
/// # Errors
/// As Postgres says.
pub async fn suspects(database: &Database) -> Result<Vec<i32>, Error> {
    const SUSPECTS: Query = query!("suspects", []);
    database.one(&SUSPECTS, &[]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Claims one delivery that was in the hands of a dying worker, to be sent alone.
///
/// # Errors
/// As Postgres says.
pub async fn claim_suspect(
    database: &Database,
    rules: Rules,
    worker: Uuid,
    seen: Option<&Position>,
) -> Result<Option<Claim>, Error> {
    let (timeline, flushed) = parts(seen);
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PLANNER).await?;
    let rows = tx.rows(&SUSPECT, &[&rules.destination, &worker, &timeline, &flushed, &rules.version]).await?;
    let claim = rows.first().map(read).transpose()?;
    tx.commit().await?;
    Ok(claim)
}

/// Under which traces usage was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Each of them once, as `traceparent` has it.
    pub traceparents: Vec<String>,
    /// Some usage was recorded under none.
    pub others: bool,
}

/// Under which traces the usages of deliveries were recorded; only a few of each are looked at.
///
/// # Errors
/// As Postgres says.
pub async fn traces(database: &Database, deliveries: &[i64]) -> Result<Recorded, Error> {
    const TRACES: Query = query!("claim_traces", [INT8_ARRAY]);
    let mut recorded = Recorded::default();
    for row in database.one(&TRACES, &[&deliveries]).await? {
        match row.try_get::<_, Option<String>>(0)? {
            Some(traceparent) => recorded.traceparents.push(traceparent),
            None => recorded.others = true,
        }
    }
    Ok(recorded)
}

fn parts(seen: Option<&Position>) -> (Option<&str>, Option<&str>) {
    (seen.map(|seen| seen.timeline.as_str()), seen.map(|seen| seen.flushed.as_str()))
}

fn read(row: &Row) -> Result<Claim, Error> {
    let quantity: &str = row.try_get("quantity")?;
    let waited: Option<f64> = row.try_get("waited_ms")?;
    Ok(Claim {
        delivery: row.try_get("id")?,
        attempt: row.try_get("attempt_id")?,
        call: row.try_get("call_id")?,
        body: row.try_get("body")?,
        batch_group: row.try_get("batch_group")?,
        quantity: quantity.parse().map_err(|error: remittance::QuantityError| Error::Schema(error.to_string()))?,
        idempotency_key: row.try_get("idempotency_key")?,
        cut_at: waited
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
            .and_then(|waited| Instant::now().checked_sub(waited)),
        too_late: row.try_get("too_late")?,
    })
}
