//! Side tables: what steps note for people, and to try things in a better order (`postmeter.setback`, `suspect`,
//! `suspect_range`, `cure`, `step_failure`). No money depends on them, so no main step does: no main statement names one.
//! They are asked in statements of their own, within a moment, and what cannot be read counts as empty; what cannot be
//! written is written by a later round.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Row;

use crate::query::{Params, Query, Tx};
use crate::{Database, Error};

/// So long a side table's lock is waited for, by a main step too.
pub(crate) const LOCK: &str = "set local lock_timeout = '100ms'";
/// Limits of a statement that reads or writes side tables.
const LIMITS: &str = "set local lock_timeout = '100ms'; set local statement_timeout = '5s'";
/// While one goes on failing, that is said so often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Runs a statement that reads or writes side tables, in a transaction of its own; `None`: it could not.
pub(crate) async fn ask(database: &Database, query: &Query, params: Params<'_>) -> Option<Vec<Row>> {
    ask_within(database, query, params, LIMITS).await
}

/// The same within other limits.
pub(crate) async fn ask_within(
    database: &Database,
    query: &Query,
    params: Params<'_>,
    limits: &str,
) -> Option<Vec<Row>> {
    let asking = async {
        let mut session = database.session().await?;
        let tx = Tx::begin(&mut session, limits).await?;
        let rows = tx.rows(query, params).await;
        tx.end(rows).await
    };
    asking.await.map_err(|error| say(query, &error)).ok()
}

/// Reads side tables within a main step's transaction, which goes on whatever comes of it, and keeps no lock of it.
/// `None`: they could not be read.
///
/// # Errors
/// The transaction's own: its connection is gone.
pub(crate) async fn read_in(tx: &Tx<'_>, query: &Query, params: Params<'_>) -> Result<Option<Vec<Row>>, Error> {
    tx.batch(&format!("savepoint side; {LOCK}")).await?;
    let rows = tx.rows(query, params).await;
    tx.batch("rollback to savepoint side; release savepoint side").await?;
    Ok(rows.map_err(|error| say(query, &error)).ok())
}

/// One line a minute for each statement; what comes in between is for those who look closer.
pub(crate) fn say(query: &Query, error: &Error) {
    static SAID: LazyLock<Mutex<HashMap<&str, Instant>>> = LazyLock::new(Mutex::default);
    let statement = query.name();
    let now = Instant::now();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.get(statement).is_some_and(|at| now.duration_since(*at) < SAID_EVERY) {
        tracing::debug!(statement, %error, "a side table could not be asked; the step goes on without it");
    } else {
        said.insert(statement, now);
        tracing::warn!(statement, %error, "a side table could not be asked; the steps go on without it");
    }
}
