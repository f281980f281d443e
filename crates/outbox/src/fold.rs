//! Fold: outbox entries become allocations to the open remittances of their hours.
//!
//! Only allocations are inserted; nothing is summed into a shared row, so a hot customer is no hot row. Everything is
//! one transaction: an entry is in the outbox, or it is held, exempt or allocated; never neither, never both.

mod plan;
mod shadow;
mod turns;

use remittance::Reason;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::query::{Query, Tx, query};
use crate::{Database, Error};
use plan::{Entry, Plan, Target};
pub use shadow::{fold_shadow, return_cured_shadow};
pub use turns::Turns;

const TAKE: Query = query!("fold_take", [INT2_ARRAY, UUID_ARRAY, INT8, INT8]);
const TAKE_ONE: Query = query!("fold_take_one", [UUID]);
const SET_ASIDE: Query = query!("fold_set_aside", [TEXT_ARRAY]);
const TRACES: Query = query!("fold_traces", [UUID_ARRAY]);
const WAITING: Query = query!("fold_waiting", []);
const DEATHS: Query = query!("fold_deaths", []);
/// Keeps months from being closed under a fold; resolve then says which are.
const GATE: Query = query!("fold_gate", []);
const RESOLVE: Query = query!("fold_resolve", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TIMESTAMPTZ_ARRAY]);
const METERS: Query = query!("fold_meters", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const METRICS: Query = query!("fold_metrics", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const OPEN: Query = query!("fold_open", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const TARGETS: Query = query!("fold_targets", [INT8_ARRAY, INT8_ARRAY, TIMESTAMPTZ_ARRAY]);
const LATE_LOCK: Query = query!("fold_late_lock", [INT8_ARRAY]);
const LATE: Query = query!("fold_late", [INT8, TIMESTAMPTZ, INT8, INT8]);
const LOCK: Query = query!("fold_lock", [INT8_ARRAY]);
const OPEN_STILL: Query = query!("fold_open_still", [INT8_ARRAY]);
const ALLOCATE: Query = query!(
    "fold_allocate",
    [UUID_ARRAY, INT4_ARRAY, INT8_ARRAY, INT8_ARRAY, INT4_ARRAY, NUMERIC_ARRAY, TIMESTAMPTZ_ARRAY, INT8_ARRAY]
);
const HOLD: Query = query!(
    "fold_hold",
    [
        UUID_ARRAY,
        INT4_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        NUMERIC_ARRAY,
        TIMESTAMPTZ_ARRAY
    ]
);
const EXEMPT: Query = query!("fold_exempt", [UUID_ARRAY, INT8_ARRAY]);
const RETURN: Query = query!("fold_return", [UUID_ARRAY]);
/// Gives usage to the shadows; runs only where the catalogue has one.
const SHADOW_GIVE: Query = query!(
    "fold_shadow",
    [UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, NUMERIC_ARRAY, TIMESTAMPTZ_ARRAY]
);
const SHADOW_TAKE: Query = query!("shadow_take", [INT4, INT8]);
const SHADOW_RESOLVE: Query =
    query!("shadow_resolve", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TIMESTAMPTZ_ARRAY, INT4]);
const SHADOW_KEEP: Query = query!(
    "shadow_keep",
    [INT4, UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, NUMERIC_ARRAY, TIMESTAMPTZ_ARRAY, TEXT_ARRAY]
);
const SHADOW_CURED: Query = query!("shadow_cured", [INT4]);

/// Joins of thousands of rows without statistics: nested loops made a fold seventeen times slower (design §5).
const BULK: &str = "set local enable_nestloop = off";
/// Taking entries is index look-ups by shard, whatever the statistics say about a table that was empty a minute ago.
const LOOK_UPS: &str = "set local enable_nestloop = on; set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = on";

/// What a fold did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Entries taken from the outbox.
    pub taken: usize,
    /// Of these, set aside: no usage stands behind them, or it is accounted for already.
    pub set_aside: usize,
    /// Of these, allocated to a remittance.
    pub allocated: usize,
    /// Held by name.
    pub held: usize,
    /// Of exempt orgs.
    pub exempt: usize,
    /// Returned to the outbox because their hour was cut meanwhile; the next fold knows the target.
    pub returned: usize,
}

/// Folds one batch. `turns` remembers which tenants come next; `most` bounds the batch, and with it memory.
///
/// # Errors
/// As Postgres says; the transaction is rolled back and nothing has happened.
pub async fn fold(database: &Database, turns: &mut Turns, most: usize) -> Result<Folded, Error> {
    fold_with(database, turns, most, async || {}).await
}

/// [`fold`] with a pause between reading the targets and locking them, for tests of what may happen there.
///
/// # Errors
/// As [`fold`].
pub async fn fold_with(
    database: &Database,
    turns: &mut Turns,
    most: usize,
    pause: impl AsyncFnOnce(),
) -> Result<Folded, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, LOOK_UPS).await?;
    let share = turns.share(most);
    let (of_one, of_all) = (i64::try_from(share).expect("small"), i64::try_from(most).expect("small"));
    let rows = tx.rows(&TAKE, &[&turns.shards(), &turns.floors(), &of_one, &of_all]).await?;
    let taken = Taken::of(&rows)?;
    drop(rows);
    let took = turns::Took::of(&taken.places);
    let traced: Vec<Uuid> = taken.entries.iter().take(turns.traced_max()).map(|entry| entry.usage).collect();
    let folded = fold_entries(tx, taken, pause).await?;
    // only now: what a failed fold took is where it was
    turns.took(took, share, most);
    if !traced.is_empty() {
        drop(session);
        let rows = database.one(&TRACES, &[&traced]).await.unwrap_or_default();
        turns.found(rows.iter().filter_map(|row| row.try_get(0).ok()).collect());
    }
    Ok(folded)
}

/// What was taken from the outbox.
struct Taken {
    /// What is to be folded.
    entries: Vec<Entry>,
    /// Entries that must not be, whole, as the text of JSON: nobody has checked what they hold.
    strays: Vec<String>,
    /// Shard and id of all of them.
    places: Vec<(i16, Uuid)>,
}

impl Taken {
    fn of(rows: &[Row]) -> Result<Self, Error> {
        let mut taken = Self { entries: Vec::with_capacity(rows.len()), strays: Vec::new(), places: Vec::new() };
        for row in rows {
            taken.places.push((row.try_get("shard")?, row.try_get("id")?));
            match row.try_get("stray")? {
                Some(stray) => taken.strays.push(stray),
                None => taken.entries.push(read_entry(row)?),
            }
        }
        Ok(taken)
    }
}

/// Folds one entry alone: the way to find the one that kills workers.
///
/// # Errors
/// As [`fold`].
pub async fn fold_one(database: &Database, usage: Uuid, pause: impl AsyncFnOnce()) -> Result<Folded, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let taken = Taken::of(&tx.rows(&TAKE_ONE, &[&usage]).await?)?;
    fold_entries(tx, taken, pause).await
}

/// Everything between taking entries and the commit.
async fn fold_entries(tx: Tx<'_>, taken: Taken, pause: impl AsyncFnOnce()) -> Result<Folded, Error> {
    let Taken { entries, strays, places } = taken;
    if places.is_empty() {
        return Ok(Folded::default());
    }
    if !strays.is_empty() {
        tx.run(&SET_ASIDE, &[&strays]).await?;
    }
    tx.batch("set local enable_nestloop = on; set local enable_seqscan = on; set local enable_bitmapscan = on").await?;
    let mut plan = Plan::of(entries);
    tx.run(&GATE, &[]).await?;
    resolve(&tx, &mut plan).await?;
    tx.batch(BULK).await?;
    open(&tx, &mut plan).await?;
    tx.batch("set local enable_nestloop = on").await?;
    late(&tx, &mut plan).await?;
    pause().await;
    lock(&tx, &mut plan).await?;
    let folded = write(&tx, &plan).await?;
    tx.commit().await?;
    Ok(Folded { taken: folded.taken + strays.len(), set_aside: strays.len(), ..folded })
}

/// An entry that waits, if any.
///
/// # Errors
/// As Postgres says.
pub async fn waiting(database: &Database) -> Result<Option<Uuid>, Error> {
    Ok(database.one(&WAITING, &[]).await?.first().map(|row| row.try_get(0)).transpose()?)
}

/// How many workers died lately while they folded.
///
/// # Errors
/// As Postgres says.
pub async fn deaths(database: &Database) -> Result<u32, Error> {
    let deaths: i64 = database.one(&DEATHS, &[]).await?.first().expect("a count is one row").try_get(0)?;
    Ok(u32::try_from(deaths).unwrap_or(u32::MAX))
}

fn read_entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        usage: row.try_get("id")?,
        org: row.try_get("org")?,
        product: row.try_get("product")?,
        metric: row.try_get("metric")?,
        account: row.try_get("account")?,
        hour: row.try_get("hour")?,
        quantity: row.try_get("quantity")?,
        returned: row.try_get("returned")?,
    })
}

/// What the catalogue says about each kind of entry.
async fn resolve(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let rows = tx
        .rows(
            &RESOLVE,
            &[
                &plan.column(|k| &k.org),
                &plan.column(|k| &k.product),
                &plan.column(|k| &k.metric),
                &plan.column(|k| &k.account),
                &plan.column(|k| &k.hour),
            ],
        )
        .await?;
    plan.has_shadow = rows.first().map(|row| row.try_get("has_shadow")).transpose()?.unwrap_or(false);
    read_resolved(&rows, plan)
}

fn read_resolved(rows: &[Row], plan: &mut Plan) -> Result<(), Error> {
    for (row, kind) in rows.iter().zip(&mut plan.kinds) {
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
    for row in tx.rows(&TARGETS, &[&subscriptions, &dimensions, &hours]).await? {
        let item = usize::try_from(row.try_get::<_, i64>("item")? - 1).expect("items count from one");
        let resolved = &resolved[item];
        let (meter, meter_metric) = (row.try_get("meter_id")?, row.try_get("meter_metric_id")?);
        let delivery: Option<i64> = row.try_get("delivery_id")?;
        plan.kinds[resolved.kind].target = match delivery {
            Some(delivery) if row.try_get("is_open")? => {
                Target::Open { delivery, meter_metric, subscription: resolved.subscription, round: None }
            }
            _ => {
                Target::Late { meter, meter_metric, subscription: resolved.subscription, dimension: resolved.dimension }
            }
        };
    }
    Ok(())
}

/// Finds another hour for what came too late for its own, after locking the meters in order.
async fn late(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let kinds = plan.late_in_order();
    let meters: Vec<i64> = kinds
        .iter()
        .filter_map(|kind| match plan.kinds[*kind].target {
            Target::Late { meter, .. } => Some(meter),
            _ => None,
        })
        .collect();
    if meters.is_empty() {
        return Ok(());
    }
    tx.run(&LATE_LOCK, &[&meters]).await?;
    for kind in kinds {
        let Target::Late { meter, meter_metric, subscription, dimension } = plan.kinds[kind].target else { continue };
        let rows = tx.rows(&LATE, &[&meter, &plan.kinds[kind].hour, &subscription, &dimension]).await?;
        let delivery: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
        plan.kinds[kind].target = match delivery {
            Some(delivery) => Target::Open { delivery, meter_metric, subscription, round: None },
            None => Target::Held(Reason::TooLate),
        };
    }
    Ok(())
}

/// Locks the remittances, shared and in order, and reads in a later statement which of them are still open.
async fn lock(tx: &Tx<'_>, plan: &mut Plan) -> Result<(), Error> {
    let deliveries = plan.deliveries();
    if deliveries.is_empty() {
        return Ok(());
    }
    tx.run(&LOCK, &[&deliveries]).await?;
    let mut open = std::collections::HashMap::new();
    for row in tx.rows(&OPEN_STILL, &[&deliveries]).await? {
        open.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, i32>(1)?);
    }
    plan.keep_open(&open);
    Ok(())
}

async fn write(tx: &Tx<'_>, plan: &Plan) -> Result<Folded, Error> {
    let rows = plan.rows();
    let folded = Folded {
        taken: plan.entries.len(),
        allocated: rows.allocated.usage.len(),
        held: rows.held.usage.len(),
        exempt: rows.exempt.0.len(),
        returned: rows.returned.len(),
        set_aside: 0,
    };
    let a = &rows.allocated;
    if !a.usage.is_empty() {
        tx.run(
            &ALLOCATE,
            &[&a.usage, &a.destination, &a.delivery, &a.meter_metric, &a.round, &a.quantity, &a.hour, &a.subscription],
        )
        .await?;
    }
    let h = &rows.held;
    if !h.usage.is_empty() {
        tx.run(
            &HOLD,
            &[&h.usage, &h.destination, &h.reason, &h.org, &h.product, &h.metric, &h.account, &h.quantity, &h.hour],
        )
        .await?;
    }
    if !rows.exempt.0.is_empty() {
        tx.run(&EXEMPT, &[&rows.exempt.0, &rows.exempt.1]).await?;
    }
    if !rows.returned.is_empty() {
        tx.run(&RETURN, &[&rows.returned]).await?;
    }
    if plan.has_shadow {
        shadow::give(tx, plan).await?;
    }
    Ok(folded)
}

/// Puts one entry aside as poison: its handling killed workers.
///
/// # Errors
/// As Postgres says.
pub async fn quarantine(database: &Database, usage: Uuid) -> Result<bool, Error> {
    const QUARANTINE: Query = query!("fold_quarantine", [UUID]);
    Ok(!database.one(&QUARANTINE, &[&usage]).await?.is_empty())
}
