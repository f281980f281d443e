//! The list of rows that were not recorded as they are: all to a file or to standard error, their kinds to the summary.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::import::list::Sink;
use crate::cli::output::plain;
use crate::focus::groups::Place;
use crate::focus::number::Amount;
use crate::focus::row::Kind;

/// A line of the list: a row, or a group of rows by its first.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub place: Place,
    pub rows: u64,
    pub kind: Kind,
    /// Which column or field.
    pub field: &'a str,
    /// Why, in a sentence.
    pub reason: &'a str,
    pub event_id: &'a str,
    /// What is recorded of it, where that is known.
    pub recorded: Option<&'a str>,
    /// What the files say.
    pub quantity: Amount,
}

/// Lines of one kind, with the first of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Kinds {
    kind: Kind,
    field: String,
    rows: u64,
    first_file: PathBuf,
    first_line: u64,
    first_reason: String,
    #[serde(skip)]
    first: Place,
}

impl Kinds {
    /// A line of the summary.
    pub fn sentence(&self) -> String {
        let Self { kind, field, rows, first_file, first_line, first_reason, .. } = self;
        let file = first_file.display();
        format!("{}: {field}: {rows}, the first in {file}, line {first_line}: {first_reason}", kind.as_str())
    }
}

/// See the module.
pub(super) struct Listing {
    sink: Sink,
    files: Vec<PathBuf>,
    kinds: BTreeMap<(Kind, String), Kinds>,
}

impl Listing {
    /// An empty list.
    ///
    /// # Errors
    /// The first line cannot be written.
    pub fn new(mut sink: Sink, files: Vec<PathBuf>) -> anyhow::Result<Self> {
        if let Sink::File(file) = &mut sink {
            let head = ["file", "line", "rows", "kind", "field", "reason", "event_id", "recorded", "quantity"];
            file.write_record(head).context("the list of rejects")?;
        }
        Ok(Self { sink, files, kinds: BTreeMap::new() })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        let Line { place, rows, kind, field, reason, event_id, recorded, quantity } = line;
        let file = self.files.get(place.file as usize).cloned().unwrap_or_default();
        let name = file.display().to_string();
        let kinds = self.kinds.entry((*kind, (*field).to_owned())).or_insert_with(|| Kinds {
            kind: *kind,
            field: (*field).to_owned(),
            rows: 0,
            first_file: file.clone(),
            first_line: place.line,
            first_reason: (*reason).to_owned(),
            first: *place,
        });
        kinds.rows += rows;
        // groups come in another order than their first rows stand
        if *place < kinds.first {
            kinds.first = *place;
            (kinds.first_file, kinds.first_line, kinds.first_reason) = (file, place.line, (*reason).to_owned());
        }
        match &mut self.sink {
            Sink::File(file) => file.write_record([
                &name,
                &place.line.to_string(),
                &rows.to_string(),
                kind.as_str(),
                field,
                reason,
                event_id,
                recorded.unwrap_or_default(),
                &quantity.to_string(),
            ]),
            Sink::People(out) => {
                let said = format!("{name}, line {}: {}: {field}: {reason}", place.line, kind.as_str());
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
    pub fn kinds(&self) -> Vec<&Kinds> {
        self.kinds.values().collect()
    }
}
