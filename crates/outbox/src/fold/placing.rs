//! Where each kind of entry goes: what the catalogue says, its remittance, and the locks that keep both as they are.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use remittance::Reason;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Locking;
use super::plan::{Plan, Target};
use crate::query::{Query, Tx, query};
use crate::{Error, side};

const RESOLVE: Query = query!("fold_resolve", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TIMESTAMPTZ_ARRAY]);
const METERS: Query = query!("fold_meters", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const METRICS: Query = query!("fold_metrics", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const OPEN: Query = query!("fold_open", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const TARGETS: Query = query!("fold_targets", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const LOST: Query = query!("fold_lost", [UUID_ARRAY, INT4_ARRAY]);
const LATE_LOCK: Query = query!("fold_late_lock", [INT8_ARRAY]);
const LATE_LOCK_FREE: Query = query!("fold_late_lock_free", [INT8_ARRAY]);
const LATE: Query = query!("fold_late", [INT8, TIMESTAMPTZ, INT8, INT8]);
const LOCK: Query = query!("fold_lock", [INT8_ARRAY, INT8_ARRAY]);
const LOCK_FREE: Query = query!("fold_lock_free", [INT8_ARRAY, INT8_ARRAY]);
const HELD_OFF: Query = query!("fold_held_off", []);
const OPEN_STILL: Query = query!("fold_open_still", [INT8_ARRAY]);
const PARTS: Query = query!("fold_parts", [INT8_ARRAY, INT8_ARRAY]);

/// Joins of thousands of rows without statistics: nested loops made a fold seventeen times slower (design §5).
const BULK: &str = "set local enable_nestloop = off";

/// Finds each kind's remittance and locks it.
pub(super) async fn place(
    tx: &Tx<'_>,
    plan: &mut Plan,
    locking: Locking,
    pause: impl AsyncFnOnce(),
) -> Result<(), Error> {
    let wait = |length: Duration| format!("set local lock_timeout = {}", length.as_millis());
    tx.batch(&format!("{BULK}; {}", wait(locking.rows))).await?;
    open(tx, plan).await?;
    tx.batch("set local enable_nestloop = on").await?;
    lost(tx, plan).await?;
    late(tx, plan, locking).await?;
    pause().await;
    lock(tx, plan, locking).await?;
    tx.batch(&wait(locking.tables)).await
}

/// What the catalogue says about each kind of entry.
pub(super) async fn resolve(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let rows = tx
        .rows(
            &RESOLVE,
            &[
                &plan.column(|k| &k.org),
                &plan.column(|k| &k.product),
                &plan.column(|k| &k.metric),
                &plan.column(|k| &k.account),
                &plan.column(|k| &k.at),
            ],
        )
        .await?;
    if let Some(row) = rows.first() {
        plan.has_shadow |= row.try_get::<_, bool>("has_shadow")?;
        plan.has_limits = row.try_get("has_limits")?;
    }
    read_resolved(&rows, plan)
}

pub(super) fn read_resolved(rows: &[Row], plan: &mut Plan) -> Result<(), Error> {
    let asked = plan.kinds.iter_mut().filter(|kind| kind.target == Target::Unresolved);
    for (row, kind) in rows.iter().zip(asked) {
        kind.destination = row.try_get("destination_id")?;
        kind.target = if let Some(exemption) = row.try_get("exemption_id")? {
            Target::Exempt(exemption)
        } else if let Some(reason) = row.try_get::<_, Option<&str>>("reason")? {
            Target::Held(reason.parse().map_err(|unknown: remittance::UnknownWord| Error::Schema(unknown.to_string()))?)
        } else {
            Target::Resolved { subscription: row.try_get("subscription_id")?, dimension: row.try_get("dimension_id")? }
        };
    }
    Ok(())
}

/// Makes meters and open hours where they are missing, and reads where each kind would go.
async fn open(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let resolved = plan.resolved();
    if resolved.is_empty() {
        return Ok(());
    }
    let subscriptions: Vec<i64> = resolved.iter().map(|r| r.subscription).collect();
    let dimensions: Vec<i64> = resolved.iter().map(|r| r.dimension).collect();
    let hours: Vec<jiff::Timestamp> = resolved.iter().map(|r| r.hour).collect();
    for query in [&METERS, &METRICS, &OPEN] {
        tx.run(query, &[&subscriptions, &dimensions, &hours]).await?;
    }
    // what the catalogue was changed for since it was asked goes back, and is asked about anew
    for known in &resolved {
        plan.kinds[known.kind].target = Target::Returned;
    }
    for row in tx.rows(&TARGETS, &[&subscriptions, &dimensions, &hours]).await? {
        let item = usize::try_from(row.try_get::<_, i64>("item")? - 1).expect("items count from one");
        let resolved = &resolved[item];
        let (meter, meter_metric) = (row.try_get("meter_id")?, row.try_get("meter_metric_id")?);
        let delivery: Option<i64> = row.try_get("delivery_id")?;
        let counts_on: Option<i64> = row.try_get("counts_on")?;
        plan.kinds[resolved.kind].counts_on = counts_on;
        plan.kinds[resolved.kind].target = match delivery {
            Some(delivery) if row.try_get("is_open")? => {
                Target::Open { delivery, meter_metric, subscription: resolved.subscription, round: None }
            }
            // a contract may have other keys with hours that can take it
            _ => Target::Late {
                meter: counts_on.unwrap_or(meter),
                meter_metric,
                subscription: resolved.subscription,
                dimension: resolved.dimension,
            },
        };
    }
    Ok(())
}

/// What came too late for its hour, and was recorded before commits were lost or may have been in that time, may have been billed
/// with another hour then: it waits for a person.
async fn lost(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let (usages, destinations) = plan.late();
    if usages.is_empty() {
        return Ok(());
    }
    let rows = tx.rows(&LOST, &[&usages, &destinations]).await?;
    let lost = rows.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
    plan.hold(&lost, Reason::LostTime, &HashMap::new());
    Ok(())
}

/// Finds another hour for what came too late for its own, after locking the meters in order, and with them those on which
/// corrections are counted.
async fn late(tx: &Tx<'_>, plan: &mut Plan, locking: Locking) -> Result<(), Error> {
    let kinds = plan.on_meters_in_order();
    let mut meters: Vec<i64> = kinds.iter().map(|(meter, _)| *meter).collect();
    if meters.is_empty() {
        return Ok(());
    }
    if locking.is_free {
        let free = tx.rows(&LATE_LOCK_FREE, &[&meters]).await?;
        meters = free.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        meters.sort_unstable();
    } else {
        tx.run(&LATE_LOCK, &[&meters]).await?;
    }
    for (meter, kind) in kinds {
        if meters.binary_search(&meter).is_err() {
            plan.kinds[kind].target = Target::Locked;
            continue;
        }
        let Target::Late { meter_metric, subscription, dimension, .. } = plan.kinds[kind].target else { continue };
        let rows = tx.rows(&LATE, &[&meter, &plan.kinds[kind].hour, &subscription, &dimension]).await?;
        let delivery: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        plan.kinds[kind].target = match delivery {
            Some(delivery) => Target::Open { delivery, meter_metric, subscription, round: None },
            None => Target::Held(Reason::TooLate),
        };
    }
    Ok(())
}

/// Locks the remittances, shared and in order, reads in a later statement which of them are still open, and says which count
/// on the meter of a contract.
async fn lock(tx: &Tx<'_>, plan: &mut Plan, locking: Locking) -> Result<(), Error> {
    let deliveries = plan.deliveries();
    if deliveries.is_empty() {
        return Ok(());
    }
    let query = if locking.is_free { &LOCK_FREE } else { &LOCK };
    let held_off = side::read_in(tx, &HELD_OFF, &[]).await?.unwrap_or_default();
    let held_off: Vec<i64> = held_off.iter().map(|row| row.get("id")).collect();
    let locked = tx.rows(query, &[&deliveries, &held_off]).await?;
    let locked: Vec<i64> = locked.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let mut open = HashMap::new();
    for row in tx.rows(&OPEN_STILL, &[&locked]).await? {
        open.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, i32>(1)?);
    }
    plan.keep_open(&locked.into_iter().collect(), &open);
    let (deliveries, meters) = plan.parts();
    if !deliveries.is_empty() {
        tx.run(&PARTS, &[&deliveries, &meters]).await?;
    }
    Ok(())
}
