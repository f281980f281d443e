//! Where a breaker stands, and how what is heard moves it.

use std::collections::VecDeque;
use std::time::Instant;

use outbox::breaker::FIRST_PAUSE;
use remittance::{Answer, Outcome};

use super::Report;
use super::sign::Sign;

/// Faults in a row that open it.
const FAULTS: u32 = 3;

/// A breaker's state.
#[derive(Debug, Default)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Faults in a row, while it is closed.
    pub faults: u32,
    /// Calls in flight.
    pub in_flight: usize,
    /// Good answers since the ramp last grew.
    pub answered: usize,
    /// Counts openings and recoveries: what calls of an earlier era meet says nothing about this one.
    pub era: u64,
    /// Counts changes: what was read from the database before one is out of date.
    pub version: u64,
    /// What the fleet has not heard yet.
    pub reports: VecDeque<Report>,
}

/// A phase.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In health.
    #[default]
    Closed,
    /// Until then no call; after it a probe, by whoever has the right (until then) to it.
    Open { until: Instant, right: Option<Instant> },
    /// So many calls in flight.
    Recovering { ramp: usize },
}

impl State {
    /// An answer while it is closed.
    pub fn heard_in_health(&mut self, sign: Sign<'_>) -> Option<Report> {
        match sign {
            Sign::Good => self.faults = 0,
            Sign::Fault(answer) => {
                // credentials are no passing thing: they count at once
                let is_grave = matches!(answer.outcome, Outcome::Unauthorised { .. } | Outcome::NoCredentials { .. });
                self.faults = if is_grave { FAULTS } else { self.faults + 1 };
                if self.faults >= FAULTS {
                    return Some(self.open(answer));
                }
            }
            Sign::Unclear(_) | Sign::Nothing => {}
        }
        None
    }

    /// Opens for the first pause; the fleet says how long it really is.
    pub fn open(&mut self, answer: &Answer) -> Report {
        self.phase = Phase::Open { until: Instant::now() + FIRST_PAUSE, right: None };
        (self.era, self.faults, self.answered) = (self.era + 1, 0, 0);
        Report::Fault(Box::new(Answer { excerpt: None, ..answer.clone() }))
    }

    /// A good answer while it recovers: after as many as may be in flight, twice as many may.
    pub fn climb(&mut self, ramp: usize, in_flight_max: usize) -> Option<Report> {
        self.answered += 1;
        (self.answered >= ramp).then(|| self.recover(Some(ramp), ramp * 2, in_flight_max))
    }

    /// So many calls may be in flight from now on; as many as in health: it is closed.
    pub fn recover(&mut self, from: Option<usize>, to: usize, in_flight_max: usize) -> Report {
        if from.is_none() {
            self.era += 1;
        }
        self.answered = 0;
        if to >= in_flight_max {
            self.phase = Phase::Closed;
            return Report::Close { from };
        }
        self.phase = Phase::Recovering { ramp: to };
        Report::Ramp { from, to }
    }
}
