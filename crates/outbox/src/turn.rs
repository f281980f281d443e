//! A turn of a step: one round over its candidates, behind them what the rounds before left, then one by one what was
//! skipped too often. What went through, is locked or fails is noted for the next turn, and for people.

use std::time::{Duration, Instant};

use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::{Round, Share, Trying};
use crate::setback::{self, LOCK_WAIT, Member, Setbacks};
use crate::{Database, Error, gate};

const PID: Query = query!("session_pid", []);

/// Who waits for so many locks, one after the other, keeps the others of the turn waiting.
pub(crate) const ALONE_MOST: usize = 2;

/// After so many members, one by one, were waited for in vain, it is looked whether another session keeps a whole table.
const IN_VAIN: usize = 16;

/// How a transaction takes its locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locking {
    /// Skips what another session holds; where it must wait, for a moment.
    Skip,
    /// One member, for which it waits [`LOCK_WAIT`] at most.
    Wait,
}

/// Limits of a share's transaction. A lock that cannot be skipped is waited for less long than Postgres waits before it
/// looks for a deadlock. A share that meets its limit of time is tried in small parts, down to one member, which may take longer.
const OF_MANY: &str = "set local lock_timeout = '200ms'; set local statement_timeout = '1s'";
const OF_ONE: &str = "set local lock_timeout = '200ms'; set local statement_timeout = '120s'";

/// What a step does in one transaction.
pub(crate) trait Work<M>: Send {
    /// Locks these, as [`Locking`] says, does what there is to do, and returns those that it skipped because another
    /// session holds them.
    fn work(&mut self, tx: &Tx<'_>, part: &[M], locking: Locking)
    -> impl Future<Output = Result<Vec<M>, Error>> + Send;

    /// Members of the last transaction that it left for the next one, because another member was in their way.
    fn left(&mut self) -> Vec<M> {
        Vec::new()
    }
}

/// Takes a turn.
///
/// # Errors
/// What everybody would have met; what had gone through by then has.
pub(crate) async fn turn<M: Member + Send + Sync>(
    database: &Database,
    step: &'static str,
    candidates: Vec<M>,
    share: &mut Share,
    work: &mut impl Work<M>,
) -> Result<Round<M>, Error> {
    if candidates.is_empty() {
        return Ok(Round::default());
    }
    turn_after(database, &Setbacks::read(database, step).await, candidates, share, work).await
}

/// The same, where what the rounds before left is known already.
///
/// # Errors
/// As [`turn`].
pub(crate) async fn turn_after<M: Member + Send + Sync>(
    database: &Database,
    setbacks: &Setbacks,
    candidates: Vec<M>,
    share: &mut Share,
    work: &mut impl Work<M>,
) -> Result<Round<M>, Error> {
    let order = setbacks.order(candidates);
    // what was skipped often is tried with the others first: it may be free by now
    let mut alone = order.alone;
    let first = order.together.into_iter().chain(alone.iter().cloned());
    let (mut trying, mut in_vain) = (Trying::of(first.collect()), 0);
    while let Some(part) = trying.next(share) {
        let began = Instant::now();
        let result = together(database, &part, work).await;
        let left = work.left();
        // of what can be skipped a lock is never waited for: this one may be of all
        if part.len() == 1 && result.as_ref().is_err_and(|error| error.blame() == Blame::Lock) && trying.is_in_vain() {
            in_vain += 1;
            if in_vain % IN_VAIN == 0
                && let Some(shut) = gate::table_kept(database).await
            {
                trying.give_up(shut);
                break;
            }
        }
        if result.is_err() || left.is_empty() {
            trying.tried(part, result, began.elapsed(), share);
        } else {
            let tried = part.into_iter().filter(|member| !left.contains(member)).collect();
            trying.tried(tried, result, began.elapsed(), share);
            trying.again(left);
        }
    }
    let mut all = trying.end();
    alone.retain(|member| all.skipped.contains(member));
    alone.truncate(ALONE_MOST);
    all.skipped.retain(|member| !alone.contains(member));
    setbacks.note(database, &all, None).await;
    for member in alone {
        if all.broken.is_some() {
            break;
        }
        setback::hold_off(database, setbacks.step(), &member.id(), LOCK_WAIT * 2).await;
        let mut one = Trying::of(vec![member.clone()]);
        let (result, holder) = locked_alone(database, std::slice::from_ref(&member), work).await;
        one.tried(vec![member], result, Duration::ZERO, &mut Share::of(1));
        let one = one.end();
        setbacks.note(database, &one, holder.as_deref()).await;
        all.passed.extend(one.passed);
        all.skipped.extend(one.skipped);
        all.failed.extend(one.failed);
        all.broken = one.broken;
    }
    match all.broken.take() {
        Some(error) => Err(gate::named(database, error).await),
        None => Ok(all),
    }
}

/// Does the work on a share, skipping what is locked.
async fn together<M>(database: &Database, part: &[M], work: &mut impl Work<M>) -> Result<Vec<M>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, if part.len() > 1 { OF_MANY } else { OF_ONE }).await?;
    let skipped = work.work(&tx, part, Locking::Skip).await;
    tx.end(skipped).await
}

/// Does the work on one member, waiting for its locks, and says who held them.
async fn locked_alone<M>(
    database: &Database,
    part: &[M],
    work: &mut impl Work<M>,
) -> (Result<Vec<M>, Error>, Option<String>) {
    let mut holder = None;
    let result = async {
        let mut session = database.session().await?;
        let settings =
            format!("set local lock_timeout = {}; set local statement_timeout = '120s'", LOCK_WAIT.as_millis());
        let tx = Tx::begin(&mut session, &settings).await?;
        let pid = tx.rows(&PID, &[]).await?.first().expect("one row").try_get(0)?;
        let (result, held_by) = setback::naming_holder(database, pid, work.work(&tx, part, Locking::Wait)).await;
        holder = held_by;
        tx.end(result).await
    }
    .await;
    (result, holder)
}
