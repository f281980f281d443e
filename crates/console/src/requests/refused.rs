//! Refusals of request statuses, counted once a second: whoever sends nonsense without end writes a row a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outbox::Database;
use outbox::track::{Door, Refusals, count};
use tokio_util::task::AbortOnDropHandle;

/// How often they are written down.
const EVERY: Duration = Duration::from_secs(1);

/// Those that are not written down yet: as many kinds as there are fields and reasons.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Refusals>);

impl Refused {
    /// Adds those of a call.
    pub fn join(&self, more: Refusals) {
        if !more.is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).join(more);
        }
    }

    /// Writes them down; what cannot be written waits for the next time.
    pub async fn count(&self, database: &Database) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = count(database, Door::Http, &waiting).await {
            tracing::debug!(%error, "refusals of request statuses are not counted yet");
            self.join(waiting);
        }
    }

    /// Writes them down every second while the answer is held.
    pub fn keep(self: &Arc<Self>, database: Database) -> AbortOnDropHandle<()> {
        let own = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut every = tokio::time::interval(EVERY);
            every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                own.count(&database).await;
            }
        }))
    }
}
