//! The functions for tokio-postgres, which the crate's root re-exports. A transaction of `deadpool-postgres` or
//! `bb8-postgres` derefs to theirs.

use std::error::Error as _;

use ::tokio_postgres::Transaction;
use ::tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::error::classify;
use crate::wire::{self, Call, Rows};
use crate::{Error, NewStatus, NewUsage, Refused, Tracked, Verdict};

/// Records one usage in your transaction and returns its id; the same usage again returns the first id.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; the others are as for any statement.
pub async fn record_usage(transaction: &Transaction<'_>, usage: &NewUsage) -> Result<Uuid, Error> {
    wire::usage_id(rows(transaction, &wire::record_usage(usage)?).await?)
}

/// Records many usages in one round trip; one verdict each, in their order. A refusal does not stop the rest.
///
/// # Errors
/// As for any statement; refusals are verdicts.
pub async fn record_usages(transaction: &Transaction<'_>, usages: &[NewUsage]) -> Result<Vec<Verdict>, Error> {
    let batch = wire::record_usages(usages);
    let rows = rows(transaction, &batch.call).await?;
    batch.verdicts(rows)
}

/// Records one request status in your transaction; `false`: this very message had been recorded.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; the others are as for any statement.
pub async fn track(transaction: &Transaction<'_>, status: &NewStatus) -> Result<bool, Error> {
    wire::is_new(rows(transaction, &wire::track(status)?).await?)
}

/// Records many request statuses in one round trip; one verdict each, in their order. A refusal does not stop the
/// rest.
///
/// # Errors
/// As for any statement; refusals are verdicts.
pub async fn track_batch(transaction: &Transaction<'_>, statuses: &[NewStatus]) -> Result<Vec<Tracked>, Error> {
    let batch = wire::track_batch(statuses);
    let rows = rows(transaction, &batch.call).await?;
    batch.verdicts(rows)
}

/// Unprepared: one round trip, and a pooler in transaction mode does not mind.
async fn rows(transaction: &Transaction<'_>, call: &Call<'_>) -> Result<Rows, Error> {
    let parameters: Vec<_> =
        call.parameters.iter().map(|parameter| (parameter as &(dyn ToSql + Sync), Type::TEXT)).collect();
    let rows = transaction.query_typed(call.sql, &parameters).await?;
    let read = rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect());
    Ok(read.collect::<Result<_, ::tokio_postgres::Error>>()?)
}

impl From<::tokio_postgres::Error> for Error {
    fn from(error: ::tokio_postgres::Error) -> Self {
        error.as_db_error().map_or_else(
            || without_sqlstate(&error),
            |db| {
                classify(Refused {
                    code: db.code().code().to_owned(),
                    field: db.column().map(str::to_owned),
                    constraint: db.constraint().map(str::to_owned),
                    message: db.message().to_owned(),
                    hint: db.hint().map(str::to_owned),
                })
            },
        )
    }
}

/// An error without a SQLSTATE is the connection's, unless the driver could not make sense of a value. The driver
/// tells them apart by its texts alone.
fn without_sqlstate(error: &::tokio_postgres::Error) -> Error {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let message = format!("{error}{source}");
    if ["deserializing", "serializing", "parameters"].iter().any(|word| message.contains(word)) {
        Error::Unexpected { code: None, message }
    } else {
        Error::Unavailable { code: None, message }
    }
}
