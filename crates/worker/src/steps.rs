//! The steps of a worker, one at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use outbox::cut::Cut;
use outbox::fold::Folded;
use outbox::maintain::Returned;
use outbox::settle::Settlement;
use outbox::workers::Folding;
use remittance::Outcome;
use telemetry::names;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use crate::dispatch::Dispatch;
use crate::suspect::Suspect;
use crate::{Worker, WorkerError};

/// Entries of an org that are folded apart at once: they are fewer than a batch, for some of them may come back.
pub const APART_MAX: usize = 2000;

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

/// Held usages at most that one transaction looks at, whether the catalogue knows them by now.
pub(crate) const CURED_MAX: usize = 5000;

impl Worker {
    /// Reads the catalogue again, and the identities of subscriptions that were written by SQL.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn reload(&self) -> Result<(), outbox::Error> {
        self.take_over_rules().await?;
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

    /// Folds one batch, without what is folded apart ([`Self::fold_apart`], [`Self::fold_suspects`]).
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn fold(&self) -> Result<Folded, outbox::Error> {
        let waiting = outbox::fold::look(&self.database).await?;
        if waiting.has_deaths {
            outbox::fold::find_suspects(&self.database).await;
        }
        if waiting.first.is_none() {
            return Ok(Folded::default());
        }
        let which = (self.options.fold_max, outbox::fold::has_others(&self.database).await);
        let mut turns = self.turns.lock().await;
        turns.trace(self.options.traces.is_some());
        let span = tracing::error_span!(parent: None, "fold", worker = %self.id, entries = Empty);
        let began = Instant::now();
        let pause = async || self.crash.point("in_fold");
        let folding = outbox::fold::fold_as(&self.database, Some(self.id), &mut turns, which, pause);
        let folded = folding.instrument(span.clone()).await;
        // an error is no death: the next fold says anew what it has in hand
        outbox::workers::set_folding(&self.database, self.id, &Folding::Through).await?;
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
            self.count_folded(folded);
            self.crash.point("after_fold");
        }
        Ok(folded)
    }

    /// Folds what the ordinary folds leave out because another session keeps something of its org, or because it failed.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn fold_apart(&self) -> Result<Folded, outbox::Error> {
        if !outbox::fold::has_others(&self.database).await {
            return Ok(Folded::default());
        }
        let others_passed = self.passed.swap(0, Ordering::Relaxed) > 0;
        let most = self.options.fold_max.min(APART_MAX);
        let mut places = self.places.lock().await;
        let folded = outbox::fold::fold_apart(&self.database, Some(self.id), &mut places, (most, others_passed)).await;
        outbox::workers::set_folding(&self.database, self.id, &Folding::ApartThrough).await?;
        let folded = folded?;
        self.count_folded(folded);
        Ok(folded)
    }

    /// Folds a range of what was in the hands of dying workers; `None`: other workers have all there are.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn fold_suspects(&self) -> Result<Option<Folded>, outbox::Error> {
        if !outbox::fold::has_others(&self.database).await {
            return Ok(None);
        }
        let pause = async || self.crash.point("in_fold");
        let folded = outbox::fold::fold_suspects(&self.database, Some(self.id), pause).await;
        outbox::workers::set_folding(&self.database, self.id, &Folding::SuspectThrough).await?;
        let folded = folded?;
        self.count_folded(folded.unwrap_or_default());
        Ok(folded)
    }

    fn count_folded(&self, folded: Folded) {
        self.passed.fetch_add(folded.through(), Ordering::Relaxed);
        names::ENTRIES_FOLDED.add([], u64::try_from(folded.through()).unwrap_or_default());
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
        let cut = self.cutter.lock().await.cut(&self.database, &self.directory.servable(), &freeze).await?;
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

    /// Claims, submits and settles what is due at every destination, once; returns how many deliveries. Renews the lease,
    /// without which nothing is sent: a caller of single steps may have paused for long before this one.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn send(self: &Arc<Self>) -> Result<usize, outbox::Error> {
        self.beat().await?;
        let mut claimed = 0;
        let stop = CancellationToken::new();
        self.heed_switches().await?;
        self.read_health().await?;
        for served in self.directory.all().values() {
            let mut state = Dispatch::new(&served.destination);
            let (answers, receiver) = mpsc::channel(1024);
            claimed += self.dispatch(served, &mut state, &answers, &stop).await?;
            drop(answers);
            self.settle_sent(receiver).await?;
            loop {
                let (answers, receiver) = mpsc::channel(1);
                let suspect = self.dispatch_suspect(served, &state, &answers).await?;
                drop(answers);
                // what was handed back is a suspect still
                if suspect != Suspect::Sent || !self.settle_sent(receiver).await? {
                    break;
                }
                claimed += 1;
            }
        }
        Ok(claimed)
    }

    /// Settles what calls bring until they have ended; whether anything was answered.
    async fn settle_sent(&self, mut answers: mpsc::Receiver<Vec<Settlement>>) -> Result<bool, outbox::Error> {
        let mut is_answered = false;
        while let Some(batch) = answers.recv().await {
            is_answered |= batch.iter().any(|settlement| settlement.answer.outcome != Outcome::HandedBack);
            let left = self.settle(batch).await.map_err(|(_, error)| error)?;
            let policy = |destination| self.directory.policy(destination);
            outbox::settle::settle(&self.database, self.id, &left, &policy).await?;
            self.open_attempts.put(left.iter().map(|answer| answer.attempt));
        }
        Ok(is_answered)
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

    /// All that maintenance does for live destinations and shadows, but for what concerns the fleet and the
    /// partitions: for tests and tools that take single steps. A running worker has loops for it
    /// ([`Self::maintain_all`] is one's turn).
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn maintain(&self) -> Result<(), outbox::Error> {
        self.promote().await?;
        outbox::maintain::review(&self.database).await?;
        outbox::maintain::reconsider_stuck(&self.database, false).await?;
        outbox::maintain::move_deadlines(&self.database).await?;
        while self.return_marked().await?.has_more {}
        self.return_cured(false).await?;
        outbox::maintain::carry(&self.database, false).await?;
        outbox::maintain::month_end(&self.database, false).await?;
        outbox::maintain::zero(&self.database).await?;
        self.maintain_shadows(true).await
    }

    /// A turn of the loop of maintenance: dead workers, late evidence, carried quantity, the catalogue, cured usage;
    /// `rarely` also what is seldom needed. Promotion, deadlines, marks and shadows have loops of their own. A step
    /// that fails keeps no other from its turn; returns which have failed.
    pub async fn maintain_all(&self, rarely: bool) -> Vec<(&'static str, outbox::Error)> {
        let database = &self.database;
        let mut failed = Vec::new();
        let mut done = |step, result: Result<(), outbox::Error>| match result {
            Ok(()) => self.failures.went_well(step),
            Err(error) => failed.push((step, error)),
        };
        done("reap", self.reap().await.map(drop));
        done("review", outbox::maintain::review(database).await.map(drop));
        done("carry", outbox::maintain::carry(database, false).await.map(drop));
        done("month_end", outbox::maintain::month_end(database, false).await.map(drop));
        done("reload", self.reload().await);
        if !rarely {
            done("return_cured", self.return_cured(false).await);
        } else {
            let policy = |destination| self.directory.policy(destination);
            done("settle_lost", self.settle_lost().await.map(drop));
            done("reconsider_stuck", outbox::maintain::reconsider_stuck(database, false).await.map(drop));
            done("return_cured", self.return_cured(true).await);
            done("zero", outbox::maintain::zero(database).await.map(drop));
            outbox::setback::forget(database).await;
            done("take_over_rest", outbox::workers::take_over_rest(database, self.id, &policy).await.map(drop));
            done("create_partitions", outbox::maintain::create_partitions(database, 2).await.map(drop));
            done("turn_identities", outbox::maintain::turn_identities(database).await.map(drop));
            done("tend", outbox::requests::tend(database).await);
            done("forget", outbox::fleet::forget(database).await.map(drop));
        }
        failed
    }

    /// Sends back to the outbox held usage that the catalogue knows by now, if a change of it asks for that or `always`.
    async fn return_cured(&self, always: bool) -> Result<(), outbox::Error> {
        let returned = if always {
            outbox::maintain::return_cured(&self.database, CURED_MAX).await?
        } else {
            outbox::maintain::return_cured_if_wanted(&self.database, CURED_MAX).await?
        };
        if returned > 0 {
            // it comes back with ids below the floors
            self.turns.lock().await.forget_floors();
        }
        Ok(())
    }

    /// Returns to the outbox what a changed catalogue places elsewhere, while its hour is open.
    pub(crate) async fn return_marked(&self) -> Result<Returned, outbox::Error> {
        let returned = outbox::maintain::return_marked(&self.database).await?;
        if returned.usages > 0 {
            // it comes back with ids below the floors
            self.turns.lock().await.forget_floors();
        }
        Ok(returned)
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
        let (before, _) = self.open_attempts.now();
        let (mut from, mut found) = (self.open_attempts.known(), 0);
        let mut oldest_ours = None;
        loop {
            let own = outbox::workers::find_own(&self.database, self.id, from).await?;
            // which of these belong to a claim that is still awaited is unknown; they are a lease old at least
            let is_old = |since: Duration| self.lease.now().saturating_sub(since) > self.options.lease / 2;
            let (after, awaited) = self.open_attempts.now();
            if awaited.is_some_and(is_old) {
                return Ok(found);
            }
            let is_ours = |attempt: &Uuid| before.contains(attempt) || after.contains(attempt);
            // it may be put down without an outcome, even while this is read: it is looked at again
            oldest_ours = oldest_ours.or(own.open.iter().map(|open| open.attempt).find(is_ours));
            let mut lost: Vec<_> = own.open.into_iter().filter(|open| !is_ours(&open.attempt)).collect();
            for lost in &mut lost {
                // a call that fails burns all its records, again and again, unless the one that does it is found
                lost.is_death = self.open_attempts.has_failed(lost.attempt);
            }
            if !lost.is_empty() {
                tracing::warn!(attempts = lost.len(), "own attempts were lost from sight: unknown, and sent again");
                let policy = |destination| self.directory.policy(destination);
                let each = outbox::settle::settle_each(&self.database, self.id, &lost, &policy).await;
                let left = each.left();
                let is_settled = |place: &usize| left.binary_search(place).is_err();
                self.open_attempts.put((0..lost.len()).filter(is_settled).map(|place| lost[place].attempt));
                names::ATTEMPTS_LOST.add([], u64::try_from(lost.len() - left.len()).unwrap_or_default());
                found += lost.len() - left.len();
                // they are not ours to know of yet: the next look finds them again
                oldest_ours = oldest_ours.or(left.first().map(|place| lost[*place].attempt));
                if let Some((_, error)) = each.broken {
                    return Err(error);
                }
            }
            if own.is_last {
                self.open_attempts.know(oldest_ours.map_or(own.bound, |oldest| own.bound.min(oldest)));
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
            worked.folded += folded.through() + self.fold_apart().await?.through();
            while let Some(suspects) = self.fold_suspects().await? {
                worked.folded += suspects.through();
            }
            worked.cut += self.cut().await?.cut;
            worked.shadow += self.shadow().await?;
            worked.claimed += self.send().await?;
            if worked == before && folded.returned == 0 {
                return Ok(worked);
            }
        }
    }
}
