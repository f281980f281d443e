//! Workers: their heartbeats, and taking over from those that died.

use std::time::Duration;

use remittance::{Answer, Outcome, Policy};
use uuid::Uuid;

use crate::query::{Query, query};
use crate::settle::{Settlement, settle};
use crate::timeline::Position;
use crate::{Database, Error};

const REGISTER: Query = query!("worker_register", [UUID, TEXT, TEXT, FLOAT8]);
const HEARTBEAT: Query = query!("heartbeat", [UUID, UUID, BOOL]);
const STOP: Query = query!("worker_stop", [UUID]);
const REAP_WORKERS: Query = query!("reap_workers", [UUID]);
const REAP_ATTEMPTS: Query = query!("reap_attempts", [UUID, UUID]);

/// Registers a worker under a new id.
///
/// # Errors
/// As Postgres says.
pub async fn register(database: &Database, id: Uuid, name: &str, version: &str, lease: Duration) -> Result<(), Error> {
    database.one(&REGISTER, &[&id, &name, &version, &(lease.as_secs_f64() * 1000.0)]).await.map(drop)
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
) -> Result<Option<Position>, Error> {
    database.one(&HEARTBEAT, &[&id, &oldest_attempt, &sleeping]).await?.first().map(Position::read).transpose()
}

/// Says that the worker has stopped with nothing in its hands.
///
/// # Errors
/// As Postgres says.
pub async fn stop(database: &Database, id: Uuid) -> Result<(), Error> {
    database.one(&STOP, &[&id]).await.map(drop)
}

/// What a worker is about to fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// So many entries at most.
    Many(usize),
    /// This one alone.
    One(Uuid),
}

/// Says what the worker is about to fold, before it does; `None`: it has come through.
///
/// # Errors
/// As Postgres says.
pub async fn set_folding(database: &Database, id: Uuid, folding: Option<Folding>) -> Result<(), Error> {
    const FOLDING: Query = query!("worker_folding", [UUID, JSONB]);
    let value = folding.map(|folding| match folding {
        Folding::Many(most) => serde_json::json!({ "most": most }),
        Folding::One(usage) => serde_json::json!({ "usage": usage }),
    });
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
    for row in database.one(&REAP_WORKERS, &[&reaper]).await? {
        let id: Uuid = row.try_get("id")?;
        let attempts = take_over(database, reaper, id, policy).await?;
        let folding: Option<serde_json::Value> = row.try_get("folding")?;
        let alone = folding.as_ref().and_then(|folding| folding.get("usage")?.as_str()?.parse().ok());
        if let Some(usage) = alone {
            // it died with this one entry in its hands, after others had died with it among others
            crate::fold::quarantine(database, usage).await?;
        }
        reaped.push(Reaped { id, name: row.try_get("name")?, attempts });
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
    const REST: Query = query!("reap_rest", []);
    let mut attempts = 0;
    for row in database.one(&REST, &[]).await? {
        attempts += take_over(database, reaper, row.try_get("id")?, policy).await?;
    }
    Ok(attempts)
}

async fn take_over(
    database: &Database,
    reaper: Uuid,
    dead: Uuid,
    policy: &(dyn Fn(i32) -> Policy + Sync),
) -> Result<usize, Error> {
    let (mut from, mut attempts) = (Uuid::nil(), 0);
    loop {
        let rows = database.one(&REAP_ATTEMPTS, &[&dead, &from]).await?;
        let lost = rows
            .iter()
            .map(|row| {
                Ok(Settlement {
                    attempt: row.try_get("id")?,
                    delivery: row.try_get("delivery_id")?,
                    batch: 1,
                    answer: Answer::bare(Outcome::Unknown { code: "worker_lost".to_owned() }),
                    took: Duration::ZERO,
                    is_death: true,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let Some(last) = lost.last() else { return Ok(attempts) };
        from = last.attempt;
        attempts += lost.len();
        settle(database, reaper, &lost, policy).await?;
    }
}
