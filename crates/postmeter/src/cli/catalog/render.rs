//! The catalogue and its changes as text: lines of a diff, TOML, JSON.

use std::fmt::Write as _;

use outbox::catalogue::{Kind, Move, Moves};
use serde_json::{Map, Value, json};

use super::plan::{Change, Plan, Step, telling};
use super::read::Entry;
use super::spec;
use crate::cli::output::{is_unseen, plain_in_strings};

/// The diff, a line an entry.
pub(super) fn diff(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(line).collect()
}

fn line(change: &Change) -> String {
    let key = spec::key(change.entry.kind);
    let name = change.entry.name();
    let list = |fields: Vec<String>| if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
    match change.step {
        Step::Add => {
            let fields = telling(&change.entry).into_iter().filter(|(field, _)| !key.contains(field));
            format!(
                "+ {name}{}",
                list(fields.map(|(field, value)| format!("{field} {}", toml_value(&value))).collect())
            )
        }
        Step::Change | Step::End => {
            let fields = change.differences().into_iter();
            let fields =
                fields.map(|(field, old, new)| format!("{field} {} -> {}", toml_value(&old), toml_value(&new)));
            let why = if change.step == Step::End { " (not in the file: ends)" } else { "" };
            format!("~ {name}{}{why}", list(fields.collect()))
        }
        Step::Remove => format!("- {name}"),
    }
}

/// What happens to usage whose hour is open, a line each; `None`: it could not be counted in time.
pub(super) fn moves(moves: Option<&Moves>) -> Vec<String> {
    let Some(moves) = moves else {
        return vec![
            "open hours: what moves could not be counted within ten seconds; it moves in shares all the same"
                .to_owned(),
        ];
    };
    let mut lines: Vec<String> = moves.first.iter().map(move_line).collect();
    let others = moves.count - i64::try_from(lines.len()).unwrap_or(i64::MAX);
    if others > 0 {
        let told: i64 = moves.first.iter().map(|one| one.usages).sum();
        lines.push(format!("open hours: and {others} more, usages: {}", moves.usages - told));
    }
    lines
}

fn move_line(one: &Move) -> String {
    let place = |destination: &Option<String>, buyer: &Option<String>, dimension: &Option<String>| {
        [destination, buyer, dimension].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let from = place(&one.destination, &one.buyer, &one.dimension);
    let to = place(&one.to_destination, &one.to_buyer, &one.to_dimension);
    let Move { becomes, hour, org, product, metric, usages, quantity, .. } = one;
    let what = match becomes.as_str() {
        "moved" => format!("from {from} to {to}"),
        "billed" => format!("was exempt, counts for {to}"),
        "resolved anew" => "was held, is folded anew".to_owned(),
        "covered anew" => format!("is counted for {from} by the new cover"),
        "exempt" => format!("from {from}: is exempt"),
        held => format!("from {from}: is {held}"),
    };
    format!("open hours: {hour} {org} {product} {metric}: {quantity} in {usages} usages, {what}")
}

/// The diff for programs.
pub(super) fn diff_json(plan: &Plan) -> Value {
    let changes = plan.changes.iter().map(|change| {
        let fields: Map<String, Value> = change
            .differences()
            .into_iter()
            .map(|(field, old, new)| match change.step {
                Step::Add => (field.to_owned(), json!({ "new": new })),
                _ => (field.to_owned(), json!({ "old": old, "new": new })),
            })
            .collect();
        let fields = if change.step == Step::Remove { Map::new() } else { fields };
        let entry = spec::word(change.entry.kind);
        json!({ "step": change.step, "entry": entry, "key": key(&change.entry), "fields": fields })
    });
    changes.collect()
}

fn key(entry: &Entry) -> Map<String, Value> {
    let fields = spec::key(entry.kind)
        .iter()
        .map(|field| ((*field).to_owned(), entry.fields.get(*field).cloned().unwrap_or_default()));
    fields.collect()
}

/// Entries as JSON, by kind.
pub(super) fn json(entries: &[Entry]) -> Value {
    let of =
        |kind| entries.iter().filter(move |entry| entry.kind == kind).map(|entry| Value::Object(entry.fields.clone()));
    Kind::ALL.into_iter().map(|kind| (spec::word(kind).to_owned(), Value::Array(of(kind).collect()))).collect()
}

/// Entries as a catalogue file. What would be so anyway is left out, but for a destination's policies: those are
/// written, because the defaults behind them move with the marketplaces' rules.
pub(super) fn toml(entries: &[Entry], all_fields: bool) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "[[{}]]", spec::word(entry.kind));
        let telling = telling(entry);
        for field in spec::fields(entry.kind) {
            let value = entry.fields.get(field.name).cloned().unwrap_or_default();
            let tells = telling.iter().any(|(name, _)| *name == field.name);
            if tells || (all_fields && !value.is_null()) {
                let _ = writeln!(text, "{} = {}", field.name, toml_value(&value));
            }
        }
        text.push('\n');
    }
    text
}

/// A value as TOML has it.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Null => "\"none\"".to_owned(),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{} = {}", toml_key(name), toml_value(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        // as a basic string: the other kinds of strings know no escapes
        Value::String(text) if text.contains(is_unseen) => {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
            plain_in_strings(&quoted, |c, out| *out += &format!("\\U{:08x}", u32::from(c))).into_owned()
        }
        other => toml::Value::try_from(other).map_or_else(|_| other.to_string(), |value| value.to_string()),
    }
}

fn toml_key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { name.to_owned() } else { toml_value(&Value::from(name)) }
}
