//! Settling: answers in hand are written down, many in one transaction, and kept while the database is away.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use outbox::settle::Settlement;
use telemetry::names;
use tokio::sync::mpsc;

use crate::Worker;

/// Outcomes of one transaction at most.
const BATCH: usize = 512;

/// Answers of calls that have ended, on their way to the settler.
pub type Answers = mpsc::Sender<Vec<Settlement>>;

/// How soon an answer that could not be settled is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

impl Worker {
    /// Settles answers, each for itself, and lets go of those that are settled; returns what is still in hand because
    /// another session keeps its delivery or it failed alone.
    ///
    /// # Errors
    /// What every answer would meet, as Postgres says; with what is still in hand.
    pub(crate) async fn settle(
        &self,
        mut answers: Vec<Settlement>,
    ) -> Result<Vec<Settlement>, (Vec<Settlement>, outbox::Error)> {
        self.crash.point("before_settle");
        let policy = |destination| self.directory.policy(destination);
        let began = Instant::now();
        let each = outbox::settle::settle_each(&self.database, self.id, &answers, &policy).await;
        self.blame(&each.settled.credentials).await;
        names::SETTLE_DURATION.observe([], began.elapsed());
        let settled = &each.settled;
        names::LATE_EVIDENCE.add([], u64::try_from(settled.late).unwrap_or_default());
        let mut left = each.left();
        let mut in_hand = Vec::with_capacity(left.len());
        while let Some(place) = left.pop() {
            in_hand.push(answers.remove(place));
        }
        if settled.late == 0 {
            // every outcome of it is there; a late one's attempt may be of a time that a restore took away
            if let (Some(last), Some(position)) = (answers.last(), settled.position.clone()) {
                self.options.history.settled(last.attempt, position);
            }
        }
        self.settled.fetch_add(answers.len(), Ordering::Relaxed);
        self.open_attempts.put(answers.iter().map(|answer| answer.attempt));
        names::ATTEMPTS_IN_HAND.set([], u32::try_from(self.open_attempts.count()).unwrap_or(u32::MAX).into());
        self.crash.point("after_settle");
        if settled.late > 0 {
            tracing::warn!(late = settled.late, "kept outcomes as late evidence: the claims were no longer ours");
        }
        for (_, error) in &each.failed {
            tracing::warn!(%error, "an answer could not be written; it is kept and tried again");
        }
        match each.broken {
            Some((_, error)) => Err((in_hand, error)),
            None => Ok(in_hand),
        }
    }

    /// Opens the breakers of destinations whose credential is to blame for refusals.
    async fn blame(&self, credentials: &[(i32, remittance::Answer)]) {
        for (destination, answer) in credentials {
            if let Some(served) = self.directory.all().get(destination) {
                served.breaker.blame(answer);
                if let Err(error) = self.report(served).await {
                    self.failures.failed_at("report", &served.destination.name, &error);
                }
            }
        }
    }

    /// Settles answers in hand, again and again while the database is away; returns those that cannot be settled now.
    async fn settle_surely(&self, mut answers: Vec<Settlement>) -> Vec<Settlement> {
        let mut pause = Duration::from_millis(20);
        loop {
            match self.settle(answers).await {
                Ok(left) => {
                    self.failures.went_well("settle");
                    return left;
                }
                Err((left, error)) => {
                    // the outcomes stay in hand
                    answers = left;
                    self.failures.failed("settle", &error);
                    self.options.pulse.turn("settle");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    /// Waits for answers, for as long as there are none.
    async fn next_answers(&self, answers: &mut mpsc::Receiver<Vec<Settlement>>) -> Option<Vec<Settlement>> {
        let _rest = self.options.pulse.rest("settle");
        answers.recv().await
    }

    /// Settles whatever calls bring, until all senders are gone. An answer is never dropped: while the database is away
    /// it is tried again, with growing pauses; one that cannot be settled goes on `apart`.
    pub(crate) async fn settle_all(
        &self,
        mut answers: mpsc::Receiver<Vec<Settlement>>,
        apart: mpsc::UnboundedSender<Vec<Settlement>>,
    ) {
        while let Some(mut batch) = self.next_answers(&mut answers).await {
            self.options.pulse.turn("settle");
            while batch.len() < BATCH {
                let Ok(more) = answers.try_recv() else { break };
                batch.extend(more);
            }
            let left = self.settle_surely(batch).await;
            if !left.is_empty() {
                // the receiver lives until this sender is gone
                let _ = apart.send(left);
            }
            self.wake.notify_waiters();
        }
    }

    /// Settles what could not be settled with the others, again and again, until it is settled and no more comes.
    pub(crate) async fn settle_all_apart(&self, mut left: mpsc::UnboundedReceiver<Vec<Settlement>>) {
        let policy = |destination| self.directory.policy(destination);
        let mut waiting: Vec<Settlement> = Vec::new();
        loop {
            if waiting.is_empty() {
                let Some(first) = left.recv().await else { return };
                waiting = first;
            }
            while let Ok(more) = left.try_recv() {
                waiting.extend(more);
            }
            let others_passed = self.settled.swap(0, Ordering::Relaxed) > 0;
            let (settled, error) =
                outbox::settle::settle_apart(&self.database, self.id, &waiting, &policy, others_passed).await;
            self.open_attempts.put(settled.iter().map(|place| waiting[*place].attempt));
            let mut place = 0..;
            waiting.retain(|_| !settled.contains(&place.next().expect("no end")));
            match error {
                Some(error) => self.failures.failed("settle_apart", &error),
                None => self.failures.went_well("settle_apart"),
            }
            if !settled.is_empty() {
                self.wake.notify_waiters();
            }
            if !waiting.is_empty() {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}
