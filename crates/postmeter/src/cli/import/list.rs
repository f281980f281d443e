//! The list of rows that were not recorded: all of them to a file or to standard error, their kinds to the summary.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::output::plain;

/// Why a line was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// It breaks a rule: mend the line.
    Rejected,
}

impl Kind {
    /// The word in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
        }
    }
}

/// A line that was not recorded.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Its number in the file, from 1.
    pub line: u64,
    /// Why, in a word.
    pub kind: Kind,
    /// Which field.
    pub field: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Its id, if it has one.
    pub event_id: Option<String>,
}

/// Rows of one kind, with the first of them.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli) struct Group {
    /// Why not, in a word.
    kind: Kind,
    /// Which column or field.
    field: String,
    /// How many rows.
    pub rows: u64,
    /// Line of the first.
    first_line: u64,
    /// Why, in its case.
    first_reason: String,
}

impl Group {
    /// A line of the summary.
    pub fn sentence(&self) -> String {
        let Self { kind, field, rows, first_line, first_reason } = self;
        format!("{}: {field}: {rows}, the first in line {first_line}: {first_reason}", kind.as_str())
    }
}

/// Where the list goes.
pub(in crate::cli) enum Sink {
    /// CSV, to a file.
    File(Box<csv::Writer<Box<dyn Write + Send>>>),
    /// Lines for people, to standard error.
    People(Box<dyn Write + Send>),
}

/// See the module.
pub(in crate::cli) struct List {
    sink: Sink,
    groups: BTreeMap<(Kind, String), Group>,
}

impl List {
    /// An empty list.
    ///
    /// # Errors
    /// The first line cannot be written.
    pub fn new(mut sink: Sink) -> anyhow::Result<Self> {
        if let Sink::File(file) = &mut sink {
            file.write_record(["line", "kind", "field", "reason", "event_id"]).context("the list of rejects")?;
        }
        Ok(Self { sink, groups: BTreeMap::new() })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn add(&mut self, listed: &Listed) -> anyhow::Result<()> {
        let Listed { line, kind, field, reason, event_id, .. } = listed;
        self.groups.entry((*kind, field.clone())).and_modify(|group| group.rows += 1).or_insert_with(|| Group {
            kind: *kind,
            field: field.clone(),
            rows: 1,
            first_line: *line,
            first_reason: reason.clone(),
        });
        match &mut self.sink {
            Sink::File(file) => {
                let event_id = event_id.as_deref().unwrap_or_default();
                file.write_record([&line.to_string(), kind.as_str(), field, reason, event_id])
            }
            Sink::People(out) => {
                let said = format!("line {line}: {}: {field}: {reason}", kind.as_str());
                writeln!(out, "{}", plain(&said)).map_err(Into::into)
            }
        }
        .context("the list of rejects")
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::People(out) => out.flush(),
        }
        .context("the list of rejects")
    }

    /// What stands in it, by kind and field.
    pub fn groups(&self) -> Vec<Group> {
        self.groups.values().cloned().collect()
    }
}
