//! What this worker has in its hands: attempts without a recorded outcome.

use std::collections::BTreeSet;
use std::sync::Mutex;

use uuid::Uuid;

/// Open attempts, oldest first (their ids are ordered by time).
#[derive(Debug, Default)]
pub struct Hands {
    open: Mutex<BTreeSet<Uuid>>,
}

impl Hands {
    fn open(&self) -> std::sync::MutexGuard<'_, BTreeSet<Uuid>> {
        self.open.lock().expect("no holder of this lock can panic")
    }

    /// Attempts were claimed.
    pub fn take(&self, attempts: impl IntoIterator<Item = Uuid>) {
        self.open().extend(attempts);
    }

    /// Their outcomes are recorded.
    pub fn put(&self, attempts: impl IntoIterator<Item = Uuid>) {
        let mut open = self.open();
        for attempt in attempts {
            open.remove(&attempt);
        }
    }

    /// The oldest, for the heartbeat.
    pub fn oldest(&self) -> Option<Uuid> {
        self.open().first().copied()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.open().len()
    }
}
