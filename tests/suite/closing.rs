//! B6, C8 and E9: a month is closed, and a month is recalculated from its usage.

mod closed;
mod explained;
mod unexplained;

use tests::Stage;

/// Closes September for real, or says why not.
async fn close(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select concat_ws(' ', class, reason, org, coalesce(metric, dimension), items, quantity, unit, amount, currency)
             from postmeter.close_month('aws', '2024-09-01', 'ada', 'the books of September', false)",
        )
        .await
}

/// Lines of September, recalculated, of one kind: bills, or usage by metric. The plain totals are left out.
async fn recalculated(stage: &Stage, which: &str) -> Vec<String> {
    stage
        .column(&format!(
            "select concat_ws(' ', right(r.buyer, 4), r.org, r.metric, r.part, replace(r.reason, ' ', '-'), r.quantity)
             from postmeter.recalculate('aws', '2024-09-01') r where {which} and r.part not in ('used', 'counted')"
        ))
        .await
}

const BILLS: &str = "r.metric is null";
const USAGE: &str = "r.metric is not null";
