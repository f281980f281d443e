//! Setbacks: what did not go through, by step and member, so that the next round takes it last, locks it alone or leaves it
//! until its time, and so that people see what is locked out or set aside, and why.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Params, Query, query};
use crate::rounds::Round;
use crate::{Database, side};

const READ: Query = query!("setback_read", [TEXT]);
const LOCKED: Query = query!("setback_locked", [TEXT, TEXT_ARRAY, INT4_ARRAY, TEXT_ARRAY, TEXT]);
const FAILED: Query = query!("setback_failed", [TEXT, TEXT, INT4, TEXT, TEXT, TEXT, BOOL]);
const PASSED: Query = query!("setback_passed", [TEXT, TEXT_ARRAY]);
const OVER: Query = query!("setback_over", [TEXT]);
const STEPS: Query = query!("setback_steps", []);
const FORGET: Query = query!("setback_forget", [TEXT]);
const HOLD_OFF: Query = query!("setback_hold_off", [TEXT, TEXT, FLOAT8]);
const HOLDERS: Query = query!("setback_holders", [INT4]);
const STEP_FAILED: Query = query!("step_failed", [TEXT, UUID, INT4, TEXT, TEXT]);
const STEP_WENT_WELL: Query = query!("step_went_well", [TEXT, UUID]);

/// What was skipped so often is locked alone, waiting for its holder.
const ALONE_AFTER: i32 = 2;
/// Who locks a member alone waits so long at most.
pub const LOCK_WAIT: Duration = Duration::from_secs(1);
/// A lock that is not had after this time has a holder worth naming.
const NAMED_AFTER: Duration = Duration::from_millis(200);

/// What a step handles one of.
pub trait Member: Clone + PartialEq {
    /// Its number or id.
    fn id(&self) -> String;
    /// Its destination, if it has one.
    fn destination(&self) -> Option<i32> {
        None
    }
    /// Its org, where the step knows it.
    fn org(&self) -> Option<String> {
        None
    }
    /// Its deadline is near: it is locked alone at once.
    fn is_urgent(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy)]
struct Setback {
    skipped: i32,
    is_its_time: bool,
    /// The longer ago it was waited for alone, or else tried, the smaller.
    rank: usize,
}

/// What a step's rounds before left behind.
#[derive(Debug)]
pub struct Setbacks {
    step: &'static str,
    by_member: HashMap<String, Setback>,
}

/// Candidates of a round in the order in which they are to be tried.
#[derive(Debug)]
pub struct Order<M> {
    /// First these, in shares, skipping what is locked.
    pub together: Vec<M>,
    /// Then these, one by one, waiting [`LOCK_WAIT`] at most for each lock.
    pub alone: Vec<M>,
}

impl Setbacks {
    /// What kept members of a step. What cannot be read counts as empty: then all are tried together, in their order.
    pub async fn read(database: &Database, step: &'static str) -> Self {
        let rows = side::ask(database, &READ, &[&step]).await.unwrap_or_default();
        let read = |(rank, row): (usize, &Row)| {
            let setback = Setback { skipped: row.get("skipped"), is_its_time: row.get("is_its_time"), rank };
            (row.get("member"), setback)
        };
        Self { step, by_member: rows.iter().enumerate().map(read).collect() }
    }

    /// Members whose time to be tried has come, or those whose has not; the one that was tried longest ago first.
    pub(crate) fn members(&self, is_its_time: bool) -> Vec<&str> {
        let kept = self.by_member.iter().filter(|(_, setback)| setback.is_its_time == is_its_time);
        let mut members: Vec<_> = kept.map(|(member, setback)| (setback.rank, member.as_str())).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, member)| member).collect()
    }

    /// The same of members that are numbers.
    pub(crate) fn numbers(&self, is_its_time: bool) -> Vec<i64> {
        self.members(is_its_time).iter().filter_map(|member| member.parse().ok()).collect()
    }

    /// The step.
    pub(crate) const fn step(&self) -> &'static str {
        self.step
    }

    /// True when the rounds before left nothing behind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_member.is_empty()
    }

    /// Orders candidates: those without a setback first, as they come; what was skipped or failed before behind them; what
    /// was skipped twice, or once and is urgent, alone. What failed and whose time has not come is left out.
    #[must_use]
    pub fn order<M: Member>(&self, candidates: Vec<M>) -> Order<M> {
        let (mut together, mut behind, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for member in candidates {
            match self.by_member.get(&member.id()) {
                None => together.push(member),
                Some(setback) if !setback.is_its_time => {}
                Some(setback) if setback.skipped >= if member.is_urgent() { 1 } else { ALONE_AFTER } => {
                    alone.push(member);
                }
                Some(_) => behind.push(member),
            }
        }
        together.extend(behind);
        // in turns: who keeps some of them for long must not keep the rest from being tried
        alone.sort_by_key(|member: &M| (!member.is_urgent(), self.by_member.get(&member.id()).map(|kept| kept.rank)));
        Order { together, alone }
    }

    /// Notes what a round came to. `holder`: who held what was locked alone. What cannot be noted is found again, and
    /// noted, by a later round.
    pub async fn note<M: Member>(&self, database: &Database, round: &Round<M>, holder: Option<&str>) {
        let recovered: Vec<String> =
            round.passed.iter().map(Member::id).filter(|id| self.by_member.contains_key(id)).collect();
        if !recovered.is_empty() {
            side::ask(database, &PASSED, &[&self.step, &recovered]).await;
        }
        if !round.skipped.is_empty() {
            let ids: Vec<String> = round.skipped.iter().map(Member::id).collect();
            let destinations: Vec<Option<i32>> = round.skipped.iter().map(Member::destination).collect();
            let orgs: Vec<Option<String>> = round.skipped.iter().map(Member::org).collect();
            side::ask(database, &LOCKED, &[&self.step, &ids, &destinations, &orgs, &holder]).await;
        }
        let others_passed = !round.passed.is_empty();
        for (member, error) in &round.failed {
            let (id, code, reason) = (member.id(), error.code(), error.to_string());
            let of = (member.destination(), member.org());
            let params: Params<'_> = &[&self.step, &id, &of.0, &of.1, &code, &reason, &others_passed];
            if side::ask(database, &FAILED, params).await.is_none() {
                // nor could the others: each would cost its wait
                break;
            }
        }
    }
}

/// Drops what is noted of those members of a step with which it has nothing to do any more, whoever saw to that.
pub async fn over(database: &Database, step: &str) {
    side::ask(database, &OVER, &[&step]).await;
}

/// Drops what is noted of members that are candidates no more, each step's by itself: one that takes long keeps no other's.
pub async fn forget(database: &Database) {
    for row in side::ask(database, &STEPS, &[]).await.unwrap_or_default() {
        side::ask(database, &FORGET, &[&row.get::<_, &str>("step")]).await;
    }
}

/// Keeps new folds off a member that is about to be locked alone: they share its lock and would never let go of it.
pub async fn hold_off(database: &Database, step: &str, member: &str, length: Duration) {
    side::ask(database, &HOLD_OFF, &[&step, &member, &(length.as_secs_f64() * 1000.0)]).await;
}

/// Waits for `locking`, which is what the session with this process id does; if it has to wait, says for whom.
pub async fn naming_holder<T>(database: &Database, pid: i32, locking: impl Future<Output = T>) -> (T, Option<String>) {
    let mut locking = std::pin::pin!(locking);
    if let Ok(done) = tokio::time::timeout(NAMED_AFTER, &mut locking).await {
        return (done, None);
    }
    // what it does before it waits may take a while
    let asking = async {
        loop {
            let rows = tokio::time::timeout(LOCK_WAIT, database.one(&HOLDERS, &[&pid])).await.ok()?.ok()?;
            let named = rows.first()?.try_get::<_, Option<String>>(0).ok()?;
            if named.is_some() {
                return named;
            }
            tokio::time::sleep(NAMED_AFTER).await;
        }
    };
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        named = &mut asking => (locking.await, named),
        done = &mut locking => (done, None),
    }
}

/// Notes that a step has failed as a whole, so many times in a row; `false`: it could not be noted.
pub async fn step_failed(
    database: &Database,
    worker: Uuid,
    step: &str,
    times: i32,
    (code, message): (Option<&str>, &str),
) -> bool {
    side::ask(database, &STEP_FAILED, &[&step, &worker, &times, &code, &message]).await.is_some()
}

/// Notes that a step goes well again; `false`: it could not be noted.
pub async fn step_went_well(database: &Database, worker: Uuid, step: &str) -> bool {
    side::ask(database, &STEP_WENT_WELL, &[&step, &worker]).await.is_some()
}
