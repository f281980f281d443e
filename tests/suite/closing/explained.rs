//! A recalculated month names every difference between what was used and what was billed.

use outbox::corrections::{Decider, Verb, correct};
use serde_json::json;
use tests::{Dimension, Stage};

use super::{BILLS, USAGE, recalculated};

const ADA: Decider<'_> = Decider { who: "ada", why: "planted" };

async fn decide(stage: &Stage, verb: Verb, filter: serde_json::Value) {
    let changes = correct(&stage.db.database, verb, &filter, ADA, false).await.unwrap();
    assert!(!changes.is_empty());
}

/// Which dimensions the marketplace takes.
fn taken(stage: &Stage, dimensions: Option<&[&str]>) {
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = dimensions.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    stage.aws.set_settings(settings);
}

#[tokio::test]
async fn e9_recalculating_names_usage_that_is_not_counted_by_where_it_is() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.at("2024-09-18T09:10:00Z").await;
    for (n, org) in ["acme", "ours", "nobody", "given up"].into_iter().enumerate() {
        stage.record(org, org, "cores", &(n + 1).to_string(), "2024-09-18T09:05:00Z").await;
    }
    stage.cut_at("2024-09-18T10:10:00Z").await;
    stage.sql("select * from postmeter.write_off_held('{\"org\": \"given up\"}', 'ada', 'planted', false)").await;
    stage.use_cores("open", "10", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    stage.use_cores("waiting", "20", "2024-09-18T10:15:00Z").await;
    stage.sql("insert into postmeter.dimension (destination_id, product, metric, name) select id, 'db', 'gb', 'gb' from postmeter.destination").await;
    stage.correct("less", "acme", "-0.25", "2024-09-18T09:05:00Z").await;
    assert_eq!(
        recalculated(&stage, USAGE).await,
        [
            "3333 cores corrected -0.25",
            "3333 cores open_hour 10",
            "3333 cores waiting 19.75",
            "given up cores written_off_usage 4",
            "nobody cores held_usage no_subscription 3",
            "ours cores exempt 2",
        ]
    );
    assert_eq!(
        recalculated(&stage, BILLS).await,
        ["3333 should 31", "3333 accepted 1", "3333 below_one_unit 0.25", "3333 open_hour 10", "3333 waiting 19.75"]
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_recalculating_names_what_was_billed_and_not_accepted() {
    let stage = Stage::bare().await;
    for metric in ["rejected", "released", "given-up", "huge"] {
        stage.dimension(Dimension { metric, name: metric, ..Dimension::default() }).await;
    }
    stage.subscribe("acme", "111122223333").await;
    taken(&stage, Some(&["huge"]));
    stage.at("2024-09-30T09:10:00Z").await;
    for (metric, quantity) in [("rejected", "1"), ("released", "2"), ("given-up", "4"), ("huge", "2147483648")] {
        stage.record(metric, "acme", metric, quantity, "2024-09-30T09:05:00Z").await;
    }
    stage.cut_at("2024-09-30T10:10:00Z").await;
    decide(&stage, Verb::WriteOff, json!({"metric": "given-up"})).await;
    decide(&stage, Verb::Release, json!({"metric": "released"})).await;
    let lines = recalculated(&stage, BILLS).await;
    assert_eq!(
        lines,
        [
            "3333 should 4",
            "3333 written_off 4",
            "3333 should 2147483648",
            "3333 held quantity_out_of_range 2147483648",
            "3333 should 1",
            "3333 rejected 1",
            "3333 should 2",
            "3333 released 2",
        ]
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_recalculating_names_expired_and_unknown_and_conflict() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T09:10:00Z").await;
    stage.use_cores("expires", "3", "2024-09-18T09:05:00Z").await;
    stage.cut_only("2024-09-18T10:10:00Z").await;
    stage.work_at("2024-09-19T12:00:00Z").await;
    assert_eq!(recalculated(&stage, BILLS).await, ["3333 should 3", "3333 expired 3"]);
    for status in ["unknown", "conflict"] {
        let maybe = if status == "unknown" {
            "maybe_billed = true, maybe_since = clock_timestamp()"
        } else {
            "maybe_billed = false, maybe_since = null"
        };
        stage.sql(&format!("update postmeter.delivery set status = '{status}', {maybe} where quantity = 3")).await;
        assert_eq!(recalculated(&stage, BILLS).await, ["3333 should 3".to_owned(), format!("3333 {status} 3")]);
    }
    stage.close().await;
}

#[tokio::test]
async fn e9_recalculating_names_credit_corrections_and_changed_cover() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T09:10:00Z").await;
    stage.use_cores("much", "10.5", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:10:00Z").await;
    stage.correct("less", "much", "-4", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:30:00Z").await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    assert_eq!(recalculated(&stage, USAGE).await, ["3333 cores corrected -4"]);
    assert_eq!(recalculated(&stage, BILLS).await, ["3333 should 7", "3333 accepted 11", "3333 credit -4"]);
    stage
        .sql(
            "insert into postmeter.cover (subscription_id, metric, quantity)
             select id, 'cores', 5 from postmeter.subscription",
        )
        .await;
    assert_eq!(
        recalculated(&stage, BILLS).await,
        ["3333 should 2", "3333 accepted 11", "3333 cover_changed -5", "3333 credit -4"]
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_recalculating_names_what_the_catalogue_changed_since() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.at("2024-09-18T09:10:00Z").await;
    stage.use_cores("moved", "3", "2024-09-18T09:05:00Z").await;
    stage.record("exempt", "globex", "cores", "5", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:10:00Z").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('globex', 'a friend')").await;
    stage
        .sql(
            "update postmeter.subscription set identity = identity || '{\"customer_aws_account_id\": \"777788889999\"}'
             where org = 'acme'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    assert_eq!(
        recalculated(&stage, BILLS).await,
        [
            // a corrected account goes on with the contract of this month
            "3333 should 3",
            "3333 accepted 3",
            "6666 should 0",
            "6666 accepted 5",
            "6666 catalogue_changed no-longer-of-this-meter -5",
        ]
    );
    stage.close().await;
}

#[tokio::test]
async fn e9_recalculating_values_usage_by_the_factor_of_now() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T09:10:00Z").await;
    stage.use_cores("six", "6", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:10:00Z").await;
    stage.sql("update postmeter.dimension set factor_denominator = 4").await;
    assert_eq!(
        recalculated(&stage, BILLS).await,
        ["3333 should 8", "3333 accepted 24", "3333 below_one_unit 2", "3333 catalogue_changed another-factor -18"],
        "in quarters: six cores are one and a half units by now, two when rounded up"
    );
    stage.close().await;
}
