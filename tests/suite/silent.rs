//! K12: a silent hour is reported as zero where the policy says so, and never before a real quantity of that hour.

use outbox::corrections::{Decider, Verb, correct};
use serde_json::json;
use tests::Stage;

/// A stage whose silent hours are reported from ten o'clock on.
async fn reporting() -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.dimension set zero = 'send'").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
}

/// What `explain` says first of a remittance.
fn explained(stage: &Stage, number: &str) -> String {
    let output = tests::postmeter(&stage.db.url()).args(["explain", "--delivery", number]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn k12_a_silent_hour_is_reported_as_zero_a_lead_before_its_deadline_and_a_real_one_is_not() {
    let stage = reporting().await;
    stage.use_cores("five", "5", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    // the hour of ten can be sent until 09:50
    stage.work_at("2024-09-19T09:19:59Z").await;
    assert_eq!(stage.accepted(), ["18T11 5"]);
    stage.work_at("2024-09-19T09:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 0", "18T11 5"]);
    let number = stage.value("select min(delivery_id)::text from postmeter.remittance where quantity = 0").await;
    assert_eq!(
        explained(&stage, &number),
        "NOTHING TO BILL: aws was told that nothing was used in the hour 2024-09-18 10:00 UTC."
    );
    for hour in ["10:20", "11:20", "11:21"] {
        stage.work_at(&format!("2024-09-19T{hour}:00Z")).await;
    }
    assert_eq!(stage.accepted(), ["18T10 0", "18T11 5", "18T12 0"]);
    // a zero is nothing that a month comes to
    let month = stage.column("select format('%s %s', class, trim_scale(quantity)) from postmeter.month_close").await;
    assert_eq!(month, ["accepted 5"]);
    assert!(stage.column("select item from postmeter.dead_letter").await.is_empty());
    // what comes after it finds the hour taken, and goes to another one
    stage.use_cores("late", "7", "2024-09-18T12:50:00Z").await;
    stage.cut_at("2024-09-19T11:40:00Z").await;
    assert!(stage.accepted().contains(&"18T12 0".to_owned()));
    assert!(stage.accepted().iter().any(|report| report.ends_with(" 7")), "{:?}", stage.accepted());
    stage.close().await;
}

#[tokio::test]
async fn k12_late_usage_that_comes_just_before_takes_the_hour() {
    let stage = reporting().await;
    stage.at("2024-09-19T09:19:00Z").await;
    stage.use_cores("late", "3", "2024-09-18T10:50:00Z").await;
    stage.work_at("2024-09-19T09:21:00Z").await;
    stage.work_at("2024-09-19T09:45:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_no_hour_is_reported_as_zero_while_usage_of_it_is_on_its_way() {
    let stage = reporting().await;
    stage.at("2024-09-19T09:21:00Z").await;
    // it waits in the outbox: the hour is not opened
    stage.use_cores("waits", "3", "2024-09-18T10:50:00Z").await;
    assert_eq!(outbox::maintain::zero(&stage.db.database).await.unwrap(), 0);
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    // it comes after the hour was opened as silent: the cut does not say zero
    stage.at("2024-09-19T10:21:00Z").await;
    assert_eq!(outbox::maintain::zero(&stage.db.database).await.unwrap(), 1);
    stage.use_cores("comes", "4", "2024-09-18T11:50:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    assert_eq!(stage.remittances().await, ["18T10 accepted 3", "18T11 nothing_due 0"]);
    stage.work_at("2024-09-19T10:30:00Z").await;
    stage.work_at("2024-09-19T10:40:00Z").await;
    let mut reports: Vec<_> = stage.accepted();
    reports.retain(|report| !report.ends_with(" 0"));
    assert_eq!(reports.len(), 2, "both were sent: {reports:?}");
    stage.close().await;
}

#[tokio::test]
async fn k12_what_is_covered_or_carried_is_a_silent_hour_too_and_later_hours_bill_right() {
    let stage = reporting().await;
    stage.sql("update postmeter.dimension set rounding = 'down'").await;
    stage.use_cores("less than one", "0.6", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"]);
    stage.use_cores("a little more", "0.6", "2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.work_at("2024-09-19T09:25:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 0", "18T11 1"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_only_hours_since_the_policy_of_keys_that_are_subscribed_mapped_and_billed_are_reported() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T12:30:00Z").await;
    stage.subscribe_for("ended", "222233334444", "2024-01-01T00:00:00Z", Some("2024-09-18T13:00:00Z")).await;
    stage.subscribe_for("begins", "333344445555", "2024-09-18T14:30:00Z", None).await;
    stage.subscribe("ours", "444455556666").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'our own')").await;
    stage.sql("update postmeter.dimension set zero = 'send'").await;
    // an edit of something else does not begin it anew
    stage.at("2024-09-18T15:00:00Z").await;
    stage.sql("update postmeter.dimension set zero = 'send', unit_price = 1, currency = 'USD'").await;
    for hour in 9..15 {
        stage.work_at(&format!("2024-09-19T{hour:02}:25:00Z")).await;
    }
    assert_eq!(stage.accepted(), ["18T13 0", "18T14 0", "18T15 0", "18T15 0"]);
    let buyers = "select distinct buyer from postmeter.meter_list order by 1";
    assert_eq!(
        stage.column(buyers).await,
        ["aws/us-east-1/prod-db/111122223333", "aws/us-east-1/prod-db/333344445555"]
    );
    stage.sql("update postmeter.dimension set zero = 'skip'").await;
    stage.work_at("2024-09-19T15:25:00Z").await;
    assert_eq!(stage.accepted().len(), 4);
    stage.close().await;
}

#[tokio::test]
async fn k12_the_last_hour_of_a_subscription_is_reported_within_its_closing_window() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:20:00Z")).await;
    stage.sql("update postmeter.dimension set zero = 'send'").await;
    // taken until 12:20, less the margin
    stage.work_at("2024-09-18T11:39:00Z").await;
    assert!(stage.accepted().is_empty());
    stage.work_at("2024-09-18T11:41:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 0", "18T11 0"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_nothing_is_opened_where_it_could_not_be_sent() {
    let stage = reporting().await;
    stage.sql("update postmeter.destination set paused = true").await;
    stage.work_at("2024-09-19T09:25:00Z").await;
    assert!(stage.remittances().await.is_empty());
    // behind all real quantities: a destination that has as much to send as a look opens gets none
    stage
        .sql(
            "update postmeter.destination set paused = false;
              insert into postmeter.due (delivery_id, destination_id, deadline)
              select -n, d.id, '2024-09-19T12:00:00Z' from generate_series(1, 1000) n, postmeter.destination d",
        )
        .await;
    assert_eq!(outbox::maintain::zero(&stage.db.database).await.unwrap(), 0);
    stage.sql("delete from postmeter.due where delivery_id = -1").await;
    assert_eq!(outbox::maintain::zero(&stage.db.database).await.unwrap(), 1);
    stage.sql("delete from postmeter.due where delivery_id < 0").await;
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 0"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_a_refused_zero_is_given_up_like_any_other() {
    let stage = reporting().await;
    let fault = simulator::FaultRule::new(simulator::FaultKind::RefuseRecord).error("InvalidUsageDimensionException");
    stage.aws.add_fault(fault.times(1)).unwrap();
    stage.work_at("2024-09-19T09:25:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 0"]);
    let ada = Decider { who: "ada", why: "nothing was used" };
    correct(&stage.db.database, Verb::Release, &json!({"status": "rejected"}), ada, false).await.unwrap();
    // it is silent still, and asked for again
    assert_eq!(stage.remittances().await, ["18T10 released 0"]);
    stage.work_at("2024-09-19T09:30:00Z").await;
    stage.close().await;
}
