//! Recording billing exports: groups of rows, each of which is one usage for ever.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::record::refused;
use crate::{Error, NewUsage, Refused};

/// A group of rows, summed up.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// What is to be recorded of it.
    pub usage: NewUsage,
    /// Its unit, as far as another one is another unit: its metric is a tag, and several units can have one.
    pub unit: String,
    /// The ids under which an older version recorded its rows; wanted where [`begin_import`] says so.
    pub older: Vec<String>,
    /// When its charge period begins, as the file says.
    pub begins: Timestamp,
    /// When it ends; none: the file does not say.
    pub ends: Option<Timestamp>,
    /// A person named the source: it is not the name of a provider, which can change.
    pub is_named: bool,
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
    /// From when until when another list of columns recorded usage of its org, and it is not found among that.
    OtherRule(Timestamp, Timestamp),
    /// Refused.
    Refused(Refused),
}

/// Records groups in the caller's transaction; one verdict each, in order. `apply`: differences are recorded.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement; refusals are verdicts.
pub async fn import_batch(transaction: &Transaction<'_>, groups: &[Group], apply: bool) -> Result<Vec<Grouped>, Error> {
    let body = serde_json::to_value(groups).expect("groups are plain data");
    let rows = transaction
        .query_typed(
            "select b.verdict, b.standing::text, b.error_code, b.field, b.message, b.known_from, b.known_until
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
                "other_rule" => Grouped::OtherRule(row.try_get("known_from")?, row.try_get("known_until")?),
                _ => Grouped::Refused(refused(row)?),
            })
        })
        .collect()
}

/// Before an import: whether the source holds usage of exports under ids that do not begin with the prefix. Then groups
/// want their [`older`](Group::older) ids. The first time for a source, its usage is read.
///
/// # Errors
/// As for any statement.
pub async fn begin_import(transaction: &Transaction<'_>, source: &str, prefix: &str) -> Result<bool, Error> {
    let sql = "select postmeter.begin_import($1, $2)";
    let rows = transaction.query_typed(sql, &[(&source, Type::TEXT), (&prefix, Type::TEXT)]).await?;
    Ok(rows.first().expect("a function has one row").try_get(0)?)
}
