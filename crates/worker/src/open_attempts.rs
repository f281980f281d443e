//! The attempts of this worker without a recorded outcome, and its claims whose answer is awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

/// Open attempts, oldest first (their ids are ordered by time).
#[derive(Debug, Default)]
pub struct OpenAttempts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeSet<Uuid>,
    /// When each claim under way began, on the boot-time clock.
    claiming: BTreeMap<u64, Duration>,
    claims: u64,
    /// Open attempts whose call failed in our hands.
    failed: BTreeSet<Uuid>,
    /// Of our attempts before this one, those without an outcome are in our hands.
    known: Uuid,
}

/// A claim under way. Dropped when its attempts are in hand, or when it failed.
#[derive(Debug)]
pub struct Claiming<'a> {
    open_attempts: &'a OpenAttempts,
    number: u64,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.open_attempts.state().claiming.remove(&self.number);
    }
}

/// Attempts of one call. If its task ends without an answer, they leave our hands: maintenance finds them. If it ends by a
/// panic, one of them may be why: each is remembered as failed.
#[derive(Debug)]
pub struct AttemptGuard {
    open_attempts: Arc<OpenAttempts>,
    attempts: Vec<Uuid>,
}

impl AttemptGuard {
    /// So many attempts are in hand until they are settled.
    pub fn new(open_attempts: &Arc<OpenAttempts>, attempts: Vec<Uuid>) -> Self {
        Self { open_attempts: Arc::clone(open_attempts), attempts }
    }

    /// They have an answer: the settler closes them.
    pub fn disarm(mut self) {
        self.attempts.clear();
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        let is_failure = std::thread::panicking();
        let mut state = self.open_attempts.state();
        for attempt in self.attempts.drain(..) {
            state.open.remove(&attempt);
            if is_failure {
                state.failed.insert(attempt);
            }
        }
    }
}

impl OpenAttempts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A claim begins.
    pub fn claiming(&self, now: Duration) -> Claiming<'_> {
        let mut state = self.state();
        state.claims += 1;
        let number = state.claims;
        state.claiming.insert(number, now);
        drop(state);
        Claiming { open_attempts: self, number }
    }

    /// Attempts were claimed.
    pub fn take(&self, attempts: impl IntoIterator<Item = Uuid>) {
        self.state().open.extend(attempts);
    }

    /// Their outcomes are recorded, or will be found by maintenance.
    pub fn put(&self, attempts: impl IntoIterator<Item = Uuid>) {
        let mut state = self.state();
        for attempt in attempts {
            state.open.remove(&attempt);
            state.failed.remove(&attempt);
        }
    }

    /// Whether its call failed in our hands.
    pub fn has_failed(&self, attempt: Uuid) -> bool {
        self.state().failed.contains(&attempt)
    }

    /// What is in hand, and when the oldest claim under way began.
    pub fn now(&self) -> (BTreeSet<Uuid>, Option<Duration>) {
        let state = self.state();
        (state.open.clone(), state.claiming.values().min().copied())
    }

    /// For the heartbeat: none of our attempts before this one is open, in hand or not. `None`: not looked up yet.
    pub fn oldest(&self) -> Option<Uuid> {
        let state = self.state();
        let known = Some(state.known).filter(|known| !known.is_nil())?;
        Some(state.open.first().map_or(known, |oldest| known.min(*oldest)))
    }

    /// Where to begin to look for attempts that are open and not in hand.
    pub fn known(&self) -> Uuid {
        self.state().known
    }

    /// Of all attempts before `bound` those without an outcome are in hand.
    pub fn know(&self, bound: Uuid) {
        let mut state = self.state();
        // what is in hand now may still be lost
        state.known = state.open.first().map_or(bound, |oldest| bound.min(*oldest));
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.state().open.len()
    }
}
