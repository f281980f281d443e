//! Deadlines: those of remittances that are not sent yet follow their buyer's subscriptions, in shares.

use super::Remittance;
use crate::error::Blame;
use crate::query::{Params, Query, Tx, query};
use crate::rounds::Share;
use crate::setback::{self, Setbacks};
use crate::turn::{Locking, Work, turn_after};
use crate::{Database, Error};

const TAKE: Query = query!("deadline_take", [INT8]);
const BEHIND: Query = query!("deadline_behind", [INT8_ARRAY, INT8_ARRAY, INT8]);
const MOVE: Query = query!("deadline_move", [INT8_ARRAY]);
const DONE: Query = query!("deadline_done", [INT8_ARRAY]);
const TRY: Query = query!("try_deliveries", [INT8_ARRAY]);
const LOCK: Query = query!("lock_deliveries", [INT8_ARRAY]);

/// The step's name in `postmeter.setback`.
const STEP: &str = "deadlines";
/// Marks of one call.
const MARKS: usize = 200;
/// Remittances of one call.
const PAGE: i64 = 10_000;
/// Remittances of a transaction at most.
const SHARE: usize = 1000;
/// A look goes by its indexes and ends in time: most remittances are of hours that are over.
const LIMITS: &str = "set local enable_seqscan = off; set local statement_timeout = '10s'";

/// What a call came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// So many deadlines were moved.
    pub moved: u64,
    /// There may be more to do at once.
    pub has_more: bool,
}

/// Moves the deadlines of remittances that are not sent yet to where changed subscriptions put them, those of a few buyers.
/// Until that is done, a claim goes by the new deadline.
///
/// # Errors
/// What each of them would have met.
pub async fn move_deadlines(database: &Database) -> Result<Followed, Error> {
    let rows = asked(database, &TAKE, &[&i64::try_from(MARKS).unwrap_or(i64::MAX)]).await?;
    let marks = rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>, Error>>()?;
    let mut followed = Followed::default();
    let mut few = marks.len();
    let mut left = marks.as_slice();
    while !left.is_empty() {
        let (these, others) = left.split_at(few.min(left.len()));
        match move_marked(database, these).await {
            // so many buyers have too many hours to be looked at together
            Err(error) if error.blame() == Blame::Time && few > 1 => few = (few / 4).max(1),
            Err(error) => return Err(error),
            Ok((moved, done)) => {
                followed.moved += moved;
                followed.has_more |= moved > 0 || done > 0 && marks.len() == MARKS;
                left = others;
            }
        }
    }
    if !marks.is_empty() {
        // another worker has moved what this one found locked
        setback::over(database, STEP).await;
    }
    Ok(followed)
}

/// Moves deadlines of the buyers of these marks, a page of them; returns how many, and of how many marks nothing is behind.
async fn move_marked(database: &Database, marks: &[i64]) -> Result<(u64, i64), Error> {
    let setbacks = Setbacks::read(database, STEP).await;
    let tried = [setbacks.numbers(true), setbacks.numbers(false)].concat();
    let behind = asked(database, &BEHIND, &[&marks, &tried, &PAGE]).await?;
    let behind = behind.iter().map(Remittance::read).collect::<Result<Vec<_>, Error>>()?;
    let mut moving = Moving::default();
    if !behind.is_empty() {
        turn_after(database, &setbacks, behind, &mut Share::of(SHARE), &mut moving).await?;
    }
    let done = asked(database, &DONE, &[&marks]).await?.first().expect("a count is one row").try_get(0)?;
    Ok((moving.moved, done))
}

async fn asked(database: &Database, query: &Query, params: Params<'_>) -> Result<Vec<tokio_postgres::Row>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, LIMITS).await?;
    let rows = tx.rows(query, params).await;
    tx.end(rows).await
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
