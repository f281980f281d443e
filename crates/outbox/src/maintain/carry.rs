//! Carry and month end: hours for quantity that has none.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::setback::Member;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error, gate};

const CARRY: Query = query!("maintain_carry", [INT8, BOOL, INT8]);
const MONTH_END: Query = query!("maintain_month_end", [INT8, BOOL, INT8]);
const TRY_METERS: Query = query!("try_meters", [INT8_ARRAY]);
const LOCK_METERS: Query = query!("lock_meters", [INT8_ARRAY]);
const OPEN: Query = query!("maintain_open", [INT8, TIMESTAMPTZ, JSONB, TEXT]);

/// Meters of one look at the table; all of it is looked at in every round.
const PAGE: i64 = 1000;
/// Meters of a transaction at most.
const SHARE: usize = 100;

/// A meter with something that needs an hour.
#[derive(Debug, Clone, PartialEq)]
struct Owing {
    meter: i64,
    destination: i32,
    /// `None`: wherever late quantity goes.
    hour: Option<Timestamp>,
    identity: Value,
    product: String,
}

impl Member for Owing {
    fn id(&self) -> String {
        self.meter.to_string()
    }

    fn destination(&self) -> Option<i32> {
        Some(self.destination)
    }
}

/// Opens hours for released or deferred quantity of live destinations, or of shadows: one never waits for the other.
/// Returns how many.
///
/// # Errors
/// What every meter would have met.
pub async fn carry(database: &Database, shadows: bool) -> Result<usize, Error> {
    let step = if shadows { "shadow_carry" } else { "carry" };
    open_all(database, step, &CARRY, shadows, |row| {
        let can_go: bool = row.try_get("can_go")?;
        can_go.then(|| read(row, None)).transpose()
    })
    .await
}

/// Opens the last hours of meters that have a remainder; of live destinations, or of shadows. Returns how many.
///
/// # Errors
/// What every meter would have met.
pub async fn month_end(database: &Database, shadows: bool) -> Result<usize, Error> {
    let step = if shadows { "shadow_month_end" } else { "month_end" };
    open_all(database, step, &MONTH_END, shadows, |row| read(row, Some(row.try_get("hour")?)).map(Some)).await
}

fn read(row: &tokio_postgres::Row, hour: Option<Timestamp>) -> Result<Owing, Error> {
    Ok(Owing {
        meter: row.try_get("id")?,
        destination: row.try_get("destination_id")?,
        hour,
        identity: row.try_get("identity")?,
        product: row.try_get("product")?,
    })
}

async fn open_all(
    database: &Database,
    step: &'static str,
    query: &Query,
    shadows: bool,
    read: fn(&tokio_postgres::Row) -> Result<Option<Owing>, Error>,
) -> Result<usize, Error> {
    let (mut opening, mut share, mut after) = (Opening::default(), Share::of(SHARE), 0_i64);
    loop {
        let rows = database.one(query, &[&PAGE, &shadows, &after]).await?;
        let Some(last) = rows.last() else { return Ok(opening.opened) };
        after = last.try_get("id")?;
        let mut owing = Vec::new();
        for row in &rows {
            owing.extend(read(row)?);
        }
        turn(database, step, owing, &mut share, &mut opening).await?;
    }
}

/// Opens hours, and counts them.
#[derive(Default)]
struct Opening {
    opened: usize,
}

impl Work<Owing> for Opening {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Owing], locking: Locking) -> Result<Vec<Owing>, Error> {
        // before any other lock: an edit of the catalogue keeps the gate shut and then waits for meters
        gate::months(tx).await?;
        let mut ids: Vec<i64> = part.iter().map(|owing| owing.meter).collect();
        if locking == Locking::Skip {
            ids = tx.rows(&TRY_METERS, &[&ids]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        }
        tx.run(&LOCK_METERS, &[&ids]).await?;
        let locked: HashSet<i64> = ids.into_iter().collect();
        let (ours, skipped): (Vec<&Owing>, Vec<&Owing>) = part.iter().partition(|owing| locked.contains(&owing.meter));
        let mut opened = 0;
        for Owing { meter, hour, identity, product, .. } in ours {
            let rows = tx.rows(&OPEN, &[meter, hour, identity, product]).await?;
            opened += usize::from(rows.first().is_some_and(|row| row.get::<_, Option<i64>>(0).is_some()));
        }
        self.opened += opened;
        Ok(skipped.into_iter().cloned().collect())
    }
}
