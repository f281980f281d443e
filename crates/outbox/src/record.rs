//! Recording usage in the caller's own transaction: the client's functions, and what our own doors need besides.

use jiff::Timestamp;
use postmeter_client::BatchRow;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

pub use postmeter_client::{NewUsage, Verdict, record_usage, record_usages};

use crate::Error;

/// Those among hours for which an import recorded usage of a source under another recipe, or, where it has no recipe,
/// another query.
///
/// # Errors
/// As Postgres says.
pub async fn hours_of_other_recipes(
    transaction: &Transaction<'_>,
    source: &str,
    hours: &[Timestamp],
    recipe: Option<&str>,
    query: Option<&str>,
) -> Result<Vec<Timestamp>, Error> {
    let rows = transaction
        .query_typed(
            "select h.hour from postmeter.hours_of_other_recipes($1, $2, $3, $4) h(hour)",
            &[(&source, Type::TEXT), (&hours, Type::TIMESTAMPTZ_ARRAY), (&recipe, Type::TEXT), (&query, Type::TEXT)],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What became of a usage of a batch.
pub(crate) fn verdict(row: &Row) -> Result<Verdict, Error> {
    let usage_id = row.try_get("usage_id")?;
    Ok(BatchRow { usage_id, ..batch_row(row)? }.into())
}

/// A row of a batch, without what only some batches have.
pub(crate) fn batch_row(row: &Row) -> Result<BatchRow, Error> {
    Ok(BatchRow {
        verdict: row.try_get("verdict")?,
        usage_id: None,
        error_code: row.try_get("error_code")?,
        field: row.try_get("field")?,
        message: row.try_get("message")?,
    })
}

/// Why a usage of a batch is refused.
pub(crate) fn refused(row: &Row) -> Result<crate::Refused, Error> {
    Ok(crate::Refused {
        code: row.try_get("error_code")?,
        field: row.try_get("field")?,
        constraint: None,
        message: row.try_get("message")?,
        hint: None,
    })
}
