//! What became of each row, and of its quantity: nothing is left out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::output::Table;
use crate::focus::number::Amount;
use crate::focus::row::Kind;

/// So many products and metrics are counted apart; files that name more are counted together from there on.
const METRICS_MAX: usize = 1000;

/// Where a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Recorded by this run.
    Recorded,
    /// Recorded before, as it is.
    Repeated,
    /// Recorded before with another quantity, whether or not that is recorded now.
    Changed,
    /// No usage.
    Skipped,
    /// For a person to see.
    Refused,
}

impl From<Kind> for End {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Skipped => Self::Skipped,
            Kind::Changed => Self::Changed,
            Kind::Refused => Self::Refused,
        }
    }
}

/// Rows and what they add up to.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Sum {
    pub rows: u64,
    pub quantity: Amount,
}

impl Sum {
    fn add(&mut self, rows: u64, quantity: Amount) {
        self.rows += rows;
        self.quantity.add(quantity);
    }
}

/// Of one metric, or of all.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Ends {
    pub read: Sum,
    pub recorded: Sum,
    pub repeated: Sum,
    pub changed: Sum,
    pub skipped: Sum,
    pub refused: Sum,
}

impl Ends {
    fn of(&mut self, end: End) -> &mut Sum {
        match end {
            End::Recorded => &mut self.recorded,
            End::Repeated => &mut self.repeated,
            End::Changed => &mut self.changed,
            End::Skipped => &mut self.skipped,
            End::Refused => &mut self.refused,
        }
    }
}

/// Usages: each is a group of rows.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Usages {
    pub recorded: u64,
    pub repeated: u64,
    /// Known with another quantity; nothing was done.
    pub changed: u64,
    /// Known with another quantity; the difference is recorded.
    pub applied: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Everything. Its quantities are over different metrics and mean nothing.
    pub total: Ends,
    /// Rows outside the hours that were asked for.
    pub outside: u64,
    pub usages: Usages,
    /// By product and metric.
    pub metrics: BTreeMap<(String, String), Ends>,
}

impl Counts {
    /// A row is read.
    pub fn read(&mut self, of: (&str, &str), quantity: Amount) {
        self.total.read.add(1, quantity);
        self.metric(of).read.add(1, quantity);
    }

    /// Rows end somewhere.
    pub fn end(&mut self, of: (&str, &str), end: End, rows: u64, quantity: Amount) {
        self.total.of(end).add(rows, quantity);
        self.metric(of).of(end).add(rows, quantity);
    }

    fn metric(&mut self, (product, metric): (&str, &str)) -> &mut Ends {
        let mut key = (product.to_owned(), metric.to_owned());
        if self.metrics.len() >= METRICS_MAX && !self.metrics.contains_key(&key) {
            key = ("(others)".to_owned(), "(others)".to_owned());
        }
        self.metrics.entry(key).or_default()
    }

    /// Whether something is left to be done by a person.
    pub const fn needs_a_person(&self) -> bool {
        self.usages.changed + self.total.refused.rows > 0
    }

    /// The table for people.
    pub fn table(&self) -> Table {
        let head = ["product", "metric", "rows", "quantity", "recorded", "repeated", "changed", "skipped", "refused"];
        let mut table = Table::new(&head, &[2, 3, 4, 5, 6, 7, 8]);
        for ((product, metric), ends) in &self.metrics {
            let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            let quantity = |sum: Sum| sum.quantity.to_string();
            table.row([
                name(product),
                name(metric),
                ends.read.rows.to_string(),
                quantity(ends.read),
                quantity(ends.recorded),
                quantity(ends.repeated),
                quantity(ends.changed),
                quantity(ends.skipped),
                quantity(ends.refused),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_endless_metrics_take_no_endless_memory() {
        let mut counts = Counts::default();
        for number in 0..METRICS_MAX * 2 {
            counts.end(("p", &number.to_string()), End::Recorded, 1, Amount(1));
        }
        let read = counts.total.recorded;
        assert_eq!((counts.metrics.len(), read.rows, read.quantity), (METRICS_MAX + 1, 2000, Amount(2000)));
    }
}
