//! Silent hours that are to be reported as zero are opened a lead before their deadline; the cut, which finds nothing in
//! them, then freezes a quantity of zero. Late usage that comes before that takes the hour.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::setback::Member;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error, gate};

const SILENT: Query = query!("maintain_zero", [INT8, INT8]);
const MAKE_METERS: Query = query!("fold_meters", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const MAKE_METRICS: Query = query!("fold_metrics", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const METERS: Query = query!("zero_meters", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const TRY_METERS: Query = query!("try_meters", [INT8_ARRAY]);
const LOCK_METERS: Query = query!("lock_meters", [INT8_ARRAY]);
const OPEN: Query = query!("maintain_open", [INT8, TIMESTAMPTZ, JSONB, TEXT]);

/// Hours of one look, and what a destination may have to send beside them.
const MOST: i64 = 1000;
/// Hours of a transaction at most.
const SHARE: usize = 100;

/// An hour in which a subscription has nothing.
#[derive(Debug, Clone, PartialEq)]
struct Silent {
    subscription: i64,
    destination: i32,
    dimension: i64,
    hour: Timestamp,
}

impl Member for Silent {
    fn id(&self) -> String {
        format!("{}:{}:{}", self.subscription, self.dimension, self.hour)
    }

    fn destination(&self) -> Option<i32> {
        Some(self.destination)
    }
}

/// Opens silent hours that are to be reported as zero, at most a thousand. Returns how many; the cut does the rest.
///
/// # Errors
/// What every hour would have met.
pub async fn zero(database: &Database) -> Result<usize, Error> {
    let rows = database.one(&SILENT, &[&MOST, &0_i64]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Silent {
            subscription: row.try_get("id")?,
            destination: row.try_get("destination_id")?,
            dimension: row.try_get("dimension_id")?,
            hour: row.try_get("hour")?,
        })
    };
    let silent = rows.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    let mut opening = Opening::default();
    if !silent.is_empty() {
        turn(database, "zero", silent, &mut Share::of(SHARE), &mut opening).await?;
    }
    Ok(opening.opened)
}

/// Opens hours, and counts them.
#[derive(Default)]
struct Opening {
    opened: usize,
}

impl Work<Silent> for Opening {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Silent], locking: Locking) -> Result<Vec<Silent>, Error> {
        // before any other lock: an edit of the catalogue keeps the gate shut and then waits for meters
        gate::months(tx).await?;
        let subscriptions: Vec<i64> = part.iter().map(|silent| silent.subscription).collect();
        let dimensions: Vec<i64> = part.iter().map(|silent| silent.dimension).collect();
        let hours: Vec<Timestamp> = part.iter().map(|silent| silent.hour).collect();
        // a key that nobody has used this month has no meter yet
        tx.run(&MAKE_METERS, &[&subscriptions, &dimensions, &hours]).await?;
        tx.run(&MAKE_METRICS, &[&subscriptions, &dimensions, &hours]).await?;
        let rows = tx.rows(&METERS, &[&subscriptions, &dimensions, &hours]).await?;
        let mut ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<i64>, _>>()?;
        ids.dedup();
        if locking == Locking::Skip {
            ids = tx.rows(&TRY_METERS, &[&ids]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        }
        tx.run(&LOCK_METERS, &[&ids]).await?;
        let locked: HashSet<i64> = ids.into_iter().collect();
        let (mut opened, mut skipped) = (0, Vec::new());
        for row in &rows {
            let item = usize::try_from(row.try_get::<_, i64>("item")? - 1).expect("items count from one");
            let (silent, meter): (&Silent, i64) = (&part[item], row.try_get("id")?);
            if !locked.contains(&meter) {
                skipped.push(silent.clone());
                continue;
            }
            let (identity, product): (Value, String) = (row.try_get("identity")?, row.try_get("product")?);
            let rows = tx.rows(&OPEN, &[&meter, &Some(silent.hour), &identity, &product]).await?;
            opened += usize::from(rows.first().is_some_and(|row| row.get::<_, Option<i64>>(0).is_some()));
        }
        self.opened += opened;
        Ok(skipped)
    }
}
