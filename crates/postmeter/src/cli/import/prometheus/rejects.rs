//! What was not recorded, by series and hour: all of it to a file or to standard error, its kinds to the summary.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use super::super::list::Sink;

/// A value that was not recorded, or hours without one.
#[derive(Debug)]
pub(super) struct Reject<'a> {
    /// `rejected`, `conflict`, `refused`, `missing` or `gap`.
    pub kind: &'static str,
    /// Which hour; the first of several.
    pub hour: Timestamp,
    /// Which series.
    pub series: &'a str,
    /// Which field of the usage.
    pub field: &'a str,
    /// Why, in a sentence.
    pub reason: String,
    /// The usage's id, if it has one.
    pub event_id: &'a str,
    /// Of a gap: the org, as far as it is known, and its time.
    pub gap: Option<(&'a str, Timestamp, Timestamp)>,
}

/// Rejects of one kind, with the first of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Group {
    kind: &'static str,
    field: String,
    count: u64,
    first_hour: Timestamp,
    first_series: String,
    first_reason: String,
}

impl Group {
    /// A line of the summary.
    pub fn sentence(&self) -> String {
        let Self { kind, field, count, first_hour, first_series, first_reason } = self;
        format!("{kind}: {field}: {count}, the first at {first_hour} of {first_series}: {first_reason}")
    }
}

/// See the module.
pub(super) struct Rejects {
    sink: Sink,
    groups: BTreeMap<(&'static str, String), Group>,
}

impl Rejects {
    /// An empty list.
    ///
    /// # Errors
    /// The first line cannot be written.
    pub fn new(mut sink: Sink) -> anyhow::Result<Self> {
        if let Sink::File(file) = &mut sink {
            let head = ["hour", "series", "kind", "field", "reason", "event_id", "org", "from", "until"];
            file.write_record(head).context("the list of rejects")?;
        }
        Ok(Self { sink, groups: BTreeMap::new() })
    }

    /// Adds one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, reject: &Reject<'_>) -> anyhow::Result<()> {
        let Reject { kind, hour, series, field, reason, event_id, gap } = reject;
        let key = (*kind, (*field).to_owned());
        self.groups.entry(key).and_modify(|group| group.count += 1).or_insert_with(|| Group {
            kind,
            field: (*field).to_owned(),
            count: 1,
            first_hour: *hour,
            first_series: (*series).to_owned(),
            first_reason: reason.clone(),
        });
        match &mut self.sink {
            Sink::File(file) => {
                let (org, from, until) =
                    gap.map_or_else(Default::default, |(org, from, until)| (org, from.to_string(), until.to_string()));
                let hour = hour.to_string();
                file.write_record([hour.as_str(), series, kind, field, reason, event_id, org, &from, &until])
            }
            Sink::People(out) => writeln!(out, "{hour} {series}: {kind}: {field}: {reason}").map_err(Into::into),
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
