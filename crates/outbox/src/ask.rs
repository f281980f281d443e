//! Questions to the database that somebody waits for: each within limits that the server keeps itself, so that a table
//! that is locked or a query that is slow costs its own answer, and no connection for longer than that.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;

use crate::query::{Params, Query, Tx};
use crate::{Database, Error};

pub(crate) mod sealed {
    /// Which question an answer answers; rows of one JSON object each.
    pub trait Asked {
        const QUESTION: &'static str;
    }
}

/// A row of an answer; its fields are explained where the question is, in `sql/queries/health_*.sql`.
pub trait Answer: sealed::Asked + DeserializeOwned {}

impl<T: sealed::Asked + DeserializeOwned> Answer for T {}

/// How long whoever asks waits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For all of it, the wait for a connection included.
    pub until: Instant,
    /// For one statement.
    pub statement: Duration,
    /// For a lock that somebody holds on a table.
    pub lock: Duration,
}

/// What an answer may take on its way, beyond what the server was given: a server that says nothing is not waited for.
const GRACE: Duration = Duration::from_millis(200);

impl Limits {
    /// So long for a statement, and as long for all of it.
    #[must_use]
    pub fn within(all: Duration) -> Self {
        let until = Instant::now() + all;
        Self { until, statement: all, lock: all.min(Duration::from_secs(1)) }
    }

    /// The settings of a transaction that has just got its connection; `None`: no time is left.
    pub(crate) fn settings(&self) -> Option<String> {
        let left = self.statement.min(self.until.saturating_duration_since(Instant::now()));
        // zero would be no limit at all
        let (left, lock) = (left.as_millis(), self.lock.as_millis().max(1));
        (left > 0).then(|| format!("set local statement_timeout = {left}; set local lock_timeout = {lock}"))
    }

    /// Waits no longer than this.
    pub(crate) async fn keep<T>(&self, asking: impl Future<Output = Result<Told<T>, Error>>) -> Result<Told<T>, Error> {
        match tokio::time::timeout_at((self.until + GRACE).into(), asking).await {
            Err(_) => Ok(Told::Silent),
            Ok(Err(Error::Retryable { code, .. })) if code == "55P03" => Ok(Told::Locked),
            Ok(Err(Error::Retryable { .. })) => Ok(Told::Late),
            Ok(told) => told,
        }
    }
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<T> {
    /// Its answer.
    Answer(T),
    /// It took too long and was given up.
    Late,
    /// Somebody holds a lock on a table that it reads.
    Locked,
    /// The server said nothing, or there was no connection and no time left to ask.
    Silent,
}

impl<T> Told<T> {
    /// The same of something else, which can fail.
    pub(crate) fn and_then<U, E>(self, then: impl FnOnce(T) -> Result<U, E>) -> Result<Told<U>, E> {
        Ok(match self {
            Self::Answer(answer) => Told::Answer(then(answer)?),
            Self::Late => Told::Late,
            Self::Locked => Told::Locked,
            Self::Silent => Told::Silent,
        })
    }

    /// The answer, if there is one.
    pub fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// Why there is none; `within` is what it was given.
    #[must_use]
    pub fn why(&self, within: Duration) -> String {
        match self {
            Self::Answer(_) => String::new(),
            Self::Late => format!("it takes more than {} s", within.as_secs_f64()),
            Self::Locked => "a table that it reads is locked".to_owned(),
            Self::Silent => "the database did not answer in time".to_owned(),
        }
    }
}

/// Asks the question that `T` answers.
///
/// # Errors
/// As Postgres says; no lock and no limit of time is an error.
pub async fn ask<T: Answer>(database: &Database, limits: Limits) -> Result<Told<Vec<T>>, Error> {
    let read = |row: &Row| {
        let answer = serde_json::from_value(row.try_get::<_, Value>(0)?);
        answer.map_err(|error| Error::Unexpected { code: String::new(), message: error.to_string() })
    };
    let told = rows(database, &Query { sql: T::QUESTION, types: &[] }, &[], limits).await?;
    told.and_then(|rows| rows.iter().map(read).collect())
}

/// Runs a statement within limits and takes nothing of it: what it wrote is rolled back.
pub(crate) async fn rows(
    database: &Database,
    query: &Query,
    params: Params<'_>,
    limits: Limits,
) -> Result<Told<Vec<Row>>, Error> {
    let asking = async {
        let mut session = database.session().await?;
        let Some(settings) = limits.settings() else { return Ok(Told::Silent) };
        let tx = Tx::begin(&mut session, &settings).await?;
        let rows = tx.rows(query, params).await?;
        tx.roll_back().await?;
        Ok(Told::Answer(rows))
    };
    limits.keep(asking).await
}
