//! Switches: a change of a destination's rules (pause, dry run, endpoint, policy, limits) acts at once.
//!
//! Every such change raises the destination's version in its own transaction. A claim names the version that its worker
//! has read and takes nothing if there is another; what was claimed before is handed back before its call. A worker says
//! by which version it acts, and [`until_heard`] waits until all have (`docs/decisions/0035-switches-act-at-once.md`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::query::{Query, query};
use crate::{Database, Error};

const VERSIONS: Query = query!("switch_versions", []);
const ACKNOWLEDGE: Query = query!("switch_acknowledge", [UUID, JSONB]);
const STANDING: Query = query!("switch_standing", [TEXT]);
const CALLS: Query = query!("switch_calls", [TEXT]);

/// How soon it is looked again whether all workers have heard.
const EVERY: Duration = Duration::from_millis(100);

/// Which version each destination's rules have, by its number.
pub type Versions = BTreeMap<i32, i64>;

/// Reads which version the rules of each destination have now.
///
/// # Errors
/// As Postgres says.
pub async fn versions(database: &Database) -> Result<Versions, Error> {
    database.one(&VERSIONS, &[]).await?.iter().map(|row| Ok((row.try_get("id")?, row.try_get("version")?))).collect()
}

/// A worker says by which version of each destination it acts, and how many calls of it are on the wire: no call that has
/// not begun begins by an older one.
///
/// # Errors
/// As Postgres says; nobody knows then.
pub async fn acknowledge(database: &Database, worker: Uuid, acts_by: &[(i32, i64, usize)]) -> Result<(), Error> {
    let acts_by: serde_json::Map<_, _> = acts_by
        .iter()
        .map(|(destination, version, calls)| (destination.to_string(), json!({ "version": version, "calls": calls })))
        .collect();
    database.one(&ACKNOWLEDGE, &[&worker, &serde_json::Value::Object(acts_by)]).await.map(drop)
}

/// What became of a switch by the time it was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// Calls that had begun before and have no outcome yet. They end within the destination's `call_timeout`.
    pub calls_on_the_wire: i64,
    /// Workers that have not acknowledged.
    pub silent: Vec<Silent>,
}

/// A worker that has not acknowledged a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silent {
    /// Its id.
    pub id: Uuid,
    /// Its name: host and process.
    pub worker: String,
    /// Its lease has ended, so it begins no call before it has acknowledged. Otherwise it still may, by the old rules.
    pub lease_ended: bool,
}

impl Heard {
    /// No call begins by the old rules any more.
    #[must_use]
    pub fn by_all(&self) -> bool {
        self.silent.iter().all(|silent| silent.lease_ended)
    }
}

/// Waits until every living worker acts by the rules that a destination has now (`None`: all destinations), or its lease
/// has ended; no longer than a lease.
///
/// # Errors
/// As Postgres says; the switch itself holds.
pub async fn until_heard(database: &Database, destination: Option<&str>) -> Result<Heard, Error> {
    let began = Instant::now();
    loop {
        let mut silent = Vec::new();
        let mut waits = false;
        for row in database.one(&STANDING, &[&destination]).await? {
            if row.try_get("acknowledged")? {
                continue;
            }
            let is_alive: bool = row.try_get("alive")?;
            let lease = Duration::try_from_secs_f64(row.try_get("lease")?).unwrap_or_default();
            waits |= is_alive && began.elapsed() < lease;
            silent.push(Silent { id: row.try_get("id")?, worker: row.try_get("name")?, lease_ended: !is_alive });
        }
        if !waits {
            let calls = database.one(&CALLS, &[&destination]).await?;
            let calls_on_the_wire = calls.first().expect("a sum is one row").try_get(0)?;
            return Ok(Heard { calls_on_the_wire, silent });
        }
        tokio::time::sleep(EVERY).await;
    }
}
