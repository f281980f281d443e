//! Gates: what everybody has to pass. Who cannot pass one is kept by another session and not by any member of its batch: the
//! step waits, nobody is blamed, and the session is named.

use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::{Database, Error};

/// Keeps months from being closed while this transaction runs; what is closed is read by later statements.
const MONTHS: Query = query!("fold_gate", []);
/// One counts request statuses at a time.
const GATHER: Query = query!("gather_gate", []);
const HOLDERS: Query = query!("gate_holders", []);

/// Passes the gate of months: what opens hours does so before it takes any other lock.
///
/// # Errors
/// [`Error::Shut`] when another session keeps it shut for longer than the transaction waits for locks.
pub(crate) async fn months(tx: &Tx<'_>) -> Result<(), Error> {
    pass(tx, &MONTHS, "the gate of months is shut").await
}

/// Passes the gate of those who count request statuses.
///
/// # Errors
/// As [`months`].
pub(crate) async fn gather(tx: &Tx<'_>) -> Result<(), Error> {
    pass(tx, &GATHER, "another session counts request statuses").await
}

async fn pass(tx: &Tx<'_>, gate: &Query, shut: &str) -> Result<(), Error> {
    match tx.rows(gate, &[]).await {
        Err(error) if error.blame() == Blame::Lock => Err(Error::Shut(shut.to_owned())),
        passed => passed.map(drop),
    }
}

/// Adds to an error which sessions keep a whole table of ours, the gate of months among them, if that is what it tells of.
pub(crate) async fn named(database: &Database, error: Error) -> Error {
    let Error::Shut(shut) = error else { return error };
    let holders = holders(database).await;
    Error::Shut(holders.map_or_else(|| shut.clone(), |holders| format!("{shut}: {holders}")))
}

/// What to say when another session keeps a whole table of ours; `None`: nobody does.
pub(crate) async fn table_kept(database: &Database) -> Option<Error> {
    holders(database).await.map(|_| Error::Shut("another session keeps a whole table from everybody".to_owned()))
}

async fn holders(database: &Database) -> Option<String> {
    let asked = database.one(&HOLDERS, &[]).await.ok()?;
    asked.first()?.try_get("holders").ok()?
}
