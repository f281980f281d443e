//! Fold: outbox entries become allocations to the open remittances of their hours.
//!
//! Only allocations are inserted; nothing is summed into a shared row, so a hot customer is no hot row. Everything is
//! one transaction: an entry is in the outbox, or it is held, exempt or allocated; never neither, never both.

mod apart;
mod corrected;
mod halves;
mod placing;
mod plan;
mod plausible;
mod shadow;
mod suspects;
mod taking;
mod turns;

use std::time::Duration;

use uuid::Uuid;

use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::{Database, Error, side};
pub use apart::{Places, fold_apart};
use corrected::{CREDIT, Corrections, WRITE_OFF};
use placing::{place, resolve};
use plan::Plan;
pub use shadow::{fold_shadow, fold_shadow_apart};
pub use suspects::{find_suspects, fold_suspects};
use taking::{Picked, Taken};
pub use turns::Turns;

const LOOK: Query = query!("fold_look", []);
const HAS_OTHERS: Query = query!("fold_has_others", []);
const PICK: Query = query!("fold_pick", [INT2_ARRAY, UUID_ARRAY, INT8, INT8]);
const PICK_OTHERS: Query = query!("fold_pick_others", [INT2_ARRAY, UUID_ARRAY, INT8, INT8]);
const SET_ASIDE: Query = query!("fold_set_aside", [TEXT_ARRAY]);
const TRACES: Query = query!("fold_traces", [UUID_ARRAY]);
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
        TIMESTAMPTZ_ARRAY,
        UUID_ARRAY,
        TEXT_ARRAY,
        NUMERIC_ARRAY
    ]
);
const EXEMPT: Query = query!("fold_exempt", [UUID_ARRAY, INT8_ARRAY]);
const RETURN: Query = query!("fold_return", [UUID_ARRAY, TIMESTAMPTZ_ARRAY]);
/// Gives usage to the shadows; runs only where the catalogue has one.
const SHADOW_GIVE: Query = query!(
    "fold_shadow",
    [UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, NUMERIC_ARRAY, TIMESTAMPTZ_ARRAY, UUID_ARRAY]
);
const SHADOW_TAKE: Query = query!("shadow_take", [INT4, INT8, UUID_ARRAY, TEXT_ARRAY]);
const SHADOW_RESOLVE: Query =
    query!("shadow_resolve", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TIMESTAMPTZ_ARRAY, INT4]);
const SHADOW_KEEP: Query = query!(
    "shadow_keep",
    [
        INT4,
        UUID_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        TEXT_ARRAY,
        NUMERIC_ARRAY,
        TIMESTAMPTZ_ARRAY,
        TEXT_ARRAY,
        UUID_ARRAY
    ]
);

/// Taking entries is index look-ups by shard, whatever the statistics say about a table that was empty a minute ago.
const LOOK_UPS: &str = "set local enable_nestloop = on; set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = on";

/// And until they are taken, only tables are waited for: side tables too, if entries are left out.
fn pick_limits() -> String {
    format!("{LOOK_UPS}; {}", side::LOCK)
}

/// For what comes after that.
const AS_USUAL: &str = "set local enable_nestloop = on; set local enable_seqscan = on; set local enable_bitmapscan = on; \
                        set local lock_timeout = '5s'";

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
    /// Corrections of usage that was given up.
    pub written_off: usize,
    /// Returned to the outbox because their hour was cut meanwhile, or because another session keeps what they need; a
    /// later fold knows better.
    pub returned: usize,
    /// Entries that failed alone. They are in the outbox, and left out of the ordinary folds (`postmeter.setback`).
    pub failed: usize,
}

impl Folded {
    /// Entries that are accounted for.
    #[must_use]
    pub const fn through(&self) -> usize {
        self.taken - self.returned
    }

    /// What both did.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            taken: self.taken + other.taken,
            set_aside: self.set_aside + other.set_aside,
            allocated: self.allocated + other.allocated,
            held: self.held + other.held,
            exempt: self.exempt + other.exempt,
            written_off: self.written_off + other.written_off,
            returned: self.returned + other.returned,
            failed: self.failed + other.failed,
        }
    }
}

/// What waits to be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// An entry, if there is one.
    pub first: Option<Uuid>,
    /// A worker died while it folded, and nobody has looked at what it had in hand: [`find_suspects`] does.
    pub has_deaths: bool,
}

/// What waits to be folded.
///
/// # Errors
/// As Postgres says.
pub async fn look(database: &Database) -> Result<Waiting, Error> {
    let rows = database.one(&LOOK, &[]).await?;
    let row = rows.first().expect("one row");
    Ok(Waiting { first: row.try_get("first_entry")?, has_deaths: row.try_get("has_deaths")? })
}

/// Whether some entries are to be left out of the ordinary folds: [`fold_apart`] and [`fold_suspects`] are for them. While
/// the tables that say so cannot be read, none are: who fails or is locked costs the folds time then, and nobody his turn.
pub async fn has_others(database: &Database) -> bool {
    let rows = side::ask(database, &HAS_OTHERS, &[]).await;
    rows.is_some_and(|rows| rows.first().is_some_and(|row| row.get(0)))
}

/// Folds one batch. `turns` remembers which tenants come next; `most` bounds the batch, and with it memory.
///
/// # Errors
/// As [`fold_as`].
pub async fn fold(database: &Database, turns: &mut Turns, most: usize) -> Result<Folded, Error> {
    fold_with(database, turns, most, async || {}).await
}

/// [`fold`] with a pause between reading the targets and locking them, for tests of what may happen there.
///
/// # Errors
/// As [`fold_as`].
pub async fn fold_with(
    database: &Database,
    turns: &mut Turns,
    most: usize,
    pause: impl AsyncFnOnce(),
) -> Result<Folded, Error> {
    fold_as(database, None, turns, (most, true), pause).await
}

/// Folds one batch: at most so many entries, without those that are folded apart if there are such. The worker says which
/// part of the outbox it has in hand before it touches it. What another session keeps is left for [`fold_apart`]; if the
/// batch fails, it is folded in halves, down to the entries that fail alone, and all others are through.
///
/// # Errors
/// Only what every entry would meet; what is not through is in the outbox.
pub async fn fold_as(
    database: &Database,
    worker: Option<Uuid>,
    turns: &mut Turns,
    (most, has_others): (usize, bool),
    pause: impl AsyncFnOnce(),
) -> Result<Folded, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, &pick_limits()).await?;
    let share = turns.share(most);
    let (of_one, of_all) = (i64::try_from(share).expect("small"), i64::try_from(most).expect("small"));
    let pick = if has_others { &PICK_OTHERS } else { &PICK };
    let picked = taking::picked(&tx.rows(pick, &[&turns.shards(), &turns.floors(), &of_one, &of_all]).await?)?;
    if picked.is_empty() {
        return Ok(Folded::default());
    }
    if let Some(worker) = worker {
        crate::workers::set_folding(database, worker, &crate::workers::Folding::Spans(taking::spans(&picked))).await?;
    }
    let traced: Vec<Uuid> = picked.iter().take(turns.traced_max()).map(|picked| picked.entry.id).collect();
    match fold_in(&tx, &picked, Locking::FREE, pause).await {
        Ok(done) => {
            tx.commit().await?;
            drop(session);
            // only now: what a failed fold took is where it was
            turns.took(turns::Took::of(&picked), share, most);
            halves::note_locked(database, halves::Queue::Outbox, &done.locked).await;
            if !traced.is_empty() {
                let rows = database.one(&TRACES, &[&traced]).await.unwrap_or_default();
                turns.found(rows.iter().filter_map(|row| row.try_get(0).ok()).collect());
            }
            Ok(done.folded)
        }
        Err(Failed::Rows(error)) if error.blame() != Blame::Step => {
            tx.roll_back().await?;
            drop(session);
            tracing::debug!(%error, entries = picked.len(), "a fold failed; it is tried in halves");
            halves::fold_in_halves(database, &taking::entries(&picked)).await
        }
        Err(failed) => Err(crate::gate::named(database, failed.into()).await),
    }
}

/// How a fold gets its locks.
#[derive(Debug, Clone, Copy)]
struct Locking {
    /// Takes only what is free; else it waits.
    is_free: bool,
    /// For what others are making that this fold makes too, and for what it waits for.
    rows: Duration,
    /// For whole tables, once the rows are locked.
    tables: Duration,
}

impl Locking {
    /// Of an ordinary fold. What others make and it makes too is there when their folds end.
    const FREE: Self = Self { is_free: true, rows: crate::setback::LOCK_WAIT, tables: Duration::from_secs(5) };
    /// Of a part of a fold that failed: whoever keeps something has kept it for long.
    const BRIEF: Self = Self { is_free: true, rows: Duration::from_millis(100), tables: Duration::from_millis(100) };
    /// Of what did not go through before.
    const APART: Self = Self { rows: Duration::from_millis(100), ..Self::FREE };
    /// Of what was skipped twice.
    const ALONE: Self = Self { is_free: false, rows: crate::setback::LOCK_WAIT, tables: Duration::from_secs(5) };
}

/// What a fold's transaction came to, before its commit.
struct Done {
    folded: Folded,
    /// Orgs of which another session keeps something: their entries are returned.
    locked: Vec<String>,
}

/// Why a fold's transaction came to nothing.
enum Failed {
    /// Months are being closed: nobody folds meanwhile.
    Gate(Error),
    /// Something else.
    Rows(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Rows(error)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Gate(error) | Failed::Rows(error) => error,
        }
    }
}

/// Everything between locking entries and the commit.
async fn fold_in(tx: &Tx<'_>, picked: &[Picked], locking: Locking, pause: impl AsyncFnOnce()) -> Result<Done, Failed> {
    let Taken { entries, strays } = taking::take(tx, picked).await?;
    if !strays.is_empty() {
        tx.run(&SET_ASIDE, &[&strays]).await?;
    }
    tx.batch(AS_USUAL).await?;
    let mut plan = Plan::of(entries);
    gate(tx).await?;
    let corrections = Corrections::find(tx, &mut plan, None).await?;
    resolve(tx, &mut plan).await?;
    let usual = plausible::hold(tx, &mut plan).await?;
    place(tx, &mut plan, locking, pause).await?;
    corrections.keep(tx, &mut plan).await?;
    let folded = write(tx, &plan).await?;
    usual.keep(tx, &plan).await?;
    let folded = Folded { taken: folded.taken + strays.len(), set_aside: strays.len(), ..folded };
    Ok(Done { folded, locked: plan.locked() })
}

async fn gate(tx: &Tx<'_>) -> Result<(), Failed> {
    // resolve then says which months are closed
    crate::gate::months(tx)
        .await
        .map_err(|error| if matches!(error, Error::Shut(_)) { Failed::Gate(error) } else { error.into() })
}

async fn write(tx: &Tx<'_>, plan: &Plan) -> Result<Folded, Error> {
    let rows = plan.rows();
    let folded = Folded {
        taken: plan.entries.len(),
        allocated: rows.allocated.usage.len(),
        held: rows.held.usage.len(),
        exempt: rows.exempt.0.len(),
        written_off: rows.written_off.0.len(),
        returned: rows.returned.0.len(),
        ..Folded::default()
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
            &[
                &h.usage,
                &h.destination,
                &h.reason,
                &h.org,
                &h.product,
                &h.metric,
                &h.account,
                &h.quantity,
                &h.hour,
                &h.corrected,
                &h.beyond,
                &h.bound,
            ],
        )
        .await?;
    }
    let c = &rows.credited;
    if !c.quantity.is_empty() {
        tx.run(&CREDIT, &[&c.meter_metric, &c.quantity]).await?;
    }
    if !rows.written_off.0.is_empty() {
        tx.run(&WRITE_OFF, &[&rows.written_off.0, &rows.written_off.1]).await?;
    }
    if !rows.exempt.0.is_empty() {
        tx.run(&EXEMPT, &[&rows.exempt.0, &rows.exempt.1]).await?;
    }
    if !rows.returned.0.is_empty() {
        tx.run(&RETURN, &[&rows.returned.0, &rows.returned.1]).await?;
    }
    if plan.has_shadow {
        shadow::give(tx, plan).await?;
    }
    Ok(folded)
}
