//! One test for each place in which a usage can be when its correction is folded.

use tests::Stage;

use super::{corrections, counted, over_billed};

#[tokio::test]
async fn k1_of_usage_that_waits_it_is_folded_with_it() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:50:00Z").await;
    // its own hour says nothing: the hour of what it corrects does
    stage.correct("less", "usage", "-4", "2024-09-18T11:10:00Z").await;
    stage.fold().await;
    assert_eq!(stage.remittances().await, ["18T10 open"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: allocated, waiting"]);
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: allocated, counted"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_of_usage_in_an_open_hour_it_counts_in_that_hour_and_the_cut_waits_for_it() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:50:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:30:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T11:25:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0, "a correction of that hour waits in the outbox");
    stage.fold().await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    assert!(over_billed(&stage).await.is_empty());
    stage.close().await;
}

#[tokio::test]
async fn k1_of_cut_usage_it_lowers_the_month_at_once_and_opens_no_hour() {
    let stage = Stage::new().await;
    // late usage is held here: what nobody sends needs no hour
    stage.configure("late_policy = 'hold'").await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    // no hour of September takes anything any more
    stage.at("2024-10-03T00:00:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-30T23:30:00Z").await;
    stage.work().await;
    assert_eq!(stage.accepted(), ["30T22 10"]);
    assert_eq!(over_billed(&stage).await, ["2024-09 4"]);
    assert_eq!(counted(&stage).await, ["used 6, covered 0, billed 10"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 30T22: allocated, counted"]);
    assert_eq!(stage.remittances().await, ["30T22 accepted 10"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_of_cut_usage_its_credit_is_used_up_by_later_usage_of_the_month() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T11:05:00Z").await;
    stage.use_cores("more", "7", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 10", "18T11 3"]);
    assert!(over_billed(&stage).await.is_empty());
    stage.close().await;
}

#[tokio::test]
async fn k1_of_covered_usage_it_gives_the_cover_back_and_cover_is_never_below_zero() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 10 from postmeter.subscription").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(counted(&stage).await, ["used 10, covered 10, billed 0"]);
    stage.correct("less", "usage", "-10", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    assert_eq!(counted(&stage).await, ["used 0, covered 0, billed 0"]);
    assert!(over_billed(&stage).await.is_empty(), "nobody paid for it");
    stage.use_cores("more", "12", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2"]);
    let below = "update postmeter.meter_metric set covered = -1";
    assert_eq!(stage.refusal(below).await, "23514 - meter_metric_covered_check");
    stage.close().await;
}

#[tokio::test]
async fn k1_of_held_usage_it_is_held_with_it_and_both_are_cured_together() {
    let stage = Stage::bare().await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "100", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.correct("less", "usage", "-60", "2024-09-18T10:20:00Z").await;
    stage.work_at("2024-09-18T10:30:00Z").await;
    assert_eq!(
        stage
            .column("select format('%s %s %s', event_id, reason, quantity) from postmeter.held_list order by usage_id")
            .await,
        ["usage unmapped_dimension 100", "less unmapped_dimension -60"]
    );
    stage.dimension(tests::Dimension::default()).await;
    assert!(stage.column("select event_id from postmeter.held_list").await.is_empty(), "one transaction returns both");
    // what came back is below the first worker's floors
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 40"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_of_exempt_usage_it_has_no_effect_and_says_so() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.exemption (org, reason, valid_until) values ('acme', 'a trial', '2024-09-18T11:00Z')").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "50", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.at("2024-09-18T11:30:00Z").await;
    stage.use_cores("real", "40", "2024-09-18T11:05:00Z").await;
    // after the exemption's end
    stage.correct("less", "usage", "-30", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 40"]);
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: exempt, none"]);
    assert_eq!(
        stage
            .column(
                "select format('%s: exempt %s, allocated %s', recorded, exempt, allocated) from postmeter.usage_balance"
            )
            .await,
        ["60: exempt 20, allocated 40"]
    );
    stage.close().await;
}

#[tokio::test]
async fn k1_of_usage_whose_month_of_the_ledger_was_dropped_it_is_held_and_lowers_nothing() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "5", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("real", "4", "2024-09-18T11:05:00Z").await;
    // recorded before the drop; the usage that it names is gone
    stage.correct("less", "usage", "-3", "2024-09-18T11:10:00Z").await;
    stage
        .sql(
            "set session_replication_role = replica;
             update postmeter.usage set corrected_id = postmeter.new_id() where event_id = 'less';
             reset session_replication_role",
        )
        .await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5", "18T11 4"]);
    assert_eq!(
        stage.column("select format('%s %s %s', event_id, reason, quantity) from postmeter.held_list").await,
        ["less too_late -3"]
    );
    assert_eq!(counted(&stage).await, ["used 9, covered 0, billed 9"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_explain_says_of_a_correction_where_it_stands_and_what_it_does() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.exemption (org, reason, valid_until) values ('acme', 'a trial', '2024-09-18T11:00Z')").await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage.use_cores("free", "50", "2024-09-18T10:05:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.correct("none", "free", "-30", "2024-09-18T12:05:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T12:05:00Z").await;
    stage.work_at("2024-09-18T12:20:00Z").await;
    let explain = |event: &str| {
        let done = tests::postmeter(&stage.db.url()).args(["explain", "billing", event]).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let none = explain("none");
    assert!(none.contains("WITHOUT EFFECT: a correction of usage free, which is exempt"), "{none}");
    let less = explain("less");
    assert!(less.contains("counted at once, after the cut"), "{less}");
    let free = explain("free");
    assert!(free.contains("corrected by none: -30") && free.contains("without effect"), "{free}");
    let usage = explain("usage");
    assert!(usage.contains("corrected by less: -4") && usage.contains("counted"), "{usage}");
    stage.close().await;
}
