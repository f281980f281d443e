//! The pace of a quota, shared by the fleet: what workers count is added up here, and one rule makes the pace of it
//! (`crates/remittance/src/pace.rs`). Nothing is written while nothing is throttled or fails.

use std::time::Duration;

use remittance::pace::{Count, Pace};
use tokio_postgres::Row;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const LOCK: Query = query!("pace_lock", [INT4, FLOAT8, FLOAT8]);
const WRITE: Query = query!(
    "pace_write",
    [INT4, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8, FLOAT8]
);

/// How a quota stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The quota.
    pub quota: i32,
    /// Calls a second, if it is slower than the quota says.
    pub rate: Option<f64>,
    /// No call for so long: they said so.
    pub wait: Duration,
}

/// A wait that a marketplace asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// No call for so long from now.
    pub left: Duration,
    /// So long ago they said so: it is over if a person has ended the quota's wait since.
    pub heard: Duration,
}

/// Adds what a worker has counted, with the wait that the marketplace asked for, if any; returns where the quota stands.
///
/// # Errors
/// As Postgres says; nothing is added then.
pub async fn note(database: &Database, quota: i32, count: Count, wait: Option<Wait>) -> Result<Standing, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let millis = |length: Duration| length.as_secs_f64() * 1000.0;
    let (left, heard) = (wait.map(|wait| millis(wait.left)), wait.map(|wait| millis(wait.heard)));
    let rows = tx.rows(&LOCK, &[&quota, &left, &heard]).await?;
    let row = rows.first().ok_or_else(|| Error::Schema(format!("there is no quota {quota}")))?;
    let (mut pace, limit) = (pace(row)?, row.try_get::<_, Option<f64>>("calls_per_second")?);
    pace.note(count, limit);
    let (trial_rate, trial_share) = (pace.trial.map(|trial| trial.0), pace.trial.map(|trial| trial.1));
    let Pace { epoch, window, before, .. } = pace;
    tx.run(
        &WRITE,
        &[
            &quota,
            &pace.rate,
            &pace.base,
            &trial_rate,
            &trial_share,
            &epoch.seconds,
            &epoch.calls,
            &epoch.faults,
            &window.seconds,
            &window.calls,
            &window.passed,
            &before.seconds,
            &before.calls,
            &before.passed,
        ],
    )
    .await?;
    tx.commit().await?;
    Ok(Standing { rate: pace.rate, ..standing(row)? })
}

pub(crate) fn standing(row: &Row) -> Result<Standing, Error> {
    let wait: f64 = row.try_get("wait_ms")?;
    let wait = Duration::try_from_secs_f64(wait.max(0.0) / 1000.0).unwrap_or_default();
    Ok(Standing { quota: row.try_get("quota_id")?, rate: row.try_get("rate")?, wait })
}

fn pace(row: &Row) -> Result<Pace, Error> {
    let trial = row.try_get::<_, Option<f64>>("trial_rate")?.zip(row.try_get("trial_share")?);
    let get = |name: &str| row.try_get::<_, f64>(name);
    Ok(Pace {
        rate: row.try_get("rate")?,
        base: get("base")?,
        trial,
        epoch: Count {
            seconds: get("epoch_seconds")?,
            calls: get("epoch_calls")?,
            passed: 0.0,
            faults: get("epoch_faults")?,
        },
        window: Count {
            seconds: get("window_seconds")?,
            calls: get("window_calls")?,
            passed: get("window_passed")?,
            faults: 0.0,
        },
        before: Count {
            seconds: get("before_seconds")?,
            calls: get("before_calls")?,
            passed: get("before_passed")?,
            faults: 0.0,
        },
    })
}
