//! Calls: each waits for its turn on the wire, is made once, without a transaction or a connection held, and its answers go to
//! the settler.

use std::time::{Duration, Instant};

use marketplaces::{Marketplace, OutgoingRecord};
use outbox::claim::Claim;
use outbox::settle::Settlement;
use remittance::{Answer, Outcome};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::Worker;
use crate::breaker::{CallPermit, Limits};
use crate::directory::Served;
use crate::open_attempts::AttemptGuard;
use crate::settler::Answers;

/// A lease shorter than this starts no call: the answer could not be written down as ours.
pub const LEASE_NEEDED: Duration = Duration::from_millis(1500);

/// A call that was claimed, on its way to the wire.
pub struct Call {
    /// What goes out together.
    pub claims: Vec<Claim>,
    /// That it is in our hands.
    pub guard: AttemptGuard,
    /// When its slot begins, if the quota gives slots.
    pub start_at: Option<Instant>,
    /// It is the last try before a deadline: it waits for no wait of theirs.
    pub is_last: bool,
}

impl Worker {
    /// Waits for the call's turn and makes it, or hands it back.
    pub(crate) async fn call(
        &self,
        served: &Served,
        call: Call,
        permits: &Semaphore,
        stop: &CancellationToken,
        answers: &Answers,
    ) {
        let Call { claims, guard, start_at, is_last } = call;
        if let Some(start_at) = start_at {
            tokio::select! {
                () = tokio::time::sleep_until(start_at.into()) => {}
                () = stop.cancelled() => {}
                () = served.replaced.cancelled() => {}
            }
        }
        // only now: a call that waits for its slot blocks no other call
        let permit = permits.acquire().await;
        // while it waited for its turn, the calls before it may have been told to wait, or found the destination broken, or
        // its rules may have changed
        let admitted = served.replaced.run_until_cancelled(async {
            let may_start = is_last || served.destination.dry_run || self.wait_for_them(served, stop).await;
            if may_start { served.pass(stop).await } else { None }
        });
        let admitted = admitted.await.flatten();
        let settlements = match admitted {
            Some(admitted) => self.submit(served, claims, &admitted).await,
            None => hand_back(claims),
        };
        drop(permit);
        self.answered(served, settlements, guard, answers).await;
    }

    /// Passes the answers of a call on to be settled, and says what they tell of the destination.
    pub(crate) async fn answered(
        &self,
        served: &Served,
        settlements: Vec<Settlement>,
        guard: AttemptGuard,
        answers: &Answers,
    ) {
        self.tell(served, &settlements);
        // the receiver lives until every call has ended
        if answers.send(settlements).await.is_ok() {
            guard.disarm();
        }
        let told = async {
            self.report(served).await?;
            self.tell_pace(served.destination.quota).await
        };
        match told.await {
            Ok(()) => self.failures.went_well_at("report", &served.destination.name),
            Err(error) => self.failures.failed_at("report", &served.destination.name, &error),
        }
    }

    /// One call: no transaction, no connection held.
    pub(crate) async fn submit(&self, served: &Served, claims: Vec<Claim>, permit: &CallPermit) -> Vec<Settlement> {
        let (late, timely): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.too_late.is_some());
        let mut settlements = too_late(&late);
        if timely.is_empty() {
            return settlements;
        }
        let batch = u32::try_from(timely.len()).unwrap_or(u32::MAX);
        // before the lease is looked at: what this takes must not be missing at the call's end
        let carried = self.traceparent(&Span::current(), &timely).await;
        let remaining = self.lease.remaining();
        let started = Instant::now();
        let begun = served.begin();
        let made = match &served.marketplace {
            _ if begun.is_none() => same_for(&timely, &Outcome::HandedBack),
            _ if remaining < LEASE_NEEDED => same_for(&timely, &Outcome::HandedBack),
            _ if served.destination.dry_run || served.destination.shadow => same_for(&timely, &Outcome::DryRun),
            Err(problem) => same_for(&timely, &Outcome::Unmapped { code: problem.chars().take(100).collect() }),
            Ok(marketplace) => {
                // the call ends before the lease does, so that its answer is still ours to record
                let timeout = served.destination.call_timeout.min(remaining - LEASE_NEEDED / 2);
                marketplaces::carrying(carried, self.make_call(marketplace.as_ref(), &timely, timeout)).await
            }
        };
        drop(begun);
        let passed = made.iter().any(|answer| answer.outcome.has_passed());
        let limits = Limits { in_flight_max: served.destination.in_flight_max, outage: self.options.outage };
        served.breaker.on_answer(permit, &made, limits);
        self.heard_pace(served, &made);
        let took = started.elapsed();
        served.observe(&timely, &made, started, took);
        settlements.extend(timely.iter().zip(made).map(|(claim, answer)| match &answer.outcome {
            // beside what the same call got accepted it was asked about by itself (Google's check), and others passed after
            Outcome::Doubtful { .. } if passed => {
                Settlement { others_passed: true, ..settlement(claim, 1, answer, took) }
            }
            _ => settlement(claim, batch, answer, took),
        }));
        settlements
    }

    async fn make_call(&self, marketplace: &dyn Marketplace, claims: &[Claim], timeout: Duration) -> Vec<Answer> {
        let parcels: Vec<OutgoingRecord> = claims
            .iter()
            .map(|claim| OutgoingRecord {
                body: claim.body.clone(),
                batch_group: claim.batch_group.clone(),
                quantity: claim.quantity,
                idempotency_key: claim.idempotency_key,
            })
            .collect();
        self.crash.point("before_call");
        let answers = marketplace.submit(&parcels, timeout).await;
        self.crash.point("after_call");
        answers
    }
}

/// What lines and spans of a call say about it. Its level is that of errors so that an error's line has these fields
/// whatever is logged.
pub fn call_span(worker: &Worker, served: &Served, claims: &[Claim]) -> Span {
    let (worker, destination) = (worker.id, served.destination.name.as_str());
    let call = claims.first().map(|claim| tracing::field::display(claim.call));
    tracing::error_span!(parent: None, "call", %worker, destination, call, records = claims.len())
}

/// What an answer is to the settler.
pub fn settlement(claim: &Claim, batch: u32, answer: Answer, took: Duration) -> Settlement {
    Settlement {
        delivery: claim.delivery,
        attempt: claim.attempt,
        batch,
        answer,
        took,
        others_passed: false,
        is_lost: false,
        is_death: false,
    }
}

fn same_for(claims: &[Claim], outcome: &Outcome) -> Vec<Answer> {
    claims.iter().map(|_| Answer::bare(outcome.clone())).collect()
}

/// Their deadline has passed: no call is made.
pub fn too_late(claims: &[Claim]) -> Vec<Settlement> {
    let outcome = |claim: &Claim| Outcome::TooOld { code: claim.too_late.clone().unwrap_or_default() };
    claims.iter().map(|claim| settlement(claim, 1, Answer::bare(outcome(claim)), Duration::ZERO)).collect()
}

/// No call is made: it goes back to the queue as it was.
pub fn hand_back(claims: Vec<Claim>) -> Vec<Settlement> {
    claims.iter().map(|claim| settlement(claim, 1, Answer::bare(Outcome::HandedBack), Duration::ZERO)).collect()
}
