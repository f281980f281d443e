//! What this process has seen of the server's history. It outlives a worker that is taken for dead, for after a restore
//! the database may not know that worker at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use outbox::timeline::Position;
use uuid::Uuid;

use crate::Worker;

/// The last position, and the last attempt that we know was committed.
#[derive(Debug, Default)]
pub struct History {
    seen: Mutex<(Option<Position>, Option<Uuid>)>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, (Option<Position>, Option<Uuid>)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the server stood when it was last seen.
    pub fn position(&self) -> Option<Position> {
        self.lock().0.clone()
    }

    /// An attempt was committed.
    pub fn committed(&self, attempt: Option<Uuid>) {
        let last = &mut self.lock().1;
        *last = attempt.max(*last);
    }
}

impl Worker {
    /// Compares where the server stands with where it stood. If commits are gone, all sending is paused before anything
    /// else is claimed, until a person has compared and resumes.
    ///
    /// # Errors
    /// As Postgres says; the position seen last stays, so that nothing is claimed until this has succeeded.
    pub(crate) async fn look_back(&self, now: Position) -> Result<(), outbox::Error> {
        let (seen, attempt) = self.options.history.lock().clone();
        if let Some(seen) = seen {
            let gone = match attempt {
                _ if now.is_before(&seen) => true,
                Some(attempt) if now.is_another_server(&seen) => {
                    !outbox::timeline::knows(&self.database, attempt).await?
                }
                _ => false,
            };
            if gone {
                self.went_back(&seen, &now).await?;
            }
        }
        self.options.history.lock().0 = Some(now);
        Ok(())
    }

    async fn went_back(&self, seen: &Position, now: &Position) -> Result<(), outbox::Error> {
        let why = format!(
            "the database lacks commits that it had: it stood at {} of timeline {}, now at {} of {}",
            seen.flushed, seen.timeline, now.flushed, now.timeline
        );
        tracing::error!(why, "all sending is paused: compare with the marketplaces, then resume");
        outbox::timeline::went_back(&self.database, &self.options.name, &why).await?;
        // what an attempt of the lost time was named means nothing any more
        self.options.history.lock().1 = None;
        self.reload().await
    }
}
