//! Dead letters that move without a person, in shares: each is a transaction of its own, and cuts go on meanwhile.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::Remittance;
use crate::query::{Query, Tx, query};
use crate::rounds::Share;
use crate::turn::{Locking, Work, turn};
use crate::{Database, Error, gate};

const STUCK: Query = query!("maintain_stuck", [INT8, BOOL, TIMESTAMPTZ, INT8]);
const METERS: Query = query!("stuck_meters", [INT8_ARRAY]);
const TRY_METERS: Query = query!("try_meters", [INT8_ARRAY]);
const TRY_DELIVERIES: Query = query!("try_deliveries", [INT8_ARRAY]);
const MOVE: Query = query!("stuck_move", [INT8_ARRAY]);

/// Dead letters of one look.
const PAGE: i64 = 1000;
/// Dead letters of a transaction at most.
const SHARE: usize = 100;

/// Moves dead letters that may move without a person: buyers who were not entitled are asked for again, and what
/// expired is rolled forward where the destination says so. Returns how many moved.
///
/// # Errors
/// What each of them would have met.
pub async fn reconsider_stuck(database: &Database, shadows: bool) -> Result<i32, Error> {
    let step = if shadows { "shadow_reconsider" } else { "reconsider" };
    let (mut moving, mut share) = (Moving::default(), Share::of(SHARE));
    let (mut after_time, mut after) = (Timestamp::UNIX_EPOCH, 0_i64);
    loop {
        let rows = database.one(&STUCK, &[&PAGE, &shadows, &after_time, &after]).await?;
        let Some(last) = rows.last() else { return Ok(moving.moved) };
        (after_time, after) = (last.try_get("again_at")?, last.try_get("delivery_id")?);
        let stuck = rows.iter().map(Remittance::read).collect::<Result<Vec<_>, Error>>()?;
        turn(database, step, stuck, &mut share, &mut moving).await?;
    }
}

/// Moves them, and counts what moved.
#[derive(Default)]
struct Moving {
    moved: i32,
}

impl Work<Remittance> for Moving {
    async fn work(&mut self, tx: &Tx<'_>, part: &[Remittance], locking: Locking) -> Result<Vec<Remittance>, Error> {
        // before any other lock: an edit of the catalogue keeps the gate shut and then waits for meters
        gate::months(tx).await?;
        let mut ids: Vec<i64> = part.iter().map(|stuck| stuck.id).collect();
        if locking == Locking::Skip {
            ids = free(tx, &ids).await?;
        }
        let rows = tx.rows(&MOVE, &[&ids]).await?;
        self.moved += rows.first().expect("one row").try_get::<_, i32>("moved")?;
        Ok(part.iter().filter(|stuck| !ids.contains(&stuck.id)).cloned().collect())
    }
}

/// Those of which nobody holds a meter or the delivery; they are locked.
async fn free(tx: &Tx<'_>, ids: &[i64]) -> Result<Vec<i64>, Error> {
    let mut meters: HashMap<i64, Vec<i64>> = HashMap::new();
    for row in tx.rows(&METERS, &[&ids]).await? {
        meters.entry(row.try_get("delivery_id")?).or_default().push(row.try_get("meter_id")?);
    }
    let all: Vec<i64> = meters.values().flatten().copied().collect();
    let locked: HashSet<i64> = tx.rows(&TRY_METERS, &[&all]).await?.iter().map(|row| row.get(0)).collect();
    let is_free = |id: &i64| meters.get(id).is_none_or(|of| of.iter().all(|meter| locked.contains(meter)));
    let ours: Vec<i64> = ids.iter().copied().filter(is_free).collect();
    Ok(tx.rows(&TRY_DELIVERIES, &[&ours]).await?.iter().map(|row| row.get(0)).collect())
}
