//! Settling: answers in hand are written down, many in one transaction, and kept while the database is away.

use std::time::{Duration, Instant};

use outbox::settle::{Settled, Settlement};
use telemetry::names;
use tokio::sync::mpsc;

use crate::Worker;

/// Outcomes of one transaction at most.
const BATCH: usize = 512;

/// Answers of calls that have ended, on their way to the settler.
pub type Answers = mpsc::Sender<Vec<Settlement>>;

impl Worker {
    /// Settles answers and lets go of them.
    ///
    /// # Errors
    /// As Postgres says; the answers stay in hand.
    pub(crate) async fn settle(&self, answers: &[Settlement]) -> Result<Settled, outbox::Error> {
        self.crash.point("before_settle");
        let policy = |destination| self.directory.policy(destination);
        let began = Instant::now();
        let settled = outbox::settle::settle(&self.database, self.id, answers, &policy).await?;
        for (destination, answer) in &settled.credentials {
            if let Some(served) = self.directory.all().get(destination) {
                served.breaker.blame(answer);
                if let Err(error) = self.report(served).await {
                    self.failures.failed("report", &error);
                }
            }
        }
        names::SETTLE_DURATION.observe([], began.elapsed());
        names::LATE_EVIDENCE.add([], u64::try_from(settled.late).unwrap_or_default());
        if settled.late == 0 {
            // every outcome of it is there; a late one's attempt may be of a time that a restore took away
            if let (Some(last), Some(position)) = (answers.last(), settled.position.clone()) {
                self.options.history.settled(last.attempt, position);
            }
        }
        self.hands.put(answers.iter().map(|answer| answer.attempt));
        names::ATTEMPTS_IN_HAND.set([], u32::try_from(self.hands.count()).unwrap_or(u32::MAX).into());
        self.crash.point("after_settle");
        if settled.late > 0 {
            tracing::warn!(late = settled.late, "kept outcomes as late evidence: the claims were no longer ours");
        }
        Ok(settled)
    }

    /// Settles answers in hand, again and again while the database is away. `turned` is called after each try that failed:
    /// whoever waits here does not stand still.
    pub(crate) async fn settle_surely(&self, answers: &[Settlement], turned: impl Fn()) {
        let mut pause = Duration::from_millis(20);
        while let Err(error) = self.settle(answers).await {
            // the outcomes stay in hand
            self.failures.failed("settle", &error);
            turned();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        self.failures.went_well("settle");
    }

    /// Waits for answers, for as long as there are none.
    async fn next_answers(&self, answers: &mut mpsc::Receiver<Vec<Settlement>>) -> Option<Vec<Settlement>> {
        let _rest = self.options.pulse.rest("settle");
        answers.recv().await
    }

    /// Settles whatever calls bring, until all senders are gone. An answer is never dropped: while the database is away
    /// it is tried again, with growing pauses.
    pub(crate) async fn settle_all(&self, mut answers: mpsc::Receiver<Vec<Settlement>>) {
        let mut batch = Vec::new();
        while let Some(first) = self.next_answers(&mut answers).await {
            self.options.pulse.turn("settle");
            batch.extend(first);
            while batch.len() < BATCH {
                let Ok(more) = answers.try_recv() else { break };
                batch.extend(more);
            }
            self.settle_surely(&batch, || self.options.pulse.turn("settle")).await;
            batch.clear();
            self.wake.notify_waiters();
        }
    }
}
