//! Subscriptions: identities that the marketplace understands, one subscription and one identity form at a time.

use std::collections::{BTreeMap, BTreeSet};

use marketplaces::Buyer;
use outbox::catalogue::Canonical;
use serde_json::Value;

use super::{
    Findings, Open, ends_before_it_begins, name_fields, named, nearest, overlap, reads_otherwise, share_an_hour,
};
use crate::cli::catalog::plan::Standing;
use crate::cli::catalog::read::Entry;

/// A subscription with its identity read.
struct Known<'a> {
    entry: &'a Entry,
    buyer: Buyer,
}

pub(super) fn check(
    subscriptions: &[&Standing],
    dimensions: &[&Standing],
    exempt: &[&Standing],
    open: &Open,
    findings: &mut Findings,
) {
    let mut known = Vec::new();
    let mut metrics: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Standing { entry, .. } in dimensions {
        metrics.entry((entry.text("destination"), entry.text("product"))).or_default().push(entry.text("metric"));
    }
    for standing in subscriptions {
        known.extend(identity(standing, open, findings));
        if standing.in_file {
            findings.problems.extend(ends_before_it_begins(&standing.entry));
            covers(&standing.entry, &metrics, findings);
            contract(standing, findings);
        }
    }
    forms(&known, findings);
    exempted(subscriptions, exempt, findings);
}

/// Reads an identity; what reads otherwise than it is stored will be written.
fn identity<'a>(standing: &'a Standing, open: &Open, findings: &mut Findings) -> Option<Known<'a>> {
    let Standing { entry, old, in_file } = standing;
    let (marketplace, identity) = (open.get(entry.text("destination"))?, entry.fields.get("identity")?);
    let buyer = match marketplace.buyer(identity) {
        Ok(buyer) => buyer,
        Err(refusal) => {
            if *in_file {
                findings.problems.push(entry.problem("identity", format!("is refused: {}", refusal.message)));
            }
            return None;
        }
    };
    let canonical = Canonical { buyer: buyer.key.clone(), account: buyer.account.clone(), form: buyer.form.to_owned() };
    if reads_otherwise(old.as_ref(), &canonical) {
        findings.readings.push((name_fields(entry), canonical));
        let used = old
            .as_ref()
            .filter(|old| old.in_use)
            .and_then(|old| Some((old.fields.get("identity")?, old.canonical.as_ref()?)));
        match used {
            Some((before, was)) if before == identity => findings.problems.push(entry.problem(
                "destination",
                format!(
                    "now reads its buyer as {}, and usage was counted as {}: the same hours would be billed under \
                     both. Keep the destination's settings and make a new destination",
                    buyer.key, was.buyer
                ),
            )),
            // late usage of hours that were sent under the one form would be sent under the other, and no repeat be recognised
            Some((_, was)) if was.form != buyer.form => findings.problems.push(entry.problem(
                "identity",
                format!(
                    "cannot change its form from {} to {} in place: usage was counted for it. End this entry with \
                     valid_until at the hour at which a new entry with the new form begins",
                    was.form, buyer.form
                ),
            )),
            Some((_, was)) => findings.notes.push(format!(
                "{}: a new identity in place. What was cut for {} stays there; open hours, \
                 and late usage of past ones, go to {}, and this month's cover and rounding go on",
                entry.name(),
                was.buyer,
                buyer.key
            )),
            None => {}
        }
    }
    Some(Known { entry, buyer })
}

/// Another contract in place: who belongs to it changes at a month's start.
fn contract(Standing { entry, old, .. }: &Standing, findings: &mut Findings) {
    let Some(old) = old.as_ref().filter(|old| old.is_counting) else { return };
    let before = old.fields.get("contract").and_then(Value::as_str).unwrap_or_default();
    let now = entry.text("contract");
    if before != now {
        let named = |name: &str| if name.is_empty() { "that of its buyer".to_owned() } else { format!("{name:?}") };
        findings.notes.push(format!(
            "{}: another contract, {} instead of {}, from the next month on: this month is metered already and goes on \
             with its cover and rounding",
            entry.name(),
            named(now),
            named(before)
        ));
    }
}

fn covers(entry: &Entry, metrics: &BTreeMap<(&str, &str), Vec<&str>>, findings: &mut Findings) {
    let (destination, product) = (entry.text("destination"), entry.text("product"));
    let Some(metrics) = metrics.get(&(destination, product)) else {
        if !destination.is_empty() && !product.is_empty() {
            findings.notes.push(format!(
                "{}: no dimension for product {product} at {destination}: its usage will be held",
                entry.name()
            ));
        }
        return;
    };
    for metric in entry.fields.get("covers").and_then(Value::as_object).into_iter().flat_map(|covers| covers.keys()) {
        if !metrics.contains(&metric.as_str()) {
            let hint = nearest(metric, metrics.iter().copied());
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint:?}?"));
            findings.problems.push(entry.problem(
                "covers",
                format!("names metric {metric:?}, for which product {product} has no dimension{hint}"),
            ));
        }
    }
}

/// One subscription of an org's product and account at a time. At another destination too: usage that names no account
/// could not tell which is meant, and all of it would be held as ambiguous. Each shadow counts by itself.
pub(super) fn overlapping(subscriptions: &[&Standing], shadows: &BTreeSet<&str>, findings: &mut Findings) {
    let mut groups: BTreeMap<(&str, &str, &str, &str), Vec<&Entry>> = BTreeMap::new();
    for Standing { entry, .. } in subscriptions {
        let shadow = shadows.get(entry.text("destination")).copied().unwrap_or_default();
        let group = (shadow, entry.text("org"), entry.text("product"), entry.text("account"));
        groups.entry(group).or_default().push(entry);
    }
    for mut group in groups.into_values() {
        group.sort_by_key(|entry| entry.text("valid_from"));
        for pair in group.windows(2) {
            let &[first, second] = pair else { continue };
            if overlap(first, second) {
                let (wrong, other) = if second.lines.is_empty() { (first, second) } else { (second, first) };
                let problem = format!(
                    "overlaps {}: end the earlier one with valid_until, or tell them apart by account",
                    named(other)
                );
                findings.problems.push(wrong.problem("valid_from", problem));
            }
        }
    }
}

/// A buyer known by two forms in one hour is billed twice: marketplaces recognise a repeat within a form only.
fn forms(known: &[Known<'_>], findings: &mut Findings) {
    let mut groups: BTreeMap<(&str, &str, &str, &str), Vec<&Known<'_>>> = BTreeMap::new();
    for one in known {
        let (destination, product) = (one.entry.text("destination"), one.entry.text("product"));
        groups.entry((destination, product, "org", one.entry.text("org"))).or_default().push(one);
        groups.entry((destination, product, "account", &one.buyer.account)).or_default().push(one);
    }
    for group in groups.into_values() {
        for (number, one) in group.iter().enumerate() {
            let clash =
                |other: &&&Known<'_>| other.buyer.form != one.buyer.form && share_an_hour(other.entry, one.entry);
            let Some(other) = group.iter().take(number).find(clash) else { continue };
            let (wrong, right) = if one.entry.lines.is_empty() { (other, one) } else { (one, other) };
            let problem = format!(
                "is of form {}, and {} is of form {} in the same hours: the buyer would be billed twice. End the \
                 old form at the full hour at which the new one begins",
                wrong.buyer.form,
                named(right.entry),
                right.buyer.form
            );
            let problem = wrong.entry.problem("identity", problem);
            if !findings.problems.contains(&problem) {
                findings.problems.push(problem);
            }
        }
    }
}

fn exempted(subscriptions: &[&Standing], exempt: &[&Standing], findings: &mut Findings) {
    for Standing { entry, in_file, .. } in exempt {
        let both = subscriptions.iter().map(|standing| &standing.entry).find(|other| {
            other.text("org") == entry.text("org")
                && (entry.text("product").is_empty() || entry.text("product") == other.text("product"))
                && overlap(entry, other)
        });
        if let Some(other) = both.filter(|_| *in_file) {
            findings.notes.push(format!(
                "{} holds while there is {}: exempt wins, nothing is billed",
                entry.name(),
                named(other)
            ));
        }
    }
}
