//! Reads a catalogue file: every entry with every field, or every problem.

use std::collections::BTreeMap;

use outbox::catalogue::Kind;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::spec::{self, Absent, Field};
use super::values;
use crate::cli::config::{line, nearest};

/// An entry with all its fields, in canonical form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub kind: Kind,
    pub fields: Map<String, Value>,
    /// Lines of the file, for the entry itself (`""`) and each field that it says.
    pub lines: BTreeMap<String, usize>,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(super) struct Problem {
    /// Line of the file; none for an entry that is only in the database.
    pub line: Option<usize>,
    /// Which entry.
    pub entry: String,
    /// Which field.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}{}{}", self.entry, self.field, if self.field.is_empty() { "" } else { " " }, self.problem)
    }
}

impl Entry {
    /// A field that holds a text.
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// What tells this entry from others of its kind.
    pub fn key(&self) -> String {
        let parts = spec::key(self.kind).iter().map(|field| self.fields.get(*field).cloned().unwrap_or_default());
        Value::Array(parts.collect()).to_string()
    }

    /// The entry's name in messages: `dimension aws-us, storage, gb-months, 2024-09`.
    pub fn name(&self) -> String {
        let parts = spec::key(self.kind).iter().filter_map(|field| self.fields.get(*field)?.as_str());
        format!("{} {}", spec::word(self.kind), parts.collect::<Vec<_>>().join(", "))
    }

    /// A problem of this entry.
    pub fn problem(&self, field: &str, problem: impl Into<String>) -> Problem {
        let line = self.lines.get(field).or_else(|| self.lines.get("")).copied();
        Problem { line, entry: self.name(), field: field.to_owned(), problem: problem.into() }
    }
}

/// Reads a file. The entries are complete only if there is no problem.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<Problem>) {
    let mut problems = Vec::new();
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map(|span| line(text, span.start));
            let problem = error.message().replace('\n', ", ");
            return (Vec::new(), vec![Problem { line, entry: "the file".to_owned(), field: String::new(), problem }]);
        }
    };
    let mut entries = Vec::new();
    for (word, list) in document.get_ref() {
        let at = line(text, word.span().start);
        let word = word.get_ref().as_ref();
        let complain =
            |problem: String| Problem { line: Some(at), entry: format!("[[{word}]]"), field: String::new(), problem };
        let Some(kind) = Kind::ALL.into_iter().find(|kind| spec::word(*kind) == word) else {
            let hint = nearest(word, Kind::ALL.map(spec::word));
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean [[{hint}]]?"));
            problems.push(complain(format!("is no kind of entry{hint}")));
            continue;
        };
        let tables =
            list.get_ref().as_array().map(|list| list.iter().map(|entry| (entry.span(), entry.get_ref().as_table())));
        let Some(tables) = tables else {
            problems.push(complain(format!("must have two brackets: [[{word}]]")));
            continue;
        };
        for (span, table) in tables {
            match table {
                Some(table) => entries.push(read_entry(text, kind, line(text, span.start), table, &mut problems)),
                None => problems.push(complain("must be a table".to_owned())),
            }
        }
    }
    repeated(&entries, &mut problems);
    problems.sort();
    (entries, problems)
}

fn read_entry(text: &str, kind: Kind, at: usize, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Entry {
    let mut entry = Entry { kind, fields: Map::new(), lines: BTreeMap::from([(String::new(), at)]) };
    let mut wrong: Vec<(String, String)> = Vec::new();
    for (name, value) in table {
        let field = name.get_ref().to_string();
        entry.lines.insert(field.clone(), line(text, name.span().start));
        if let Some(known) = spec::fields(kind).iter().find(|known| known.name == field) {
            match read_value(known, value) {
                Ok(value) => drop(entry.fields.insert(field, value)),
                Err(problem) => wrong.push((field, problem)),
            }
        } else {
            let hint = nearest(&field, spec::fields(kind).iter().map(|known| known.name));
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
            wrong.push((field, format!("is no field of a {}{hint}", spec::word(kind))));
        }
    }
    for known in spec::fields(kind).iter().filter(|known| !table.iter().any(|(name, _)| name.get_ref() == known.name)) {
        match absent(known, &entry.fields) {
            Some(value) => drop(entry.fields.insert(known.name.to_owned(), value)),
            None => wrong.push((known.name.to_owned(), "is missing".to_owned())),
        }
    }
    problems.extend(wrong.into_iter().map(|(field, problem)| entry.problem(&field, problem)));
    entry
}

fn read_value(field: &Field, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let value = plain(value.get_ref())?;
    let may_be_none =
        matches!(field.absent, Absent::None) || matches!(field.name, "month_cutoff" | "closing_window" | "memory");
    if may_be_none && value == "none" { Ok(Value::Null) } else { values::canonical(field.shape, &value) }
}

/// A TOML value as JSON.
fn plain(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            let digits = i64::from_str_radix(number.as_str(), number.radix());
            Value::from(digits.map_err(|_| "is too large a number".to_owned())?)
        }
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().unwrap_or_default()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(list) => list.iter().map(|item| plain(item.get_ref())).collect::<Result<_, _>>()?,
        DeValue::Table(table) => {
            let fields = table.iter().map(|(name, value)| Ok((name.get_ref().to_string(), plain(value.get_ref())?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// What a field is that is not given.
pub(super) fn absent(field: &Field, given: &Map<String, Value>) -> Option<Value> {
    match field.absent {
        Absent::Required => None,
        Absent::None => Some(Value::Null),
        Absent::Text(text) => values::canonical(field.shape, &Value::from(text)).ok(),
        Absent::Number(number) => Some(Value::from(number)),
        Absent::IsShadow => Some(Value::from(given.get("shadow_of").is_some_and(Value::is_string))),
        Absent::Empty => Some(Value::Object(Map::new())),
        Absent::NoNames => Some(Value::Array(Vec::new())),
        Absent::OwnName => Some(given.get("name").cloned().unwrap_or_default()),
        // of an unknown kind nothing is known; that it is unknown is complained about elsewhere
        Absent::OfKind => Some(of_kind(field.name, given).unwrap_or_default()),
    }
}

fn of_kind(field: &str, given: &Map<String, Value>) -> Option<Value> {
    let can = marketplaces::capabilities(given.get("kind")?.as_str()?)?;
    let span =
        |span: std::time::Duration| Value::from(values::span_text(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    match field {
        "zone" => Some(Value::from(can.zone)),
        "age_limit" => Some(span(can.age_limit)),
        "month_cutoff" => can.month_cutoff.map(span),
        "closing_window" => can.closing_window.map(span),
        "memory" => can.memory.map(span),
        "records_max" => Some(Value::from(can.records_default)),
        "bytes_max" => Some(Value::from(can.bytes_max)),
        _ => None,
    }
}

fn repeated(entries: &[Entry], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(Kind, String), &Entry> = BTreeMap::new();
    for entry in entries {
        match seen.get(&(entry.kind, entry.key())) {
            Some(first) => {
                let first = first.lines.get("").copied().unwrap_or_default();
                problems.push(entry.problem("", format!("stands in the file twice, first in line {first}")));
            }
            None => drop(seen.insert((entry.kind, entry.key()), entry)),
        }
    }
}
