//! Promote: what waited for its time goes back into the queue.

use super::Remittance;
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::setback::Setbacks;
use crate::turn::{Locking, Work, turn_after};
use crate::{Database, Error, setback};

const PROMOTE: Query = query!("promote", [INT8, INT8_ARRAY]);
const CANDIDATES: Query = query!("promote_candidates", [INT8, INT8_ARRAY]);
const THESE: Query = query!("promote_these", [INT8_ARRAY]);

/// Read along its index: most of the table is not ripe.
const BY_INDEX: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off";

/// Puts deliveries whose time has come back into the queue; returns how many. If all together cannot be, the one to blame
/// is found and set aside.
///
/// # Errors
/// What each of them would have met.
pub async fn promote(database: &Database, most: i64) -> Result<u64, Error> {
    let setbacks = Setbacks::read(database, "promote").await;
    let not_yet = setbacks.numbers(false);
    match promote_all(database, most, &not_yet).await {
        Err(error) if error.blame() == Blame::Member => {}
        done => {
            // what failed before may be among them
            if done.as_ref().is_ok_and(|promoted| *promoted > 0) {
                setback::over(database, "promote").await;
            }
            return done;
        }
    }
    let rows = database.one(&CANDIDATES, &[&most, &not_yet]).await?;
    let ripe = rows.iter().map(Remittance::read).collect::<Result<Vec<_>, Error>>()?;
    let (mut promoting, mut share) = (Promoting::default(), Share::of(ripe.len()));
    turn_after(database, &setbacks, ripe, &mut share, &mut promoting).await?;
    Ok(promoting.promoted)
}

async fn promote_all(database: &Database, most: i64, not_yet: &[i64]) -> Result<u64, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, BY_INDEX).await?;
    let promoted = tx.run(&PROMOTE, &[&most, &not_yet]).await?;
    tx.commit().await?;
    Ok(promoted)
}

/// Promotes, and counts.
#[derive(Default)]
struct Promoting {
    promoted: u64,
}

impl Work<Remittance> for Promoting {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Remittance], _: Locking) -> Result<Vec<Remittance>, Error> {
        let ids: Vec<i64> = part.iter().map(|remittance| remittance.id).collect();
        self.promoted += tx.run(&THESE, &[&ids]).await?;
        // who holds one may be another worker that promotes it
        Ok(Vec::new())
    }
}
