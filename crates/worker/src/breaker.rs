//! The breaker of a destination, as this worker sees it: it reacts at once to what its own calls meet, queues what the
//! fleet must hear of it, and takes over what the fleet says (`crates/outbox/src/breaker.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outbox::breaker::{FIRST_PAUSE, Standing};
use remittance::{Answer, Outcome};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Faults in a row that open it.
const FAULTS: u32 = 3;

/// One destination's.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
    /// A call ended, or calls may start that could not before.
    changed: Notify,
    /// Reports are written in the order in which they arose.
    pub reporting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Faults in a row, while it is closed.
    faults: u32,
    in_flight: usize,
    /// Good answers since the ramp last grew.
    answered: usize,
    /// Counts openings and recoveries: what calls of an earlier era meet says nothing about this one.
    era: u64,
    /// Counts changes: what was read from the database before one is out of date.
    version: u64,
    reports: VecDeque<Report>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    /// Until then no call; after it a probe, by whoever has the right (until then) to it.
    Open { until: Instant, right: Option<Instant> },
    /// So many calls in flight.
    Recovering { ramp: usize },
}

/// How many calls may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// As many as permits allow.
    Free,
    /// So many in hand.
    Ramp(usize),
    /// One, by the worker that has the right to probe.
    Probe { is_ours: bool },
    /// None.
    Shut,
}

impl Passage {
    /// So many calls at most in hand.
    pub const fn calls_max(self) -> usize {
        match self {
            Self::Free => usize::MAX,
            Self::Ramp(calls) => calls,
            Self::Probe { .. } => 1,
            Self::Shut => 0,
        }
    }
}

/// What the fleet must hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A fault.
    Fault(Box<Answer>),
    /// So many calls in flight from now on, after so many (`None`: after the probe).
    Ramp { from: Option<usize>, to: usize },
    /// It is healthy.
    Close { from: Option<usize> },
}

/// What a call says about the destination as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign<'a> {
    /// It answers.
    Good,
    /// It has a fault.
    Fault(&'a Answer),
    /// A call was made, and nobody knows (a timeout, a page of HTML).
    Unclear(&'a Answer),
    /// No call was made.
    Nothing,
}

/// Where a breaker stood before the database was asked.
#[derive(Debug, Clone, Copy)]
pub struct Mark(Option<u64>);

/// A call that may be made. Dropping it ends the call.
#[derive(Debug)]
pub struct Passing {
    breaker: Arc<Breaker>,
    era: u64,
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.breaker.state().in_flight -= 1;
        self.breaker.changed.notify_waiters();
    }
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock can panic")
    }

    /// What may be claimed at this moment?
    pub fn passage(&self, now: Instant) -> Passage {
        match self.state().phase {
            Phase::Closed => Passage::Free,
            Phase::Recovering { ramp } => Passage::Ramp(ramp),
            Phase::Open { until, .. } if until > now => Passage::Shut,
            Phase::Open { right, .. } => Passage::Probe { is_ours: right.is_some_and(|right| right > now) },
        }
    }

    /// The fleet gave us the right to probe.
    pub fn may_probe(&self, until: Instant) {
        let mut state = self.state();
        if let Phase::Open { right, .. } = &mut state.phase {
            *right = Some(until);
            state.version += 1;
        }
    }

    /// Waits until a claimed call may start. `None`: it is to be handed back, because the destination is broken or the
    /// worker stops. A probe needs `within` of its right.
    pub async fn pass(self: &Arc<Self>, within: Duration, stop: &CancellationToken) -> Option<Passing> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if stop.is_cancelled() {
                return None;
            }
            match self.turn(Instant::now() + within) {
                Ok(Some(passing)) => return Some(passing),
                Ok(None) => {}
                Err(()) => return None,
            }
            tokio::select! {
                () = changed => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// A call of which the destination will not hear.
    pub fn pass_anyhow(self: &Arc<Self>) -> Passing {
        let mut state = self.state();
        state.in_flight += 1;
        Passing { breaker: Arc::clone(self), era: state.era }
    }

    /// A call's turn; `None`: not yet; an error: not at all.
    fn turn(self: &Arc<Self>, ends_at: Instant) -> Result<Option<Passing>, ()> {
        let mut state = self.state();
        let room = match state.phase {
            Phase::Closed => usize::MAX,
            Phase::Recovering { ramp } => ramp,
            // only the probe comes here while it is open; whoever else does was claimed before it opened
            Phase::Open { right: Some(right), .. } if right >= ends_at => 1,
            Phase::Open { .. } => return Err(()),
        };
        if state.in_flight >= room {
            return Ok(None);
        }
        state.in_flight += 1;
        Ok(Some(Passing { breaker: Arc::clone(self), era: state.era }))
    }

    /// A call was answered, or was not; `in_flight_max` is what the destination may have in health.
    pub fn heard(&self, passing: &Passing, answers: &[Answer], in_flight_max: usize) {
        let mut state = self.state();
        if passing.era != state.era {
            return;
        }
        let report = match (state.phase, sign(answers)) {
            (_, Sign::Nothing) => None,
            (Phase::Closed, sign) => state.heard_in_health(sign),
            (Phase::Recovering { ramp }, Sign::Good) => state.climb(ramp, in_flight_max),
            (Phase::Recovering { .. }, Sign::Unclear(_)) => None,
            (Phase::Open { .. }, Sign::Good) => Some(state.recover(None, 1, in_flight_max)),
            (Phase::Recovering { .. }, Sign::Fault(answer))
            | (Phase::Open { .. }, Sign::Fault(answer) | Sign::Unclear(answer)) => Some(state.open(answer)),
        };
        if let Some(report) = report {
            state.version += 1;
            state.reports.push_back(report);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The next thing to tell the fleet. It stays until [`Breaker::reported`].
    pub fn report(&self) -> Option<Report> {
        self.state().reports.front().cloned()
    }

    /// The fleet has heard; after a fault the breaker is open for so long everywhere.
    pub fn reported(&self, pause: Option<Duration>) {
        let mut state = self.state();
        state.reports.pop_front();
        state.version += 1;
        if let (Phase::Open { until, .. }, Some(pause)) = (&mut state.phase, pause) {
            *until = Instant::now() + pause;
        }
    }

    /// To be taken before the database is asked.
    pub fn mark(&self) -> Mark {
        let state = self.state();
        Mark(state.reports.is_empty().then_some(state.version))
    }

    /// Takes over what the fleet says, unless this worker knew something newer when it asked. Returns whether calls may
    /// start now that could not before.
    pub fn merge(&self, mark: Mark, shared: Option<Standing>, us: Uuid, now: Instant) -> bool {
        let mut state = self.state();
        if mark.0 != Some(state.version) || !state.reports.is_empty() {
            return false;
        }
        let phase = match (shared, state.phase) {
            (None, _) => Phase::Closed,
            (Some(Standing::Recovering { ramp }), _) => Phase::Recovering { ramp: usize::try_from(ramp).unwrap_or(1) },
            (Some(Standing::Probing { by, .. }), Phase::Open { until, right }) if by == us => {
                Phase::Open { until, right }
            }
            (Some(Standing::Probing { left: pause, .. } | Standing::Open { pause }), _) => {
                Phase::Open { until: now + pause, right: None }
            }
        };
        if std::mem::discriminant(&phase) != std::mem::discriminant(&state.phase) {
            (state.era, state.faults) = (state.era + 1, 0);
        }
        if phase != state.phase {
            state.answered = 0;
        }
        let was_shut = matches!(state.phase, Phase::Open { .. });
        state.phase = phase;
        drop(state);
        self.changed.notify_waiters();
        was_shut && !matches!(phase, Phase::Open { .. })
    }
}

impl State {
    fn heard_in_health(&mut self, sign: Sign<'_>) -> Option<Report> {
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
    fn open(&mut self, answer: &Answer) -> Report {
        self.phase = Phase::Open { until: Instant::now() + FIRST_PAUSE, right: None };
        (self.era, self.faults, self.answered) = (self.era + 1, 0, 0);
        Report::Fault(Box::new(Answer { excerpt: None, ..answer.clone() }))
    }

    /// A good answer while it recovers: after as many as may be in flight, twice as many may.
    fn climb(&mut self, ramp: usize, in_flight_max: usize) -> Option<Report> {
        self.answered += 1;
        (self.answered >= ramp).then(|| self.recover(Some(ramp), ramp * 2, in_flight_max))
    }

    fn recover(&mut self, from: Option<usize>, to: usize, in_flight_max: usize) -> Report {
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

/// One record that was answered as it should be is enough: it is not the destination as a whole.
fn sign(answers: &[Answer]) -> Sign<'_> {
    let mut found = Sign::Nothing;
    for answer in answers {
        match &answer.outcome {
            Outcome::HandedBack | Outcome::DryRun | Outcome::Unmapped { .. } => {}
            Outcome::Unknown { .. } | Outcome::Unrecognised { .. } if found == Sign::Nothing => {
                found = Sign::Unclear(answer);
            }
            Outcome::Unknown { .. } | Outcome::Unrecognised { .. } => {}
            outcome if outcome.is_destination_fault() => found = Sign::Fault(answer),
            _ => return Sign::Good,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8;

    fn answered(breaker: &Arc<Breaker>, outcome: Outcome) {
        let passing = breaker.turn(Instant::now()).expect("no fault").expect("room");
        breaker.heard(&passing, &[Answer::bare(outcome)], MAX);
    }

    fn down() -> Outcome {
        Outcome::Unavailable { code: "503".to_owned() }
    }

    fn passage(breaker: &Breaker) -> Passage {
        breaker.passage(Instant::now())
    }

    /// Everything that was reported, as if the fleet had heard it.
    fn reports(breaker: &Breaker) -> Vec<Report> {
        std::iter::from_fn(|| breaker.report().inspect(|_| breaker.reported(Some(Duration::ZERO)))).collect()
    }

    fn open() -> Arc<Breaker> {
        let breaker = Arc::new(Breaker::default());
        answered(&breaker, Outcome::Unauthorised { code: "expired".to_owned() });
        assert_eq!(reports(&breaker).len(), 1, "credentials are no passing thing");
        breaker.may_probe(Instant::now() + Duration::from_secs(60));
        breaker
    }

    #[test]
    fn d9_it_opens_after_faults_in_a_row() {
        let breaker = Arc::new(Breaker::default());
        for outcome in [down(), down(), Outcome::Accepted, down(), down()] {
            answered(&breaker, outcome);
            assert_eq!((passage(&breaker), breaker.report()), (Passage::Free, None));
        }
        answered(&breaker, Outcome::Unknown { code: "timeout".to_owned() });
        answered(&breaker, Outcome::HandedBack);
        assert_eq!(passage(&breaker), Passage::Free, "these say nothing");
        answered(&breaker, down());
        assert_eq!(passage(&breaker), Passage::Shut);
        assert!(matches!(breaker.report(), Some(Report::Fault(_))));
        assert!(breaker.turn(Instant::now()).is_err(), "what was claimed before is handed back");
    }

    #[test]
    fn a_good_record_beside_bad_ones_is_no_fault_of_the_destination() {
        let breaker = Arc::new(Breaker::default());
        let passing = breaker.turn(Instant::now()).unwrap().unwrap();
        let denied = Answer::bare(Outcome::Unauthorised { code: "denied".to_owned() });
        breaker.heard(&passing, &[denied, Answer::bare(Outcome::Accepted)], MAX);
        assert_eq!(passage(&breaker), Passage::Free);
    }

    #[test]
    fn the_probe_is_one_call_of_whoever_has_the_right() {
        let breaker = open();
        assert_eq!(passage(&breaker), Passage::Probe { is_ours: true });
        assert!(breaker.turn(Instant::now() + Duration::from_secs(61)).is_err(), "it would outlast the right");
        let probe = breaker.turn(Instant::now()).unwrap().unwrap();
        assert!(breaker.turn(Instant::now()).unwrap().is_none(), "one at a time");
        breaker.heard(&probe, &[Answer::bare(Outcome::Unknown { code: "timeout".to_owned() })], MAX);
        assert!(matches!(reports(&breaker)[..], [Report::Fault(_)]), "an unclear probe has failed");
        assert_eq!(passage(&breaker), Passage::Probe { is_ours: false }, "the next probe is anybody's");
    }

    #[test]
    fn a_recovery_doubles_the_calls_in_flight_with_as_many_answers() {
        let breaker = open();
        let mut seen = Vec::new();
        while passage(&breaker) != Passage::Free {
            let mut flying = Vec::new();
            while let Ok(Some(passing)) = breaker.turn(Instant::now()) {
                flying.push(passing);
            }
            seen.push(flying.len());
            for passing in flying {
                breaker.heard(&passing, &[Answer::bare(Outcome::Accepted)], MAX);
            }
        }
        assert_eq!(seen, [1, 1, 2, 4], "the probe, then the ramp, then all eight");
        let ramp = |from, to| Report::Ramp { from, to };
        assert_eq!(
            reports(&breaker),
            [ramp(None, 1), ramp(Some(1), 2), ramp(Some(2), 4), Report::Close { from: Some(4) }]
        );
    }

    #[test]
    fn a_fault_while_it_recovers_opens_it_again_and_stragglers_say_nothing() {
        let breaker = open();
        answered(&breaker, Outcome::Accepted);
        let straggler = breaker.turn(Instant::now()).unwrap().unwrap();
        breaker.heard(&straggler, &[Answer::bare(down())], MAX);
        assert!(!matches!(passage(&breaker), Passage::Ramp(_)));
        breaker.heard(&straggler, &[Answer::bare(Outcome::Accepted)], MAX);
        assert!(!matches!(passage(&breaker), Passage::Ramp(_)), "its call began before it opened again");
    }

    #[test]
    fn what_the_fleet_says_counts_unless_this_worker_knows_better() {
        let (us, other, now) = (Uuid::new_v4(), Uuid::new_v4(), Instant::now());
        let second = Duration::from_secs(1);
        let breaker = Arc::new(Breaker::default());
        assert!(!breaker.merge(breaker.mark(), Some(Standing::Open { pause: second }), us, now));
        assert_eq!(
            (breaker.passage(now), breaker.passage(now + second)),
            (Passage::Shut, Passage::Probe { is_ours: false })
        );
        breaker.merge(breaker.mark(), Some(Standing::Probing { by: other, left: second }), us, now);
        assert_eq!(breaker.passage(now), Passage::Shut, "another probes");
        assert!(breaker.merge(breaker.mark(), Some(Standing::Recovering { ramp: 2 }), us, now));
        assert_eq!(breaker.passage(now), Passage::Ramp(2));
        let before = breaker.mark();
        answered(&breaker, down());
        breaker.merge(before, None, us, now);
        assert_ne!(breaker.passage(now), Passage::Free, "the database was asked before the fault");
        breaker.merge(breaker.mark(), None, us, now);
        assert_ne!(breaker.passage(now), Passage::Free, "the fleet has not heard of it yet");
        reports(&breaker);
        breaker.merge(breaker.mark(), None, us, now);
        assert_eq!(breaker.passage(now), Passage::Free);
    }
}
