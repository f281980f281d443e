//! Shadows count too: what a fold gave to a shadow becomes allocations to the shadow's own remittances, by the same
//! statements, in transactions of their own. A shadow that is slow, wrong or stuck holds nobody up.

use remittance::Reason;
use uuid::Uuid;

use super::apart::{ApartRun, Kept, PID, Places, Tried};
use super::corrected::{CREDIT, Corrections};
use super::halves::{Entry as Member, Queue, in_halves, note_locked};
use super::placing::{place, read_resolved};
use super::plan::{Entry, Plan, Rows, Target};
use super::taking::Place;
use super::{ALLOCATE, Done, Failed, Folded, Locking, SHADOW_GIVE, SHADOW_KEEP, SHADOW_RESOLVE, SHADOW_TAKE, gate};
use crate::error::Blame;
use crate::query::{Query, Tx, query};
use crate::setback::{Setbacks, naming_holder};
use crate::{Database, Error};

const SHADOW_TAKE_THESE: Query = query!("shadow_take_these", [INT4, UUID_ARRAY]);
const SHADOW_TAKE_ORG: Query = query!("shadow_take_org", [INT4, TEXT, INT8, UUID_ARRAY, UUID]);
const SHADOW_WAITS_STILL: Query = query!("shadow_waits_still", [INT4, TEXT, UUID]);

/// Gives what a live fold took for the first time to the shadows; what is exempt is nobody's. A correction is given once it
/// has found the usage that it corrects, and to those shadows that were given that.
pub(super) async fn give(tx: &Tx<'_>, plan: &Plan) -> Result<(), Error> {
    let entries = plan.entries.iter().map(|entry| (entry, &plan.kinds[entry.kind]));
    let first = entries.filter(|(entry, kind)| match kind.target {
        Target::Exempt(_) => false,
        Target::Returned | Target::Locked => entry.is_first && entry.corrected.is_none(),
        _ => entry.is_first || entry.corrected.is_some(),
    });
    let first: Vec<_> = first.collect();
    if first.is_empty() {
        return Ok(());
    }
    let usages: Vec<_> = first.iter().map(|(entry, _)| entry.usage).collect();
    let quantities: Vec<_> = first.iter().map(|(entry, _)| entry.quantity).collect();
    let text = |of: fn(&super::plan::Kind) -> &str| first.iter().map(|(_, kind)| of(kind)).collect::<Vec<_>>();
    let accounts: Vec<_> = first.iter().map(|(_, kind)| kind.account.as_deref()).collect();
    let hours: Vec<_> = first.iter().map(|(_, kind)| kind.hour).collect();
    let (orgs, products, metrics) = (text(|k| &k.org), text(|k| &k.product), text(|k| &k.metric));
    let corrected: Vec<_> = first.iter().map(|(entry, _)| entry.corrected).collect();
    tx.run(&SHADOW_GIVE, &[&usages, &orgs, &products, &metrics, &accounts, &quantities, &hours, &corrected]).await?;
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
    let (usages, orgs) = kept_apart(&Setbacks::read(database, STEP).await, shadow);
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let taken = tx.rows(&SHADOW_TAKE, &[&shadow, &most, &usages, &orgs]).await?;
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    let members = entries.iter().map(|entry| member(entry.usage, &entry.org)).collect();
    match fold_in(&tx, shadow, entries, Locking::FREE).await {
        Ok(done) => {
            tx.commit().await?;
            drop(session);
            note_locked(database, queue, &done.locked).await;
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

/// Usages and orgs of a shadow that the rounds before left behind.
fn kept_apart(setbacks: &Setbacks, shadow: i32) -> (Vec<Uuid>, Vec<String>) {
    let (at, mut usages, mut orgs) = (Queue::Shadow(shadow).at(), Vec::new(), Vec::new());
    let members = [setbacks.members(true), setbacks.members(false)].concat();
    for member in members.iter().filter_map(|member| member.strip_prefix(&at)) {
        match member.strip_prefix("org:") {
            Some(org) => orgs.push(org.to_owned()),
            None => usages.extend(member.parse::<Uuid>()),
        }
    }
    (usages, orgs)
}

fn member(usage: Uuid, org: &str) -> Member {
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

/// Tries again what shadows could not fold before: at most so many usages of an org, behind those of the last time if they
/// stayed locked. `others_passed`: ordinary folds of shadows went through since the last time.
///
/// # Errors
/// Only what every usage would meet.
pub async fn fold_shadow_apart(
    database: &Database,
    places: &mut Places,
    (most, others_passed): (usize, bool),
) -> Result<Folded, Error> {
    let Some(mut again) = ApartRun::take_on(database, STEP, others_passed).await else { return Ok(Folded::default()) };
    while let Some(kept) = again.next() {
        let tried = match kept.member.split_once(':').and_then(|(shadow, name)| Some((shadow.parse().ok()?, name))) {
            Some((shadow, name)) => match name.parse() {
                Ok(usage) => try_again(database, shadow, &kept, What::One(usage)).await?,
                Err(_) => again_org(database, shadow, &kept, places, most).await?,
            },
            None => Tried::Passed(Folded::default()),
        };
        again.came(database, &kept, tried).await;
    }
    Ok(again.end(database).await)
}

/// What is to be folded apart.
enum What<'a> {
    One(Uuid),
    /// Usages of its org.
    Org {
        /// So many at most.
        most: usize,
        /// Behind this one.
        behind: Uuid,
        /// Without these: they failed.
        failed: Vec<Uuid>,
        /// The last of them, if there were so many.
        last: &'a mut Option<Uuid>,
    },
}

/// A part of the org's usages: behind what stays locked the next part goes on.
async fn again_org(
    database: &Database,
    shadow: i32,
    kept: &Kept,
    places: &mut Places,
    most: usize,
) -> Result<Tried, Error> {
    let behind = places.of(&kept.member);
    let (failed, _) = kept_apart(&Setbacks::read(database, STEP).await, shadow);
    let mut last = None;
    let tried = try_again(database, shadow, kept, What::Org { most, behind, failed, last: &mut last }).await?;
    places.go_on(&kept.member, last.filter(|_| !behind.is_nil() || matches!(tried, Tried::Locked(..))));
    Ok(match tried {
        // what is before it may be locked still
        Tried::Passed(folded) if !behind.is_nil() => Tried::Locked(folded, None),
        tried => tried,
    })
}

async fn try_again(database: &Database, shadow: i32, kept: &Kept, what: What<'_>) -> Result<Tried, Error> {
    let locking = if kept.is_urgent() { Locking::ALONE } else { Locking::APART };
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let (taken, usage) = match &what {
        What::One(usage) => (tx.rows(&SHADOW_TAKE_THESE, &[&shadow, &vec![*usage]]).await?, Some(*usage)),
        What::Org { most, behind, failed, .. } => {
            let most = i64::try_from(*most).unwrap_or(i64::MAX);
            (tx.rows(&SHADOW_TAKE_ORG, &[&shadow, &kept.org, &most, failed, behind]).await?, None)
        }
    };
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    if let What::Org { most, last, .. } = what {
        *last = entries.iter().map(|entry| entry.usage).max().filter(|_| entries.len() >= most);
    }
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
    let corrections = Corrections::find(tx, &mut plan, Some(shadow)).await?;
    let rows = tx
        .rows(
            &SHADOW_RESOLVE,
            &[
                &plan.column(|k| &k.org),
                &plan.column(|k| &k.product),
                &plan.column(|k| &k.metric),
                &plan.column(|k| &k.account),
                &plan.column(|k| &k.at),
                &shadow,
            ],
        )
        .await?;
    read_resolved(&rows, &mut plan)?;
    place(tx, &mut plan, locking, async || {}).await?;
    corrections.keep(tx, &mut plan).await?;
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
        at: row.try_get("at")?,
        quantity: row.try_get("quantity")?,
        corrected: row.try_get("corrected_id")?,
        returned: true,
        // its row goes back as it was given
        entered_at: jiff::Timestamp::UNIX_EPOCH,
    })
}

async fn write(tx: &Tx<'_>, plan: &Plan, shadow: i32) -> Result<Folded, Error> {
    let Rows { allocated: a, credited: c, .. } = plan.rows();
    if !a.usage.is_empty() {
        tx.run(
            &ALLOCATE,
            &[&a.usage, &a.destination, &a.delivery, &a.meter_metric, &a.round, &a.quantity, &a.hour, &a.subscription],
        )
        .await?;
    }
    if !c.quantity.is_empty() {
        tx.run(&CREDIT, &[&c.meter_metric, &c.quantity]).await?;
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
        kept.corrected.push(entry.corrected);
    }
    let k = &kept;
    if !k.usage.is_empty() {
        tx.run(
            &SHADOW_KEEP,
            &[
                &shadow,
                &k.usage,
                &k.org,
                &k.product,
                &k.metric,
                &k.account,
                &k.quantity,
                &k.hour,
                &k.reason,
                &k.corrected,
            ],
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
    usage: Vec<Uuid>,
    org: Vec<&'a str>,
    product: Vec<&'a str>,
    metric: Vec<&'a str>,
    account: Vec<Option<&'a str>>,
    quantity: Vec<rust_decimal::Decimal>,
    hour: Vec<jiff::Timestamp>,
    reason: Vec<Option<&'static str>>,
    corrected: Vec<Option<Uuid>>,
}
