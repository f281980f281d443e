//! The breaker of a destination, as this worker sees it: it reacts at once to what its own calls meet, queues what the
//! fleet must hear of it, and takes over what the fleet says (`crates/outbox/src/breaker.rs`).

mod sign;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outbox::breaker::Standing;
use outbox::claim::Floor;
use remittance::Answer;
use sign::sign;
pub use state::Limits;
use state::{Phase, State};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One destination's.
#[derive(Debug, Default)]
pub struct Breaker {
    state: Mutex<State>,
    /// A call ended, or calls may start that could not before.
    changed: Notify,
    /// Reports are written in the order in which they arose.
    pub reporting: tokio::sync::Mutex<()>,
}

/// How many calls may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As many as permits allow.
    Free,
    /// So many in hand.
    Ramp(usize),
    /// One, by the worker that has the right to probe.
    Probe { is_ours: bool },
    /// None.
    Shut,
}

impl Admission {
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

/// Where a breaker stood before the database was asked.
#[derive(Debug, Clone, Copy)]
pub struct Mark(Option<u64>);

/// A call that may be made. Dropping it ends the call.
#[derive(Debug)]
pub struct CallPermit {
    breaker: Arc<Breaker>,
    era: u64,
}

impl Drop for CallPermit {
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
    pub fn admission(&self, now: Instant) -> Admission {
        match self.state().phase {
            Phase::Closed => Admission::Free,
            Phase::Recovering { ramp } => Admission::Ramp(ramp),
            Phase::Open { until, .. } if until > now => Admission::Shut,
            Phase::Open { right, .. } => Admission::Probe { is_ours: right.is_some_and(|right| right > now) },
        }
    }

    /// The fleet gave us the right to probe, with a record behind the one that the last probe took.
    pub fn may_probe(&self, until: Instant, from: Option<Floor>) {
        let mut state = self.state();
        state.probe_from = from;
        if let Phase::Open { right, .. } = &mut state.phase {
            *right = Some(until);
            state.version += 1;
        }
    }

    /// Where our probe begins.
    pub fn probe_from(&self) -> Floor {
        self.state().probe_from.unwrap_or(Floor::START)
    }

    /// Refusals of several buyers have proven that the credential is to blame.
    pub fn blame(&self, answer: &Answer) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Open { .. }) {
            let report = state.open(answer);
            state.version += 1;
            state.reports.push_back(report);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Waits until a claimed call may start. `None`: it is to be handed back, because the destination is broken or the
    /// worker stops. A probe needs `within` of its right.
    pub async fn pass(self: &Arc<Self>, within: Duration, stop: &CancellationToken) -> Option<CallPermit> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if stop.is_cancelled() {
                return None;
            }
            match self.turn(Instant::now() + within) {
                Ok(Some(permit)) => return Some(permit),
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
    pub fn pass_anyhow(self: &Arc<Self>) -> CallPermit {
        let mut state = self.state();
        state.in_flight += 1;
        CallPermit { breaker: Arc::clone(self), era: state.era }
    }

    /// A call's turn; `None`: not yet; an error: not at all.
    fn turn(self: &Arc<Self>, ends_at: Instant) -> Result<Option<CallPermit>, ()> {
        let mut state = self.state();
        let room = match state.phase {
            Phase::Closed => usize::MAX,
            Phase::Recovering { ramp } => ramp,
            // only the probe comes here while it is open; other calls were claimed before it opened
            Phase::Open { right: Some(right), .. } if right >= ends_at => 1,
            Phase::Open { .. } => return Err(()),
        };
        if state.in_flight >= room {
            return Ok(None);
        }
        state.in_flight += 1;
        Ok(Some(CallPermit { breaker: Arc::clone(self), era: state.era }))
    }

    /// A call was answered, or was not.
    pub fn on_answer(&self, permit: &CallPermit, answers: &[Answer], limits: Limits) {
        let mut state = self.state();
        if permit.era != state.era {
            return;
        }
        let report = state.heard(sign(answers), limits, Instant::now());
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
            (state.era, state.silent) = (state.era + 1, None);
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
