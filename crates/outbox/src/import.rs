//! Recording billing exports: groups of rows, each of which is one usage for ever.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::{Error, NewUsage, Refused};

/// A group of rows, summed up.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// What is to be recorded of it.
    pub usage: NewUsage,
    /// Its unit, as far as another one is another unit: its metric is a tag, and several units can have one.
    pub unit: String,
    /// The ids under which an older version recorded its rows; asked about where [`closed`](Self::closed).
    pub older: Vec<String>,
    /// Its time was recorded under another rule of ids: it is taken only if it is known.
    pub closed: bool,
}

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouped {
    /// Recorded now.
    Recorded,
    /// Recorded before, with this quantity.
    Repeated,
    /// Recorded before with another quantity: nothing was done. The quantity that stands, if the session may read it.
    Changed(Option<String>),
    /// Recorded before with another quantity (this one, if the session may read it); the difference is recorded now.
    Applied(Option<String>),
    /// Nothing was used, and nothing is recorded.
    Zero,
    /// Its time was recorded under another rule of ids, and it is not among what was recorded then.
    OtherRule,
    /// Refused.
    Refused(Refused),
}

/// Records groups in the caller's transaction; one verdict each, in order. `apply`: differences are recorded.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`] as for any statement; refusals are verdicts.
pub async fn import_batch(transaction: &Transaction<'_>, groups: &[Group], apply: bool) -> Result<Vec<Grouped>, Error> {
    let body = serde_json::to_value(groups).expect("groups are plain data");
    let rows = transaction
        .query_typed(
            "select b.verdict, b.standing::text, b.error_code, b.field, b.message
             from postmeter.import_batch($1, $2) b order by b.item",
            &[(&body, Type::JSONB), (&apply, Type::BOOL)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(match row.try_get::<_, &str>("verdict")? {
                "recorded" => Grouped::Recorded,
                "repeated" => Grouped::Repeated,
                "changed" => Grouped::Changed(row.try_get("standing")?),
                "applied" => Grouped::Applied(row.try_get("standing")?),
                "zero" => Grouped::Zero,
                "other_rule" => Grouped::OtherRule,
                _ => Grouped::Refused(Refused {
                    code: row.try_get("error_code")?,
                    field: row.try_get("field")?,
                    constraint: None,
                    message: row.try_get("message")?,
                    hint: None,
                }),
            })
        })
        .collect()
}

/// Of each org, between which two moments usage lies that an import recorded in this source under ids that do not begin
/// with the prefix.
///
/// # Errors
/// As for any statement.
pub async fn import_times(
    transaction: &Transaction<'_>,
    source: &str,
    prefix: &str,
    orgs: &[String],
) -> Result<Vec<(String, Timestamp, Timestamp)>, Error> {
    let rows = transaction
        .query_typed(
            "select t.org, t.first_used_at, t.last_used_at from postmeter.import_times($1, $2, $3) t",
            &[(&source, Type::TEXT), (&prefix, Type::TEXT), (&orgs, Type::TEXT_ARRAY)],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}
