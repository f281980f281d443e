//! Usage beyond what is plausible for its metric is held by name before it enters an hour, and delays nothing else of it.
//! Of an org and metric with `times_usual`, the largest usage that is counted is kept by the week: that is the usual.
//!
//! The catalogue says in the answer about each fold's kinds whether it has any limit. Without one, nothing is asked here.

use std::collections::{BTreeMap, HashMap, HashSet};

use remittance::Reason;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::plan::{Limit, Plan, Target};
use crate::Error;
use crate::query::{Query, Tx, query};

const LIMITS: Query = query!("fold_limits", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY]);
const CONFIRMED: Query = query!("fold_confirmed", [UUID_ARRAY]);
const USUAL: Query = query!("fold_usual", [TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, NUMERIC_ARRAY]);

/// Of the kinds whose usual is kept, the largest usage of this week as far as it is known.
#[derive(Default)]
pub(super) struct Usual {
    known: HashMap<usize, Option<Decimal>>,
}

/// Holds what is beyond the limits of its dimension, unless a person said that it is right. Corrections of it that are
/// folded with it stay with it.
pub(super) async fn hold(tx: &Tx<'_>, plan: &mut Plan) -> Result<Usual, Error> {
    let mut usual = Usual::default();
    let resolved = if plan.has_limits { plan.resolved() } else { Vec::new() };
    if resolved.is_empty() {
        return Ok(usual);
    }
    let column = |field: fn(&super::plan::Kind) -> &str| -> Vec<&str> {
        resolved.iter().map(|resolved| field(&plan.kinds[resolved.kind])).collect()
    };
    let dimensions: Vec<i64> = resolved.iter().map(|resolved| resolved.dimension).collect();
    let asked = [column(|k| &k.org), column(|k| &k.product), column(|k| &k.metric)];
    let rows = tx.rows(&LIMITS, &[&asked[0], &asked[1], &asked[2], &dimensions]).await?;
    let mut limits = HashMap::new();
    for row in &rows {
        let item = usize::try_from(row.try_get::<_, i64>("item")? - 1).expect("items count from one");
        let kind = resolved[item].kind;
        if let Some(bound) = row.try_get("bound")? {
            limits.insert(kind, Limit { beyond: row.try_get("beyond")?, bound });
        }
        if row.try_get("is_usual_kept")? {
            usual.known.insert(kind, row.try_get("known")?);
        }
    }
    let mut beyond = plan.beyond(&limits);
    if !beyond.is_empty() {
        let usages: Vec<Uuid> = beyond.iter().copied().collect();
        for row in tx.rows(&CONFIRMED, &[&usages]).await? {
            beyond.remove(&row.try_get("usage_id")?);
        }
        plan.hold(&beyond, Reason::Implausible, &limits);
    }
    Ok(usual)
}

impl Usual {
    /// Keeps the largest of what this fold counts, where that is more than is known of this week. Rows are only inserted:
    /// two folds that do so at once wait for nobody.
    pub(super) async fn keep(&self, tx: &Tx<'_>, plan: &Plan) -> Result<(), Error> {
        if self.known.is_empty() {
            return Ok(());
        }
        let mut largest: BTreeMap<(&str, &str, &str), Decimal> = BTreeMap::new();
        for entry in &plan.entries {
            let (Some(known), kind) = (self.known.get(&entry.kind), &plan.kinds[entry.kind]) else { continue };
            let is_counted = matches!(kind.target, Target::Open { .. });
            let so_far = largest.get(&(&*kind.org, &*kind.product, &*kind.metric)).copied().or(*known);
            if is_counted && entry.quantity > so_far.unwrap_or(Decimal::ZERO) {
                largest.insert((&kind.org, &kind.product, &kind.metric), entry.quantity);
            }
        }
        if largest.is_empty() {
            return Ok(());
        }
        let names: Vec<&(&str, &str, &str)> = largest.keys().collect();
        let orgs: Vec<&str> = names.iter().map(|name| name.0).collect();
        let products: Vec<&str> = names.iter().map(|name| name.1).collect();
        let metrics: Vec<&str> = names.iter().map(|name| name.2).collect();
        let quantities: Vec<Decimal> = largest.values().copied().collect();
        tx.run(&USUAL, &[&orgs, &products, &metrics, &quantities]).await?;
        Ok(())
    }
}

impl Plan {
    /// Usages beyond the limit of their kind. A correction is never beyond any.
    fn beyond(&self, limits: &HashMap<usize, Limit>) -> HashSet<Uuid> {
        let beyond = self.entries.iter().filter(|entry| {
            entry.corrected.is_none() && limits.get(&entry.kind).is_some_and(|limit| entry.quantity > limit.bound)
        });
        beyond.map(|entry| entry.usage).collect()
    }
}
