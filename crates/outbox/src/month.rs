//! Closing a billing month at a destination, opening it again, and what it leaves open. The rules are functions of the
//! schema (`0011_pre_month_close`); `docs/operate/month-close.md` explains them.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Row;

use crate::corrections::Decider;
use crate::query::{Query, query};
use crate::{Database, Error};

const REPORT: Query = query!("month_report", [TEXT, DATE]);
const LAST_DEADLINE: Query = query!("month_last_deadline", [TEXT, DATE]);
const CLOSE: Query = query!("month_close", [TEXT, DATE, TEXT, TEXT, BOOL, BOOL]);
const REOPEN: Query = query!("month_reopen", [TEXT, DATE, TEXT, TEXT, BOOL]);
const CLOSED_AT: Query = query!("month_closed_at", [TEXT, DATE]);

/// Something that a month leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// A status of remittances, or `held_usage`, `waiting`, `released`, `remainder`, `over_billed`.
    pub class: String,
    /// Why it is held.
    pub reason: Option<String>,
    /// The meter.
    pub meter_id: Option<i64>,
    /// Its buyer.
    pub buyer: Option<String>,
    /// The org, of usage.
    pub org: Option<String>,
    /// The product.
    pub product: Option<String>,
    /// The metric, of usage.
    pub metric: Option<String>,
    /// The dimension.
    pub dimension: Option<String>,
    /// How many.
    pub items: i64,
    /// How much.
    pub quantity: String,
    /// `billing` or `metric`: what the quantity counts.
    pub unit: String,
    /// Quantity times unit price; `None`: unpriced.
    pub amount: Option<String>,
    /// Its currency.
    pub currency: Option<String>,
    /// What to do about it.
    pub to_do: Option<String>,
}

impl Item {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            class: row.try_get("class")?,
            reason: row.try_get("reason")?,
            meter_id: row.try_get("meter_id")?,
            buyer: row.try_get("buyer")?,
            org: row.try_get("org")?,
            product: row.try_get("product")?,
            metric: row.try_get("metric")?,
            dimension: row.try_get("dimension")?,
            items: row.try_get("items")?,
            quantity: row.try_get("quantity")?,
            unit: row.try_get("unit")?,
            amount: row.try_get("amount")?,
            currency: row.try_get("currency")?,
            to_do: row.try_get("to_do")?,
        })
    }
}

/// Usage that was held because its month was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Returned {
    /// How many usages.
    pub usages: i64,
    /// Their org.
    pub org: String,
    /// Their product.
    pub product: String,
    /// Their metric.
    pub metric: String,
    /// How much, in units of the metric.
    pub quantity: String,
}

/// What a month (named by its first day) leaves open at a destination, closed or not.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033), or a day that begins no month (PM036).
pub async fn report(database: &Database, destination: &str, month: Date) -> Result<Vec<Item>, Error> {
    // the report itself knows no error: a destination that does not exist leaves nothing open
    database.one(&LAST_DEADLINE, &[&destination, &month]).await?;
    database.one(&REPORT, &[&destination, &month]).await?.iter().map(Item::read).collect()
}

/// Since when a month is closed; `None`: it is not.
///
/// # Errors
/// As for any statement.
pub async fn closed_at(database: &Database, destination: &str, month: Date) -> Result<Option<Timestamp>, Error> {
    let rows = database.one(&CLOSED_AT, &[&destination, &month]).await?;
    rows.first().map(|row| Ok(row.try_get(0)?)).transpose()
}

/// How a month is closed.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Nothing is changed.
    pub dry_run: bool,
    /// Also while hours of it can still be sent.
    pub forced: bool,
}

/// Closes a month and returns what it leaves open.
///
/// # Errors
/// As [`report`]; also no name or reason (PM032), and hours can still be sent (PM035).
pub async fn close(
    database: &Database,
    destination: &str,
    month: Date,
    decider: Decider<'_>,
    how: How,
) -> Result<Vec<Item>, Error> {
    let rows =
        database.one(&CLOSE, &[&destination, &month, &decider.who, &decider.why, &how.dry_run, &how.forced]).await?;
    rows.iter().map(Item::read).collect()
}

/// Until when hours of a month can still be sent: before that it is closed only by force. `None`: that time is over.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033).
pub async fn sendable_until(database: &Database, destination: &str, month: Date) -> Result<Option<Timestamp>, Error> {
    let rows = database.one(&LAST_DEADLINE, &[&destination, &month]).await?;
    Ok(rows.first().expect("one row").try_get(0)?)
}

/// Opens a closed month again and returns what goes back to the outbox.
///
/// # Errors
/// As [`report`]; also no name or reason (PM032).
pub async fn reopen(
    database: &Database,
    destination: &str,
    month: Date,
    decider: Decider<'_>,
    dry_run: bool,
) -> Result<Vec<Returned>, Error> {
    let rows = database.one(&REOPEN, &[&destination, &month, &decider.who, &decider.why, &dry_run]).await?;
    rows.iter()
        .map(|row| {
            Ok(Returned {
                usages: row.try_get("usages")?,
                org: row.try_get("org")?,
                product: row.try_get("product")?,
                metric: row.try_get("metric")?,
                quantity: row.try_get("quantity")?,
            })
        })
        .collect()
}
