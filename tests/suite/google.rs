//! D: what goes out to Google over the database, and what its answers do.

use simulator::{FaultKind, FaultRule, Filter, Match, MetricType};
use tests::{Dimension, GoogleStage, t};

/// Faults that concern reports alone: no other call has records.
fn report() -> Match {
    Match { min_records: 1, ..Match::default() }
}

/// A stage on which one core of 10:00 is recorded; its hour is not cut yet.
async fn one_core() -> GoogleStage {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage
}

/// Uses a core in each of so many hours and lets each be sent in its time; the hours by Pacific month.
async fn metered(first: &str, hours: i64) -> Vec<String> {
    let first = t(first);
    let stage = GoogleStage::at(&first.to_string()).await;
    for n in 0..hours {
        let hour = first + jiff::SignedDuration::from_hours(n);
        let minute = |minutes: i64| (hour + jiff::SignedDuration::from_mins(minutes)).to_string();
        stage.at(&minute(30)).await;
        stage.use_cores(&format!("hour {n}"), "1", &minute(20)).await;
        stage.cut_at(&minute(70)).await;
    }
    let mut record = stage.aws.record();
    record.sort_by_key(|accepted| accepted.key.hour);
    let expected: Vec<_> = (0..hours).map(|n| first + jiff::SignedDuration::from_hours(n)).collect();
    let found: Vec<_> = record.iter().map(|accepted| accepted.key.hour).collect();
    assert_eq!(found, expected, "each hour once, none left out");
    assert!(record.iter().all(|accepted| accepted.quantity.to_string() == "1"));
    // The windows as they were sent: each begins where the one before it ends.
    let windows = stage
        .column("select concat_ws(' ', body::jsonb ->> 'startTime', body::jsonb ->> 'endTime') from postmeter.delivery order by hour")
        .await;
    let ends = windows.iter().filter_map(|window| window.split_once(' ')).map(|(_, end)| end);
    let starts = windows.iter().filter_map(|window| window.split_once(' ')).map(|(start, _)| start);
    assert!(ends.zip(starts.skip(1)).all(|(end, next)| end == next), "{windows:?}");
    let months = "select concat_ws(' ', month, recorded, accepted) from postmeter.balance order by month";
    let months = stage.column(months).await;
    stage.close().await;
    months
}

#[tokio::test]
async fn d6_windows_are_contiguous_and_months_are_pacific_before_the_clocks_go_forward() {
    // PST: midnight is 08:00 UTC
    assert_eq!(metered("2024-03-01T06:00:00Z", 4).await, ["2024-02-01 2 2", "2024-03-01 2 2"]);
}

#[tokio::test]
async fn d6_windows_are_contiguous_over_the_hour_that_is_left_out_in_march() {
    // 02:00 PST is 03:00 PDT: 10:00 UTC
    assert_eq!(metered("2024-03-10T08:00:00Z", 4).await, ["2024-03-01 4 4"]);
}

#[tokio::test]
async fn d6_windows_are_contiguous_and_months_are_pacific_in_summer_time() {
    // PDT: midnight is 07:00 UTC
    assert_eq!(metered("2024-04-01T05:00:00Z", 4).await, ["2024-03-01 2 2", "2024-04-01 2 2"]);
    assert_eq!(metered("2024-11-01T05:00:00Z", 4).await, ["2024-10-01 2 2", "2024-11-01 2 2"]);
}

#[tokio::test]
async fn d6_windows_are_contiguous_over_the_hour_that_comes_twice_in_november() {
    // 01:00 PDT and 01:00 PST: 08:00 and 09:00 UTC
    assert_eq!(metered("2024-11-03T07:00:00Z", 4).await, ["2024-11-01 4 4"]);
    assert_eq!(metered("2024-12-01T06:00:00Z", 4).await, ["2024-11-01 2 2", "2024-12-01 2 2"]);
}

#[tokio::test]
async fn d6_a_remainder_is_settled_within_an_hour_of_pacific_midnight() {
    let stage = GoogleStage::at("2024-11-01T05:30:00Z").await;
    stage.sql("update postmeter.dimension set rounding = 'down'").await;
    stage.worker.reload().await.unwrap();
    stage.use_cores("half", "0.5", "2024-11-01T05:10:00Z").await;
    stage.cut_at("2024-11-01T06:10:00Z").await;
    assert!(stage.accepted().is_empty());
    stage.cut_at("2024-11-01T07:10:00Z").await;
    assert_eq!(stage.accepted(), ["01T06 1"], "the month's last hour takes it");
    stage.close().await;
}

#[tokio::test]
async fn d6_a_lost_answer_is_unknown_and_the_same_operation_again_is_billed_once() {
    let stage = one_core().await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).matching(report()).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select status || ' ' || maybe_billed from postmeter.remittance").await, "due true");
    let before = stage.value("select body || idempotency_key from postmeter.delivery").await;
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    assert_eq!(stage.value("select body || idempotency_key from postmeter.delivery").await, before);
    assert_eq!(
        stage.column("select outcome from postmeter.attempt_ledger order by number").await,
        ["unknown", "accepted"]
    );
    assert_eq!(stage.aws.totals(&Filter::default()).identical_resends, 1);
    stage.close().await;
}

#[tokio::test]
async fn d6_what_may_have_arrived_is_not_repeated_once_its_id_may_be_forgotten() {
    let stage = one_core().await;
    // The deadline comes before that by default: a day of age lets the memory end first.
    stage.configure("age_limit = '1 day'").await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).matching(report()).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 due 1"]);
    // nobody works for an hour
    stage.work_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.asked(), ["check", "report"], "not sent again");
    assert_eq!(stage.remittances().await, ["18T10 unknown 1"]);
    let last = "select concat_ws(' ', outcome, code) from postmeter.attempt_ledger order by number desc limit 1";
    assert_eq!(stage.value(last).await, "too_old memory");
    stage.close().await;
}

#[tokio::test]
async fn d6_one_operations_error_concerns_it_alone() {
    let stage = one_core().await;
    stage.configure("records_max = 100").await;
    stage.dimension(Dimension { metric: "gb", name: "gb", ..Dimension::default() }).await;
    stage.worker.reload().await.unwrap();
    stage.record("two", "acme", "gb", "2", "2024-09-18T10:10:00Z").await;
    let mut settings = stage.aws.settings();
    let declared = [("cores", MetricType::Int64), ("gb", MetricType::Double)];
    settings.google.metrics = Some(declared.map(|(name, declared)| (name.to_owned(), declared)).into());
    stage.aws.set_settings(settings);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.asked(), ["check", "report"], "both in one call");
    assert_eq!(stage.remittances().await, ["18T10 accepted 1", "18T10 rejected 2"]);
    assert_eq!(
        stage.value("select code from postmeter.attempt_ledger where outcome = 'rejected'").await,
        "INVALID_ARGUMENT"
    );
    stage.close().await;
}

#[tokio::test]
async fn d6_a_dimension_with_decimals_is_a_double_to_the_digit() {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.dimension(Dimension { metric: "gb", name: "gb", decimals: 6, ..Dimension::default() }).await;
    stage.worker.reload().await.unwrap();
    let mut settings = stage.aws.settings();
    settings.google.metrics = Some([("gb".to_owned(), MetricType::Double)].into());
    stage.aws.set_settings(settings);
    stage.record("some", "acme", "gb", "84.777251", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 84.777251"]);
    stage.close().await;
}

#[tokio::test]
async fn d6_who_may_not_be_billed_is_held_without_a_report_and_retried_when_that_ends() {
    let stage = one_core().await;
    stage.say("project:acme", "BILLING_DISABLED");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.asked(), ["check"]);
    let held = "select concat_ws(' ', status, reason, maybe_billed) from postmeter.remittance";
    assert_eq!(stage.value(held).await, "held invalid_subscription f");
    assert_eq!(stage.column("select code from postmeter.attempt_ledger").await, ["BILLING_DISABLED"]);
    stage.say("project:acme", "ACTIVE");
    stage.sql("select postmeter.retry('{\"destination\": \"aws\"}', 'ada', 'billing is on again', false)").await;
    // another worker: this one remembers the verdict for a minute of real time
    stage.work_anew().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    stage.close().await;
}

#[tokio::test]
async fn d6_a_check_that_fails_sent_nothing_and_costs_no_try() {
    let stage = one_core().await;
    stage.say("project:acme", "BILLING_STATUS_UNAVAILABLE");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let standing = "select concat_ws(' ', status, maybe_billed, tries) from postmeter.delivery";
    assert_eq!(stage.value(standing).await, "due f 0");
    stage.say("project:acme", "ACTIVE");
    stage.at("2024-09-18T11:20:00Z").await;
    stage.work_anew().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    stage.close().await;
}

#[tokio::test]
async fn d9_a_token_that_is_refused_in_mid_run_burns_no_try_and_work_resumes() {
    let stage = one_core().await;
    let refused = FaultRule::new(FaultKind::RefuseRecord).error("UNAUTHENTICATED").status(401);
    stage.aws.add_fault(refused.matching(report()).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let standing = "select concat_ws(' ', status, maybe_billed, tries) from postmeter.delivery";
    assert_eq!(stage.value(standing).await, "due f 0");
    stage.at("2024-09-18T11:20:00Z").await;
    // the fleet's pause is real time: it ends here
    stage.sql("update postmeter.breaker set open_until = clock_timestamp()").await;
    stage.work_anew().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    stage.close().await;
}

#[tokio::test]
async fn d10_without_credentials_nothing_is_sent_and_nothing_accepted() {
    let stage = one_core().await;
    let elsewhere = "settings = settings - 'credentials' || '{\"profile\": \"no-such-profile\"}'";
    stage.configure(elsewhere).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert!(stage.aws.calls().is_empty());
    assert_eq!(stage.remittances().await, ["18T10 due 1"]);
    let told = stage.column("select distinct outcome || ' ' || code from postmeter.attempt_ledger").await;
    assert_eq!(told, ["no_credentials credentials_not_configured"]);
    stage.close().await;
}

#[tokio::test]
async fn d11_an_hour_goes_until_an_hour_after_its_end_less_the_margin_and_then_expires() {
    for (time, sent) in [("2024-09-18T11:50:00Z", true), ("2024-09-18T11:50:01Z", false)] {
        let stage = one_core().await;
        stage.cut_only("2024-09-18T11:10:00Z").await;
        let deadline = "select (deadline at time zone 'UTC')::text from postmeter.remittance";
        assert_eq!(stage.value(deadline).await, "2024-09-18 11:50:00");
        stage.work_at(time).await;
        let expected = if sent { "18T10 accepted 1" } else { "18T10 expired 1" };
        assert_eq!(stage.remittances().await, [expected]);
        assert_eq!(stage.asked().len(), if sent { 2 } else { 0 }, "no call for what is too late");
        stage.close().await;
    }
}
