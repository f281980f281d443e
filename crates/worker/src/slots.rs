//! Slots of a quota: nothing is claimed long before its slot, and every call starts at its own.

use std::time::{Duration, Instant};

use outbox::maintain::{free_slots, take_slots};
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::directory::Served;

/// Nothing is claimed that long before its slot.
const AHEAD: Duration = Duration::from_secs(2);
/// A worker that waits for a slot looks so often at least, and never more often than at the second.
const LOOKS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(10));

/// For how many calls may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// So many calls begin soon.
    pub calls: usize,
    /// So far apart, should their slots not be had.
    every: Duration,
}

impl Near {
    /// Of what has no limit.
    pub const ALL: Self = Self { calls: usize::MAX, every: Duration::ZERO };
}

/// When calls begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    first: Instant,
    every: Duration,
    /// So many of them; the others are handed back.
    pub count: usize,
}

impl Begin {
    /// When the call at this place begins.
    pub fn at(&self, place: usize) -> Instant {
        self.first + self.every * u32::try_from(place).unwrap_or(u32::MAX)
    }
}

impl Worker {
    fn has_slots(&self, served: &Served) -> bool {
        let is_limited = served.destination.is_limited || self.paces.rate(served.destination.quota).is_some();
        is_limited && !served.destination.dry_run
    }

    /// Waits until slots of the quota are near, and says for how many calls: what is claimed far ahead of its slot would
    /// keep the pace of the time when it was claimed, and no other worker could send it meanwhile. `until`: before that, the
    /// calls begin that this worker spaced by itself.
    pub(crate) async fn near_slots(&self, served: &Served, until: Instant, stop: &CancellationToken) -> Near {
        let name = served.destination.name.as_str();
        let _rest = self.options.pulse.rest(name);
        while self.has_slots(served) && !stop.is_cancelled() {
            let own = until.saturating_duration_since(Instant::now());
            let free = match free_slots(&self.database, served.destination.quota, AHEAD).await {
                Ok(None) => break,
                Ok(Some(free)) => free,
                Err(error) => {
                    self.failures.failed_at("slots", name, &error);
                    return Near { calls: 1, every: AHEAD };
                }
            };
            if free.count > 0 && own < AHEAD {
                return Near { calls: free.count, every: free.every };
            }
            let wait = free.first.max(own).saturating_sub(AHEAD).max(free.every).clamp(LOOKS.1, LOOKS.0);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        Near::ALL
    }

    /// Takes slots for calls that were claimed; `None`: they begin at once. If the quota cannot be asked, this worker spaces
    /// its own calls: they are claimed already.
    pub(crate) async fn slots(&self, served: &Served, calls: usize, near: Near, until: &mut Instant) -> Option<Begin> {
        if !self.has_slots(served) || calls == 0 {
            return None;
        }
        let name = served.destination.name.as_str();
        match take_slots(&self.database, served.destination.quota, calls, AHEAD).await {
            Ok(slots) => {
                self.failures.went_well_at("slots", name);
                slots.map(|slots| Begin { first: Instant::now() + slots.first, every: slots.every, count: slots.count })
            }
            Err(error) => {
                self.failures.failed_at("slots", name, &error);
                let begin =
                    Begin { first: (*until).max(Instant::now()), every: near.every, count: calls.min(near.calls) };
                *until = begin.at(begin.count);
                Some(begin)
            }
        }
    }
}
