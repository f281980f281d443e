//! Dimensions: what may be expressed, what must be shared, and what must not change any more.

use std::collections::{BTreeMap, BTreeSet};

use outbox::catalogue::{Kind, Months};
use remittance::Quantity;
use serde_json::Value;

use super::{Findings, Open, named};
use crate::cli::catalog::plan::{Change, Plan, Standing, Step};
use crate::cli::catalog::read::{Entry, Problem};

/// How a dimension rounds, and whether it reports silent hours: one way for all metrics that share it.
const ROUNDING: &[&str] = &["rounding", "decimals", "month_end", "zero", "allocate_by"];
/// What a metered month was counted with.
const ARITHMETIC: &[&str] = &["name", "factor", "rounding", "decimals", "month_end"];

/// What is plausible: each field must be more than this.
const LIMITS: &[(&str, u32)] = &[("max_quantity", 0), ("times_usual", 1), ("hour_alert", 0)];

pub(super) fn check(dimensions: &[&Standing], open: &Open, shadows: &BTreeSet<&str>, findings: &mut Findings) {
    for Standing { entry, in_file, .. } in dimensions {
        if !in_file {
            continue;
        }
        if entry.text("unit_price").is_empty() != entry.text("currency").is_empty() {
            findings.problems.push(entry.problem("unit_price", "and currency belong together"));
        }
        let decimals = entry.fields.get("decimals").and_then(Value::as_u64).unwrap_or_default();
        if let Some(can) =
            open.get(entry.text("destination")).map(|marketplace| marketplace.capabilities().decimals_max)
            && decimals > u64::from(can)
        {
            findings
                .problems
                .push(entry.problem("decimals", format!("is more than the {can} that the marketplace can express")));
        }
    }
    for Standing { entry, .. } in dimensions.iter().filter(|standing| standing.in_file) {
        findings.problems.extend(zero(entry, open, shadows));
        findings.problems.extend(allocated(entry, open));
        findings.problems.extend(LIMITS.iter().filter_map(|limit| implausible(entry, *limit, shadows)));
    }
    shared(dimensions, findings);
}

/// A zero report, to a marketplace that takes none.
fn zero(entry: &Entry, open: &Open, shadows: &BTreeSet<&str>) -> Option<Problem> {
    let destination = entry.text("destination");
    let marketplace = open.get(destination).filter(|_| entry.text("zero") == "send")?;
    if shadows.contains(destination) {
        return Some(entry.problem("zero", "cannot be send: a shadow sends nothing"));
    }
    let problem = format!("cannot be send: the marketplace of {destination} takes no report of zero; leave it out");
    (!marketplace.capabilities().takes_zero).then(|| entry.problem("zero", problem))
}

/// Shares by more tags than the marketplace has, or by names that are none of it.
fn allocated(entry: &Entry, open: &Open) -> Option<Problem> {
    let names = entry.fields.get("allocate_by").and_then(Value::as_array).filter(|names| !names.is_empty())?;
    let most = open.get(entry.text("destination"))?.capabilities().tags_max;
    if most == 0 {
        return Some(
            entry.problem("allocate_by", "cannot be said: the marketplace shares no quantity out; leave it out"),
        );
    }
    if names.len() > most as usize {
        return Some(entry.problem("allocate_by", format!("must be at most {most} names")));
    }
    let is_tag =
        |name: &str| name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b" +-=._:/@".contains(&b));
    let wrong = names.iter().filter_map(Value::as_str).find(|name| !is_tag(name))?;
    Some(entry.problem(
        "allocate_by",
        format!("names {wrong:?}, which is no tag: at most 100 letters, digits and \" +-=._:/@\""),
    ))
}

/// A limit that holds everything, or nothing.
fn implausible(entry: &Entry, (field, least): (&str, u32), shadows: &BTreeSet<&str>) -> Option<Problem> {
    let limit: Quantity = entry.fields.get(field).and_then(Value::as_str)?.parse().ok()?;
    if shadows.contains(entry.text("destination")) {
        let problem = "is for what is sent, and a shadow sends nothing: give it to the live destination's dimension";
        return Some(entry.problem(field, problem));
    }
    (limit <= Quantity::from(least)).then(|| entry.problem(field, format!("must be more than {least}")))
}

/// In every month, the metrics that share a dimension must round alike. A later entry of one metric changes what is in
/// force, so each month in which something begins is looked at.
fn shared(dimensions: &[&Standing], findings: &mut Findings) {
    let mut by_name: BTreeMap<(&str, &str, &str), Vec<&Standing>> = BTreeMap::new();
    for standing in dimensions {
        let entry = &standing.entry;
        by_name
            .entry((entry.text("destination"), entry.text("product"), entry.text("name")))
            .or_default()
            .push(standing);
    }
    for (&(destination, product, name), group) in &by_name {
        let mut months: Vec<&str> = group.iter().map(|standing| standing.entry.text("valid_from")).collect();
        months.sort_unstable();
        months.dedup();
        let metrics = dimensions.iter().map(|standing| &standing.entry);
        let metrics =
            metrics.filter(|entry| entry.text("destination") == destination && entry.text("product") == product);
        let metrics: Vec<&Entry> = metrics.collect();
        for month in months {
            let in_force: Vec<&Entry> =
                in_force(&metrics, month).into_iter().filter(|entry| entry.text("name") == name).collect();
            let Some((first, rest)) = in_force.split_first() else { continue };
            for other in rest {
                let differs = |field: &&&str| {
                    first.fields.get(**field).zip(other.fields.get(**field)).is_some_and(|(one, other)| one != other)
                };
                let Some(field) = ROUNDING.iter().find(differs) else { continue };
                // complain where the file speaks
                let (wrong, right) = if other.lines.is_empty() { (first, other) } else { (other, first) };
                let once = if matches!(*field, "zero" | "allocate_by") {
                    "each hour of it is reported once"
                } else {
                    "it is rounded once"
                };
                let problem =
                    format!("must be that of {}: they share dimension {name:?} in {month}, and {once}", named(right));
                let problem = wrong.problem(field, problem);
                if !wrong.lines.is_empty() && !findings.problems.contains(&problem) {
                    findings.problems.push(problem);
                }
            }
        }
    }
}

/// The entry of each metric that counts in a month: the latest that has begun.
fn in_force<'a>(entries: &[&'a Entry], month: &str) -> Vec<&'a Entry> {
    let mut latest: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.text("valid_from") <= month) {
        let slot = latest.entry(entry.text("metric")).or_insert(entry);
        if entry.text("valid_from") > slot.text("valid_from") {
            *slot = entry;
        }
    }
    latest.into_values().collect()
}

/// A change of a dimension that must not touch a metered month.
pub(in crate::cli::catalog) struct Counted<'a> {
    change: &'a Change,
    field: &'static str,
    /// The months that the change would touch.
    pub months: Months,
}

/// The changes of dimensions that would touch how months are counted, with those months.
pub(in crate::cli::catalog) fn ranges(plan: &Plan) -> Vec<Counted<'_>> {
    let changes = plan.changes.iter().filter(|change| change.entry.kind == Kind::Dimension);
    let counted = changes.filter_map(|change| {
        let entry = &change.entry;
        let field = match change.step {
            Step::Add => Some("valid_from"),
            Step::Remove | Step::End => Some(""),
            Step::Change => {
                change.differences().into_iter().map(|(field, ..)| field).find(|field| ARITHMETIC.contains(field))
            }
        }?;
        let same = |other: &&Entry| {
            ["destination", "product", "metric"].iter().all(|field| other.text(field) == entry.text(field))
                && other.text("valid_from") > entry.text("valid_from")
        };
        let next = plan
            .standing
            .iter()
            .map(|standing| &standing.entry)
            .filter(|other| other.kind == Kind::Dimension)
            .filter(same);
        let months = Months {
            destination: entry.text("destination").to_owned(),
            product: entry.text("product").to_owned(),
            metric: entry.text("metric").to_owned(),
            from: entry.text("valid_from").to_owned(),
            until: next.map(|other| other.text("valid_from").to_owned()).min(),
        };
        Some(Counted { change, field, months })
    });
    counted.collect()
}

/// Refuses the changes whose months were metered.
pub(in crate::cli::catalog) fn metered(counted: &[Counted<'_>], metered: &[Option<(String, String)>]) -> Vec<Problem> {
    let refused = counted.iter().zip(metered).filter_map(|(Counted { change, field, .. }, months)| {
        let (first, last) = months.as_ref()?;
        let months = if first == last { first.clone() } else { format!("{first} to {last}") };
        let problem = match change.step {
            Step::Add => format!("would change how usage of {months} is counted, already metered: begin after {last}"),
            Step::Remove | Step::End => format!("cannot be removed: usage of {months} was metered with it"),
            Step::Change => format!(
                "cannot change: usage of {months} was metered with it. Leave this entry as it was and add one \
                 with a valid_from after {last}"
            ),
        };
        Some(change.entry.problem(field, problem))
    });
    refused.collect()
}
