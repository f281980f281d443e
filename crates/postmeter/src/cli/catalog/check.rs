//! What must hold between entries: checked before anything is written, with every problem named.

mod dimensions;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use marketplaces::{Marketplace, SettingsError};
use outbox::catalogue::{Canonical, Kind, Stored};
use serde_json::{Map, Value};

use super::plan::{Plan, Standing};
use super::read::{Entry, Problem};
use super::{spec, values};
use crate::cli::config::nearest;

#[cfg(test)]
pub(super) use dimensions::Counted;
pub(super) use dimensions::{metered, ranges};

const HOUR: i64 = 3_600_000;

/// What the checks found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    /// Not wrong, but worth knowing.
    pub notes: Vec<String>,
    /// How identities read, where that is to be written.
    pub readings: Vec<(Map<String, Value>, Canonical)>,
}

/// Marketplaces by the names of their destinations.
type Open = BTreeMap<String, Arc<dyn Marketplace>>;

/// Checks the catalogue as it would be. Only what the file speaks of is complained about.
pub(super) fn check(plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    let of = |kind| plan.standing.iter().filter(move |standing| standing.entry.kind == kind).collect::<Vec<_>>();
    let (quotas, destinations) = (of(Kind::Quota), of(Kind::Destination));
    let open = open(&destinations, &mut findings);
    for destination in destinations.iter().filter(|standing| standing.in_file) {
        findings.problems.extend(destination_problems(destination, &quotas));
        findings.problems.extend(shadow_problem(destination, &destinations));
    }
    let names: Vec<&str> = destinations.iter().map(|standing| standing.entry.text("name")).collect();
    for standing in plan.standing.iter().filter(|standing| standing.entry.fields.contains_key("destination")) {
        let named = standing.entry.text("destination");
        // an entry that lacks the field was complained about already
        if !named.is_empty() && !names.contains(&named) {
            let hint = nearest(named, names.iter().copied());
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint:?}?"));
            findings
                .problems
                .push(standing.entry.problem("destination", format!("names no destination: {named:?}{hint}")));
        }
    }
    let shadows = destinations.iter().filter(|standing| !standing.entry.text("shadow_of").is_empty());
    let shadows: BTreeSet<&str> = shadows.map(|standing| standing.entry.text("name")).collect();
    dimensions::check(&of(Kind::Dimension), &open, &shadows, &mut findings);
    let subscriptions = of(Kind::Subscription);
    subscriptions::overlapping(&subscriptions, &shadows, &mut findings);
    subscriptions::check(&subscriptions, &of(Kind::Dimension), &of(Kind::Exempt), &open, &mut findings);
    for exempt in of(Kind::Exempt).into_iter().filter(|standing| standing.in_file) {
        findings.problems.extend(ends_before_it_begins(&exempt.entry));
    }
    for route in of(Kind::Route).into_iter().filter(|standing| standing.in_file) {
        findings.problems.extend(route_problems(&route.entry));
    }
    findings
}

/// A route is compared with what services said, which is kept in lower case.
fn route_problems(entry: &Entry) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["after", "status", "service"] {
        let said = entry.text(field);
        if said.to_lowercase() != said {
            problems.push(entry.problem(field, format!("must be in lower case: {:?}", said.to_lowercase())));
        }
    }
    if !entry.text("service").is_empty() && entry.text("service") == entry.text("after") {
        problems.push(entry.problem("service", "must be another service than `after`"));
    }
    problems
}

fn open(destinations: &[&Standing], findings: &mut Findings) -> Open {
    let mut open = Open::new();
    for Standing { entry, in_file, .. } in destinations {
        let settings = entry.fields.get("settings").cloned().unwrap_or_default();
        match marketplaces::open(entry.text("kind"), &settings) {
            Ok(marketplace) => drop(open.insert(entry.text("name").to_owned(), marketplace)),
            Err(_) if !in_file || entry.text("kind").is_empty() || settings.is_null() => {}
            Err(SettingsError::UnknownKind { .. }) => {
                let known = marketplaces::kinds().join(", ");
                findings.problems.push(entry.problem("kind", format!("is no marketplace; there are: {known}")));
            }
            Err(SettingsError::Setting { field, problem, .. }) => {
                let field = if field == "settings" { field } else { format!("settings.{field}") };
                let mut wrong = entry.problem("settings", problem);
                wrong.field = field;
                findings.problems.push(wrong);
            }
        }
    }
    open
}

fn destination_problems(Standing { entry, old, .. }: &Standing, quotas: &[&Standing]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let quota = entry.text("quota");
    let names: Vec<&str> = quotas.iter().map(|standing| standing.entry.text("name")).collect();
    if !quota.is_empty() && !names.contains(&quota) {
        let hint = nearest(quota, names.iter().copied());
        let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint:?}?"));
        problems.push(entry.problem("quota", format!("names no quota: {quota:?}{hint}")));
    }
    let span = |field| values::span(entry.text(field));
    if let (Some(age), Some(margin), Some(grace)) = (span("age_limit"), span("margin"), span("grace"))
        && age <= HOUR + margin + grace
    {
        let least = values::span_text(HOUR + margin + grace);
        problems.push(entry.problem(
            "age_limit",
            format!("must be more than {least} (an hour, margin and grace), or no hour is ever in time"),
        ));
    }
    if let (Some(first), Some(max)) = (span("retry_first"), span("retry_max"))
        && first > max
    {
        problems.push(entry.problem("retry_first", "is longer than retry_max"));
    }
    if let Some(can) = marketplaces::capabilities(entry.text("kind"))
        && entry
            .fields
            .get("records_max")
            .and_then(Value::as_i64)
            .is_some_and(|records| records > i64::from(can.records_max))
    {
        problems
            .push(entry.problem("records_max", format!("is more than the {} that a call can take", can.records_max)));
    }
    let used = old.as_ref().filter(|old| old.in_use);
    for field in ["kind", "zone"] {
        if let Some(old) = used.and_then(|old| old.fields.get(field))
            && Some(old) != entry.fields.get(field)
        {
            problems.push(entry.problem(
                field,
                format!(
                    "cannot change from {old} any more: usage was counted for this destination. Make a new one and \
                     move its subscriptions"
                ),
            ));
        }
    }
    problems
}

/// A shadow stands beside a live destination, never calls, and stays a shadow.
fn shadow_problem(Standing { entry, old, .. }: &Standing, destinations: &[&Standing]) -> Option<Problem> {
    let live = entry.text("shadow_of");
    if let Some(old) = old
        && old.fields.get("shadow_of").and_then(Value::as_str).unwrap_or_default() != live
    {
        let problem = "cannot change: what a shadow counted was never sent. Make a new destination";
        return Some(entry.problem("shadow_of", problem));
    }
    if live.is_empty() {
        return None;
    }
    let names = destinations.iter().map(|standing| standing.entry.text("name"));
    let Some(beside) = destinations.iter().find(|standing| standing.entry.text("name") == live) else {
        let hint = nearest(live, names).map_or_else(String::new, |hint| format!("; did you mean {hint:?}?"));
        return Some(entry.problem("shadow_of", format!("names no destination: {live:?}{hint}")));
    };
    if beside.entry.text("name") == entry.text("name") || !beside.entry.text("shadow_of").is_empty() {
        return Some(entry.problem("shadow_of", format!("must name a live destination, which {live:?} is not")));
    }
    let calls = entry.fields.get("dry_run") == Some(&Value::from(false));
    calls.then(|| entry.problem("dry_run", "cannot be false: a shadow never calls"))
}

/// A span of validity that is none.
fn ends_before_it_begins(entry: &Entry) -> Option<Problem> {
    let (from, until) = (entry.text("valid_from"), entry.text("valid_until"));
    // canonical times of four-digit years compare as text
    (!until.is_empty() && !from.is_empty() && until <= from)
        .then(|| entry.problem("valid_until", format!("must be after valid_from ({from})")))
}

/// Two entries are in force at one time.
fn overlap(one: &Entry, other: &Entry) -> bool {
    if one.text("valid_from").is_empty() || other.text("valid_from").is_empty() {
        return false; // it could not be read, and that was complained about
    }
    let ends_by =
        |entry: &Entry, begin: &str| !entry.text("valid_until").is_empty() && entry.text("valid_until") <= begin;
    !ends_by(one, other.text("valid_from")) && !ends_by(other, one.text("valid_from"))
}

/// Two entries are in force in one hour, though perhaps not at one time.
fn share_an_hour(one: &Entry, other: &Entry) -> bool {
    let begun = |entry: &Entry| {
        let mut entry = entry.clone();
        // canonical times: what follows the hour is `:MM:SSZ`
        let hour = entry.text("valid_from").get(..13).map(|hour| format!("{hour}:00:00Z"));
        entry.fields.extend(hour.map(|hour| ("valid_from".to_owned(), Value::from(hour))));
        entry
    };
    overlap(&begun(one), &begun(other))
}

/// How an entry is called in a message about another one: with its line, if it has one.
fn named(entry: &Entry) -> String {
    let line = entry.lines.get("").map_or_else(String::new, |line| format!(" (line {line})"));
    format!("{}{line}", entry.name())
}

/// The fields that name an entry.
fn name_fields(entry: &Entry) -> Map<String, Value> {
    let fields = spec::key(entry.kind)
        .iter()
        .map(|field| ((*field).to_owned(), entry.fields.get(*field).cloned().unwrap_or_default()));
    fields.collect()
}

/// What is stored reads otherwise than it should.
fn reads_otherwise(old: Option<&Stored>, canonical: &Canonical) -> bool {
    old.is_none_or(|old| old.canonical.as_ref() != Some(canonical))
}
