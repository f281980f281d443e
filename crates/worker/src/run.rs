//! All loops together, until the worker is told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::dispatch::Dispatch;
use crate::rhythm::{Backoff, RARELY, SELDOM};
use crate::settler::Answers;
use crate::suspect::Suspect;
use crate::{Worker, WorkerError};

/// Each half of the balance is given up after this: its snapshot keeps dead rows from being removed meanwhile.
const BALANCE_WITHIN: Duration = Duration::from_secs(100);

impl Worker {
    /// Runs until `stop`; then finishes or hands back what it has in hand, within its limit. Returns `false` if it was
    /// taken for dead meanwhile: start a new one.
    ///
    /// # Errors
    /// None that a loop can survive: those are logged, and the loop goes on when the database is back.
    pub async fn run(self: &Arc<Self>, stop: CancellationToken) -> Result<bool, WorkerError> {
        let work = stop.child_token();
        // heartbeats go on while calls are drained
        let beating = CancellationToken::new();
        let (answers, receiver) = mpsc::channel(256);
        let settler = tokio::spawn({
            let (worker, work) = (Arc::clone(self), work.clone());
            async move {
                // a worker whose answers are not written down must end; in order, the settler ends last
                let _ended = work.drop_guard();
                let (apart, left) = mpsc::unbounded_channel();
                tokio::join!(worker.settle_all(receiver, apart), worker.settle_all_apart(left));
            }
            .instrument(tracing::error_span!("worker", worker = %self.id))
        });
        // whatever a loop says bears the worker's id
        let span = tracing::error_span!("worker", worker = %self.id);
        let heartbeat =
            tokio::spawn(Arc::clone(self).heartbeat_loop(beating.clone(), work.clone()).instrument(span.clone()));
        let loops = [
            tokio::spawn(Arc::clone(self).fold_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).fold_apart_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).fold_suspects_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).cut_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).shadow_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).promote_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).gather_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).health_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).switches_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).maintain_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).deadlines_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).marked_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).alert_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).listen_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).balance_loop(work.clone()).instrument(span.clone())),
            tokio::spawn(Arc::clone(self).destinations_loop(work.clone(), answers).instrument(span.clone())),
        ];
        work.cancelled().await;
        let drained = async {
            for handle in loops {
                let _ = handle.await;
            }
            let _ = settler.await;
        };
        let in_time = tokio::time::timeout(self.options.stop_within, drained).await.is_ok();
        beating.cancel();
        let _ = heartbeat.await;
        let was_lost = !stop.is_cancelled();
        if in_time && !was_lost && self.open_attempts.count() == 0 {
            outbox::workers::stop(&self.database, self.id).await?;
        } else {
            tracing::warn!(
                attempts = self.open_attempts.count(),
                "stopped with attempts in hand; another worker takes over when the lease is over"
            );
        }
        Ok(!was_lost)
    }

    async fn fold_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "fold");
        while !stop.is_cancelled() {
            let wait = match self.fold().await {
                Ok(folded) if folded.through() > 0 => backoff.reset(),
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside the ordinary folds: what waits for a lock, or fails, never keeps them waiting.
    async fn fold_apart_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "fold_apart");
        while !stop.is_cancelled() {
            let wait = match self.fold_apart().await {
                Ok(folded) if folded.through() > 0 => backoff.reset(),
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside both, so that what may kill a worker delays nothing that is only locked out, nor the other way round.
    async fn fold_suspects_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "fold_suspects");
        while !stop.is_cancelled() {
            let wait = match self.fold_suspects().await {
                Ok(Some(_)) => backoff.reset(),
                Ok(None) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn cut_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "cut");
        while !stop.is_cancelled() {
            let wait = match self.cut().await {
                Ok(cut) if cut.cut > 0 => backoff.reset(),
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn gather_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "gather");
        while !stop.is_cancelled() {
            let wait = match outbox::requests::gather(&self.database).await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside the others, so that no shadow is ever why a live hour waits.
    async fn shadow_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "shadow");
        let (mut seldom, mut rarely) = (Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            let round = async {
                let mut maintained = Ok(());
                if seldom.elapsed() > self.options.poll * SELDOM {
                    seldom = Instant::now();
                    let is_rare = rarely.elapsed() > self.options.poll * RARELY;
                    rarely = if is_rare { seldom } else { rarely };
                    maintained = self.maintain_shadows(is_rare).await;
                }
                let counted = self.shadow().await;
                maintained.and(counted)
            };
            let wait = match round.await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn promote_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "promote");
        loop {
            let wait = match self.promote().await {
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn health_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "health");
        loop {
            let wait = match self.read_health().await {
                Ok(()) => backoff.idle(),
                Err(error) => backoff.failed(&error),
            };
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn maintain_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "maintain");
        let mut rarely = Instant::now();
        loop {
            let is_rare = rarely.elapsed() > self.options.poll * RARELY;
            rarely = if is_rare { Instant::now() } else { rarely };
            let failed = self.maintain_all(is_rare).await;
            for (step, error) in &failed {
                self.failures.failed(step, error);
            }
            let wait = if failed.is_empty() { backoff.seldom() } else { backoff.wait_after_failure() };
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside the rest of maintenance: however many deadlines there are to move, who died is taken over from in time.
    async fn deadlines_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "deadlines");
        while !stop.is_cancelled() {
            let wait = match outbox::maintain::move_deadlines(&self.database).await {
                Ok(followed) if followed.has_more => backoff.reset(),
                Ok(_) => backoff.seldom(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside the rest of maintenance, because hours that are to be cut wait for it.
    async fn marked_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "marked");
        while !stop.is_cancelled() {
            let wait = match self.return_marked().await {
                Ok(returned) if returned.has_more => backoff.reset(),
                Ok(_) => backoff.seldom(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Checks the whole balance when no other worker of the fleet has lately.
    async fn balance_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "balance");
        let mut wait = backoff.rarely();
        while pause(wait, &stop).await {
            let checking = outbox::measure::check_balance(&self.database, BALANCE_WITHIN);
            wait = match stop.run_until_cancelled(checking).await {
                None => return,
                Some(Ok(open)) => {
                    if let Some(open @ 1..) = open {
                        tracing::error!(
                            open,
                            "the balance does not close: a defect (views postmeter.balance and usage_balance)"
                        );
                    }
                    backoff.rarely()
                }
                Some(Err(error)) => backoff.failed(&error),
            };
        }
    }

    /// Beside the others: a look that takes long must not make anything wait.
    async fn alert_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "alerts");
        loop {
            let round = async {
                self.look(false).await?;
                self.post_alerts().await
            };
            // each rule has its own limit of time, and all together may take long
            let rest = self.options.pulse.rest("alerts");
            let wait = match stop.run_until_cancelled(round).await {
                None => return,
                Some(Ok(_)) => backoff.seldom(),
                Some(Err(error)) => backoff.failed(&error),
            };
            drop(rest);
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// A notification is a shortcut: whatever happens to it, the loops poll.
    async fn listen_loop(self: Arc<Self>, stop: CancellationToken) {
        if !self.database.can_listen() {
            return;
        }
        let mut backoff = Backoff::new(&self, "listen");
        loop {
            let rest = self.options.pulse.rest("listen");
            let listening = self.database.listen("postmeter_due", || self.wake.notify_waiters());
            let wait = match stop.run_until_cancelled(listening).await {
                None => return,
                Some(Ok(())) => backoff.idle(),
                Some(Err(error)) => backoff.failed(&error),
            };
            drop(rest);
            if !pause(wait.max(self.options.poll * 2), &stop).await {
                return;
            }
        }
    }

    /// One loop per destination; new ones get theirs when the catalogue is read again.
    async fn destinations_loop(self: Arc<Self>, stop: CancellationToken, answers: Answers) {
        let mut loops: HashMap<i32, JoinHandle<()>> = HashMap::new();
        loop {
            let woken = self.wake.notified();
            for id in self.directory.all().keys() {
                if loops.get(id).is_none_or(JoinHandle::is_finished) {
                    loops.insert(
                        *id,
                        tokio::spawn(
                            Arc::clone(&self)
                                .destination_loop(*id, stop.clone(), answers.clone())
                                .instrument(tracing::Span::current()),
                        ),
                    );
                }
            }
            self.options.pulse.tick_until("destinations", self.options.poll);
            tokio::select! {
                () = tokio::time::sleep(self.options.poll) => {}
                () = woken => {}
                () = stop.cancelled() => break,
            }
        }
        self.options.pulse.end("destinations");
        for handle in loops.into_values() {
            let _ = handle.await;
        }
    }

    async fn destination_loop(self: Arc<Self>, id: i32, stop: CancellationToken, answers: Answers) {
        let Some(served) = self.directory.all().get(&id).cloned() else { return };
        let (mut state, name) = (Dispatch::new(&served.destination), served.destination.name.clone());
        let mut version = served.destination.version;
        let mut backoff = Backoff::of_destination(&self, &name);
        let mut suspects_at = Instant::now();
        while !stop.is_cancelled() {
            // from before the rules are read, so that no change meanwhile is missed
            let woken = self.wake.notified();
            let Some(served) = self.directory.all().get(&id).cloned() else { break };
            if served.destination.version != version {
                // what is in hand ends, or is handed back before its call; then it goes on by the new rules
                let _rest = self.options.pulse.rest(&name);
                state.drained().await;
                (state, version) = (Dispatch::new(&served.destination), served.destination.version);
            }
            let sent = async {
                let claimed = self.dispatch(&served, &mut state, &answers, &stop).await?;
                // the answer of the one that is under way wakes this loop
                if suspects_at.elapsed() > self.options.poll * SELDOM {
                    let has_some = outbox::claim::suspects(&self.database).await?.contains(&id);
                    if !has_some || self.dispatch_suspect(&served, &state, &answers).await? == Suspect::None {
                        suspects_at = Instant::now();
                    }
                }
                Ok(claimed)
            };
            let wait = match sent.await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed(&error),
            };
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = woken => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        state.drained().await;
    }
}

/// Sleeps; `false` when told to stop.
pub async fn pause(length: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => true,
        () = stop.cancelled() => false,
    }
}
