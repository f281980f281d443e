//! Shadows count too: what a fold gave to a shadow becomes allocations to the shadow's own remittances, by the same
//! statements, in transactions of their own. A shadow that is slow, wrong or stuck holds nobody up.

use remittance::Reason;

use super::plan::{Entry, Plan, Rows, Target};
use super::{
    ALLOCATE, BULK, Folded, GATE, SHADOW_CURED, SHADOW_GIVE, SHADOW_KEEP, SHADOW_RESOLVE, SHADOW_TAKE, late, lock,
    open, read_resolved,
};
use crate::query::Tx;
use crate::{Database, Error};

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

/// Folds one batch of what waits for a shadow.
///
/// # Errors
/// As Postgres says; the transaction is rolled back and nothing has happened.
pub async fn fold_shadow(database: &Database, shadow: i32, most: usize) -> Result<Folded, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let taken = tx.rows(&SHADOW_TAKE, &[&shadow, &most]).await?;
    let entries = taken.iter().map(read_entry).collect::<Result<Vec<_>, Error>>()?;
    if entries.is_empty() {
        return Ok(Folded::default());
    }
    let mut plan = Plan::of(entries);
    tx.run(&GATE, &[]).await?;
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
    tx.batch(BULK).await?;
    open(&tx, &mut plan).await?;
    tx.batch("set local enable_nestloop = on").await?;
    late(&tx, &mut plan).await?;
    lock(&tx, &mut plan).await?;
    let folded = write(&tx, &plan, shadow).await?;
    tx.commit().await?;
    Ok(folded)
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
    let mut kept = Kept::default();
    for entry in &plan.entries {
        let kind = &plan.kinds[entry.kind];
        let reason = match kind.target {
            Target::Held(reason) => Some(Reason::as_str(reason)),
            Target::Exempt(_) => Some("exempt"),
            Target::Returned => None,
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
        set_aside: 0,
        taken: plan.entries.len(),
        allocated: a.usage.len(),
        held: k.usage.len() - returned - exempt,
        exempt,
        returned,
    })
}

/// What goes back to wait, or to stay with its reason.
#[derive(Default)]
struct Kept<'a> {
    usage: Vec<uuid::Uuid>,
    org: Vec<&'a str>,
    product: Vec<&'a str>,
    metric: Vec<&'a str>,
    account: Vec<Option<&'a str>>,
    quantity: Vec<rust_decimal::Decimal>,
    hour: Vec<jiff::Timestamp>,
    reason: Vec<Option<&'static str>>,
}

/// Lets shadows count usage whose reason no longer holds; returns how much.
///
/// # Errors
/// As Postgres says.
pub async fn return_cured_shadow(database: &Database, most: i32) -> Result<i64, Error> {
    Ok(database.one(&SHADOW_CURED, &[&most]).await?.first().expect("one row").try_get(0)?)
}
