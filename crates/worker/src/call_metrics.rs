//! What calls leave behind beside the ledger: counters, and a log line for what was not accepted.

use std::time::{Duration, Instant};

use outbox::claim::Claim;
use outbox::settle::Settlement;
use remittance::{Answer, Outcome};
use telemetry::names;

use crate::Worker;
use crate::directory::Served;

/// Whether such an outcome tells of a call that was made.
const fn is_of_a_call(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::HandedBack
            | Outcome::DryRun
            | Outcome::Unmapped { .. }
            | Outcome::NoCredentials { .. }
            | Outcome::NotSent { .. }
    )
}

/// Whether a person should look at such an outcome: it is neither good, nor the destination's fault as a whole, which
/// its breaker tells, nor sent again in half as large a call.
const fn is_bad(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Conflict { .. }
            | Outcome::Rejected { .. }
            | Outcome::NotEntitled { .. }
            | Outcome::Unrecognised { .. }
            | Outcome::Unknown { .. }
            | Outcome::TooOld { .. }
            | Outcome::Unmapped { .. }
    )
}

impl Served {
    /// Counts attempts that ended.
    pub(crate) fn count(&self, settlements: &[Settlement]) {
        for settlement in settlements {
            let outcome = &settlement.answer.outcome;
            let code = self.codes.label(outcome.code());
            names::ATTEMPTS.add([&self.destination.name, outcome.as_str(), code], 1);
            if *outcome == Outcome::HandedBack {
                names::HANDED_BACK.add([], 1);
            }
        }
    }

    /// Observes how long a call took, if it was made, and how long its deliveries had waited for it.
    pub(crate) fn observe(&self, claims: &[Claim], made: &[Answer], started: Instant, took: Duration) {
        if !made.iter().any(|answer| is_of_a_call(&answer.outcome)) {
            return;
        }
        let destination = [self.destination.name.as_str()];
        names::CALL_DURATION.observe(destination, took);
        for cut_at in claims.iter().filter_map(|claim| claim.cut_at) {
            names::QUEUE_WAIT.observe(destination, started.saturating_duration_since(cut_at));
        }
    }
}

impl Worker {
    /// Counts attempts that ended, and says of what was not accepted: the first of its kind at once, then once a minute
    /// with how many there were. Each of them is in the ledger.
    pub(crate) fn tell(&self, served: &Served, settlements: &[Settlement]) {
        served.count(settlements);
        for settlement in settlements.iter().filter(|settlement| is_bad(&settlement.answer.outcome)) {
            let (destination, answer) = (&served.destination.name, &settlement.answer);
            let (outcome, code) = (answer.outcome.as_str(), served.codes.label(answer.outcome.code()));
            if let Some(others) = self.failures.should_log(&format!("{destination} {outcome} {code}")) {
                let (delivery, attempt, http_status) = (settlement.delivery, settlement.attempt, answer.http_status);
                tracing::warn!(
                    destination, outcome, code, http_status, delivery, %attempt, others,
                    "an attempt was not accepted (view postmeter.attempt_ledger)"
                );
            }
        }
    }
}
