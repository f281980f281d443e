//! Where a breaker stands, and how what is heard moves it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use outbox::breaker::FIRST_PAUSE;
use outbox::claim::Floor;
use remittance::Answer;

use super::Report;
use super::sign::Sign;

/// So many calls without one answer about a record, and for so long, are an outage.
pub const SILENT_CALLS: u32 = 10;

/// A breaker's state.
#[derive(Debug, Default)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Calls without an answer about a record, and since when; none while the last one had one.
    pub silent: Option<(u32, Instant)>,
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
    /// Where the next probe begins: behind what the last one took.
    pub probe_from: Option<Floor>,
}

/// A phase.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In health.
    #[default]
    Closed,
    /// Until then no call; after it a probe, by the worker that has the right to it (until then).
    Open { until: Instant, right: Option<Instant> },
    /// So many calls in flight.
    Recovering { ramp: usize },
}

/// What a destination may have in flight in health, and how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls.
    pub in_flight_max: usize,
    /// So long without one answer about a record, and it is down.
    pub outage: Duration,
}

impl State {
    /// An answer of this era. Throttling and single faults move nothing: they are the pace's.
    pub fn heard(&mut self, sign: Sign<'_>, limits: Limits, now: Instant) -> Option<Report> {
        if matches!(self.phase, Phase::Open { .. }) {
            return self.heard_of_probe(sign, limits.in_flight_max);
        }
        match sign {
            Sign::Good => {
                self.silent = None;
                match self.phase {
                    Phase::Recovering { ramp } => self.climb(ramp, limits.in_flight_max),
                    _ => None,
                }
            }
            Sign::Credential(answer) => Some(self.open(answer)),
            Sign::Silent(answer) => {
                let (calls, since) = self.silent.map_or((1, now), |(calls, since)| (calls + 1, since));
                self.silent = Some((calls, since));
                let is_outage = calls >= SILENT_CALLS && now.saturating_duration_since(since) >= limits.outage;
                is_outage.then(|| self.open(answer))
            }
            Sign::Doubtful(_) | Sign::Throttled | Sign::Nothing => None,
        }
    }

    /// A throttled probe shows that the destination answers.
    fn heard_of_probe(&mut self, sign: Sign<'_>, in_flight_max: usize) -> Option<Report> {
        match sign {
            Sign::Nothing => None,
            Sign::Good | Sign::Throttled => Some(self.recover(None, 1, in_flight_max)),
            Sign::Credential(answer) | Sign::Doubtful(answer) | Sign::Silent(answer) => Some(self.open(answer)),
        }
    }

    /// Opens for the first pause; the fleet says how long it really is.
    pub fn open(&mut self, answer: &Answer) -> Report {
        self.phase = Phase::Open { until: Instant::now() + FIRST_PAUSE, right: None };
        (self.era, self.silent, self.answered) = (self.era + 1, None, 0);
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
