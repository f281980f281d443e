//! What people and programs see: lines, tables, JSON, failures.
//!
//! The one place that writes to standard output. Secrets never come this far: they live in `SecretString`, and errors
//! of the connection do not quote it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

/// Wrong usage or input: the command did nothing and exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub String);

/// Done, but something needs a person: exit code 3.
pub(super) const NEEDS_A_PERSON: u8 = 3;

/// Writes text to standard output as it is, for another program to read.
///
/// # Errors
/// It cannot be written; a reader that has gone (`| head`) is none.
pub(super) fn raw(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says a line to people. What a command does must not depend on whether anybody listens, so this cannot fail.
pub(super) fn say(line: impl AsRef<str>) {
    drop(raw(&format!("{}\n", line.as_ref())));
}

/// Gives a value to a program.
///
/// # Errors
/// It cannot be written.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    raw(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// A table for people: a head, rows of as many cells, columns as wide as needed.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers.
    right: &'static [usize],
}

impl Table {
    /// A table with a head; `right` are the columns, from 0, that are aligned to the right.
    pub fn new(head: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], right }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// True when there is only the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if self.right.contains(&column) {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            let end = if number + 1 < self.rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Says what went wrong and gives the exit code for it.
pub(super) fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("postmeter: {error:#}");
    ExitCode::from(code_of(error))
}

/// 2: wrong usage or input; 4: the database cannot be reached; 1: anything else.
fn code_of(error: &anyhow::Error) -> u8 {
    let database = error.downcast_ref::<outbox::Error>().or(match error.downcast_ref::<worker::WorkerError>() {
        Some(worker::WorkerError::Database(error)) => Some(error),
        _ => None,
    });
    match database {
        Some(outbox::Error::Away(_) | outbox::Error::Again { .. }) => 4,
        Some(outbox::Error::Refused(_) | outbox::Error::Schema(_) | outbox::Error::Untrusted(_)) => 2,
        Some(_) => 1,
        None if error.is::<Wrong>() => 2,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut table = Table::new(&["name", "n"], &[1]);
        assert!(table.is_empty());
        table.row(["größer".to_owned(), "7".to_owned()]);
        table.row(["b".to_owned(), "1000".to_owned()]);
        assert_eq!(table.to_string(), "name       n\ngrößer     7\nb       1000");
    }

    #[test]
    fn i5_exit_codes_mean_something() {
        let away = || outbox::Error::Away("gone".to_owned());
        assert_eq!(code_of(&away().into()), 4);
        assert_eq!(code_of(&worker::WorkerError::Database(away()).into()), 4);
        assert_eq!(code_of(&Err::<(), _>(away()).context("a").context("b").unwrap_err()), 4, "context hides nothing");
        assert_eq!(code_of(&outbox::Error::Schema("old".to_owned()).into()), 2);
        assert_eq!(code_of(&Wrong("no".to_owned()).into()), 2);
        assert_eq!(code_of(&anyhow::anyhow!("else")), 1);
    }
}
