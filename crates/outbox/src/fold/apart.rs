//! What is left out of the ordinary folds: orgs of which another session keeps something, and entries that failed. They are
//! tried again apart, one by one, so that nobody else waits with them.

use std::collections::HashMap;
use std::time::Instant;

use uuid::Uuid;

use super::halves::{self, Part, Queue, ROUND, STEP};
use super::taking::{self, Place};
use super::{Done, Failed, Folded, Locking, fold_in, pick_limits};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::Round;
use crate::setback::{Setbacks, naming_holder};
use crate::workers::{Folding, set_folding};
use crate::{Database, Error, side};

const TAKE_ON: Query = query!("setback_take_on", [TEXT]);
const PUT_DOWN: Query = query!("setback_put_down", [TEXT, TEXT_ARRAY]);
const WAITS_STILL: Query = query!("fold_waits_still", [TEXT, UUID]);
const SHARD: Query = query!("fold_shard", [TEXT]);
pub(super) const PID: Query = query!("session_pid", []);

/// What was skipped so often is locked alone, waiting for its holder.
const ALONE_AFTER: i32 = 2;

/// What a worker remembers between folds apart: behind which entry it goes on in each org, so that what stays locked at an
/// org's head, however much of it there is, keeps none of the org's others from its turn.
#[derive(Debug, Default)]
pub struct Places(HashMap<String, Uuid>);

impl Places {
    /// Behind which to look.
    pub(super) fn of(&self, member: &str) -> Uuid {
        self.0.get(member).copied().unwrap_or_default()
    }

    /// Goes on behind this entry in what `postmeter.setback` calls so; `None`: from the beginning again.
    pub fn go_on(&mut self, member: &str, behind: Option<Uuid>) {
        match behind {
            Some(behind) => drop(self.0.insert(member.to_owned(), behind)),
            None => drop(self.0.remove(member)),
        }
    }
}

/// A member that did not go through before.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// Its name in `postmeter.setback`.
    pub member: String,
    pub org: String,
    pub skipped: i32,
}

impl Kept {
    /// Whether it is to be locked alone, waiting for whoever keeps it.
    pub(super) const fn is_urgent(&self) -> bool {
        self.skipped >= ALONE_AFTER
    }
}

/// What became of a member.
pub(super) enum Tried {
    /// It went through, or nothing of it waits.
    Passed(Folded),
    /// Another session keeps something of it; who, if that is known.
    Locked(Folded, Option<String>),
    /// It failed alone.
    Failed(Error),
    /// Somebody else folds it at this moment.
    Busy,
}

/// A round of what a step kept: as long as it lasts, each member is tried apart.
pub(super) struct ApartRun {
    step: &'static str,
    others_passed: bool,
    setbacks: Setbacks,
    left: std::vec::IntoIter<Kept>,
    began: Instant,
    put_down: Vec<String>,
    folded: Folded,
}

impl ApartRun {
    /// Takes on what the step kept, if it is time. `others_passed`: something else went through since it was last tried.
    pub(super) async fn take_on(database: &Database, step: &'static str, others_passed: bool) -> Option<Self> {
        let mut taken = Vec::new();
        for row in side::ask(database, &TAKE_ON, &[&step]).await.unwrap_or_default() {
            let org: Option<String> = row.get("org");
            taken.push(Kept { member: row.get("member"), org: org.unwrap_or_default(), skipped: row.get("skipped") });
        }
        if taken.is_empty() {
            return None;
        }
        let (setbacks, left) = (Setbacks::read(database, step).await, taken.into_iter());
        let (began, folded) = (Instant::now(), Folded::default());
        Some(Self { step, others_passed, setbacks, left, began, put_down: Vec::new(), folded })
    }

    /// Whose turn it is.
    pub(super) fn next(&mut self) -> Option<Kept> {
        if self.began.elapsed() > ROUND {
            return None;
        }
        self.left.next()
    }

    /// When the round is over.
    fn until(&self) -> Instant {
        self.began + ROUND
    }

    /// Notes what became of it.
    pub(super) async fn came(&mut self, database: &Database, kept: &Kept, tried: Tried) {
        let part = Part::Usage { member: kept.member.clone(), org: kept.org.clone() };
        let passed = self.others_passed.then_some(Part::Other).into_iter().collect();
        let (mut round, mut holder) = (Round { passed, ..Round::default() }, None);
        match tried {
            Tried::Passed(folded) => {
                self.folded = self.folded.and(folded);
                round.passed.push(part);
            }
            Tried::Locked(folded, who) => {
                self.folded = self.folded.and(folded);
                (round.skipped, holder) = (vec![part], who);
                self.put_down.push(kept.member.clone());
            }
            Tried::Failed(error) => {
                self.folded.failed += 1;
                round.failed.push((part, error));
            }
            Tried::Busy => self.put_down.push(kept.member.clone()),
        }
        self.setbacks.note(database, &round, holder.as_deref()).await;
    }

    /// Lets others try what is left, now or after five seconds; returns what went through.
    pub(super) async fn end(mut self, database: &Database) -> Folded {
        self.put_down.extend(self.left.map(|kept| kept.member));
        side::ask(database, &PUT_DOWN, &[&self.step, &self.put_down]).await;
        self.folded
    }
}

/// Folds what did not go through before, apart from everything else: at most so many entries of an org in a transaction.
/// `others_passed`: ordinary folds went through since the last time.
///
/// # Errors
/// Only what every entry would meet.
pub async fn fold_apart(
    database: &Database,
    worker: Option<Uuid>,
    places: &mut Places,
    (most, others_passed): (usize, bool),
) -> Result<Folded, Error> {
    let Some(mut again) = ApartRun::take_on(database, STEP, others_passed).await else { return Ok(Folded::default()) };
    // one is waited for in a round; of the others whatever is free goes on, however many are locked
    let mut may_wait = true;
    while let Some(kept) = again.next() {
        let tried = match kept.member.parse() {
            Ok(usage) => again_usage(database, worker, usage, &kept.org).await?,
            Err(_) => {
                let waits = kept.is_urgent() && std::mem::take(&mut may_wait);
                let org = Org { name: &kept.org, member: &kept.member, most, until: again.until() };
                again_org(database, worker, org, waits, places).await?
            }
        };
        again.came(database, &kept, tried).await;
    }
    Ok(again.end(database).await)
}

async fn again_usage(database: &Database, worker: Option<Uuid>, usage: Uuid, org: &str) -> Result<Tried, Error> {
    let shard = database.one(&SHARD, &[&org]).await?.first().expect("one row").try_get(0)?;
    match attempt(database, worker, Locking::APART, Pick::One(Place { shard, id: usage })).await?.0 {
        Attempt::Nothing => nothing(database, org, Some(usage)).await,
        Attempt::Done(done, _) if done.locked.is_empty() => Ok(Tried::Passed(done.folded)),
        Attempt::Done(done, _) => {
            // it goes on as one of its org's
            halves::note_locked(database, Queue::Outbox, &done.locked).await;
            Ok(Tried::Passed(done.folded))
        }
        Attempt::Failed(_, error) if error.blame() == Blame::Lock => Ok(Tried::Busy),
        Attempt::Failed(_, error) => Ok(Tried::Failed(error)),
    }
}

/// An org to be tried again.
#[derive(Clone, Copy)]
struct Org<'a> {
    name: &'a str,
    member: &'a str,
    most: usize,
    until: Instant,
}

/// Goes through the org's entries in parts, from where it stopped the last time: behind what is locked the rest goes on.
async fn again_org(
    database: &Database,
    worker: Option<Uuid>,
    org: Org<'_>,
    mut waits: bool,
    places: &mut Places,
) -> Result<Tried, Error> {
    let (mut folded, mut holder, mut is_locked) = (Folded::default(), None, false);
    loop {
        let behind = places.of(org.member);
        let (tried, named) = again_part(database, worker, org, behind, std::mem::take(&mut waits)).await?;
        holder = holder.or(named);
        let entries = match tried {
            Attempt::Nothing if behind.is_nil() => return nothing(database, org.name, None).await,
            Attempt::Nothing => Vec::new(),
            Attempt::Done(done, entries) => {
                (folded, is_locked) = (folded.and(done.folded), is_locked || !done.locked.is_empty());
                entries
            }
            Attempt::Failed(entries, error) if error.blame() == Blame::Lock => {
                is_locked = true;
                entries
            }
            Attempt::Failed(entries, _) => {
                let halves = halves::fold_in_halves(database, &entries).await?;
                return Ok(Tried::Passed(folded.and(halves)));
            }
        };
        if behind.is_nil() && !is_locked {
            return Ok(Tried::Passed(folded));
        }
        let last = entries.iter().map(|entry| entry.id).max().filter(|_| entries.len() >= org.most);
        places.go_on(org.member, last);
        // it began in the middle, and what was locked is before that: from the beginning, if there is time
        if (last.is_none() && is_locked) || Instant::now() >= org.until {
            return Ok(Tried::Locked(folded, holder));
        }
    }
}

/// A part of an org's entries; who kept it waiting, if it waited.
async fn again_part(
    database: &Database,
    worker: Option<Uuid>,
    org: Org<'_>,
    after: Uuid,
    waits: bool,
) -> Result<(Attempt, Option<String>), Error> {
    let pick = Pick::Org(org.name, after, org.most);
    let (mut tried, mut holder) = (Attempt::Nothing, None);
    if waits {
        (tried, holder) = attempt(database, worker, Locking::ALONE, pick).await?;
    }
    // whatever of it is free goes on all the same
    if matches!(&tried, Attempt::Nothing) || matches!(&tried, Attempt::Failed(_, error) if error.blame() == Blame::Lock)
    {
        (tried, _) = attempt(database, worker, Locking::APART, pick).await?;
    }
    Ok((tried, holder))
}

/// There was nothing to pick: nothing waits, or somebody else has it.
async fn nothing(database: &Database, org: &str, usage: Option<Uuid>) -> Result<Tried, Error> {
    let waits: bool = database.one(&WAITS_STILL, &[&org, &usage]).await?.first().expect("one row").try_get(0)?;
    Ok(if waits { Tried::Busy } else { Tried::Passed(Folded::default()) })
}

/// What is to be folded apart.
#[derive(Clone, Copy)]
enum Pick<'a> {
    One(Place),
    /// So many entries of this org at most.
    Org(&'a str, Uuid, usize),
}

enum Attempt {
    /// There was nothing to pick.
    Nothing,
    /// With what it had picked.
    Done(Done, Vec<Place>),
    /// With what it had picked. Only what one of the entries, or another session, can be to blame for.
    Failed(Vec<Place>, Error),
}

/// One transaction; and who kept it waiting, if it waited.
async fn attempt(
    database: &Database,
    worker: Option<Uuid>,
    locking: Locking,
    pick: Pick<'_>,
) -> Result<(Attempt, Option<String>), Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, &pick_limits()).await?;
    let picked = match pick {
        Pick::One(place) => taking::pick_these(&tx, &[place]).await?,
        Pick::Org(org, after, most) => taking::pick_org(&tx, org, after, most).await?,
    };
    if picked.is_empty() {
        return Ok((Attempt::Nothing, None));
    }
    if let Some(worker) = worker {
        let org = match pick {
            Pick::One(_) => None,
            Pick::Org(org, ..) => Some(org.to_owned()),
        };
        set_folding(database, worker, &Folding::Apart { spans: taking::spans(&picked), org }).await?;
    }
    let folding = fold_in(&tx, &picked, locking, async || {});
    let (folded, holder) = if locking.is_free {
        (folding.await, None)
    } else {
        let pid = tx.rows(&PID, &[]).await?.first().expect("one row").try_get(0)?;
        naming_holder(database, pid, folding).await
    };
    match folded {
        // nothing went through: its entries stay where they are, instead of being written anew at each try
        Ok(done) if done.folded.through() == 0 && !done.locked.is_empty() => {
            tx.roll_back().await?;
            Ok((Attempt::Done(done, taking::entries(&picked)), holder))
        }
        Ok(done) => tx.commit().await.map(|()| (Attempt::Done(done, taking::entries(&picked)), holder)),
        Err(Failed::Rows(error)) if error.blame() != Blame::Step => {
            tx.roll_back().await?;
            Ok((Attempt::Failed(taking::entries(&picked), error), holder))
        }
        Err(failed) => Err(failed.into()),
    }
}
