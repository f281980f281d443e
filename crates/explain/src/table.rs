//! Tables for people.

use std::fmt::Write as _;

use crate::plain::plain;

/// A head, rows of as many cells, columns as wide as needed.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns of numbers.
    right: &'static [usize],
}

impl Table {
    /// A table with a head; `right` are the columns, from 0, that are aligned to the right.
    pub fn new(head: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], right }
    }

    /// Adds a row. What is not seen of its cells is written out here already, so that columns are as wide as it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell).into_owned()).collect());
    }

    /// True when there is only the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The head and the rows, a line each.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(widths).enumerate() {
            let written = if self.right.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
            written.expect("a text takes what is written to it");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut table = Table::new(&["name", "n"], &[1]);
        assert!(table.is_empty());
        table.row(["größer".to_owned(), "7".to_owned()]);
        table.row(["b\n".to_owned(), "1000".to_owned()]);
        assert_eq!(table.lines(), ["name       n", "größer     7", "b\\n     1000"]);
    }
}
