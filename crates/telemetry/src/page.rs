//! What is read for one scrape, in Prometheus' text format.

use std::fmt::Write as _;

use crate::metric::{Described, Reading, Sum, Total};
use crate::names::TABLE;

/// Values of one scrape. A series that is not put here is not there: nothing keeps saying what was true once.
#[derive(Debug, Default)]
pub struct Page {
    lines: Vec<(&'static str, String)>,
}

impl Page {
    /// It is so much now.
    pub fn put<const N: usize>(&mut self, reading: &Reading<N>, values: [&str; N], value: f64) {
        self.line(reading.name, reading.labels, values, value);
    }

    /// The same, where there is a value.
    pub fn put_some<const N: usize>(&mut self, reading: &Reading<N>, values: [&str; N], value: Option<f64>) {
        if let Some(value) = value {
            self.put(reading, values, value);
        }
    }

    /// It was so often in all.
    pub fn total<const N: usize>(&mut self, total: &Total<N>, values: [&str; N], value: f64) {
        self.line(total.name, total.labels, values, value);
    }

    /// It is so much in all.
    pub fn sum<const N: usize>(&mut self, sum: &Sum<N>, values: [&str; N], value: f64) {
        self.line(sum.name, sum.labels, values, value);
    }

    /// Takes over what another page has.
    pub(crate) fn take(&mut self, other: &Self) {
        self.lines.extend_from_slice(&other.lines);
    }

    fn line<const N: usize>(&mut self, name: &'static str, labels: [&str; N], values: [&str; N], value: f64) {
        let mut line = String::from(name);
        for (index, (label, text)) in labels.iter().zip(values).enumerate() {
            let _ = write!(line, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escape(text));
        }
        let _ = writeln!(line, "{} {value}", if N == 0 { "" } else { "}" });
        self.lines.push((name, line));
    }

    /// The text: each metric with what it means, its series together.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Described { name, kind, help, .. } in TABLE {
            let mut lines = self.lines.iter().filter(|(of, _)| of == name).peekable();
            if lines.peek().is_none() {
                continue;
            }
            let help = help.replace('\\', "\\\\");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
            lines.for_each(|(_, line)| text.push_str(line));
        }
        text
    }
}

/// A label's value in Prometheus' text format.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn h1_a_name_cannot_write_a_line_of_its_own() {
        let mut page = Page::default();
        page.total(&names::REQUEST_STATUSES, ["a\"} 1\nb\\", "s", ""], 7.0);
        page.put(&names::DATABASE_UP, [], 1.0);
        page.total(&names::REQUEST_STATUSES, ["other", "", ""], 3.5);
        let text = page.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "postmeter_database_up 1",
                r#"postmeter_request_statuses_total{service="a\"} 1\nb\\",status="s",source=""} 7"#,
                r#"postmeter_request_statuses_total{service="other",status="",source=""} 3.5"#,
            ]
        );
    }

    #[test]
    fn names_are_one_home_in_prometheus_convention() {
        let mut seen = std::collections::BTreeSet::new();
        for Described { name, kind, help, labels, bounds, .. } in TABLE {
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("postmeter_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(
                name.ends_with("_total"),
                *kind == crate::Kind::Counter,
                "{name}: counters, and they alone, are totals"
            );
            assert_eq!(!bounds.is_empty(), *kind == crate::Kind::Histogram, "{name}");
            assert!(
                bounds.is_sorted() && help.ends_with('.') && !help.contains(['"', '|']) || help.contains("=\""),
                "{name}: {help}"
            );
            assert!(labels.iter().all(|label| !label.is_empty()), "{name}");
        }
    }
}
