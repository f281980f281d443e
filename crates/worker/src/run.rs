//! All loops together, until the worker is told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Dispatch;
use crate::settler::Answers;
use crate::{Worker, WorkerError};

/// What is not urgent happens once in so many polls.
const SELDOM: u32 = 6;

impl Worker {
    /// Renews the lease once.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn beat(&self) -> Result<bool, outbox::Error> {
        let sent_at = self.lease.now();
        let beat = outbox::workers::heartbeat(&self.database, self.id, self.hands.oldest(), self.database.can_listen())
            .await?;
        let Some(beat) = beat else {
            self.lease.lost();
            return Ok(false);
        };
        self.lease.renewed(sent_at);
        self.look_back(beat).await?;
        Ok(true)
    }

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
                // a worker whose answers nobody writes down must end; in order, it ends after everything else
                let _ended = work.drop_guard();
                worker.settle_all(receiver).await;
            }
        });
        let heartbeat = tokio::spawn(Arc::clone(self).heartbeat_loop(beating.clone(), work.clone()));
        let loops = [
            tokio::spawn(Arc::clone(self).fold_loop(work.clone())),
            tokio::spawn(Arc::clone(self).cut_loop(work.clone())),
            tokio::spawn(Arc::clone(self).shadow_loop(work.clone())),
            tokio::spawn(Arc::clone(self).promote_loop(work.clone())),
            tokio::spawn(Arc::clone(self).gather_loop(work.clone())),
            tokio::spawn(Arc::clone(self).health_loop(work.clone())),
            tokio::spawn(Arc::clone(self).maintain_loop(work.clone())),
            tokio::spawn(Arc::clone(self).listen_loop(work.clone())),
            tokio::spawn(Arc::clone(self).destinations_loop(work.clone(), answers)),
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
        if in_time && !was_lost && self.hands.count() == 0 {
            outbox::workers::stop(&self.database, self.id).await?;
        } else {
            tracing::warn!(
                attempts = self.hands.count(),
                "stopped with attempts in hand; another worker takes over when the lease is over"
            );
        }
        Ok(!was_lost)
    }

    async fn heartbeat_loop(self: Arc<Self>, until: CancellationToken, work: CancellationToken) {
        let every = self.options.lease / 4;
        while pause(every, &until).await {
            match tokio::time::timeout(every, self.beat()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    tracing::error!("was taken for dead: its claims are another's now");
                    work.cancel();
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "could not renew the lease"),
                Err(_) => tracing::warn!("renewing the lease took too long"),
            }
        }
    }

    async fn fold_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        while !stop.is_cancelled() {
            let wait = match self.fold().await {
                Ok(folded) if folded.taken > folded.returned => backoff.reset(),
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed("fold", &error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn cut_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        while !stop.is_cancelled() {
            let wait = match self.cut().await {
                Ok(cut) if cut.cut > 0 => backoff.reset(),
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed("cut", &error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn gather_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        while !stop.is_cancelled() {
            let wait = match outbox::requests::gather(&self.database).await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed("gather", &error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    /// Beside the others, so that no shadow is ever why a live hour waits.
    async fn shadow_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        let (mut seldom, mut rarely) = (Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            let round = async {
                let mut maintained = Ok(());
                if seldom.elapsed() > self.options.poll * SELDOM {
                    seldom = Instant::now();
                    let is_rare = rarely.elapsed() > self.options.poll * 50;
                    rarely = if is_rare { seldom } else { rarely };
                    maintained = self.maintain_shadows(is_rare).await;
                }
                let counted = self.shadow().await;
                maintained.and(counted)
            };
            let wait = match round.await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed("shadow", &error),
            };
            if !wait.is_zero() && !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn promote_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        loop {
            let wait = match self.promote().await {
                Ok(_) => backoff.idle(),
                Err(error) => backoff.failed("promote", &error),
            };
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn health_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        loop {
            let wait = match self.read_health().await {
                Ok(()) => backoff.idle(),
                Err(error) => backoff.failed("health", &error),
            };
            if !pause(wait, &stop).await {
                return;
            }
        }
    }

    async fn maintain_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.options.poll);
        let mut rarely = Instant::now();
        loop {
            let is_rare = rarely.elapsed() > self.options.poll * 50;
            rarely = if is_rare { Instant::now() } else { rarely };
            let failed = self.maintain_all(is_rare).await;
            let wait = match failed.last() {
                None => backoff.idle() * SELDOM,
                Some((step, error)) => backoff.failed(step, error),
            };
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
        let mut backoff = Backoff::new(self.options.poll);
        loop {
            let listening = self.database.listen("postmeter_due", || self.wake.notify_waiters());
            tokio::select! {
                ended = listening => if let Err(error) = ended { backoff.failed("listen", &error); },
                () = stop.cancelled() => return,
            }
            if !pause(self.options.poll * 2, &stop).await {
                return;
            }
        }
    }

    /// One loop per destination; new ones get theirs when the catalogue is read again.
    async fn destinations_loop(self: Arc<Self>, stop: CancellationToken, answers: Answers) {
        let mut loops: HashMap<i32, JoinHandle<()>> = HashMap::new();
        loop {
            for id in self.directory.all().keys() {
                if loops.get(id).is_none_or(JoinHandle::is_finished) {
                    loops.insert(
                        *id,
                        tokio::spawn(Arc::clone(&self).destination_loop(*id, stop.clone(), answers.clone())),
                    );
                }
            }
            if !pause(self.options.poll, &stop).await {
                break;
            }
        }
        for handle in loops.into_values() {
            let _ = handle.await;
        }
    }

    async fn destination_loop(self: Arc<Self>, id: i32, stop: CancellationToken, answers: Answers) {
        let Some(mut state) = self.directory.all().get(&id).map(|served| Dispatch::new(&served.destination)) else {
            return;
        };
        let mut backoff = Backoff::new(self.options.poll);
        let mut suspects_at = Instant::now();
        while !stop.is_cancelled() {
            let Some(served) = self.directory.all().get(&id).cloned() else { break };
            let woken = self.wake.notified();
            let sent = async {
                let claimed = self.dispatch(&served, &mut state, &answers, &stop).await?;
                if suspects_at.elapsed() > self.options.poll * SELDOM {
                    if outbox::claim::suspects(&self.database).await?.contains(&id)
                        && self.dispatch_suspect(&served).await?
                    {
                        return Ok(claimed + 1);
                    }
                    // while there is another, it need not wait
                    suspects_at = Instant::now();
                }
                Ok(claimed)
            };
            let wait = match sent.await {
                Ok(0) => backoff.idle(),
                Ok(_) => backoff.reset(),
                Err(error) => backoff.failed("dispatch", &error),
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
async fn pause(length: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => true,
        () = stop.cancelled() => false,
    }
}

/// The rhythm of a loop: at once while there is work, slower while there is none, slower still while the database is away.
struct Backoff {
    poll: Duration,
    failures: u32,
}

impl Backoff {
    const fn new(poll: Duration) -> Self {
        Self { poll, failures: 0 }
    }

    const fn reset(&mut self) -> Duration {
        self.failures = 0;
        Duration::ZERO
    }

    const fn idle(&mut self) -> Duration {
        self.failures = 0;
        self.poll
    }

    fn failed(&mut self, step: &str, error: &outbox::Error) -> Duration {
        self.failures += 1;
        if error.is_passing() {
            tracing::warn!(step, %error, failures = self.failures, "will be tried again");
        } else {
            tracing::error!(step, %error, failures = self.failures, "failed; will be tried again");
        }
        // jitter by what differs between workers anyway, so that they do not come back together
        let jitter = Duration::from_millis(u64::from(std::process::id()) % 97);
        (Duration::from_millis(50) * (1 << self.failures.min(6))).min(Duration::from_secs(3)) + jitter
    }
}
