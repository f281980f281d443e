//! What an import did, per metric: rows and exact sums.

use std::collections::BTreeMap;

use remittance::Quantity;
use serde::{Serialize, Serializer};

use crate::cli::output::Table;

/// So many products and metrics are counted apart; a file that names more is counted together from there on.
const METRICS_MAX: usize = 1000;

/// An exact sum of quantities, in units of 10⁻¹⁵: a hundred billion of the largest fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) struct Sum(i128);

impl Sum {
    /// Adds a quantity.
    pub fn add(&mut self, quantity: Quantity) {
        let text = quantity.to_string();
        let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let scaled = format!("{whole}{fraction:0<15}");
        self.0 += sign * scaled.parse::<i128>().expect("a quantity has at most 13 digits and 15 decimals");
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (size, one) = (self.0.unsigned_abs(), 10_u128.pow(15));
        let fraction = format!("{:015}", size % one);
        let fraction = fraction.trim_end_matches('0');
        let (sign, point) = (if self.0 < 0 { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
        write!(f, "{sign}{}{point}{fraction}", size / one)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Counts of one metric, or of all.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(in crate::cli) struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Recorded by this run.
    pub recorded: u64,
    /// Their quantity.
    pub recorded_quantity: Sum,
    /// Recorded before: the same usage again.
    pub repeated: u64,
    /// Their quantity.
    pub repeated_quantity: Sum,
    /// Rejected.
    pub rejected: u64,
}

impl Counts {
    fn reject(&mut self) {
        self.rows += 1;
        self.rejected += 1;
    }

    fn take(&mut self, quantity: Quantity, is_new: bool) {
        self.rows += 1;
        let (count, sum) = if is_new {
            (&mut self.recorded, &mut self.recorded_quantity)
        } else {
            (&mut self.repeated, &mut self.repeated_quantity)
        };
        *count += 1;
        sum.add(quantity);
    }
}

/// What an import did.
#[derive(Debug, Default)]
pub(in crate::cli) struct Tally {
    /// Everything. Its sums are over different metrics and mean nothing.
    pub total: Counts,
    /// By product and metric.
    pub metrics: BTreeMap<(String, String), Counts>,
}

impl Tally {
    fn of(&mut self, product: &str, metric: &str) -> &mut Counts {
        let mut key = (product.to_owned(), metric.to_owned());
        if self.metrics.len() >= METRICS_MAX && !self.metrics.contains_key(&key) {
            key = ("(others)".to_owned(), "(others)".to_owned());
        }
        self.metrics.entry(key).or_default()
    }

    /// A value of a series was not recorded.
    pub(super) fn reject(&mut self, product: &str, metric: &str) {
        self.total.reject();
        self.of(product, metric).reject();
    }

    /// A row is recorded, by this run or before.
    pub fn take(&mut self, product: &str, metric: &str, quantity: Quantity, is_new: bool) {
        self.total.take(quantity, is_new);
        self.of(product, metric).take(quantity, is_new);
    }

    /// The table for people.
    pub fn table(&self) -> Table {
        let head = ["product", "metric", "rows", "recorded", "quantity", "repeated", "rejected"];
        let mut table = Table::new(&head, &[2, 3, 4, 5, 6]);
        for ((product, metric), counts) in &self.metrics {
            let name = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            table.row([
                name(product),
                name(metric),
                counts.rows.to_string(),
                counts.recorded.to_string(),
                counts.recorded_quantity.to_string(),
                counts.repeated.to_string(),
                counts.rejected.to_string(),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b5_a_sum_is_exact() {
        let mut sum = Sum::default();
        let add = |sum: &mut Sum, text: &str| sum.add(text.parse().unwrap());
        for _ in 0..1_000_000 {
            add(&mut sum, "0.1");
        }
        assert_eq!(sum.to_string(), "100000");
        add(&mut sum, "0.000000000000001");
        assert_eq!(sum.to_string(), "100000.000000000000001");
        add(&mut sum, "-100000.5");
        assert_eq!(sum.to_string(), "-0.499999999999999");
        add(&mut sum, "1000000000000");
        assert_eq!(sum.to_string(), "999999999999.500000000000001");
    }

    #[test]
    fn a_file_of_endless_metrics_takes_no_endless_memory() {
        let mut tally = Tally::default();
        for number in 0..METRICS_MAX * 2 {
            tally.take("p", &number.to_string(), Quantity::from(1), true);
        }
        assert_eq!((tally.metrics.len(), tally.total.recorded), (METRICS_MAX + 1, METRICS_MAX as u64 * 2));
    }
}
