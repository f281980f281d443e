//! Deadlines: those of remittances that are not sent yet follow their buyer's subscriptions, in shares.

use super::Remittance;
use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error, setback};

const CHANGES: Query = query!("deadline_changes", [INT8, INT8]);
const BEHIND: Query = query!("deadline_behind", [INT8_ARRAY, INT8, INT8]);
const MOVE: Query = query!("deadline_move", [INT8_ARRAY]);
const DONE: Query = query!("deadline_done", [INT8_ARRAY]);
const TRY: Query = query!("try_deliveries", [INT8_ARRAY]);
const LOCK: Query = query!("lock_deliveries", [INT8_ARRAY]);

/// The step's name in `postmeter.setback`.
const STEP: &str = "deadlines";
/// Marks of one look.
const MARKS: i64 = 100;
/// Remittances of one look.
const PAGE: i64 = 10_000;
/// Remittances of a transaction at most.
const SHARE: usize = 1000;

/// Moves the deadlines of remittances that are not sent yet to where changed subscriptions put them; returns how many. Until
/// that is done, a claim goes by the new deadline of what it takes.
///
/// # Errors
/// What each of them would have met.
pub async fn move_deadlines(database: &Database) -> Result<u64, Error> {
    let (mut moving, mut share, mut after) = (Moving::default(), Share::of(SHARE), 0_i64);
    loop {
        let rows = database.one(&CHANGES, &[&MARKS, &after]).await?;
        let marks = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>, Error>>()?;
        let Some(last) = marks.last() else { break };
        after = *last;
        let mut after_delivery = 0_i64;
        loop {
            let behind = database.one(&BEHIND, &[&marks, &PAGE, &after_delivery]).await?;
            let behind = behind.iter().map(Remittance::read).collect::<Result<Vec<_>, Error>>()?;
            let Some(last) = behind.last() else { break };
            after_delivery = last.id;
            turn(database, STEP, behind, &mut share, &mut moving).await?;
        }
        // what is locked or fails keeps its mark
        if database.one(&BEHIND, &[&marks, &1_i64, &0_i64]).await?.is_empty() {
            database.one(&DONE, &[&marks]).await?;
        }
    }
    if after > 0 {
        // another worker has moved what this one found locked
        setback::over(database, STEP).await;
    }
    Ok(moving.moved)
}

/// Moves them, and counts what moved.
#[derive(Default)]
struct Moving {
    moved: u64,
}

impl Work<Remittance> for Moving {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Remittance], locking: Locking) -> Result<Vec<Remittance>, Error> {
        let ids: Vec<i64> = part.iter().map(|remittance| remittance.id).collect();
        let lock = if locking == Locking::Skip { &TRY } else { &LOCK };
        let locked: Vec<i64> = tx.rows(lock, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
        if !locked.is_empty() {
            tx.run(&MOVE, &[&locked]).await?;
            self.moved += u64::try_from(locked.len()).unwrap_or_default();
        }
        Ok(part.iter().filter(|remittance| !locked.contains(&remittance.id)).cloned().collect())
    }
}
