//! A billing month at a destination: what is open in it, closing and reopening it.

use jiff::civil::Date;
use tokio_postgres::types::Type;

use crate::corrections::Decider;
use crate::report::fields;
use crate::{Database, Error};

/// An open item of a month.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Item {
    /// Where it is: a status, or `held_usage`, `waiting`, `released`, `remainder`, `over_billed`.
    pub class: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// The buyer, where a meter counts it.
    pub buyer: Option<String>,
    /// The customer, where none does.
    pub org: Option<String>,
    /// Our product.
    pub product: Option<String>,
    /// Our metric, where the quantity is in its unit.
    pub metric: Option<String>,
    /// Their dimension.
    pub dimension: Option<String>,
    /// How many.
    pub items: i64,
    /// How much.
    pub quantity: String,
    /// billing or metric: the quantity's unit.
    pub unit: String,
    /// Units times price; none: unpriced.
    pub amount: Option<String>,
    /// Currency of the amount.
    pub currency: Option<String>,
    /// What a person can do about it.
    pub to_do: Option<String>,
}

const ITEMS: &str =
    "select class, reason, buyer, org, product, metric, dimension, items, quantity::text as quantity, unit,
                     amount::text as amount, currency, to_do";

/// Open items of a month.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033).
pub async fn report(database: &Database, destination: &str, month: Date) -> Result<Vec<Item>, Error> {
    let client = database.client().await?;
    // the report itself knows no error: a destination that does not exist has no items either
    client
        .query_typed(
            "select postmeter.month_last_deadline($1, $2)",
            &[(&destination, Type::TEXT), (&month, Type::DATE)],
        )
        .await?;
    let sql = format!("{ITEMS} from postmeter.close_report($1, $2)");
    let rows = client.query_typed(&sql, &[(&destination, Type::TEXT), (&month, Type::DATE)]).await?;
    rows.iter().map(read_item).collect()
}

/// How a month is closed.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Nothing is changed.
    pub dry_run: bool,
    /// Also while hours of it can still be sent.
    pub forced: bool,
}

/// Closes a month and returns its open items.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033), hours of it can still be sent (PM035), no name or reason (PM032).
pub async fn close(
    database: &Database,
    destination: &str,
    month: Date,
    decider: Decider<'_>,
    how: How,
) -> Result<Vec<Item>, Error> {
    let client = database.client().await?;
    let sql = format!("{ITEMS} from postmeter.close_month($1, $2, $3, $4, $5, $6)");
    let rows = client
        .query_typed(
            &sql,
            &[
                (&destination, Type::TEXT),
                (&month, Type::DATE),
                (&decider.who, Type::TEXT),
                (&decider.why, Type::TEXT),
                (&how.dry_run, Type::BOOL),
                (&how.forced, Type::BOOL),
            ],
        )
        .await?;
    rows.iter().map(read_item).collect()
}

/// Until when hours of a month can still be sent: before that it is closed only by force. `None`: that time is over.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033).
pub async fn sendable_until(
    database: &Database,
    destination: &str,
    month: Date,
) -> Result<Option<jiff::Timestamp>, Error> {
    let client = database.client().await?;
    let rows = client
        .query_typed(
            "select case when l.until >= postmeter.clock() then l.until end
             from postmeter.month_last_deadline($1, $2) l(until)",
            &[(&destination, Type::TEXT), (&month, Type::DATE)],
        )
        .await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Usage that comes back when a month is reopened.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Returned {
    /// How many.
    pub usages: i64,
    /// The customer.
    pub org: String,
    /// Our product.
    pub product: String,
    /// Our metric.
    pub metric: String,
    /// Units of the metric.
    pub quantity: String,
}

/// Opens a closed month again: what was held because of it goes back to the outbox.
///
/// # Errors
/// As [`close`].
pub async fn reopen(
    database: &Database,
    destination: &str,
    month: Date,
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<Returned>, Error> {
    let client = database.client().await?;
    let rows = client
        .query_typed(
            "select usages, org, product, metric, quantity::text as quantity
             from postmeter.reopen_month($1, $2, $3, $4, $5)",
            &[
                (&destination, Type::TEXT),
                (&month, Type::DATE),
                (&decider.who, Type::TEXT),
                (&decider.why, Type::TEXT),
                (&dry_run, Type::BOOL),
            ],
        )
        .await?;
    rows.iter().map(|row| Ok(fields!(row => Returned { usages, org, product, metric, quantity }))).collect()
}

/// Whether a month is closed, and since when.
///
/// # Errors
/// As Postgres says.
pub async fn closed_at(database: &Database, destination: &str, month: Date) -> Result<Option<jiff::Timestamp>, Error> {
    let client = database.client().await?;
    let rows = client
        .query_typed(
            "select c.closed_at from postmeter.closed_month c join postmeter.destination t on t.id = c.destination_id
             where t.name = $1 and c.month = $2",
            &[(&destination, Type::TEXT), (&month, Type::DATE)],
        )
        .await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

fn read_item(row: &tokio_postgres::Row) -> Result<Item, Error> {
    Ok(fields!(row => Item {
        class, reason, buyer, org, product, metric, dimension, items, quantity, unit, amount, currency, to_do
    }))
}
