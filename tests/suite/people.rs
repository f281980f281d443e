//! E8, E9 and I3: what people may decide, and what nobody may do.

mod dead_letters;
mod held;
mod matrix;
mod released;
mod roles;

use std::collections::BTreeSet;

use outbox::corrections::{Change, Decider, Verb, correct};
use serde_json::Value;
use tests::Stage;

const ADA: Decider<'_> = Decider { who: "ada", why: "the agreement is active now" };

/// Lets the marketplace refuse every dimension, or none.
pub(crate) fn refuse_all(stage: &Stage, refuse: bool) {
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = refuse.then(BTreeSet::new);
    stage.aws.set_settings(settings);
}

/// A stage on which usage of ten o'clock was rejected: three cores of acme, four of globex; one core of initech was
/// accepted an hour before.
async fn rejected() -> Stage {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.subscribe("initech", "777788889999").await;
    stage.record("fine", "initech", "cores", "1", "2024-09-18T09:10:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    refuse_all(&stage, true);
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.record("four", "globex", "cores", "4", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    refuse_all(&stage, false);
    assert_eq!(stage.remittances().await, ["18T09 accepted 1", "18T10 rejected 3", "18T10 rejected 4"]);
    stage
}

/// Corrects for real.
pub(crate) async fn decide(stage: &Stage, verb: Verb, filter: Value) -> Vec<Change> {
    correct(&stage.db.database, verb, &filter, ADA, false).await.expect("a correction")
}

/// `verb who: why, quantity: before -> after` of every decision.
async fn decisions(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s %s: %s, %s: %s -> %s', verb, who, why, trim_scale(quantity), status_before, status_after)
             from postmeter.decision_log order by id",
        )
        .await
}
