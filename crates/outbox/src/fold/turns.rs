//! Whose turn it is: tenants in turn, and where to begin looking in each shard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::taking::{Picked, Place};

/// How many shards the outbox has (`outbox.shard`).
const SHARDS: i16 = 1024;

/// The scan floors are forgotten so often: ids are not made in the order of their commits, so what was committed late
/// below a floor is found then.
const FLOORS_FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// A worker's memory between folds: which shard comes next, and after which id to look in each. Dead entries of the past
/// are not walked over again, even while somebody's snapshot keeps them.
#[derive(Debug)]
pub struct Turns {
    first: i16,
    full: usize,
    floors: HashMap<i16, Uuid>,
    forgotten_at: Instant,
    /// Under which traces the last fold's usages were recorded; none: nobody wants to know.
    traced: Option<Vec<String>>,
}

/// What a fold took, by shard: how many entries, and the last.
#[derive(Debug)]
pub(super) struct Took {
    entries: usize,
    shards: HashMap<i16, (usize, Uuid)>,
}

impl Took {
    pub(super) fn of(picked: &[Picked]) -> Self {
        let mut shards: HashMap<i16, (usize, Uuid)> = HashMap::new();
        for &Picked { entry: Place { shard, id }, .. } in picked {
            let (count, last) = shards.entry(shard).or_insert((0, id));
            *count += 1;
            *last = (*last).max(id);
        }
        Self { entries: picked.len(), shards }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { first: 0, full: 1, floors: HashMap::new(), forgotten_at: Instant::now(), traced: None }
    }
}

/// Usages of a fold whose traces are looked up at most.
const TRACED_MAX: usize = 64;

impl Turns {
    /// Whether the next folds look up under which traces their usages were recorded.
    pub fn trace(&mut self, wanted: bool) {
        self.traced = wanted.then(Vec::new);
    }

    /// Traces of the last fold, of its first usages only.
    #[must_use]
    pub fn traced(&self) -> &[String] {
        self.traced.as_deref().unwrap_or_default()
    }

    pub(super) fn traced_max(&self) -> usize {
        if self.traced.is_some() { TRACED_MAX } else { 0 }
    }

    pub(super) fn found(&mut self, traces: Vec<String>) {
        self.traced = Some(traces);
    }

    /// Shards in the order of their turns.
    pub(super) fn shards(&self) -> Vec<i16> {
        (0..SHARDS).map(|n| (self.first + n) % SHARDS).collect()
    }

    /// Per shard of [`Self::shards`], the id after which to look.
    pub(super) fn floors(&self) -> Vec<Uuid> {
        self.shards().iter().map(|shard| self.floors.get(shard).copied().unwrap_or(Uuid::nil())).collect()
    }

    /// At most so many entries of one shard: always less than a whole fold, so that one tenant never fills it, and less
    /// the more shards had their fill last time.
    pub(super) fn share(&self, most: usize) -> usize {
        (most / (self.full + 1)).max(16)
    }

    /// Remembers what a fold took, once it is committed.
    pub(super) fn took(&mut self, took: Took, share: usize, most: usize) {
        self.full = took.shards.values().filter(|(count, _)| *count >= share).count().max(1);
        if took.entries >= most {
            // the shards after the last one served go first next time
            let order = self.shards();
            if let Some(last) = order.iter().rposition(|shard| took.shards.contains_key(shard)) {
                self.first = (order[last] + 1) % SHARDS;
            }
        }
        if self.forgotten_at.elapsed() >= FLOORS_FORGOTTEN_AFTER {
            self.forget_floors();
        } else {
            self.floors.extend(took.shards.into_iter().map(|(shard, (_, last))| (shard, last)));
        }
    }

    /// Looks everywhere again, next time.
    pub fn forget_floors(&mut self) {
        self.floors.clear();
        self.forgotten_at = Instant::now();
    }
}
