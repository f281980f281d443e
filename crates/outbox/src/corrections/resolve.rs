//! What a marketplace holds of many remittances, said in shares: each is a transaction of its own.

use serde_json::Value;
use tokio_postgres::types::Type;

use super::{Decider, asked};
use crate::{Database, Error};

/// What became of a row, or would become of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Resolved {
    /// The remittance, if one was found.
    pub delivery: Option<i64>,
    /// Its key, or the one that was asked for.
    pub key: Option<String>,
    /// Status before.
    pub before: Option<String>,
    /// Status after; the same if nothing changes.
    pub after: Option<String>,
    /// Billing units of the remittance.
    pub quantity: Option<String>,
    /// `billed`, `not_billed`, `agrees`, `other_quantity`, `nothing_to_resolve`, `not_found`, `ambiguous`, `contradictory`,
    /// `repeated`, `locked` or `malformed`.
    pub verdict: String,
    /// Why, and what to do.
    pub note: Option<String>,
}

impl Resolved {
    /// It was resolved by this, or would be.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(self.verdict.as_str(), "billed" | "not_billed")
    }

    /// It is as the row says: nobody need look at it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_change() || self.verdict == "agrees"
    }
}

/// Says of one share of rows what the marketplace holds, in one transaction; a verdict for each, in their order. A row is
/// an object of `delivery`, `key` or `receipt`, with `quantity` or `billed`, and `destination` where that is needed.
///
/// # Errors
/// [`Error::Refused`]: no name or reason (PM032), more than a thousand rows (PM037).
pub async fn resolve_share(
    database: &Database,
    rows: &[Value],
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<Resolved>, Error> {
    let sql = "select delivery_id, key, status_before, status_after, trim_scale(quantity)::text, verdict, note
               from postmeter.resolve_rows($1, $2, $3, $4) order by row_number";
    let rows = Value::Array(rows.to_vec());
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&rows, Type::JSONB), (&decider.who, Type::TEXT), (&decider.why, Type::TEXT), (&dry_run, Type::BOOL)];
    let verdicts = asked(database, sql, &params).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Resolved {
            delivery: row.try_get(0)?,
            key: row.try_get(1)?,
            before: row.try_get(2)?,
            after: row.try_get(3)?,
            quantity: row.try_get(4)?,
            verdict: row.try_get(5)?,
            note: row.try_get(6)?,
        })
    };
    verdicts.iter().map(read).collect()
}

/// The dead letters that a filter names, by number, in their order.
///
/// # Errors
/// As [`super::correct`]: a filter that names nothing, or everything by accident, is refused.
pub async fn dead_letters_by(database: &Database, filter: &Value) -> Result<Vec<i64>, Error> {
    let sql = "select id from postmeter.deliveries_by($1) order by id";
    asked(database, sql, &[(filter, Type::JSONB)]).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
