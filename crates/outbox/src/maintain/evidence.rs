//! Review: late evidence is considered, a share at a time.

use super::Remittance;
use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error};

const REVIEW: Query = query!("review_evidence", [INT8, INT8]);
const CONTRADICT: Query = query!("review_contradict", [INT8_ARRAY]);
const SETTLE: Query = query!("review_settle", [INT8_ARRAY]);
const TRY: Query = query!("try_deliveries", [INT8_ARRAY]);
const LOCK: Query = query!("lock_deliveries", [INT8_ARRAY]);

/// Deliveries of one look, and of a transaction at most.
const PAGE: i64 = 1000;

/// Considers late evidence; returns for how many deliveries.
///
/// # Errors
/// What each of them would have met.
pub async fn review(database: &Database) -> Result<usize, Error> {
    let (mut share, mut after, mut reviewed) = (Share::of(1000), 0_i64, 0);
    loop {
        let rows = database.one(&REVIEW, &[&PAGE, &after]).await?;
        let Some(last) = rows.last() else { return Ok(reviewed) };
        after = last.try_get("delivery_id")?;
        let with_evidence = rows.iter().map(Remittance::read).collect::<Result<Vec<_>, Error>>()?;
        reviewed += turn(database, "review", with_evidence, &mut share, &mut Reviewing).await?.passed.len();
    }
}

struct Reviewing;

impl Work<Remittance> for Reviewing {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Remittance], locking: Locking) -> Result<Vec<Remittance>, Error> {
        let ids: Vec<i64> = part.iter().map(|remittance| remittance.id).collect();
        let lock = if locking == Locking::Skip { &TRY } else { &LOCK };
        let locked: Vec<i64> = tx.rows(lock, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
        if !locked.is_empty() {
            // what was settled otherwise is read before it moves
            tx.run(&CONTRADICT, &[&locked]).await?;
            tx.run(&SETTLE, &[&locked]).await?;
        }
        Ok(part.iter().filter(|remittance| !locked.contains(&remittance.id)).cloned().collect())
    }
}
