//! The functions for sqlx with Postgres; feature `sqlx`.
//!
//! ```no_run
//! use postmeter_client::NewUsage;
//! use postmeter_client::sqlx::record_usage;
//! use sqlx::{Connection as _, PgConnection};
//!
//! async fn finish_job(db: &mut PgConnection, usage: &NewUsage) -> Result<(), postmeter_client::Error> {
//!     let mut tx = db.begin().await?;
//!     sqlx::query("update job set done = true where id = $1").bind(&usage.event_id).execute(&mut *tx).await?;
//!     record_usage(&mut tx, usage).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//! ```

use ::sqlx::postgres::{PgDatabaseError, Postgres};
use ::sqlx::{Row as _, Transaction};
use uuid::Uuid;

use crate::error::classify;
use crate::wire::{self, Call, Rows};
use crate::{Error, NewStatus, NewUsage, Refused, Tracked, Verdict};

/// Records one usage in your transaction and returns its id; the same usage again returns the first id.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint (`transaction.begin()`) to go on
/// after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; the others are as for any statement.
pub async fn record_usage(transaction: &mut Transaction<'_, Postgres>, usage: &NewUsage) -> Result<Uuid, Error> {
    wire::usage_id(rows(transaction, &wire::record_usage(usage)?).await?)
}

/// Records many usages in one round trip; one verdict each, in their order. A refusal does not stop the rest.
///
/// # Errors
/// As for any statement; refusals are verdicts.
pub async fn record_usages(
    transaction: &mut Transaction<'_, Postgres>,
    usages: &[NewUsage],
) -> Result<Vec<Verdict>, Error> {
    let batch = wire::record_usages(usages);
    let rows = rows(transaction, &batch.call).await?;
    batch.verdicts(rows)
}

/// Records one request status in your transaction; `false`: this very message had been recorded.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint (`transaction.begin()`) to go on
/// after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; the others are as for any statement.
pub async fn track(transaction: &mut Transaction<'_, Postgres>, status: &NewStatus) -> Result<bool, Error> {
    wire::is_new(rows(transaction, &wire::track(status)?).await?)
}

/// Records many request statuses in one round trip; one verdict each, in their order. A refusal does not stop the
/// rest.
///
/// # Errors
/// As for any statement; refusals are verdicts.
pub async fn track_batch(
    transaction: &mut Transaction<'_, Postgres>,
    statuses: &[NewStatus],
) -> Result<Vec<Tracked>, Error> {
    let batch = wire::track_batch(statuses);
    let rows = rows(transaction, &batch.call).await?;
    batch.verdicts(rows)
}

async fn rows(transaction: &mut Transaction<'_, Postgres>, call: &Call<'_>) -> Result<Rows, Error> {
    let mut query = ::sqlx::query(call.sql);
    for parameter in &call.parameters {
        query = query.bind(parameter.as_deref());
    }
    let rows = query.fetch_all(&mut **transaction).await?;
    let read = rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect());
    Ok(read.collect::<Result<_, ::sqlx::Error>>()?)
}

impl From<::sqlx::Error> for Error {
    fn from(error: ::sqlx::Error) -> Self {
        use ::sqlx::Error as Sqlx;
        match error {
            Sqlx::Database(error) => match error.try_downcast::<PgDatabaseError>() {
                Ok(db) => classify(Refused {
                    code: db.code().to_owned(),
                    field: db.column().map(str::to_owned),
                    constraint: db.constraint().map(str::to_owned),
                    message: db.message().to_owned(),
                    hint: db.hint().map(str::to_owned),
                }),
                Err(other) => Self::Unexpected { code: None, message: other.to_string() },
            },
            connection @ (Sqlx::Io(_)
            | Sqlx::Tls(_)
            | Sqlx::Protocol(_)
            | Sqlx::PoolTimedOut
            | Sqlx::PoolClosed
            | Sqlx::WorkerCrashed) => Self::Unavailable { code: None, message: connection.to_string() },
            other => Self::Unexpected { code: None, message: other.to_string() },
        }
    }
}
