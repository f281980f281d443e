//! Suspects: what a worker had in hand while it died folding. One of these entries may be why, so they are folded apart, in
//! parts that the fleet shares out. A part that kills again is split; the entry that kills alone is put aside.

use uuid::Uuid;

use super::taking::{self, Place};
use super::{Failed, Folded, Locking, fold_in, halves, pick_limits};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::workers::{Folding, set_folding};
use crate::{Database, Error, gate, side};

const FIND: Query = query!("fold_suspects", []);
const TAKE: Query = query!("suspect_take", []);
const ENTRIES: Query = query!("suspect_entries", [UUID]);
const SPLIT: Query = query!("suspect_split", [UUID]);
const PUT_BEHIND: Query = query!("suspect_put_behind", [UUID]);
const CLEARED: Query = query!("suspect_cleared", [UUID]);
const QUARANTINE: Query = query!("fold_quarantine", [UUID]);

/// An entry with which so many workers died while they had nothing else of the outbox in hand is poison.
const DEATHS_ALONE_MAX: i32 = 2;

/// Makes suspect what dead workers had in hand while they folded; returns how many workers and entries. If it cannot be
/// noted, the workers' rows go on saying it.
pub async fn find_suspects(database: &Database) -> (i64, i64) {
    let Some(rows) = side::ask_within(database, &FIND, &[], side::LOCK).await else { return (0, 0) };
    let row = rows.first().expect("counts are one row");
    let (workers, entries) = (row.get("workers"), row.get("entries"));
    if workers > 0 {
        tracing::warn!(workers, entries, "workers died while they folded; what they had in hand is folded apart");
    }
    (workers, entries)
}

/// Folds one suspect range, if there is one that nobody else has; `None`: there is none, or it waits for another session's lock.
///
/// # Errors
/// Only what every entry would meet.
pub async fn fold_suspects(
    database: &Database,
    worker: Option<Uuid>,
    pause: impl AsyncFnOnce(),
) -> Result<Option<Folded>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, &pick_limits()).await?;
    let (range, deaths) = match tx.rows(&TAKE, &[]).await?.first() {
        Some(row) => (row.try_get::<_, Uuid>("id")?, row.try_get::<_, i32>("deaths")?),
        None => return Ok(None),
    };
    let suspects = taking::places(&tx.rows(&ENTRIES, &[&range]).await?)?;
    if let [Place { id, .. }] = suspects[..]
        && deaths >= DEATHS_ALONE_MAX
    {
        let is_aside = !tx.rows(&QUARANTINE, &[&id]).await?.is_empty();
        tx.run(&CLEARED, &[&range]).await?;
        tx.commit().await?;
        if is_aside {
            tracing::error!(usage = %id, "workers died with this usage alone: it is held as poison");
        }
        return Ok(Some(Folded { taken: usize::from(is_aside), held: usize::from(is_aside), ..Folded::default() }));
    }
    if let Some(worker) = worker {
        set_folding(database, worker, &Folding::Suspect(range)).await?;
    }
    let picked = taking::pick_these(&tx, &suspects).await?;
    match fold_in(&tx, &picked, Locking::APART, pause).await {
        Ok(done) => {
            tx.run(&CLEARED, &[&range]).await?;
            tx.commit().await?;
            drop(session);
            halves::note_locked(database, halves::Queue::Outbox, &done.locked).await;
            Ok(Some(done.folded))
        }
        Err(Failed::Rows(error)) if error.blame() == Blame::Lock => {
            tx.roll_back().await?;
            drop(session);
            // no entry is to blame: all of them are tried again, after the other ranges
            tracing::debug!(%range, %error, "suspects wait for a lock");
            side::ask(database, &PUT_BEHIND, &[&range]).await;
            Ok(None)
        }
        Err(Failed::Rows(error)) if error.blame() != Blame::Step => {
            tx.roll_back().await?;
            drop(session);
            if picked.len() > 1 {
                database.one(&SPLIT, &[&range]).await?;
                return Ok(Some(Folded::default()));
            }
            // it fails, and does not kill: it is kept by name
            let folded = halves::fold_in_halves(database, &taking::entries(&picked)).await?;
            database.one(&CLEARED, &[&range]).await?;
            Ok(Some(folded))
        }
        Err(failed) => {
            tx.roll_back().await?;
            drop(session);
            Err(gate::named(database, failed.into()).await)
        }
    }
}
