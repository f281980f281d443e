//! What applying a file would change, and what the catalogue would be afterwards.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use outbox::catalogue::{Kind, Stored};
use serde_json::{Map, Value};

use super::read::{Entry, Problem, absent};
use super::{spec, values};

/// What happens to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// It comes.
    Add,
    /// Some fields change.
    Change,
    /// It is missing from the file, but usage was counted by it: it ends with the running hour.
    End,
    /// It is missing from the file.
    Remove,
}

/// One change.
#[derive(Debug)]
pub(super) struct Change {
    pub step: Step,
    /// The entry as it will be; as it was, if it is removed.
    pub entry: Entry,
    /// As it is stored.
    pub old: Option<Stored>,
}

/// An entry of the catalogue as it would be.
#[derive(Debug)]
pub(super) struct Standing {
    pub entry: Entry,
    /// As it is stored; `None`: it is new.
    pub old: Option<Stored>,
    /// The file speaks of it.
    pub in_file: bool,
}

/// The difference between a file and the catalogue.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub changes: Vec<Change>,
    /// The whole catalogue as it would be.
    pub standing: Vec<Standing>,
    /// What the file does not mention and stays as it is.
    pub kept: Vec<Entry>,
}

impl Change {
    /// Fields with their old and new values, where they differ.
    pub fn differences(&self) -> Vec<(&'static str, Value, Value)> {
        let old = self.old.as_ref().map(|stored| stored_entry(stored).fields).unwrap_or_default();
        let names = spec::fields(self.entry.kind).iter().map(|field| field.name);
        let values = names.map(|name| {
            let value = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
            (name, value(&old), value(&self.entry.fields))
        });
        values.filter(|(_, old, new)| old != new).collect()
    }
}

/// A stored entry in canonical form.
pub(super) fn stored_entry(stored: &Stored) -> Entry {
    let fields = spec::fields(stored.kind).iter().map(|field| {
        let value = stored.fields.get(field.name).cloned().unwrap_or_default();
        // what the schema allows and the file does not is shown as it is
        let value = if value.is_null() { value } else { values::canonical(field.shape, &value).unwrap_or(value) };
        (field.name.to_owned(), value)
    });
    Entry { kind: stored.kind, fields: fields.collect(), lines: BTreeMap::new() }
}

/// Compares a file with what is stored. With `prune`, what the file does not mention goes.
pub(super) fn plan(mut file: Vec<Entry>, stored: Vec<Stored>, prune: bool, now: Timestamp) -> (Plan, Vec<Problem>) {
    own_quotas(&mut file, &stored);
    let used_quotas: BTreeSet<String> = file
        .iter()
        .filter(|entry| entry.kind == Kind::Destination)
        .map(|entry| entry.text("quota").to_owned())
        .collect();
    let mut old: BTreeMap<(Kind, String), Stored> =
        stored.into_iter().map(|stored| ((stored.kind, stored_entry(&stored).key()), stored)).collect();
    let (mut plan, mut problems) = (Plan::default(), Vec::new());
    file.sort_by_key(|entry| (entry.kind, entry.key()));
    for entry in file {
        let old = old.remove(&(entry.kind, entry.key()));
        let step = if old.is_some() { Step::Change } else { Step::Add };
        let change = Change { step, entry: entry.clone(), old: old.clone() };
        if step == Step::Add || !change.differences().is_empty() {
            plan.changes.push(change);
        }
        plan.standing.push(Standing { entry, old, in_file: true });
    }
    for (_, stored) in old {
        let mut entry = stored_entry(&stored);
        let is_used_quota = entry.kind == Kind::Quota && used_quotas.contains(entry.text("name"));
        match missing(&entry, &stored, now) {
            _ if is_used_quota => {}
            Missing::Over => {}
            _ if !prune => plan.kept.push(entry.clone()),
            Missing::Refused(why) => problems.push(entry.problem("", why)),
            Missing::Removed => {
                plan.changes.push(Change { step: Step::Remove, entry, old: Some(stored) });
                continue;
            }
            Missing::Ended(hour) => {
                entry.fields.insert("valid_until".to_owned(), Value::from(hour.to_string()));
                plan.changes.push(Change { step: Step::End, entry: entry.clone(), old: Some(stored.clone()) });
            }
        }
        plan.standing.push(Standing { entry, old: Some(stored), in_file: false });
    }
    plan.changes.sort_by_key(|change| (change.entry.kind, change.entry.key()));
    (plan, problems)
}

/// A destination without a quota in the file gets one of its own, with the limit that the marketplace publishes.
fn own_quotas(file: &mut Vec<Entry>, stored: &[Stored]) {
    let described = |name: &str, file: &[Entry]| {
        file.iter().any(|entry| entry.kind == Kind::Quota && entry.text("name") == name)
            || stored.iter().any(|stored| stored.kind == Kind::Quota && stored_entry(stored).text("name") == name)
    };
    let destinations =
        file.iter().filter(|entry| entry.kind == Kind::Destination && entry.text("quota") == entry.text("name"));
    let lacking: Vec<Entry> = destinations.filter(|entry| !described(entry.text("name"), file)).cloned().collect();
    for destination in lacking {
        let limit = marketplaces::capabilities(destination.text("kind")).and_then(|can| can.calls_per_second);
        let limit = limit.map_or(Value::Null, |limit| Value::from(limit.to_string()));
        let fields =
            [("name".to_owned(), Value::from(destination.text("name"))), ("calls_per_second".to_owned(), limit)];
        file.push(Entry { kind: Kind::Quota, fields: fields.into_iter().collect(), lines: destination.lines });
    }
}

/// What becomes of an entry that the file does not mention.
enum Missing {
    /// Nothing refers to it.
    Removed,
    /// It ends then.
    Ended(Timestamp),
    /// It ended before: history.
    Over,
    /// It cannot go.
    Refused(&'static str),
}

fn missing(entry: &Entry, stored: &Stored, now: Timestamp) -> Missing {
    match entry.kind {
        // used by no destination of the file, and those of the database keep theirs
        Kind::Quota if stored.in_use => Missing::Refused("is used by a destination and cannot be removed"),
        Kind::Destination if stored.in_use => Missing::Refused(
            "cannot be removed: usage was counted for it. Keep it in the file; `postmeter pause` stops sending",
        ),
        // whether one was metered is asked later, for all of them at once
        Kind::Quota | Kind::Destination | Kind::Dimension | Kind::Route => Missing::Removed,
        Kind::Subscription | Kind::Exempt => {
            let time = |field| entry.text(field).parse::<Timestamp>().ok();
            let begins = time("valid_from").unwrap_or(now);
            let next_hour = Timestamp::from_second((now.as_second().div_euclid(3600) + 1) * 3600).unwrap_or(now);
            let ended = next_hour.max(begins + SignedDuration::from_hours(1));
            let ends_by = |hour| time("valid_until").is_some_and(|end| end <= hour);
            let is_unused = match entry.kind {
                // one that usage names stays, even before it begins: usage may come ahead of its time
                Kind::Subscription => !stored.in_use,
                _ => begins >= next_hour,
            };
            if ends_by(next_hour) {
                Missing::Over
            } else if is_unused {
                Missing::Removed
            } else if ends_by(ended) {
                Missing::Over
            } else {
                Missing::Ended(ended)
            }
        }
    }
}

/// The fields of an entry that are not what they would be anyway.
pub(super) fn telling(entry: &Entry) -> Vec<(&'static str, Value)> {
    let fields = spec::fields(entry.kind).iter().filter_map(|field| {
        let value = entry.fields.get(field.name)?;
        (absent(field, &entry.fields).as_ref() != Some(value)).then(|| (field.name, value.clone()))
    });
    fields.collect()
}
