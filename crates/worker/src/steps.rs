//! The steps of a worker, one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox::cut::Cut;
use outbox::fold::Folded;
use outbox::workers::Folding;
use telemetry::names;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use crate::dispatch::Dispatch;
use crate::{Worker, WorkerError};

/// What [`Worker::work`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worked {
    /// Entries folded.
    pub folded: usize,
    /// Hours cut.
    pub cut: usize,
    /// Deliveries claimed.
    pub claimed: usize,
    /// Usages that shadows counted, and hours of theirs that were cut.
    pub shadow: usize,
}

impl Worker {
    /// Reads the catalogue again, and the identities of subscriptions that were written by SQL.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn reload(&self) -> Result<(), outbox::Error> {
        self.directory.replace(outbox::catalogue::destinations(&self.database).await?);
        let mut cured = false;
        for unread in outbox::catalogue::unread(&self.database).await? {
            if let Some(reading) = self.directory.read_identity(unread.destination, &unread.identity) {
                outbox::catalogue::write_reading(&self.database, unread.id, &reading).await?;
                cured = true;
            }
        }
        if cured {
            // its usage may come back with ids below the floors
            self.turns.lock().await.forget_floors();
        }
        Ok(())
    }

    /// Folds one batch. After deaths in folds the batches are smaller, down to one entry, whose id is known before it is
    /// touched: so a row that kills workers is found and put aside, and the rest goes on.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn fold(&self) -> Result<Folded, outbox::Error> {
        let Some(first) = outbox::fold::waiting(&self.database).await? else { return Ok(Folded::default()) };
        let deaths = outbox::fold::deaths(&self.database).await?;
        let most = self.options.fold_max.checked_shr(4 * deaths).unwrap_or_default().max(1);
        let folding = if most > 1 { Folding::Many(most) } else { Folding::One(first) };
        outbox::workers::set_folding(&self.database, self.id, Some(folding)).await?;
        let mut turns = self.turns.lock().await;
        turns.trace(self.options.traces.is_some());
        let span = tracing::error_span!(parent: None, "fold", worker = %self.id, entries = Empty);
        let began = Instant::now();
        let pause = async || self.crash.point("in_fold");
        let folded = match folding {
            Folding::Many(most) => {
                outbox::fold::fold_with(&self.database, &mut turns, most, pause).instrument(span.clone()).await
            }
            Folding::One(usage) => outbox::fold::fold_one(&self.database, usage, pause).instrument(span.clone()).await,
        };
        // an error is no death: the next fold says anew what it is about to do
        outbox::workers::set_folding(&self.database, self.id, None).await?;
        let folded = folded?;
        if folded.returned > 0 || folded.taken == 0 {
            turns.forget_floors();
        }
        if folded.taken > 0 {
            span.record("entries", folded.taken);
            if let Some(traces) = &self.options.traces {
                traces.link(&span, turns.traced());
            }
            names::FOLD_DURATION.observe([], began.elapsed());
            names::ENTRIES_FOLDED.add([], u64::try_from(folded.taken - folded.returned).unwrap_or_default());
            self.crash.point("after_fold");
        }
        Ok(folded)
    }

    /// Cuts hours that are over.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn cut(&self) -> Result<Cut, outbox::Error> {
        let freeze = |sum: &outbox::cut::Sum| {
            self.crash.point("in_cut");
            self.directory.freeze(sum)
        };
        let cut = outbox::cut::cut(&self.database, self.options.cut_max, &self.directory.servable(), &freeze).await?;
        names::HOURS_CUT.add([], u64::try_from(cut.cut).unwrap_or_default());
        if cut.forced > 0 {
            names::HOURS_FORCED.add([], u64::try_from(cut.forced).unwrap_or_default());
            tracing::warn!(
                hours = cut.forced,
                "cut hours while their usage was still arriving: their deadline is near"
            );
        }
        if cut.held > 0 {
            tracing::warn!(
                hours = cut.held,
                "held remittances: their marketplace's code refuses them (view postmeter.dead_letter)"
            );
        }
        if cut.due > 0 {
            self.crash.point("after_cut");
            self.wake.notify_waiters();
        }
        Ok(cut)
    }

    /// Claims, submits and settles what is due at every destination, once; returns how many deliveries.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn send(self: &Arc<Self>) -> Result<usize, outbox::Error> {
        let mut claimed = 0;
        let stop = CancellationToken::new();
        self.read_health().await?;
        for served in self.directory.all().values() {
            let mut state = Dispatch::new(&served.destination);
            let (answers, receiver) = mpsc::channel(1024);
            claimed += self.dispatch(served, &mut state, &answers, &stop).await?;
            drop(answers);
            let mut receiver = receiver;
            while let Some(batch) = receiver.recv().await {
                self.settle(&batch).await?;
            }
            while self.dispatch_suspect(served).await? {
                claimed += 1;
            }
        }
        Ok(claimed)
    }

    /// Promotes what waited for its time; returns how many deliveries.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn promote(&self) -> Result<u64, outbox::Error> {
        let promoted = outbox::maintain::promote(&self.database, 10_000).await?;
        if promoted > 0 {
            self.wake.notify_waiters();
        }
        Ok(promoted)
    }

    /// Promotes what waited for its time, considers late evidence, opens hours for what is carried.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn maintain(&self) -> Result<(), outbox::Error> {
        self.promote().await?;
        while outbox::maintain::review(&self.database, 1000).await? == 1000 {}
        outbox::maintain::reconsider_stuck(&self.database, 1000, false).await?;
        outbox::maintain::carry(&self.database, 1000, false).await?;
        self.maintain_shadows(true).await
    }

    /// All maintenance of live destinations, and what is seldom needed. A step that fails keeps no other from its turn;
    /// returns which have failed.
    pub async fn maintain_all(&self, rarely: bool) -> Vec<(&'static str, outbox::Error)> {
        let database = &self.database;
        let mut failed = Vec::new();
        let mut done = |step, result: Result<(), outbox::Error>| {
            if let Err(error) = result {
                failed.push((step, error));
            }
        };
        done("reap", self.reap().await.map(drop));
        done("review", outbox::maintain::review(database, 1000).await.map(drop));
        done("carry", outbox::maintain::carry(database, 1000, false).await.map(drop));
        done("reload", self.reload().await);
        if rarely {
            let policy = |destination| self.directory.policy(destination);
            done("settle_lost", self.settle_lost().await.map(drop));
            done("reconsider_stuck", outbox::maintain::reconsider_stuck(database, 1000, false).await.map(drop));
            done("return_cured", outbox::maintain::return_cured(database, 100_000).await.map(drop));
            done("take_over_rest", outbox::workers::take_over_rest(database, self.id, &policy).await.map(drop));
            done("create_partitions", outbox::maintain::create_partitions(database, 2).await.map(drop));
            done("tend", outbox::requests::tend(database).await);
            done("forget", outbox::fleet::forget(database).await.map(drop));
        }
        failed
    }

    /// Takes over from dead workers.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn reap(&self) -> Result<usize, outbox::Error> {
        let policy = |destination| self.directory.policy(destination);
        let reaped = outbox::workers::reap(&self.database, self.id, &policy).await?;
        names::ATTEMPTS_LOST.add([], reaped.iter().map(|dead| u64::try_from(dead.attempts).unwrap_or_default()).sum());
        for dead in reaped.iter().filter(|dead| dead.attempts > 0) {
            tracing::warn!(
                worker = dead.name,
                attempts = dead.attempts,
                "took over from a worker whose lease was over"
            );
        }
        if !reaped.is_empty() {
            self.crash.point("in_reap");
            self.wake.notify_waiters();
        }
        Ok(reaped.len())
    }

    /// Settles own attempts that were lost from sight: committed by a claim whose connection broke before it was heard of,
    /// or in the hands of a call that failed. Each may have arrived; a call that failed counts as a death. Returns how many.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn settle_lost(&self) -> Result<usize, outbox::Error> {
        let (before, _) = self.hands.now();
        let (mut from, mut found) = (self.hands.known(), 0);
        let mut oldest_ours = None;
        loop {
            let own = outbox::workers::find_own(&self.database, self.id, from).await?;
            // of a claim that is still awaited nobody can say which of these are its own; they are a lease old at least
            let is_old = |since: Duration| self.lease.now().saturating_sub(since) > self.options.lease / 2;
            let (after, awaited) = self.hands.now();
            if awaited.is_some_and(is_old) {
                return Ok(found);
            }
            let is_ours = |attempt: &Uuid| before.contains(attempt) || after.contains(attempt);
            // it may be put down without an outcome, even while this is read: it is looked at again
            oldest_ours = oldest_ours.or(own.open.iter().map(|open| open.attempt).find(is_ours));
            let mut lost: Vec<_> = own.open.into_iter().filter(|open| !is_ours(&open.attempt)).collect();
            for lost in &mut lost {
                // a call that fails burns all its records, again and again, unless the one that does it is found
                lost.is_death = self.hands.has_failed(lost.attempt);
            }
            if !lost.is_empty() {
                tracing::warn!(attempts = lost.len(), "own attempts were lost from sight: unknown, and sent again");
                let policy = |destination| self.directory.policy(destination);
                outbox::settle::settle(&self.database, self.id, &lost, &policy).await?;
                self.hands.put(lost.iter().map(|lost| lost.attempt));
                names::ATTEMPTS_LOST.add([], u64::try_from(lost.len()).unwrap_or_default());
                found += lost.len();
            }
            if own.is_last {
                self.hands.know(oldest_ours.map_or(own.bound, |oldest| own.bound.min(oldest)));
                return Ok(found);
            }
            from = own.bound;
        }
    }

    /// Everything there is to do at this moment of the clock, until nothing is left: for tests and tools.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn work(self: &Arc<Self>) -> Result<Worked, WorkerError> {
        let mut worked = Worked::default();
        loop {
            let before = worked;
            self.beat().await?;
            self.maintain().await?;
            let folded = self.fold().await?;
            worked.folded += folded.taken - folded.returned;
            worked.cut += self.cut().await?.cut;
            worked.shadow += self.shadow().await?;
            worked.claimed += self.send().await?;
            if worked == before && folded.returned == 0 {
                return Ok(worked);
            }
        }
    }
}
