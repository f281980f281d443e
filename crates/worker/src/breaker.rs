//! The breaker of a destination: a fault of the destination as a whole stops sending for a while; one call probes.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Faults in a row that open it.
const FAULTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// In this worker's memory; a worker that starts finds out for itself with one call.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: u32,
    closed_until: Option<Instant>,
}

/// How many calls may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// As many as permits allow.
    Free,
    /// One, to see whether it is over.
    Probe,
    /// None before this.
    Closed(Instant),
}

impl Breaker {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// May calls start at this moment?
    pub fn passage(&self, now: Instant) -> Passage {
        match self.state().closed_until {
            None => Passage::Free,
            Some(until) if until <= now => Passage::Probe,
            Some(until) => Passage::Closed(until),
        }
    }

    /// A call was answered.
    pub fn answered(&self) {
        *self.state() = State::default();
    }

    /// A call met a fault of the destination; `grave` ones (credentials) count at once.
    pub fn fault(&self, now: Instant, grave: bool) {
        let mut state = self.state();
        state.faults = state.faults.saturating_add(1).max(if grave { FAULTS } else { 1 });
        if state.faults >= FAULTS {
            let pause = FIRST_PAUSE.saturating_mul(1 << (state.faults - FAULTS).min(10)).min(LONGEST_PAUSE);
            state.closed_until = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d9_it_opens_after_faults_in_a_row_and_closes_with_an_answer() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.fault(now, false);
        breaker.fault(now, false);
        assert_eq!(breaker.passage(now), Passage::Free);
        breaker.fault(now, false);
        assert!(matches!(breaker.passage(now), Passage::Closed(_)));
        assert_eq!(breaker.passage(now + LONGEST_PAUSE), Passage::Probe);
        breaker.answered();
        assert_eq!(breaker.passage(now), Passage::Free);
        breaker.fault(now, true);
        assert!(matches!(breaker.passage(now), Passage::Closed(_)), "credentials are no passing thing");
    }

    #[test]
    fn e6_the_pause_is_bounded() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..1000 {
            breaker.fault(now, false);
        }
        assert_eq!(breaker.passage(now), Passage::Closed(now + LONGEST_PAUSE));
    }
}
