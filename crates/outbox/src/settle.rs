//! Settle: writes outcomes and moves statuses, in one transaction, fenced by the attempt.

mod each;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use remittance::{Answer, Next, Outcome, Policy, Reason, Standing, decide};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::timeline::Position;
use crate::{Database, Error, refusal};
pub(crate) use each::STEP;
pub use each::{Each, note_left, settle_apart, settle_each};

const LOCK: Query = query!("settle_lock", [INT8_ARRAY]);
const LOCK_FREE: Query = query!("settle_lock_free", [INT8_ARRAY]);
const KNOWN: Query = query!("settle_known", [INT8_ARRAY]);
const WRITE: Query = query!(
    "settle_write",
    [
        UUID_ARRAY,
        INT8_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        BOOL_ARRAY,
        TEXT_ARRAY,
        FLOAT8_ARRAY,
        TEXT_ARRAY,
        INT4_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        FLOAT8_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        BOOL_ARRAY,
        FLOAT8_ARRAY,
        INT4_ARRAY,
        INT4_ARRAY,
        UUID
    ]
);

/// Settling goes by primary keys, whatever statistics say.
const PLANNER: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_hashjoin = off; \
                       set local enable_mergejoin = off";

/// A delivery that was in the hands of so many dying workers or failing calls is poison: once with others, then alone.
pub const DEATHS_MAX: i32 = 3;

/// An answer to one attempt, on its way into the ledger.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery.
    pub delivery: i64,
    /// The attempt.
    pub attempt: Uuid,
    /// Records in the call.
    pub batch: u32,
    /// What was answered.
    pub answer: Answer,
    /// How long the call took.
    pub took: Duration,
    /// A refusal that came before others were taken in the same call: the credential may bill.
    pub others_passed: bool,
    /// Nobody knows what became of its call: it is no answer of the marketplace, but said of an attempt without one.
    pub is_lost: bool,
    /// The worker died with it in hand, or the call failed in its hands.
    pub is_death: bool,
}

/// What a settlement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Deliveries whose status moved.
    pub moved: i64,
    /// Outcomes kept as late evidence: the claim was no longer ours.
    pub late: i64,
    /// Where the server stood; none if there was nothing to settle.
    pub position: Option<Position>,
    /// Destinations whose credential is to blame for refusals, each with the answer that proves it.
    pub credentials: Vec<(i32, Answer)>,
}

/// Settles answers, all of them or none, waiting for their deliveries; `policy` tells the policy of a destination.
///
/// # Errors
/// As Postgres says; nothing is written then, and the same settlement can be tried again.
pub async fn settle(
    database: &Database,
    worker: Uuid,
    answers: &[Settlement],
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<Settled, Error> {
    if answers.is_empty() {
        return Ok(Settled::default());
    }
    let answers: Vec<&Settlement> = answers.iter().collect();
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, PLANNER).await?;
    let settled = settle_together(&tx, worker, &answers, policy, &LOCK).await;
    tx.end(settled).await.map(|(settled, _)| settled)
}

/// Within a transaction; also tells which answers it passed over, if `lock` skips what another session keeps.
async fn settle_together(
    tx: &Tx<'_>,
    worker: Uuid,
    answers: &[&Settlement],
    policy: &(dyn Fn(i32) -> Policy + Sync),
    lock: &Query,
) -> Result<(Settled, Vec<usize>), Error> {
    let ids: Vec<i64> = answers.iter().map(|a| a.delivery).collect();
    let mut passed_over = Vec::new();
    let standings = read_standings(&tx.rows(lock, &[&ids]).await?)?;
    if standings.len() < ids.len() {
        let missing: Vec<i64> = ids.iter().copied().filter(|id| !standings.contains_key(id)).collect();
        let locked = tx.rows(&KNOWN, &[&missing]).await?;
        let locked: HashSet<i64> = locked.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        passed_over = (0..ids.len()).filter(|place| locked.contains(&ids[*place])).collect();
    }
    let mut answers: Vec<Cow<'_, Settlement>> = (0..answers.len())
        .filter(|place| passed_over.binary_search(place).is_err())
        .map(|place| of_shadow(answers[place], standings.get(&answers[place].delivery)))
        .collect();
    let ours = |answer: &Settlement| {
        let held = standings.get(&answer.delivery).filter(|held| held.attempt == Some(answer.attempt));
        held.map(|held| (held.destination, held.has_refusals))
    };
    let weighed = refusal::weigh(tx, &mut answers, &ours).await?;
    let mut columns = Columns::default();
    for answer in &answers {
        let refusals = weighed.refusals.get(&answer.delivery).copied().unwrap_or_default();
        columns.push(answer, standings.get(&answer.delivery).and_then(|held| held.next(answer, refusals, policy)));
    }
    let settled = columns.write(tx, worker).await?;
    Ok((Settled { credentials: weighed.credentials, ..settled }, passed_over))
}

fn read_standings(rows: &[Row]) -> Result<HashMap<i64, Held>, Error> {
    let mut standings = HashMap::with_capacity(rows.len());
    for row in rows {
        let id: i64 = row.try_get("id")?;
        let standing = Held {
            attempt: row.try_get("attempt_id")?,
            destination: row.try_get("destination_id")?,
            deaths: row.try_get("deaths")?,
            now: row.try_get("now")?,
            shadow: row.try_get("shadow")?,
            has_refusals: row.try_get::<_, Option<bool>>("has_refusals")?.unwrap_or_default(),
            standing: Standing {
                maybe_billed: row.try_get("maybe_billed")?,
                maybe_since: row.try_get("maybe_since")?,
                tries: u32::try_from(row.try_get::<_, i32>("tries")?).unwrap_or_default(),
                batch: 1,
                refusals: 0,
                deadline: row.try_get("deadline")?,
                seed: id.unsigned_abs(),
            },
        };
        standings.insert(id, standing);
    }
    Ok(standings)
}

/// A delivery as it was locked.
struct Held {
    attempt: Option<Uuid>,
    destination: i32,
    deaths: i32,
    now: Timestamp,
    shadow: bool,
    has_refusals: bool,
    standing: Standing,
}

/// What an answer means for a delivery of a shadow. No call was made, so of what was lost nothing can have arrived, and
/// nobody who lost the claim has evidence. Any other answer that tells of a call is left for the schema to refuse:
/// were it handed back, the call would be repeated.
fn of_shadow<'a>(answer: &'a Settlement, held: Option<&Held>) -> Cow<'a, Settlement> {
    match held {
        Some(held) if held.shadow && (answer.is_lost || held.attempt != Some(answer.attempt)) => {
            Cow::Owned(Settlement { answer: Answer::bare(Outcome::HandedBack), is_death: false, ..answer.clone() })
        }
        _ => Cow::Borrowed(answer),
    }
}

impl Held {
    /// What becomes of it, and its deaths; `None` if the claim is no longer ours.
    fn next(
        &self,
        settlement: &Settlement,
        refusals: u32,
        policy: &(dyn Fn(i32) -> Policy + Sync),
    ) -> Option<(Next, i32)> {
        if self.attempt != Some(settlement.attempt) {
            return None;
        }
        let standing = Standing { batch: settlement.batch, refusals, ..self.standing };
        let next = decide(&standing, &settlement.answer.outcome, &policy(self.destination), self.now);
        if !settlement.is_death {
            // only an answer proves that it kills nobody
            let is_answer = !settlement.is_lost && settlement.answer.outcome != Outcome::HandedBack;
            return Some((next, if is_answer { 0 } else { self.deaths }));
        }
        // whoever killed the worker, the others in its hands have burned no try
        let next = Next { is_try: false, ..next };
        let deaths = self.deaths + 1;
        if deaths < DEATHS_MAX {
            return Some((next, deaths));
        }
        Some((Next { status: remittance::Status::Held, reason: Some(Reason::Poison), ..next }, deaths))
    }
}

/// One array per column of `settle_write`.
#[derive(Default)]
struct Columns<'a> {
    attempt: Vec<Uuid>,
    delivery: Vec<i64>,
    outcome: Vec<&'static str>,
    code: Vec<Option<&'a str>>,
    is_try: Vec<bool>,
    shown: Vec<Option<String>>,
    retry_ms: Vec<Option<f64>>,
    receipt: Vec<Option<&'a str>>,
    http_status: Vec<Option<i32>>,
    request_id: Vec<Option<&'a str>>,
    excerpt: Vec<Option<&'a str>>,
    duration_ms: Vec<f64>,
    status: Vec<Option<&'static str>>,
    reason: Vec<Option<&'static str>>,
    maybe_billed: Vec<bool>,
    delay_ms: Vec<Option<f64>>,
    batch_limit: Vec<Option<i32>>,
    deaths: Vec<i32>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, settlement: &'a Settlement, next: Option<(Next, i32)>) {
        let answer = &settlement.answer;
        self.attempt.push(settlement.attempt);
        self.delivery.push(settlement.delivery);
        self.outcome.push(answer.outcome.as_str());
        self.code.push(answer.outcome.code());
        self.is_try.push(next.is_some_and(|(next, _)| next.is_try));
        self.shown.push(answer.outcome.shown().map(|shown| shown.to_string()));
        self.retry_ms.push(answer.outcome.after().map(|after| after.as_secs_f64() * 1000.0));
        self.receipt.push(answer.receipt.as_deref());
        self.http_status.push(answer.http_status.map(i32::from));
        self.request_id.push(answer.request_id.as_deref());
        self.excerpt.push(answer.excerpt.as_deref());
        self.duration_ms.push(settlement.took.as_secs_f64() * 1000.0);
        self.status.push(next.map(|(next, _)| next.status.as_str()));
        self.reason.push(next.and_then(|(next, _)| next.reason.map(Reason::as_str)));
        self.maybe_billed.push(next.is_some_and(|(next, _)| next.maybe_billed));
        self.delay_ms.push(next.and_then(|(next, _)| next.delay.map(|delay| delay.as_secs_f64() * 1000.0)));
        self.batch_limit.push(next.and_then(|(next, _)| next.batch_limit.and_then(|limit| i32::try_from(limit).ok())));
        self.deaths.push(next.map_or(0, |(_, deaths)| deaths));
    }

    async fn write(&self, tx: &Tx<'_>, worker: Uuid) -> Result<Settled, Error> {
        let rows = tx
            .rows(
                &WRITE,
                &[
                    &self.attempt,
                    &self.delivery,
                    &self.outcome,
                    &self.code,
                    &self.is_try,
                    &self.shown,
                    &self.retry_ms,
                    &self.receipt,
                    &self.http_status,
                    &self.request_id,
                    &self.excerpt,
                    &self.duration_ms,
                    &self.status,
                    &self.reason,
                    &self.maybe_billed,
                    &self.delay_ms,
                    &self.batch_limit,
                    &self.deaths,
                    &worker,
                ],
            )
            .await?;
        let row = rows.first().expect("counts are one row");
        let (moved, given): (i64, i64) = (row.try_get("moved")?, row.try_get("given")?);
        Ok(Settled { moved, late: given - moved, position: Some(Position::read(row)?), ..Settled::default() })
    }
}
