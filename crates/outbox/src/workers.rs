//! Workers: their heartbeats, and taking over from those that died.

use std::time::Duration;

use remittance::{Answer, Outcome, Policy};
use uuid::Uuid;

use crate::query::{Query, query};
use crate::settle::{Settlement, note_left, settle_each};
use crate::timeline::Beat;
use crate::{Database, Error, setback, side};

const REGISTER: Query = query!("worker_register", [UUID, TEXT, TEXT, FLOAT8, INT4]);
const HEARTBEAT: Query = query!("heartbeat", [UUID, UUID, BOOL]);
const STEP_FORGET: Query = query!("step_forget", []);
const STOP: Query = query!("worker_stop", [UUID]);
const REAP_WORKERS: Query = query!("reap_workers", [UUID]);
const REAP_OWN: Query = query!("reap_own", [UUID, UUID]);
const REAP_ATTEMPTS: Query = query!("reap_attempts", [UUID, UUID]);

/// Workers that are read at once (`reap_rest`).
const REST_PAGE: i64 = 10;
/// Attempts that are read at once (`reap_attempts`, `reap_own`).
const PAGE: usize = 1000;

/// Registers a worker under a new id, with the newest migration that its program knows: what would break it waits for
/// its end.
///
/// # Errors
/// As Postgres says.
pub async fn register(database: &Database, id: Uuid, name: &str, version: &str, lease: Duration) -> Result<(), Error> {
    let knows = crate::migrate::knows();
    database.one(&REGISTER, &[&id, &name, &version, &(lease.as_secs_f64() * 1000.0), &knows]).await?;
    side::ask(database, &STEP_FORGET, &[]).await;
    Ok(())
}

/// Renews the lease and says where the server's history stands. `None`: the worker was taken for dead; what it holds is
/// no longer its own.
///
/// # Errors
/// As Postgres says.
pub async fn heartbeat(
    database: &Database,
    id: Uuid,
    oldest_attempt: Option<Uuid>,
    sleeping: bool,
) -> Result<Option<Beat>, Error> {
    database.one(&HEARTBEAT, &[&id, &oldest_attempt, &sleeping]).await?.first().map(Beat::read).transpose()
}

/// Says that the worker has stopped with nothing in its hands.
///
/// # Errors
/// As Postgres says.
pub async fn stop(database: &Database, id: Uuid) -> Result<(), Error> {
    database.one(&STOP, &[&id]).await.map(drop)
}

/// Entries of one shard, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shard.
    pub shard: i16,
    /// The first entry.
    pub first: Uuid,
    /// The last.
    pub last: Uuid,
}

/// What a worker has in hand while it folds. What it folds apart stands beside its ordinary fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folding {
    /// An ordinary fold.
    Spans(Vec<Span>),
    /// What did not go through before.
    Apart {
        /// Where it is.
        spans: Vec<Span>,
        /// Only entries of this org.
        org: Option<String>,
    },
    /// A range that a dying worker had in hand.
    Suspect(Uuid),
    /// The ordinary fold has come through.
    Through,
    /// So has what it folded apart.
    ApartThrough,
    /// So has the range.
    SuspectThrough,
}

/// Says what the worker has in hand, before it touches it.
///
/// # Errors
/// As Postgres says.
pub async fn set_folding(database: &Database, id: Uuid, folding: &Folding) -> Result<(), Error> {
    const FOLDING: Query = query!("worker_folding", [UUID, JSONB]);
    let listed = |spans: &[Span], org: Option<&str>| {
        spans.iter().map(|s| serde_json::json!([s.shard, s.first, s.last, org])).collect::<Vec<_>>()
    };
    let value = match folding {
        Folding::Spans(spans) => serde_json::json!({ "spans": listed(spans, None) }),
        Folding::Apart { spans, org } => serde_json::json!({ "apart": listed(spans, org.as_deref()) }),
        Folding::Suspect(range) => serde_json::json!({ "suspect": range }),
        Folding::Through => serde_json::json!({ "spans": null }),
        Folding::ApartThrough => serde_json::json!({ "apart": null }),
        Folding::SuspectThrough => serde_json::json!({ "suspect": null }),
    };
    database.one(&FOLDING, &[&id, &value]).await.map(drop)
}

/// A worker that was taken for dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Attempts that were open in its hands; each may have arrived.
    pub attempts: usize,
}

/// Takes over from workers whose lease is over: what they may have sent is unknown from now on, and will be sent again
/// with the same key.
///
/// # Errors
/// As Postgres says; what was not taken over is found by [`take_over_rest`].
pub async fn reap(
    database: &Database,
    reaper: Uuid,
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<Vec<Reaped>, Error> {
    let mut reaped = Vec::new();
    let dead = database.one(&REAP_WORKERS, &[&reaper]).await?;
    for row in &dead {
        let id: Uuid = row.try_get("id")?;
        // who said goodbye did not die of what it had lost sight of
        let is_death = !row.try_get::<_, bool>("stopped")?;
        let attempts = take_over(database, reaper, id, (is_death, false), policy).await?;
        reaped.push(Reaped { id, name: row.try_get("name")?, attempts });
    }
    if !dead.is_empty() {
        // answers that they could not write have an outcome now
        setback::over(database, crate::settle::STEP).await;
        crate::fold::find_suspects(database).await;
    }
    Ok(reaped)
}

/// Finds attempts of workers that were reaped long ago and still have no outcome, because their reaper died in between.
///
/// # Errors
/// As Postgres says.
pub async fn take_over_rest(
    database: &Database,
    reaper: Uuid,
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<usize, Error> {
    const REST: Query = query!("reap_rest", [INT8, UUID]);
    let (mut attempts, mut after) = (0, Uuid::nil());
    loop {
        // attempts that stay locked keep their worker here: all of them are looked at in every round
        let rest = database.one(&REST, &[&REST_PAGE, &after]).await?;
        let Some(last) = rest.last() else { break };
        after = last.try_get("id")?;
        for row in &rest {
            attempts += take_over(database, reaper, row.try_get("id")?, (row.try_get("died")?, true), policy).await?;
        }
    }
    setback::over(database, "reap").await;
    Ok(attempts)
}

async fn take_over(
    database: &Database,
    reaper: Uuid,
    dead: Uuid,
    (is_death, is_rest): (bool, bool),
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<usize, Error> {
    let (mut from, mut attempts) = (Uuid::nil(), 0);
    loop {
        let rows = database.one(&REAP_ATTEMPTS, &[&dead, &from]).await?;
        let lost = rows
            .iter()
            .map(|row| Ok(lost_attempt(row.try_get("id")?, row.try_get("delivery_id")?, is_death)))
            .collect::<Result<Vec<_>, Error>>()?;
        let Some(last) = lost.last() else { return Ok(attempts) };
        from = last.attempt;
        // what is locked or fails costs its own attempt: it is found again by take_over_rest
        let each = settle_each(database, reaper, &lost, policy).await;
        let left = each.left().len();
        attempts += lost.len() - left;
        if let Some((_, error)) = each.broken {
            return Err(error);
        }
        if left > 0 || is_rest {
            note_left(database, "reap", &lost, each).await;
        }
    }
}

/// Nobody knows what became of its call.
fn lost_attempt(attempt: Uuid, delivery: i64, is_death: bool) -> Settlement {
    let answer = Answer::bare(Outcome::Unknown { code: "worker_lost".to_owned() });
    Settlement {
        delivery,
        attempt,
        batch: 1,
        answer,
        took: Duration::ZERO,
        others_passed: false,
        is_lost: true,
        is_death,
    }
}

/// What [`find_own`] found.
#[derive(Debug, Default)]
pub struct Own {
    /// Open attempts, oldest first, a page at most.
    pub open: Vec<Settlement>,
    /// All attempts before this one were looked at; the next page begins with it.
    pub bound: Uuid,
    /// There is no next page.
    pub is_last: bool,
}

/// Finds open attempts of this worker from `from` on that are older than any claim or call of it can be, whether they
/// are in its hands or not. What is not was lost from sight: the connection broke while its claim was committed, or the
/// call's task failed. Settled as given, it counts as unknown, and nobody died of it.
///
/// # Errors
/// As Postgres says.
pub async fn find_own(database: &Database, worker: Uuid, from: Uuid) -> Result<Own, Error> {
    let mut own = Own { open: Vec::new(), bound: from, is_last: true };
    for row in database.one(&REAP_OWN, &[&worker, &from]).await? {
        own.bound = row.try_get("bound")?;
        if let Some(attempt) = row.try_get("id")? {
            own.open.push(lost_attempt(attempt, row.try_get("delivery_id")?, false));
        }
    }
    if own.open.len() == PAGE
        && let Some(last) = own.open.last()
    {
        (own.bound, own.is_last) = (last.attempt, false);
    }
    Ok(own)
}
