//! Usage that arrives after its hour was cut.

use tests::Stage;

use super::{allocated, ten_is_sent};

#[tokio::test]
async fn c5_late_usage_goes_to_the_newest_closed_hour_of_its_month_that_was_never_sent() {
    let stage = ten_is_sent().await;
    // eleven is sent too, twelve is closed and had nothing due
    stage.at("2024-09-18T12:02:00Z").await;
    stage.use_cores("eleven", "0.5", "2024-09-18T11:30:00Z").await;
    stage.cut_at("2024-09-18T12:20:00Z").await;
    stage.use_cores("twelve", "0.5", "2024-09-18T12:30:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1", "18T11 accepted 1", "18T12 nothing_due 0"]);
    stage.use_cores("late", "2", "2024-09-18T10:50:00Z").await;
    stage.cut_at("2024-09-18T13:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1", "18T12 2"], "an hour with nothing due is opened again");
    // now all three are sent: the next goes to the hour before them
    stage.use_cores("later", "3", "2024-09-18T11:50:00Z").await;
    stage.cut_at("2024-09-18T13:50:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 3", "18T10 1", "18T11 1", "18T12 2"]);
    assert_eq!(
        allocated(&stage).await,
        [
            "eleven: 18T11 in 18T11",
            "late: 18T10 in 18T12",
            "later: 18T11 in 18T09",
            "on time: 18T10 in 18T10",
            "twelve: 18T12 in 18T12"
        ],
        "linked to its own hour"
    );
    stage.close().await;
}

#[tokio::test]
async fn c5_without_a_closed_hour_it_goes_into_the_running_hour_of_its_month() {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    // the subscription began an hour ago: there is no older hour to take it
    stage.subscribe_for("acme", "111122223333", "2024-09-18T10:00:00Z", None).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("on time", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("late", "2", "2024-09-18T10:50:00Z").await;
    stage.use_cores("now", "4", "2024-09-18T11:09:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 6"]);
    stage.close().await;
}

/// September is over and its window too; usage of September arrives, and usage of October.
async fn september_in_october(policy: &str) -> Stage {
    let stage = Stage::new().await;
    stage.configure(&format!("late_policy = '{policy}'")).await;
    stage.at("2024-09-30T22:30:00Z").await;
    stage.use_cores("september", "0.5", "2024-09-30T22:10:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    stage.at("2024-10-01T10:30:00Z").await;
    stage.use_cores("late", "2.25", "2024-09-30T23:30:00Z").await;
    stage.use_cores("october", "0.25", "2024-10-01T10:10:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-01T11:10:00Z").await;
    stage
}

const BY_MONTH: &str =
    "select month || ' ' || recorded || ' ' || accepted || ' ' || expired from postmeter.balance order by month";

#[tokio::test]
async fn c5_across_months_by_policy_part_it_is_a_part_of_the_open_hour_counted_by_its_own_month() {
    let stage = september_in_october("part").await;
    // 2.75 of September are 3 with 1 billed before; 0.25 of October are 1: 2 + 1 in one quantity
    assert_eq!(stage.accepted(), ["30T22 1", "01T10 3"]);
    assert_eq!(stage.column(BY_MONTH).await, ["2024-09-01 2.75 3 0", "2024-10-01 0.25 1 0"]);
    assert_eq!(allocated(&stage).await[0], "late: 30T23 in 01T10");
    // October's rounding is untouched: the rest of its first core is billed already
    stage.at("2024-10-01T11:30:00Z").await;
    stage.use_cores("rest", "0.75", "2024-10-01T11:20:00Z").await;
    stage.cut_at("2024-10-01T12:10:00Z").await;
    assert_eq!(stage.accepted().len(), 2);
    stage.close().await;
}

#[tokio::test]
async fn c5_across_months_by_policy_hold_it_is_held_until_a_person_decides() {
    let stage = september_in_october("hold").await;
    assert_eq!(stage.accepted(), ["30T22 1", "01T10 1"]);
    assert_eq!(
        stage.column("select concat_ws(' ', org, reason, quantity, hour at time zone 'UTC') from postmeter.held").await,
        ["acme too_late 2.25 2024-09-30 23:00:00"]
    );
    // the person lets it be a part
    stage.configure("late_policy = 'part'").await;
    stage.sql("select postmeter.retry_held('{\"reason\": \"too_late\"}', 'ada', 'agreed with the buyer', false)").await;
    stage.at("2024-10-01T11:20:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2024-10-01T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T22 1", "01T10 1", "01T11 2"]);
    stage.close().await;
}

#[tokio::test]
async fn c5_across_months_by_policy_expire_its_own_hour_expires_and_shows_what_was_lost() {
    let stage = september_in_october("expire").await;
    assert_eq!(stage.accepted(), ["30T22 1", "01T10 1"]);
    assert_eq!(stage.column(BY_MONTH).await, ["2024-09-01 2.75 1 2", "2024-10-01 0.25 1 0"]);
    assert!(stage.remittances().await.contains(&"30T23 expired 2".to_owned()));
    // what follows it into the same hour is not lost from sight either
    stage.use_cores("later still", "1", "2024-09-30T23:45:00Z").await;
    stage.cut_at("2024-10-01T11:40:00Z").await;
    assert_eq!(stage.value("select reason from postmeter.held").await, "too_late");
    stage.close().await;
}

#[tokio::test]
async fn c5_an_hour_that_missed_its_time_carries_everything_to_one_that_has_not() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("missed", "2.5", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    // nobody cuts for a day
    stage.cut_at("2024-09-19T10:40:00Z").await;
    stage.cut_at("2024-09-19T10:50:00Z").await;
    let remittances = stage.remittances().await;
    assert_eq!(remittances.len(), 2, "{remittances:?}");
    assert_eq!(remittances[0], "18T10 nothing_due 0");
    assert!(remittances[1].ends_with(" accepted 3"), "{remittances:?}");
    assert_eq!(stage.value("select count(*)::text from postmeter.cut where deferred").await, "1");
    stage.close().await;
}

#[tokio::test]
async fn c5_an_hour_that_missed_its_time_and_its_month_expires_without_a_call() {
    let stage = Stage::new().await;
    stage.at("2024-09-30T23:30:00Z").await;
    stage.use_cores("missed", "2.5", "2024-09-30T23:10:00Z").await;
    stage.fold().await;
    stage.cut_at("2024-10-01T06:30:00Z").await;
    assert_eq!(stage.remittances().await, ["30T23 expired 3"]);
    assert!(stage.aws.calls().is_empty());
    stage.close().await;
}
