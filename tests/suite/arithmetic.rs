//! B: what is billed, to the last digit.

mod contracts;
mod cover;
mod credit;
mod exact;
mod held;
mod keys;
mod moved;
mod named;
mod rounding;

use tests::{Dimension, Stage};

/// A stage like [`Stage::new`] whose one dimension is another.
async fn stage_with(dimension: Dimension<'_>) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(dimension).await;
    stage.subscribe("acme", "111122223333").await;
    stage
}

/// Uses cores in an hour of the 18th and cuts that hour.
async fn hour(stage: &Stage, hour: u32, quantity: &str) {
    stage.at(&format!("2024-09-18T{hour}:10:00Z")).await;
    stage.use_cores(&format!("at {hour}"), quantity, &format!("2024-09-18T{hour}:05:00Z")).await;
    stage.cut_at(&format!("2024-09-18T{}:10:00Z", hour + 1)).await;
}

/// What the cut of every hour billed, in order of hours.
async fn billed(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select trim_scale(quantity)::text from postmeter.remittance
             where status in ('accepted', 'nothing_due') order by hour",
        )
        .await
}
