//! What this worker and the fleet tell each other about destinations.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use outbox::breaker::{LONGEST_PAUSE, Shared, Standing};
use telemetry::names;
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::breaker::{Admission, CallPermit, Report};
use crate::directory::Served;

/// What a probe may take beside its call: the claim, and the wait for a slot of the quota.
const BESIDE_THE_CALL: Duration = Duration::from_secs(5);

impl Served {
    /// What may be claimed now. A dry run makes no call, so no fault stops it.
    pub(crate) fn admission(&self) -> Admission {
        if self.destination.dry_run { Admission::Free } else { self.breaker.admission(Instant::now()) }
    }

    /// Waits until a claimed call may start; `None`: hand it back.
    pub(crate) async fn pass(&self, stop: &CancellationToken) -> Option<CallPermit> {
        if self.destination.dry_run {
            return Some(self.breaker.pass_anyhow());
        }
        self.breaker.pass(self.destination.call_timeout, stop).await
    }
}

impl Worker {
    /// May something be claimed? A probe needs the right to, of which the fleet has one.
    pub(crate) async fn may_begin(&self, served: &Served, admission: Admission) -> Result<bool, outbox::Error> {
        match admission {
            Admission::Shut => Ok(false),
            Admission::Free | Admission::Ramp(_) | Admission::Probe { is_ours: true } => Ok(true),
            Admission::Probe { is_ours: false } => {
                // the fleet may not know yet that there is something to probe
                self.report(served).await?;
                // counted from before it is asked for, so that it ends here before it ends there
                let (asked, right) = (Instant::now(), served.destination.call_timeout + BESIDE_THE_CALL);
                let won = outbox::breaker::probe(&self.database, served.destination.id, self.id, right).await?;
                if let Some(won) = won {
                    served.breaker.may_probe(asked + right, won.behind);
                }
                Ok(won.is_some())
            }
        }
    }

    /// Tells the fleet what is new about a destination, in the order in which it arose.
    pub(crate) async fn report(&self, served: &Served) -> Result<(), outbox::Error> {
        let (breaker, destination) = (&served.breaker, &served.destination);
        if breaker.report().is_none() {
            return Ok(());
        }
        let _one_at_a_time = breaker.reporting.lock().await;
        while let Some(report) = breaker.report() {
            let mut pause = None;
            match &report {
                Report::Fault(answer) => {
                    pause = outbox::breaker::fault(&self.database, destination.id, self.id, answer).await?;
                    names::BREAKER_OPENED.add([&destination.name], 1);
                    tracing::warn!(
                        destination = destination.name,
                        outcome = answer.outcome.as_str(),
                        code = answer.outcome.code(),
                        pause_ms = pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
                        "the destination as a whole has a fault: nothing is sent for a while"
                    );
                }
                Report::Ramp { from, to } => {
                    outbox::breaker::ramp(&self.database, destination.id, self.id, from.map(calls), calls(*to)).await?;
                }
                Report::Close { from } => {
                    if outbox::breaker::close(&self.database, destination.id, self.id, from.map(calls)).await? {
                        tracing::info!(destination = destination.name, "the destination is healthy again");
                    }
                }
            }
            breaker.reported(pause);
        }
        Ok(())
    }

    /// Reads how all destinations are, once a poll.
    pub(crate) async fn read_health(&self) -> Result<(), outbox::Error> {
        let all = self.directory.all();
        for served in all.values() {
            self.report(served).await?;
        }
        let marks: Vec<_> = all.values().map(|served| (served, served.breaker.mark())).collect();
        let shared = self.read_paces().await?;
        let shared: HashMap<i32, Shared> = shared.into_iter().map(|row| (row.destination, row)).collect();
        let (mut wakes, now) = (false, Instant::now());
        for (served, mark) in marks {
            let row = shared.get(&served.destination.id);
            wakes |= served.breaker.merge(mark, row.map(|row| row.standing), self.id, now);
            if let Some(Shared { destination, standing: Standing::Recovering { ramp }, quiet }) = row
                && *quiet >= LONGEST_PAUSE
            {
                // too few calls to climb to the top, and no fault among them
                outbox::breaker::close(&self.database, *destination, self.id, Some(*ramp)).await?;
            }
        }
        if wakes {
            self.wake.notify_waiters();
        }
        Ok(())
    }
}

fn calls(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
