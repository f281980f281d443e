//! Requests and what services said about them: gather, lists, one request's way.
//!
//! Writers only add rows ([`crate::track`]); [`gather`] counts them and computes their requests. A reader gathers first,
//! so that what was committed before it asks is in its answer.

mod compose;
mod counts;
mod gathering;
mod groups;
mod listing;
mod one;
mod statuses;
mod totals;

use jiff::Timestamp;

use crate::connect::Session;
use crate::query::{Query, Tx, query};
use crate::{Blame, Database, Error};

pub use gathering::gather;
use gathering::{GATHER, GATHER_MAX};
pub use groups::{By, Group, LOOKED_AT_MAX, groups};
pub use listing::{RequestFilter, RequestSort, requests};
pub use one::{Mark, Request, RequestHistory, Seen, StatusEntry, Step, look, way};
pub use statuses::{Status, StatusFilter, StatusSort, statuses};
pub use totals::{Kind, Totals, totals};

const PARTITIONS: Query = query!("request_partitions", [INT4, INT4]);
const RETENTION: Query = query!("request_retention", []);
const FORGET: Query = query!("request_forget", [INT4]);
const ONE: Query = query!("request_one", [TEXT]);
const MARK: Query = query!("request_mark", [TEXT]);
const SAID: Query = query!("request_said", [TEXT, INT8, INT8]);
const AS_OF: Query = query!("request_as_of", []);
const STEPS: Query = query!("request_steps", [TEXT]);
const TOTALS: Query = query!("request_totals", [INT8_ARRAY, INT8]);
const UNFINISHED: Query = query!("request_unfinished", []);
const KINDS: Query = query!("request_kinds", [TEXT, TEXT, TEXT]);

/// What a reader gathers at most before it answers; workers gather the rest.
const BEFORE_READING: i32 = 500;

/// A reader gathers only if nobody else does, and for so long: it is told as of when its answer is instead.
const BRIEFLY: &str = "set local lock_timeout = '1ms'; set local statement_timeout = '250ms'";

/// A half-open range of time; `None`: without that end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From here on.
    pub from: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Only what is later than this, or as late where `inclusive`. Postgres keeps microseconds.
    pub fn after(&mut self, at: Timestamp, inclusive: bool) {
        let from = bound(at, inclusive);
        self.from = Some(self.from.map_or(from, |known| known.max(from)));
    }

    /// Only what is earlier than this, or as early where `inclusive`.
    pub fn before(&mut self, at: Timestamp, inclusive: bool) {
        let until = bound(at, !inclusive);
        self.until = Some(self.until.map_or(until, |known| known.min(until)));
    }
}

/// No status is dated before.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);
/// Nor from then on.
const LAST: Timestamp = Timestamp::constant(253_402_128_000, 0);

/// The first microsecond that is not before `at`; or, where it is not to be `included`, that is after it.
fn bound(at: Timestamp, included: bool) -> Timestamp {
    let at = at.clamp(FIRST, LAST);
    let nanos = at.as_nanosecond();
    let micros = if included {
        nanos.div_euclid(1000) + i128::from(nanos.rem_euclid(1000) > 0)
    } else {
        nanos.div_euclid(1000) + 1
    };
    Timestamp::from_nanosecond(micros * 1000).unwrap_or(LAST)
}

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<S> {
    /// By what it is sorted.
    pub sort: S,
    /// The largest first.
    pub descending: bool,
    /// Rows before it.
    pub offset: i64,
    /// Its rows at most.
    pub limit: i64,
}

/// A page, and how many rows there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// How many match, on all pages.
    pub count: i64,
    /// Those of the page.
    pub rows: Vec<T>,
    /// As of when: what was recorded until then is in it.
    pub as_of: Timestamp,
}

/// Gathers what is there, if it is little and nobody else does: where nothing else happens, a reader sees what was
/// committed before it asked. It waits for nobody.
async fn gather_first(session: &mut Session) -> Result<(), Error> {
    let tx = Tx::begin(session, BRIEFLY).await?;
    let gathered = match crate::gate::gather(&tx).await {
        Ok(()) => tx.rows(&GATHER, &[&BEFORE_READING]).await.map(drop),
        Err(error) => Err(error),
    };
    match gathered {
        Ok(()) => tx.commit().await,
        // who may only read, and what takes long or cannot be counted, is left to the workers
        Err(Error::Unexpected { code, .. }) if code == "42501" => tx.roll_back().await,
        Err(error) if error.is_transient() || error.blame() != Blame::Step => tx.roll_back().await,
        Err(error) => Err(error),
    }
}

/// As of when requests and their counts are.
async fn as_of(tx: &Tx<'_>) -> Result<Timestamp, Error> {
    Ok(tx.rows(&AS_OF, &[]).await?.first().expect("one row").try_get("as_of")?)
}

/// Gathers once, for a reader with limits; who may only read leaves it to the workers.
async fn gather_within(session: &mut Session, settings: &str) -> Result<(), Error> {
    let tx = Tx::begin(session, settings).await?;
    match tx.rows(&GATHER, &[&GATHER_MAX]).await {
        Ok(_) => tx.commit().await,
        Err(Error::Unexpected { code, .. }) if code == "42501" => tx.roll_back().await,
        // a status that cannot be counted is put behind by a worker, and keeps no reader from the rest
        Err(error) if error.blame() == Blame::Member => tx.roll_back().await,
        Err(error) => Err(error),
    }
}

/// Makes the partitions of the coming days, and of days that have statuses without one; drops what the retention has
/// passed. May run on any worker, at any time, twice.
///
/// # Errors
/// As Postgres says.
pub async fn tend(database: &Database) -> Result<(), Error> {
    create_partitions(database, 1).await?;
    database.one(&RETENTION, &[]).await?;
    while database.one(&FORGET, &[&10_000_i32]).await?.first().expect("one row").try_get::<_, i32>(0)? >= 10_000 {}
    Ok(())
}

/// Makes the day partitions of so many days back, and of the coming week.
///
/// # Errors
/// As Postgres says.
pub async fn create_partitions(database: &Database, days_back: i32) -> Result<i32, Error> {
    const DAYS_AHEAD: i32 = 7;
    Ok(database.one(&PARTITIONS, &[&DAYS_AHEAD, &days_back]).await?.first().expect("one row").try_get(0)?)
}

/// Start of the hour, as `postmeter.hour_of` has it.
fn hour_of(at: Timestamp) -> Timestamp {
    // of nanoseconds: whole seconds are rounded towards 1970, from before it into the next hour
    const HOUR: i128 = 3_600_000_000_000;
    let hour = at.as_nanosecond().div_euclid(HOUR) * HOUR;
    Timestamp::from_nanosecond(hour).unwrap_or(Timestamp::MIN)
}

/// The first full hour from here on.
fn next_hour(at: Timestamp) -> Timestamp {
    let hour = hour_of(at);
    if hour == at { at } else { hour + jiff::SignedDuration::from_hours(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn h3_bounds_are_half_open_and_exact_to_the_microsecond() {
        let mut span = Span::default();
        span.after(t("2026-01-01T00:00:00.0000005Z"), true);
        assert_eq!(span.from.unwrap(), t("2026-01-01T00:00:00.000001Z"));
        span.after(t("2026-01-01T00:00:00.000001Z"), false);
        assert_eq!(span.from.unwrap(), t("2026-01-01T00:00:00.000002Z"));
        span.before(t("2026-01-01T00:00:00.000005Z"), true);
        assert_eq!(span.until.unwrap(), t("2026-01-01T00:00:00.000006Z"));
        span.before(t("2026-01-01T00:00:00.000005Z"), false);
        assert_eq!(span.until.unwrap(), t("2026-01-01T00:00:00.000005Z"));
    }

    #[test]
    fn h3_hours_are_those_of_the_database() {
        assert_eq!(hour_of(t("1969-12-31T23:59:59.5Z")), t("1969-12-31T23:00:00Z"));
        assert_eq!(next_hour(t("2026-01-01T10:00:00Z")), t("2026-01-01T10:00:00Z"));
        assert_eq!(next_hour(t("2026-01-01T10:00:00.000001Z")), t("2026-01-01T11:00:00Z"));
    }
}
