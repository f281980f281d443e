//! Shadows count too: what a fold gave to a shadow becomes allocations to the shadow's own remittances, by the same
//! statements, in transactions of their own. A shadow that is slow, wrong or stuck holds nobody up.

use remittance::Reason;

use super::apart::{Again, Kept, PID, Tried};
use super::halves::{Entry as Member, Queue, in_halves, note_locked};
use super::placing::{place, read_resolved};
use super::plan::{Entry, Plan, Rows, Target};
use super::taking::Place;
use super::{ALLOCATE, Done, Failed, Folded, Locking, SHADOW_GIVE, SHADOW_KEEP, SHADOW_RESOLVE, SHADOW_TAKE, gate};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::setback::naming_holder;
use crate::{Database, Error};

const SHADOW_TAKE_THESE: Query = query!("shadow_take_these", [INT4, UUID_ARRAY]);
const SHADOW_TAKE_ORG: Query = query!("shadow_take_org", [INT4, TEXT, INT8]);
const SHADOW_WAITS_STILL: Query = query!("shadow_waits_still", [INT4, TEXT, UUID]);

/// Gives what a live fold took for the first time to the shadows; what is exempt is nobody's.
pub(super) async fn give(tx: &Tx<'_>, plan: &Plan) -> Result<(), Error> {
    let first = plan.entries.iter().filter(|entry| entry.is_first).map(|entry| (entry, &plan.kinds[entry.kind]));
    let first: Vec<_> = first.filter(|(_, kind)| !matches!(kind.target, Target::Exempt(_))).collect();
    if first.is_empty() {
        return Ok(());
    }
    let usages: Vec<_> = first.iter().map(|(entry, _)| entry.usage).collect();
    let quantities: Vec<_> = first.iter().map(|(entry, _)| entry.quantity).collect();
    let text = |of: fn(&super::plan::Kind) -> &str| first.iter().map(|(_, kind)| of(kind)).collect::<Vec<_>>();
    let accounts: Vec<_> = first.iter().map(|(_, kind)| kind.account.as_deref()).collect();
    let hours: Vec<_> = first.iter().map(|(_, kind)| kind.hour).collect();
    let (orgs, products, metrics) = (text(|k| &k.org), text(|k| &k.product), text(|k| &k.metric));
    tx.run(&SHADOW_GIVE, &[&usages, &orgs, &products, &metrics, &accounts, &quantities, &hours]).await?;
    Ok(())
}

/// The step's name in `postmeter.setback`.
pub(super) const STEP: &str = "shadow_fold";

/// Folds one batch of what waits for a shadow. What another session keeps, and what fails, is left for
/// [`fold_shadow_apart`].
///
/// # Errors
/// Only what every usage would meet; what is not through waits.
pub async fn fold_shadow(database: &Database, shadow: i32, most: usize) -> Result<Folded, Error> {
    let queue = Queue::Shadow(shadow);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let taken = tx.rows(&SHADOW_TAKE, &[&shadow, &most, &queue.at()]).await?;
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    let members = entries.iter().map(|entry| member(entry.usage, &entry.org)).collect();
    match fold_in(&tx, shadow, entries, Locking::FREE).await {
        Ok(done) => {
            tx.commit().await?;
            drop(session);
            note_locked(database, queue, &done.locked).await?;
            Ok(done.folded)
        }
        Err(Failed::Rows(error)) if error.blame() != Blame::Step => {
            tx.roll_back().await?;
            drop(session);
            in_halves(database, queue, members).await
        }
        Err(failed) => Err(crate::gate::named(database, failed.into()).await),
    }
}

fn member(usage: uuid::Uuid, org: &str) -> Member {
    Member { place: Place { shard: 0, id: usage }, org: org.to_owned() }
}

pub(super) async fn fold_these(database: &Database, shadow: i32, part: &[Member]) -> Result<Done, Failed> {
    let usages: Vec<_> = part.iter().map(|member| member.place.id).collect();
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let taken = tx.rows(&SHADOW_TAKE_THESE, &[&shadow, &usages]).await?;
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    match fold_in(&tx, shadow, entries, Locking::BRIEF).await {
        Ok(done) => tx.commit().await.map(|()| done).map_err(Failed::Rows),
        Err(failed) => {
            tx.roll_back().await?;
            Err(failed)
        }
    }
}

/// Tries again what shadows could not fold before: at most so many usages of an org. `others_passed`: ordinary folds of
/// shadows went through since the last time.
///
/// # Errors
/// Only what every usage would meet.
pub async fn fold_shadow_apart(database: &Database, most: usize, others_passed: bool) -> Result<Folded, Error> {
    let Some(mut again) = Again::take_on(database, STEP, others_passed).await? else { return Ok(Folded::default()) };
    while let Some(kept) = again.next() {
        let tried = match kept.member.split_once(':').and_then(|(shadow, name)| Some((shadow.parse().ok()?, name))) {
            Some((shadow, name)) => try_again(database, shadow, &kept, name.parse().ok(), most).await?,
            None => Tried::Passed(Folded::default()),
        };
        again.came(database, &kept, tried).await?;
    }
    again.end(database).await
}

async fn try_again(
    database: &Database,
    shadow: i32,
    kept: &Kept,
    usage: Option<uuid::Uuid>,
    most: usize,
) -> Result<Tried, Error> {
    let locking = if kept.is_urgent() { Locking::ALONE } else { Locking::APART };
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let taken = match usage {
        Some(usage) => tx.rows(&SHADOW_TAKE_THESE, &[&shadow, &vec![usage]]).await?,
        None => tx.rows(&SHADOW_TAKE_ORG, &[&shadow, &kept.org, &most]).await?,
    };
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    if entries.is_empty() {
        let waits = tx.rows(&SHADOW_WAITS_STILL, &[&shadow, &kept.org, &usage]).await?;
        let waits: bool = waits.first().expect("one row").try_get(0)?;
        return Ok(if waits { Tried::Busy } else { Tried::Passed(Folded::default()) });
    }
    let members: Vec<Member> = entries.iter().map(|entry| member(entry.usage, &entry.org)).collect();
    let pid = tx.rows(&PID, &[]).await?.first().expect("one row").try_get(0)?;
    let (folded, holder) = naming_holder(database, pid, fold_in(&tx, shadow, entries, locking)).await;
    match folded {
        Ok(done) => {
            tx.commit().await?;
            Ok(if done.locked.is_empty() { Tried::Passed(done.folded) } else { Tried::Locked(done.folded, None) })
        }
        Err(Failed::Rows(error)) => {
            tx.roll_back().await?;
            drop(session);
            match error.blame() {
                Blame::Step => Err(error),
                Blame::Lock => Ok(Tried::Locked(Folded::default(), holder)),
                Blame::Member | Blame::Time if usage.is_some() => Ok(Tried::Failed(error)),
                Blame::Member | Blame::Time => {
                    Ok(Tried::Passed(in_halves(database, Queue::Shadow(shadow), members).await?))
                }
            }
        }
        Err(failed) => Err(failed.into()),
    }
}

/// Everything between taking usages and the commit.
async fn fold_in(tx: &Tx<'_>, shadow: i32, entries: Vec<Entry>, locking: Locking) -> Result<Done, Failed> {
    if entries.is_empty() {
        return Ok(Done { folded: Folded::default(), locked: Vec::new() });
    }
    let mut plan = Plan::of(entries);
    gate(tx).await?;
    let rows = tx
        .rows(
            &SHADOW_RESOLVE,
            &[
                &plan.column(|k| &k.org),
                &plan.column(|k| &k.product),
                &plan.column(|k| &k.metric),
                &plan.column(|k| &k.account),
                &plan.column(|k| &k.hour),
                &shadow,
            ],
        )
        .await?;
    read_resolved(&rows, &mut plan)?;
    place(tx, &mut plan, locking, async || {}).await?;
    Ok(Done { folded: write(tx, &plan, shadow).await?, locked: plan.locked() })
}

fn read_entry(row: &tokio_postgres::Row) -> Result<Entry, Error> {
    Ok(Entry {
        usage: row.try_get("usage_id")?,
        org: row.try_get("org")?,
        product: row.try_get("product")?,
        metric: row.try_get("metric")?,
        account: row.try_get("account")?,
        hour: row.try_get("hour")?,
        quantity: row.try_get("quantity")?,
        returned: true,
    })
}

async fn write(tx: &Tx<'_>, plan: &Plan, shadow: i32) -> Result<Folded, Error> {
    let Rows { allocated: a, .. } = plan.rows();
    if !a.usage.is_empty() {
        tx.run(
            &ALLOCATE,
            &[&a.usage, &a.destination, &a.delivery, &a.meter_metric, &a.round, &a.quantity, &a.hour, &a.subscription],
        )
        .await?;
    }
    let mut kept = Back::default();
    for entry in &plan.entries {
        let kind = &plan.kinds[entry.kind];
        let reason = match kind.target {
            Target::Held(reason) => Some(Reason::as_str(reason)),
            Target::Exempt(_) => Some("exempt"),
            Target::Returned | Target::Locked => None,
            _ => continue,
        };
        kept.usage.push(entry.usage);
        kept.org.push(&kind.org);
        kept.product.push(&kind.product);
        kept.metric.push(&kind.metric);
        kept.account.push(kind.account.as_deref());
        kept.quantity.push(entry.quantity);
        kept.hour.push(kind.hour);
        kept.reason.push(reason);
    }
    let k = &kept;
    if !k.usage.is_empty() {
        tx.run(
            &SHADOW_KEEP,
            &[&shadow, &k.usage, &k.org, &k.product, &k.metric, &k.account, &k.quantity, &k.hour, &k.reason],
        )
        .await?;
    }
    let returned = k.reason.iter().filter(|reason| reason.is_none()).count();
    let exempt = k.reason.iter().filter(|reason| **reason == Some("exempt")).count();
    Ok(Folded {
        taken: plan.entries.len(),
        allocated: a.usage.len(),
        held: k.usage.len() - returned - exempt,
        exempt,
        returned,
        ..Folded::default()
    })
}

/// What goes back to wait, or to stay with its reason.
#[derive(Default)]
struct Back<'a> {
    usage: Vec<uuid::Uuid>,
    org: Vec<&'a str>,
    product: Vec<&'a str>,
    metric: Vec<&'a str>,
    account: Vec<Option<&'a str>>,
    quantity: Vec<rust_decimal::Decimal>,
    hour: Vec<jiff::Timestamp>,
    reason: Vec<Option<&'static str>>,
}
