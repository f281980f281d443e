//! Switches act at once: a call begins only by the rules of which this worker has told the fleet that it acts by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox::switches::{self, Versions};
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::directory::Served;
use crate::rhythm::Backoff;

/// So soon at the latest it is looked whether a rule has changed, however seldom there is something to do.
pub const HEEDED_EVERY: Duration = Duration::from_millis(500);

/// A call on the wire. Dropping it ends the call.
#[derive(Debug)]
pub struct OnTheWire(Arc<AtomicUsize>);

impl Drop for OnTheWire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Served {
    /// A call begins; `None`: the rules by which it was claimed are not those of the destination any more, and it is to be
    /// handed back.
    pub(crate) fn begin(&self) -> Option<OnTheWire> {
        // counted before it is looked: who replaces the rules and counts then sees either this call, or that it is refused
        self.on_the_wire.fetch_add(1, Ordering::SeqCst);
        let call = OnTheWire(Arc::clone(&self.on_the_wire));
        (!self.replaced.is_cancelled()).then_some(call)
    }
}

impl Worker {
    /// Takes over the rules of all destinations, hands back what was claimed by older ones and has not begun, and tells the
    /// fleet so. One at a time: what was read earlier must not replace what was read later.
    ///
    /// # Errors
    /// As Postgres says; the fleet does not know then, and it is told at the next look.
    pub(crate) async fn take_over_rules(&self) -> Result<(), outbox::Error> {
        let mut told = self.told.lock().await;
        self.take_over(&mut told).await
    }

    /// The same, if some rule has changed since the fleet was told.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn heed_switches(&self) -> Result<(), outbox::Error> {
        let mut told = self.told.lock().await;
        if told.as_ref() == Some(&switches::versions(&self.database).await?) {
            return Ok(());
        }
        self.take_over(&mut told).await
    }

    async fn take_over(&self, told: &mut Option<Versions>) -> Result<(), outbox::Error> {
        self.directory.replace(outbox::catalogue::destinations(&self.database).await?);
        // a quota's wait that a person has ended is such a change
        self.read_paces().await?;
        let all = self.directory.all();
        let acts_by = all.values().map(|served| (served.destination.id, served.destination.version));
        let acts_by: Versions = acts_by.collect();
        if told.as_ref() == Some(&acts_by) {
            return Ok(());
        }
        *told = None;
        let calls = |served: &Served| served.on_the_wire.load(Ordering::SeqCst);
        let acknowledged: Vec<_> =
            all.values().map(|served| (served.destination.id, served.destination.version, calls(served))).collect();
        // what is idle looks anew, and finds what a pause kept back
        self.wake.notify_waiters();
        switches::acknowledge(&self.database, self.id, &acknowledged).await?;
        *told = Some(acts_by);
        Ok(())
    }

    /// Looks for changed rules, apart from everything that may take long.
    pub(crate) async fn switches_loop(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::new(&self, "switches");
        loop {
            let wait = match self.heed_switches().await {
                Ok(()) => backoff.within(HEEDED_EVERY),
                Err(error) => backoff.failed(&error),
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}
