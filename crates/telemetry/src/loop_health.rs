//! Whether the loops of a worker turn, and whether its lease holds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pulse of a process; it outlives a worker that is taken for dead.
#[derive(Debug)]
pub struct LoopHealth {
    stalls_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each loop turned last, or is to turn again; none while it rests.
    turns: BTreeMap<String, Option<Instant>>,
    leased_until: Option<Instant>,
}

impl Default for LoopHealth {
    /// Five minutes: longer than any step takes while the database or a marketplace is merely slow, for a worker that is
    /// ended in the middle of its work mends nothing.
    fn default() -> Self {
        Self::new(Duration::from_secs(300))
    }
}

/// A loop that rests; it turns again when this is dropped.
#[derive(Debug)]
pub struct Rest<'a>(&'a LoopHealth, String);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.turn(&self.1);
    }
}

impl LoopHealth {
    /// A pulse of loops that count as stalled when they have not turned for so long.
    #[must_use]
    pub fn new(stalls_after: Duration) -> Self {
        Self { stalls_after, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loop turns.
    pub fn turn(&self, of: &str) {
        self.tick_until(of, Duration::ZERO);
    }

    /// A loop turns, and will do nothing for so long.
    pub fn tick_until(&self, of: &str, pause: Duration) {
        let (mut state, turned) = (self.state(), Instant::now() + pause);
        match state.turns.get_mut(of) {
            Some(known) => *known = Some(turned),
            None => drop(state.turns.insert(of.to_owned(), Some(turned))),
        }
    }

    /// A loop waits for something that may take any time; it cannot stall meanwhile.
    #[must_use]
    pub fn rest(&self, of: &str) -> Rest<'_> {
        self.state().turns.insert(of.to_owned(), None);
        Rest(self, of.to_owned())
    }

    /// A loop has ended.
    pub fn end(&self, of: &str) {
        self.state().turns.remove(of);
    }

    /// The lease holds for so long from now.
    pub fn beat(&self, remaining: Duration) {
        self.state().leased_until = Instant::now().checked_add(remaining);
    }

    /// Whether the lease holds: the last heartbeat was heard.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        self.state().leased_until.is_some_and(|until| until > Instant::now())
    }

    /// Loops that stand still, with for how long.
    #[must_use]
    pub fn stalled(&self) -> Vec<(String, Duration)> {
        self.ages().into_iter().filter(|(_, age)| *age > self.stalls_after).collect()
    }

    /// How long ago each loop turned.
    #[must_use]
    pub fn ages(&self) -> Vec<(String, Duration)> {
        let state = self.state();
        state.turns.iter().filter_map(|(name, turned)| Some((name.clone(), (*turned)?.elapsed()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_a_loop_that_stands_still_is_named_and_one_that_rests_is_not() {
        let pulse = LoopHealth::new(Duration::ZERO);
        assert!(pulse.stalled().is_empty(), "no loop has begun");
        pulse.turn("fold");
        let rest = pulse.rest("dispatch");
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(pulse.stalled().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["fold"]);
        drop(rest);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(pulse.stalled().len(), 2);
        pulse.end("fold");
        pulse.end("dispatch");
        assert!(pulse.stalled().is_empty());
    }

    #[test]
    fn f6_a_lease_that_was_never_renewed_or_is_over_does_not_hold() {
        let pulse = LoopHealth::default();
        assert!(!pulse.is_leased());
        pulse.beat(Duration::from_secs(60));
        assert!(pulse.is_leased());
        pulse.beat(Duration::ZERO);
        assert!(!pulse.is_leased());
    }
}
