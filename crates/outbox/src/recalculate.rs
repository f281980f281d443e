//! Recalculate: a month from its usage, against what was billed. The arithmetic is the database's
//! (`postmeter.recalculate`); rows are handed on as they come, so that memory does not grow with the month.

use futures_util::TryStreamExt;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::Row;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};

const RECALCULATE: Query = query!("recalculate", [TEXT, DATE]);

/// A line of a recalculated month: how much of a meter, or of a metric on it, is where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The buyer in canonical text; `None`: usage that belongs to no meter.
    pub buyer: Option<String>,
    /// The marketplace's dimension.
    pub dimension: Option<String>,
    /// The meter, if there is one yet.
    pub meter: Option<i64>,
    /// Of a bill's lines: what their quantities are to be divided by to be billing units.
    pub denominator: Option<String>,
    /// The org, of usage that belongs to no meter.
    pub org: Option<String>,
    /// The product.
    pub product: Option<String>,
    /// The metric; `None`: a line of the meter's bill.
    pub metric: Option<String>,
    /// The part: `docs/operate/month-close.md` explains each.
    pub part: String,
    /// Which of its kind: why it is held, what changed, what does not add up.
    pub reason: Option<String>,
    /// How much, to the letter.
    pub quantity: String,
    /// The same in billing units, rounded for people; of a bill's lines.
    pub billing_units: Option<String>,
}

impl Part {
    /// It does not add up: there should be no such line.
    #[must_use]
    pub fn is_unexplained(&self) -> bool {
        self.part == "unexplained"
    }

    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            buyer: row.try_get("buyer")?,
            dimension: row.try_get("dimension")?,
            meter: row.try_get("meter_id")?,
            denominator: row.try_get("denominator")?,
            org: row.try_get("org")?,
            product: row.try_get("product")?,
            metric: row.try_get("metric")?,
            part: row.try_get("part")?,
            reason: row.try_get("reason")?,
            quantity: row.try_get("quantity")?,
            billing_units: row.try_get("billing_units")?,
        })
    }
}

/// Recalculates a month (named by its first day) at a destination and hands each line to `take`, meter by meter.
///
/// # Errors
/// [`Error::Refused`]: no such destination (PM033), or a day that begins no month (PM036).
pub async fn recalculate(
    database: &Database,
    destination: &str,
    month: Date,
    mut take: impl FnMut(Part),
) -> Result<(), Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let mut rows = std::pin::pin!(tx.stream(&RECALCULATE, &[&destination, &month]).await?);
    while let Some(row) = rows.try_next().await? {
        take(Part::read(&row)?);
    }
    Ok(())
}
