//! What was said in all, for metrics.

use super::{TOTALS, UNFINISHED};
use crate::ask::{Limits, Told};
use crate::{Database, Error};

/// A service, source and status, and how often it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its hash.
    pub kind: i64,
    /// The service.
    pub service: String,
    /// The source; empty: none.
    pub source: String,
    /// The status.
    pub status: String,
    /// How often it was ever recorded.
    pub total: i64,
}

/// What was said in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were received and never finished.
    pub unfinished: i64,
    /// Some kinds of statuses.
    pub kinds: Vec<Kind>,
    /// Statuses of all other kinds.
    pub others: i64,
}

/// Counts what was committed: of at most `most` kinds each, `known` ones first, of the others together.
///
/// # Errors
/// As Postgres says; no lock and no limit of time is an error.
pub async fn totals(database: &Database, known: &[i64], most: i64, limits: Limits) -> Result<Told<Totals>, Error> {
    limits.keep(async { within(database, known, most, limits).await }).await
}

async fn within(database: &Database, known: &[i64], most: i64, limits: Limits) -> Result<Told<Totals>, Error> {
    let mut session = database.session().await?;
    let Some(settings) = limits.settings() else { return Ok(Told::Silent) };
    super::gather_within(&mut session, &settings).await?;
    let Some(settings) = limits.settings() else { return Ok(Told::Late) };
    let tx = super::compose::reading_with(&mut session, &settings).await?;
    let unfinished = tx.rows(&UNFINISHED, &[]).await?.first().expect("one row").try_get(0)?;
    let rows = tx.rows(&TOTALS, &[&known, &most]).await?;
    tx.commit().await?;
    let read = |row: &tokio_postgres::Row| -> Result<Kind, Error> {
        Ok(Kind {
            kind: row.try_get("kind")?,
            service: row.try_get("service")?,
            source: row.try_get("source")?,
            status: row.try_get("status")?,
            total: row.try_get("total")?,
        })
    };
    let kinds = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let all: i64 = rows.first().map_or(Ok(0), |row| row.try_get("all_kinds"))?;
    let others = all - kinds.iter().map(|kind| kind.total).sum::<i64>();
    Ok(Told::Answer(Totals { unfinished, kinds, others }))
}
