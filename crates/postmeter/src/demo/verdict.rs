//! The end: three ledgers side by side.

use std::time::Duration;

use outbox::Database;
use outbox::report::Verdict;

use super::market::Market;

/// What was recorded, what our tables say, what the marketplace holds.
pub struct Closing {
    verdict: Verdict,
    ours: Vec<(String, String)>,
    theirs: Vec<(String, String)>,
    lost: (u64, u64),
}

impl Closing {
    pub async fn read(database: &Database, market: &Market) -> anyhow::Result<Self> {
        Ok(Self {
            verdict: outbox::report::verdict(database).await?,
            ours: outbox::report::accepted(database).await?,
            theirs: market.record(),
            lost: market.lost(),
        })
    }

    /// Remittances that one side has and the other has not, or not with that quantity.
    fn disagreements(&self) -> usize {
        let missing = |a: &[(String, String)], b: &[(String, String)]| {
            a.iter().filter(|line| b.binary_search(line).is_err()).count()
        };
        missing(&self.ours, &self.theirs) + missing(&self.theirs, &self.ours)
    }

    /// Nothing lost, nothing billed twice, nothing unresolved.
    pub fn closes(&self) -> bool {
        let v = &self.verdict;
        v.is_quiet()
            && v.meters_difference == "0"
            && v.usage_difference == "0"
            && self.disagreements() == 0
            && v.unknown_open + v.stuck + v.held == 0
    }

    /// The table.
    pub fn table(&self, took: Duration) -> Vec<String> {
        let v = &self.verdict;
        let row = |name: &str, value: String, what: &str| format!("  {name:<28}{value:>9}   {what}");
        let mut lines = vec![
            String::new(),
            format!("One day of {} customers, played in {} s:", super::day::CUSTOMERS, took.as_secs()),
            row("usage recorded", v.usages.to_string(), "each in a transaction with its outbox entry"),
            row("remittances accepted", v.accepted.to_string(), "one per customer, dimension and hour"),
            row("hours with nothing to bill", v.nothing_due.to_string(), "what is below one unit is carried"),
            row("calls made", v.calls.to_string(), "up to 25 records each, none above 10 a second"),
            row("attempts in the ledger", v.attempts.to_string(), "each committed before its call"),
            row("sent again", v.retries.to_string(), "with the same bytes and key"),
            row("requests, answers lost", format!("{}, {}", self.lost.0, self.lost.1), "by the network, on purpose"),
            row("workers killed", v.workers_lost.to_string(), "with claims in hand; others took over"),
            row("unknown outcomes resolved", v.unknown_resolved.to_string(), "by asking again with the same key"),
            row("unknown, held, stuck", (v.unknown_open + v.held + v.stuck).to_string(), ""),
            row(
                "balance difference",
                if v.meters_difference == "0" { v.usage_difference.clone() } else { v.meters_difference.clone() },
                "recorded less accounted for, exact",
            ),
            row(
                "marketplace disagrees on",
                self.disagreements().to_string(),
                "its own record against our ledger, key by key",
            ),
            String::new(),
        ];
        lines.push(if self.closes() {
            "Nothing lost, nothing billed twice, nothing hidden.".to_owned()
        } else {
            "THE LEDGERS DO NOT AGREE. This is a defect: please report it with the lines above.".to_owned()
        });
        lines
    }
}
