//! Settling: answers in hand are written down, many in one transaction, and kept while the database is away.

use std::time::Duration;

use outbox::settle::{Settled, Settlement};
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
        let settled = outbox::settle::settle(&self.database, self.id, answers, &policy).await?;
        if settled.late == 0 {
            // every outcome of it is there; a late one's attempt may be of a time that a restore took away
            if let (Some(last), Some(position)) = (answers.last(), settled.position.clone()) {
                self.options.history.settled(last.attempt, position);
            }
        }
        self.hands.put(answers.iter().map(|answer| answer.attempt));
        self.crash.point("after_settle");
        if settled.late > 0 {
            tracing::warn!(late = settled.late, "kept outcomes as late evidence: the claims were no longer ours");
        }
        Ok(settled)
    }

    /// Settles answers in hand, again and again while the database is away.
    pub(crate) async fn settle_surely(&self, answers: &[Settlement]) {
        let mut pause = Duration::from_millis(20);
        while let Err(error) = self.settle(answers).await {
            tracing::error!(%error, outcomes = answers.len(), "could not record outcomes; they stay in hand and are tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Settles whatever calls bring, until all senders are gone. An answer is never dropped: while the database is away
    /// it is tried again, with growing pauses.
    pub(crate) async fn settle_all(&self, mut answers: mpsc::Receiver<Vec<Settlement>>) {
        let mut batch = Vec::new();
        while let Some(first) = answers.recv().await {
            batch.extend(first);
            while batch.len() < BATCH {
                let Ok(more) = answers.try_recv() else { break };
                batch.extend(more);
            }
            self.settle_surely(&batch).await;
            batch.clear();
            self.wake.notify_waiters();
        }
    }
}
