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
    /// Commits are gone, and not everybody has been told yet: what follows covers the traces.
    gone: Option<String>,
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

    /// The outcomes of a settlement were committed, by a server that stood there.
    pub fn settled(&self, attempt: Uuid, at: Position) {
        let settled = &mut self.lock().commits.settled;
        match settled.last_mut() {
            // in order of settling: an old attempt may be the last to be settled
            Some((last, stood)) if !at.is_another_server(stood) => (*last, *stood) = (attempt, at),
            // this server may lack what the one before it had: the next heartbeat must find both
            _ => settled.push((attempt, at)),
        }
    }

    /// What the commits of a lost time were named means nothing any more.
    fn forget(&self) {
        let mut seen = self.lock();
        (seen.commits, seen.gone) = (Remembered::default(), None);
    }
}

impl Worker {
    /// Compares where the server stands with where it stood. If commits are gone, all sending is paused before anything
    /// else is claimed, until a person has compared and resumes.
    ///
    /// # Errors
    /// As Postgres says; the position seen last stays, so that nothing is claimed until this has succeeded.
    pub(crate) async fn look_back(&self, beat: Beat) -> Result<(), outbox::Error> {
        let Seen { position, commits, gone } = self.options.history.lock().clone();
        if let Some(why) = gone {
            self.went_back(&why).await?;
            if let Some(seen) = position {
                outbox::installation::went_on(&self.database, &seen.timeline).await?;
            }
        } else if let Some(seen) = position {
            let now = &beat.position;
            let is_gone = now.is_before(&seen)
                || now.is_another_server(&seen)
                    && (beat.lacks(self.id, &commits) || !outbox::timeline::knows(&self.database, &commits).await?);
            if is_gone {
                let why = format!(
                    "the database lacks commits that it had: it stood at {} of timeline {}, now at {} of {}",
                    seen.flushed, seen.timeline, now.flushed, now.timeline
                );
                // this heartbeat is written over the one that was lost: if telling fails, nothing else would show it
                self.options.history.lock().gone = Some(why.clone());
                self.went_back(&why).await?;
            }
            if now.timeline != seen.timeline {
                // proven or broken: either way no other worker need ask what this server is
                outbox::installation::went_on(&self.database, &seen.timeline).await?;
            } else if let Some(doubt) = &beat.doubt
                && let Some(times) = self.failures.should_log("installation")
            {
                tracing::error!(doubt, times, "nothing is sent from here; `postmeter declare` says what a database is");
            }
        }
        let mut seen = self.options.history.lock();
        // what was found need not be found again, but for the last
        let found = commits.settled.len().saturating_sub(1).min(seen.commits.settled.len());
        seen.commits.settled.drain(..found);
        seen.commits.beat = Some((self.id, beat.at));
        seen.position = Some(beat.position);
        Ok(())
    }

    async fn went_back(&self, why: &str) -> Result<(), outbox::Error> {
        tracing::error!(why, "all sending is paused: compare with the marketplaces, then resume");
        outbox::timeline::went_back(&self.database, &self.options.name, why).await?;
        self.options.history.forget();
        self.reload().await
    }
}
