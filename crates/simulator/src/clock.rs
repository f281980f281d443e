//! The simulator's own clock: real UTC time plus a shift, or an instant at which it stands still.
//!
//! Windows of age, month cut-offs and subscriptions are judged on this clock alone, so that a test passes on any date.
//! Rates and delays stay on real, monotonic time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What the simulator takes for the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Real UTC time plus this shift, which may be negative.
    Shifted(SignedDuration),
    /// This instant, until the clock is moved again.
    FrozenAt(Timestamp),
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::real()
    }
}

impl Clock {
    /// Real UTC time.
    pub fn real() -> Clock {
        Clock::Shifted(SignedDuration::ZERO)
    }

    /// A clock that shows `instant` now and runs on from there.
    pub fn running_from(instant: Timestamp) -> Clock {
        Clock::Shifted(instant.duration_since(real_now()))
    }

    /// A clock that stands still at `instant`.
    pub fn frozen_at(instant: Timestamp) -> Clock {
        Clock::FrozenAt(instant)
    }

    /// The present, in UTC. A shift beyond the years that can be written ends at their edge.
    pub fn now(&self) -> Timestamp {
        match *self {
            Clock::Shifted(shift) => moved(real_now(), shift),
            Clock::FrozenAt(instant) => instant,
        }
    }

    /// Whether the clock stands still.
    pub fn is_frozen(&self) -> bool {
        matches!(self, Clock::FrozenAt(_))
    }

    /// The same kind of clock, moved by `by` (forwards, or backwards when negative).
    #[must_use]
    pub fn advanced(self, by: SignedDuration) -> Clock {
        match self {
            Clock::Shifted(shift) => Clock::Shifted(shift.saturating_add(by)),
            Clock::FrozenAt(instant) => Clock::FrozenAt(moved(instant, by)),
        }
    }
}

fn moved(instant: Timestamp, by: SignedDuration) -> Timestamp {
    let edge = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    instant.checked_add(by).unwrap_or(edge)
}

#[expect(clippy::disallowed_methods, reason = "the simulator is a marketplace: it has a wall clock of its own")]
fn real_now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_stands_still_and_advances_by_hand() {
        let noon: Timestamp = "2026-07-22T12:00:00Z".parse().unwrap();
        let clock = Clock::frozen_at(noon);
        assert_eq!(clock.now(), noon);
        let later = clock.advanced(SignedDuration::from_hours(2));
        assert_eq!(later.now(), "2026-07-22T14:00:00Z".parse().unwrap());
        assert!(later.is_frozen());
    }

    #[test]
    fn shifted_runs_on_from_the_given_instant() {
        let past: Timestamp = "2020-02-29T23:59:00Z".parse().unwrap();
        let clock = Clock::running_from(past);
        let first = clock.now();
        assert!(first >= past && first.duration_since(past) < SignedDuration::from_secs(30));
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_shift_beyond_the_calendar_stops_at_its_edge() {
        assert_eq!(Clock::Shifted(SignedDuration::MAX).now(), Timestamp::MAX);
        assert_eq!(Clock::Shifted(SignedDuration::MIN).now(), Timestamp::MIN);
    }
}
