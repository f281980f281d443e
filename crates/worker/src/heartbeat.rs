//! The heartbeat: renews the lease, and tells the fleet what fails here.

use std::sync::Arc;
use std::time::Duration;

use telemetry::names;
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::run::pause;

impl Worker {
    /// Renews the lease once.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn beat(&self) -> Result<bool, outbox::Error> {
        let sent_at = self.lease.now();
        let beat = outbox::workers::heartbeat(
            &self.database,
            self.id,
            self.open_attempts.oldest(),
            self.database.can_listen(),
        )
        .await?;
        let Some(beat) = beat else {
            self.lease.lost();
            self.options.pulse.beat(Duration::ZERO);
            names::LEASES_LOST.add([], 1);
            return Ok(false);
        };
        if self.lease.remaining().is_zero() {
            // a rule that changed meanwhile has not waited for this worker
            self.heed_switches().await?;
        }
        self.lease.renewed(sent_at);
        self.options.pulse.beat(self.lease.remaining());
        self.look_back(beat).await?;
        Ok(true)
    }

    pub(crate) async fn heartbeat_loop(self: Arc<Self>, until: CancellationToken, work: CancellationToken) {
        let every = self.options.lease / 4;
        loop {
            self.options.pulse.tick_until("heartbeat", every);
            if !pause(every, &until).await {
                break;
            }
            match tokio::time::timeout(every, self.beat()).await {
                Ok(Ok(true)) => {
                    self.failures.went_well("heartbeat");
                    // within the beat's own time: whatever keeps this from being written keeps no heartbeat
                    if tokio::time::timeout(every / 2, self.tell_failures()).await.is_err() {
                        tracing::debug!("the fleet is told of failures with the next heartbeat");
                    }
                }
                Ok(Ok(false)) => {
                    tracing::error!("was taken for dead: its claims are another's now");
                    work.cancel();
                    break;
                }
                Ok(Err(error)) => self.failures.failed("heartbeat", &error),
                Err(_) => {
                    self.failures.failed("heartbeat", &outbox::Error::Unavailable("no answer in time".to_owned()))
                }
            }
        }
        self.options.pulse.end("heartbeat");
    }

    /// Lets the fleet see which steps fail here, and which go well again. What could not be told is told with the next
    /// heartbeat.
    pub async fn tell_failures(&self) {
        for (step, streak) in self.failures.untold() {
            let is_told = if streak.times == 0 {
                outbox::setback::step_went_well(&self.database, self.id, &step).await
            } else {
                let last = (streak.code.as_deref(), streak.message.as_str());
                outbox::setback::step_failed(&self.database, self.id, &step, streak.times, last).await
            };
            if !is_told {
                return;
            }
            self.failures.told(&step, streak.times);
        }
    }
}
