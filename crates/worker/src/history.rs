//! What this process has seen of the server's history. It outlives a worker that is taken for dead, for after a restore
//! the database may not know that worker at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use outbox::timeline::{Beat, Position, Remembered};
use uuid::Uuid;

use crate::Worker;

/// The last position, and the last commits of each kind that we know of.
#[derive(Debug, Default)]
pub struct History {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    position: Option<Position>,
    commits: Remembered,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the server stood when it was last seen.
    pub fn position(&self) -> Option<Position> {
        self.lock().position.clone()
    }

    /// An attempt was committed.
    pub fn committed(&self, attempt: Option<Uuid>) {
        let last = &mut self.lock().commits.claimed;
        *last = attempt.max(*last);
    }

    /// The outcomes of a settlement were committed.
    pub fn settled(&self, attempt: Option<Uuid>) {
        let last = &mut self.lock().commits.settled;
        // in order of settling: an old attempt may be the last to be settled
        *last = attempt.or(*last);
    }
}

impl Worker {
    /// Compares where the server stands with where it stood. If commits are gone, all sending is paused before anything
    /// else is claimed, until a person has compared and resumes.
    ///
    /// # Errors
    /// As Postgres says; the position seen last stays, so that nothing is claimed until this has succeeded.
    pub(crate) async fn look_back(&self, beat: Beat) -> Result<(), outbox::Error> {
        let Seen { position, commits } = self.options.history.lock().clone();
        if let Some(seen) = position {
            let now = &beat.position;
            let is_gone = now.is_before(&seen)
                || now.is_another_server(&seen)
                    && (beat.lacks(self.id, &commits) || !outbox::timeline::knows(&self.database, &commits).await?);
            if is_gone {
                self.went_back(&seen, now).await?;
            }
        }
        let mut seen = self.options.history.lock();
        seen.commits.beat = Some((self.id, beat.at));
        seen.position = Some(beat.position);
        Ok(())
    }

    async fn went_back(&self, seen: &Position, now: &Position) -> Result<(), outbox::Error> {
        let why = format!(
            "the database lacks commits that it had: it stood at {} of timeline {}, now at {} of {}",
            seen.flushed, seen.timeline, now.flushed, now.timeline
        );
        tracing::error!(why, "all sending is paused: compare with the marketplaces, then resume");
        outbox::timeline::went_back(&self.database, &self.options.name, &why).await?;
        // what the commits of the lost time were named means nothing any more
        self.options.history.lock().commits = Remembered::default();
        self.reload().await
    }
}
