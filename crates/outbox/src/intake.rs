//! Usage that comes in through a door of our own (HTTP): recorded in one transaction with the answer to its
//! idempotency key, so that a repetition is answered the same, and an answer that was lost is found again.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::record::{Verdict, verdict};
use crate::{Database, Error};

const LOCK: Query = query!("idempotency_lock", [TEXT, TEXT]);
const READ: Query = query!("idempotency_read", [TEXT, TEXT]);
const WRITE: Query = query!("idempotency_write", [TEXT, TEXT, BYTEA, INT4, TEXT]);
const RECORD: Query = query!("record_batch", [JSONB]);
const STANDING: Query = query!("usage_standing", [TEXT, TEXT]);
const FORGET: Query = query!("idempotency_forget", []);

/// An idempotency key as a caller sent it (IETF draft `idempotency-key-header`), with what it was sent with.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey<'a> {
    /// Name of the caller: keys of different callers never meet.
    pub caller: &'a str,
    /// The key.
    pub key: &'a str,
    /// SHA-256 of what was asked.
    pub fingerprint: &'a [u8; 32],
}

/// An answer: HTTP status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// What an idempotency key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// The work was done now, and this is its answer.
    Now(Answer),
    /// It was done before, and this was its answer.
    Before(Answer),
    /// A request with this key is being worked on.
    InProgress,
    /// The key was used with another request.
    OtherRequest,
}

/// Records usages (a JSON array of objects with the parameters of `postmeter.record_usage`, to the letter) and keeps the answer that `answer`
/// makes of the verdicts, in one transaction. When this returns an answer, it is committed.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`]: nothing was answered; the same request later leaves one row per
/// usage.
pub async fn record(
    database: &Database,
    usages: &RawValue,
    key: Option<IdempotencyKey<'_>>,
    answer: impl FnOnce(Vec<Verdict>) -> Answer + Send,
) -> Result<Answered, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    match answered(&tx, usages, key, answer).await {
        Ok(answered) => {
            tx.commit().await?;
            Ok(answered)
        }
        Err(error) => {
            // at once: the caller sends the same again, and the key must be free by then
            let _ = tx.roll_back().await;
            Err(error)
        }
    }
}

async fn answered(
    tx: &Tx<'_>,
    usages: &RawValue,
    key: Option<IdempotencyKey<'_>>,
    answer: impl FnOnce(Vec<Verdict>) -> Answer + Send,
) -> Result<Answered, Error> {
    if let Some(key) = key
        && let Some(earlier) = earlier(tx, key).await?
    {
        return Ok(earlier);
    }
    let rows = tx.rows(&RECORD, &[&Json(usages)]).await?;
    let verdicts: Result<Vec<_>, _> = rows.iter().map(verdict).collect();
    let answer = answer(verdicts?);
    if let Some(key) = key {
        let status = i32::from(answer.status);
        tx.run(&WRITE, &[&key.caller, &key.key, &key.fingerprint.as_slice(), &status, &answer.body]).await?;
    }
    Ok(Answered::Now(answer))
}

/// What was answered before; `None` if this is the first, and then the key is ours until the transaction ends.
async fn earlier(tx: &Tx<'_>, key: IdempotencyKey<'_>) -> Result<Option<Answered>, Error> {
    let locked: bool = tx.rows(&LOCK, &[&key.caller, &key.key]).await?.first().expect("one row").try_get(0)?;
    if !locked {
        return Ok(Some(Answered::InProgress));
    }
    // a statement after the lock: it sees what the one before us committed
    let rows = tx.rows(&READ, &[&key.caller, &key.key]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    if row.try_get::<_, &[u8]>("fingerprint")? != key.fingerprint.as_slice() {
        return Ok(Some(Answered::OtherRequest));
    }
    let status = u16::try_from(row.try_get::<_, i32>("status")?).expect("we wrote an HTTP status");
    Ok(Some(Answered::Before(Answer { status, body: row.try_get("answer")? })))
}

/// Forgets answers to idempotency keys that are older than a day, some at a time; returns how many.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn forget_answers(database: &Database) -> Result<i64, Error> {
    let rows = database.one(&FORGET, &[]).await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

/// A usage and where it is at one destination (or at none yet).
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Id of the usage.
    pub usage_id: Uuid,
    /// The service that recorded it.
    pub source: String,
    /// The service's id of it.
    pub event_id: String,
    /// The customer.
    pub org: String,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// Units of the metric.
    pub quantity: String,
    /// When it was used.
    pub used_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// waiting, held, exempt, `written_off` or allocated.
    pub whereabouts: String,
    /// The destination, once it is known.
    pub destination: Option<String>,
    /// The remittance that has its quantity now.
    pub remittance: Option<i64>,
    /// The remittance's key.
    pub key: Option<String>,
    /// The hour that the remittance reports.
    pub hour: Option<Timestamp>,
    /// The remittance's status.
    pub status: Option<String>,
    /// Why it is held or exempt.
    pub reason: Option<String>,
    /// An attempt may have arrived.
    pub maybe_billed: Option<bool>,
    /// Last moment at which it can be sent.
    pub deadline: Option<Timestamp>,
    /// When the remittance's status last changed.
    pub changed_at: Option<Timestamp>,
}

/// Where a usage is, one row per destination; none if it was never recorded.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement.
pub async fn standing(database: &Database, source: &str, event_id: &str) -> Result<Vec<Standing>, Error> {
    let rows = database.one(&STANDING, &[&source, &event_id]).await?;
    rows.iter()
        .map(|row| {
            Ok(Standing {
                usage_id: row.try_get("usage_id")?,
                source: row.try_get("source")?,
                event_id: row.try_get("event_id")?,
                org: row.try_get("org")?,
                product: row.try_get("product")?,
                metric: row.try_get("metric")?,
                quantity: row.try_get("quantity")?,
                used_at: row.try_get("used_at")?,
                recorded_at: row.try_get("recorded_at")?,
                whereabouts: row.try_get("whereabouts")?,
                destination: row.try_get("destination")?,
                remittance: row.try_get("remittance")?,
                key: row.try_get("key")?,
                hour: row.try_get("hour")?,
                status: row.try_get("status")?,
                reason: row.try_get("reason")?,
                maybe_billed: row.try_get("maybe_billed")?,
                deadline: row.try_get("deadline")?,
                changed_at: row.try_get("changed_at")?,
            })
        })
        .collect()
}
