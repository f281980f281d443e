//! Where the server's history stands. A failover that lost commits, or a restore, makes it go back: what was sent
//! meanwhile is then unknown to the database, and nothing may be sent until a person has looked.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, query};
use crate::{Database, Error};

const BREAK: Query = query!("timeline_break", [TEXT, TEXT]);
const KNOWS: Query = query!("timeline_knows", [UUID, UUID_ARRAY, UUID, TIMESTAMPTZ]);

/// Where a server's history stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The timeline, as it begins the names of WAL files.
    pub timeline: String,
    /// Up to where it is on disk, as Postgres writes it: `16/B374D848`.
    pub flushed: String,
    /// When the server started.
    pub server_started_at: Timestamp,
}

impl Position {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            timeline: row.try_get("timeline")?,
            flushed: row.try_get("flushed")?,
            server_started_at: row.try_get("server_started_at")?,
        })
    }

    /// The position as a number.
    fn bytes(&self) -> Option<u64> {
        let (high, low) = self.flushed.split_once('/')?;
        Some((u64::from_str_radix(high, 16).ok()? << 32) | u64::from_str_radix(low, 16).ok()?)
    }

    /// Another server, or the same one started anew: time to look whether it still has what it had.
    #[must_use]
    pub fn is_another_server(&self, seen: &Self) -> bool {
        self.timeline != seen.timeline || self.server_started_at != seen.server_started_at
    }

    /// On the same timeline, it stands before where it was seen.
    #[must_use]
    pub fn is_before(&self, seen: &Self) -> bool {
        self.timeline == seen.timeline && self.bytes() < seen.bytes()
    }
}

/// The last commits of a process, of each kind. Commits are lost in order: if the last are there, all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The newest attempt that it claimed.
    pub claimed: Option<Uuid>,
    /// An attempt of its last settlement on each server since one was last looked at, and where that stood.
    pub settled: Vec<(Uuid, Position)>,
    /// The worker and the time of its last heartbeat.
    pub beat: Option<(Uuid, Timestamp)>,
}

/// What a heartbeat brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Where the server stands.
    pub position: Position,
    /// Its time, as it was written.
    pub at: Timestamp,
    /// That of the heartbeat before it, as the server had it.
    pub before: Timestamp,
    /// Why nobody knows whether this database is the installation.
    pub doubt: Option<String>,
}

impl Beat {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            position: Position::read(row)?,
            at: row.try_get("at")?,
            before: row.try_get("before")?,
            doubt: row.try_get("doubt")?,
        })
    }

    /// The server lacks the last heartbeat of this worker: it no longer shows once the next is written over it.
    #[must_use]
    pub fn lacks(&self, worker: Uuid, last: &Remembered) -> bool {
        last.beat.is_some_and(|(by, at)| by == worker && self.before < at)
    }
}

/// Whether what was committed is still there: the claim, the settlement, the heartbeat.
///
/// # Errors
/// As Postgres says.
pub async fn knows(database: &Database, last: &Remembered) -> Result<bool, Error> {
    let (by, at) = last.beat.unzip();
    let settled: Vec<Uuid> = last.settled.iter().map(|(attempt, _)| *attempt).collect();
    let rows = database.one(&KNOWS, &[&last.claimed, &settled, &by, &at]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Says that commits were lost: pauses every destination. `false`: somebody has said so already.
///
/// # Errors
/// As Postgres says.
pub async fn went_back(database: &Database, who: &str, why: &str) -> Result<bool, Error> {
    Ok(database.one(&BREAK, &[&who, &why]).await?.first().expect("one row").try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: &str, flushed: &str) -> Position {
        Position {
            timeline: timeline.to_owned(),
            flushed: flushed.to_owned(),
            server_started_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn e13_positions_are_compared_as_numbers_on_one_timeline() {
        let seen = at("00000001", "0/FFFFFFF0");
        assert!(at("00000001", "0/A0").is_before(&seen));
        assert!(!at("00000001", "1/10").is_before(&seen), "as text it would be before");
        assert!(!at("00000001", "0/FFFFFFF0").is_before(&seen));
        assert!(!at("00000002", "0/A0").is_before(&seen) && at("00000002", "0/A0").is_another_server(&seen));
    }
}
