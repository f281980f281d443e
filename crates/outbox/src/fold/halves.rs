//! What comes after a fold that failed: its entries are folded in halves, down to those that fail alone. They are kept by
//! name (`postmeter.setback`), and so are the orgs of which another session keeps something.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::taking::{self, Place};
use super::{Done, Failed, Folded, LOOK_UPS, Locking, fold_in, shadow};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::rounds::{Round, Share, Trying};
use crate::setback::{Member, Setbacks};
use crate::{Database, Error};

const ORGS: Query = query!("fold_orgs", [INT2_ARRAY, UUID_ARRAY]);

/// The step's name in `postmeter.setback`.
pub(super) const STEP: &str = "fold";
/// When so many members have failed alone, or were locked, and none has passed, the rest is left for the next round.
const IN_VAIN: usize = 16;

/// An entry to be folded in halves.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub place: Place,
    pub org: String,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.place.id == other.place.id
    }
}

/// What a fold keeps by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// An entry that fails, as `postmeter.setback` calls it.
    Usage { member: String, org: String },
    /// An org of which another session keeps something.
    Org { member: String, org: String },
    /// Whatever was never kept.
    Other,
}

impl Part {
    /// `at`: empty, or a shadow's number with a colon.
    pub(super) fn usage(at: &str, usage: Uuid, org: &str) -> Self {
        Self::Usage { member: format!("{at}{usage}"), org: org.to_owned() }
    }

    pub(super) fn org(at: &str, org: &str) -> Self {
        Self::Org { member: format!("{at}org:{org}"), org: org.to_owned() }
    }
}

impl Member for Part {
    fn id(&self) -> String {
        match self {
            Self::Usage { member, .. } | Self::Org { member, .. } => member.clone(),
            Self::Other => String::new(),
        }
    }

    fn org(&self) -> Option<String> {
        match self {
            Self::Usage { org, .. } | Self::Org { org, .. } => Some(org.clone()),
            Self::Other => None,
        }
    }
}

/// Notes orgs of which another session keeps something.
pub(super) async fn note_locked(database: &Database, queue: Queue, orgs: &[String]) {
    if orgs.is_empty() {
        return;
    }
    let at = queue.at();
    let skipped = orgs.iter().map(|org| Part::org(&at, org)).collect();
    let locked = Round { skipped, ..Round::default() };
    Setbacks::read(database, queue.step()).await.note(database, &locked, None).await;
}

/// Folds entries in halves, and notes what does not go through.
///
/// # Errors
/// Only what every entry would meet.
pub(super) async fn fold_in_halves(database: &Database, places: &[Place]) -> Result<Folded, Error> {
    let (shards, ids) = taking::columns(places);
    let mut entries = Vec::with_capacity(places.len());
    for row in database.one(&ORGS, &[&shards, &ids]).await? {
        let place = Place { shard: row.try_get("shard")?, id: row.try_get("id")? };
        entries.push(Entry { place, org: row.try_get("org")? });
    }
    in_halves(database, Queue::Outbox, entries).await
}

async fn fold_these(database: &Database, part: &[Entry]) -> Result<Done, Failed> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, LOOK_UPS).await?;
    let wanted: Vec<Place> = part.iter().map(|entry| entry.place).collect();
    // what others have taken meanwhile is theirs
    let picked = taking::pick_these(&tx, &wanted).await?;
    match fold_in(&tx, &picked, Locking::BRIEF, async || {}).await {
        Ok(done) => tx.commit().await.map(|()| done).map_err(Failed::Rows),
        Err(failed) => {
            tx.roll_back().await?;
            Err(failed)
        }
    }
}

/// Where entries wait.
#[derive(Debug, Clone, Copy)]
pub(super) enum Queue {
    Outbox,
    /// What was given to this shadow.
    Shadow(i32),
}

impl Queue {
    /// The step's name in `postmeter.setback`.
    pub(super) const fn step(self) -> &'static str {
        match self {
            Self::Outbox => STEP,
            Self::Shadow(_) => shadow::STEP,
        }
    }

    /// How the names of its members begin there.
    pub(super) fn at(self) -> String {
        match self {
            Self::Outbox => String::new(),
            Self::Shadow(shadow) => format!("{shadow}:"),
        }
    }

    async fn fold(self, database: &Database, part: &[Entry]) -> Result<Done, Failed> {
        match self {
            Self::Outbox => fold_these(database, part).await,
            Self::Shadow(shadow) => shadow::fold_these(database, shadow, part).await,
        }
    }
}

/// The same for entries of whichever queue.
pub(super) async fn in_halves(database: &Database, queue: Queue, entries: Vec<Entry>) -> Result<Folded, Error> {
    let (mut folded, mut has_passed, mut in_vain) = (Folded::default(), false, 0);
    // the whole of it has failed already
    let mut share = Share::of(entries.len().div_ceil(2));
    let mut halves = Trying::of(entries);
    while has_passed || in_vain < IN_VAIN {
        let Some(part) = halves.next(&share) else { break };
        let began = Instant::now();
        let result = match queue.fold(database, &part).await {
            Ok(done) => {
                has_passed |= done.folded.through() > 0;
                folded = folded.and(done.folded);
                Ok(part.iter().filter(|entry| done.locked.contains(&entry.org)).cloned().collect())
            }
            Err(Failed::Gate(error)) => return Err(crate::gate::named(database, error).await),
            Err(Failed::Rows(error)) => {
                let is_of_one_org = part.windows(2).all(|pair| pair[0].org == pair[1].org);
                let is_locked = error.blame() == Blame::Lock && is_of_one_org;
                in_vain += usize::from(is_locked || part.len() == 1);
                if is_locked { Ok(part.clone()) } else { Err(error) }
            }
        };
        halves.tried(part, result, began.elapsed(), &mut share);
    }
    let halves = halves.end();
    folded.failed += halves.failed.len();
    let passed = has_passed.then_some(Part::Other);
    note(database, queue, halves.skipped, halves.failed, passed).await;
    halves.broken.map_or(Ok(folded), Err)
}

async fn note(
    database: &Database,
    queue: Queue,
    skipped: Vec<Entry>,
    failed: Vec<(Entry, Error)>,
    passed: Option<Part>,
) {
    let (step, at) = (queue.step(), queue.at());
    let mut orgs: Vec<String> = skipped.into_iter().map(|entry| entry.org).collect();
    orgs.sort_unstable();
    orgs.dedup();
    let failed: Vec<(Part, Error)> = failed
        .into_iter()
        .map(|(entry, error)| {
            tracing::warn!(usage = %entry.place.id, step, %error, "a usage failed alone; it is kept by name, and the others go on");
            (Part::usage(&at, entry.place.id, &entry.org), error)
        })
        .collect();
    if orgs.is_empty() && failed.is_empty() {
        return;
    }
    let skipped = orgs.iter().map(|org| Part::org(&at, org)).collect();
    let round = Round { passed: passed.into_iter().collect(), skipped, failed, broken: None };
    Setbacks::read(database, step).await.note(database, &round, None).await;
}

/// How long a round of what did not go through before may take.
pub(super) const ROUND: Duration = Duration::from_secs(2);
