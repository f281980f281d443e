//! Dead letters: found, ranked, moved by themselves where that is allowed; and what will miss its deadline.

use std::collections::BTreeSet;

use outbox::corrections::{Decider, Verb, correct};
use serde_json::json;
use tests::Stage;

/// Refuses every dimension, or none.
fn refuse_all(stage: &Stage, refuse: bool) {
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = refuse.then(BTreeSet::new);
    stage.aws.set_settings(settings);
}

/// Nobody is subscribed over there, or everybody.
fn unsubscribe_all(stage: &Stage, unsubscribed: bool) {
    let mut settings = stage.aws.settings();
    settings.aws.subscriptions = unsubscribed.then(Vec::new);
    stage.aws.set_settings(settings);
}

/// The simulated AWS says that every record is too old, until its age limit is given back.
fn age_limit(stage: &Stage, hours: i64) {
    let mut settings = stage.aws.settings();
    settings.aws.max_age_hours = hours;
    stage.aws.set_settings(settings);
}

async fn expired(policy: &str) -> Stage {
    let stage = Stage::new().await;
    stage.configure(&format!("expired_policy = '{policy}'")).await;
    stage.use_cores("old", "3", "2024-09-18T10:10:00Z").await;
    age_limit(&stage, 1);
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
}

#[tokio::test]
async fn d11_what_expired_waits_for_a_person_by_default() {
    let stage = expired("hold").await;
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 expired 3"]);
    stage.work_at("2024-09-18T14:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 expired 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.decision").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn d11_what_expired_is_rolled_forward_by_policy_and_the_decision_is_signed() {
    let stage = expired("roll_forward").await;
    stage.work().await;
    let decisions = stage.column("select who || ': ' || why || ', ' || verb from postmeter.decision_log").await;
    assert_eq!(decisions, ["postmeter: expired; expired_policy is roll_forward, release"]);
    age_limit(&stage, 24);
    stage.cut_at("2024-09-18T12:10:00Z").await;
    let after = stage.remittances().await;
    assert_eq!(after.iter().filter(|line| line.ends_with("accepted 3")).count(), 1, "{after:?}");
    assert!(after.contains(&"18T10 released 3".to_owned()), "{after:?}");
    assert_eq!(stage.aws.record().len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn e12_what_may_have_been_billed_is_never_rolled_forward() {
    let stage = expired("roll_forward").await;
    stage.aws.add_fault(simulator::FaultRule::new(simulator::FaultKind::LoseRequest).times(1)).unwrap();
    stage.work().await;
    stage.work_at("2024-09-18T11:20:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 unknown 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.decision").await, "0");
    assert_eq!(stage.value("select coalesce(again_at::text, 'never') from postmeter.stuck").await, "never");
    stage.close().await;
}

#[tokio::test]
async fn d4_a_buyer_who_was_not_entitled_is_asked_for_again_until_the_deadline() {
    let stage = Stage::new().await;
    stage.use_cores("early", "3", "2024-09-18T10:10:00Z").await;
    unsubscribe_all(&stage, true);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(
        stage.column("select status || ' ' || reason from postmeter.remittance").await,
        ["held invalid_subscription"]
    );
    stage.work_at("2024-09-18T11:15:00Z").await;
    assert_eq!(stage.aws.calls().len(), 1, "not before ten minutes have passed");
    stage.work_at("2024-09-18T11:20:00Z").await;
    assert_eq!(stage.aws.calls().len(), 2);
    unsubscribe_all(&stage, false);
    stage.work_at("2024-09-18T11:31:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.stuck").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn d4_past_the_deadline_nobody_is_asked_for_again() {
    let stage = Stage::new().await;
    stage.use_cores("early", "3", "2024-09-18T10:10:00Z").await;
    unsubscribe_all(&stage, true);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.work_at("2024-09-19T10:30:00Z").await;
    let (calls, status) = (stage.aws.calls().len(), stage.remittances().await);
    assert_eq!((calls, status), (1, vec!["18T10 held 3".to_owned()]));
    assert!(stage.value("select what_to_do from postmeter.dead_letter").await.starts_with("release to another hour"));
    stage.close().await;
}

#[tokio::test]
async fn e8_dead_letters_are_ranked_by_what_they_are_worth() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.sql("update postmeter.dimension set unit_price = 2, currency = 'USD'").await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.record("five", "globex", "cores", "5", "2024-09-18T10:10:00Z").await;
    stage.record("whose", "umbrella", "cores", "9", "2024-09-18T10:20:00Z").await;
    refuse_all(&stage, true);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let letters =
        "select format('%s %s %s %s %s', row_number() over (), class, code, quantity, coalesce(trim_scale(amount)::text, 'unpriced'))
                   from postmeter.dead_letter";
    let refused = ["1 rejected InvalidUsageDimensionException 5 10", "2 rejected InvalidUsageDimensionException 3 6"];
    assert_eq!(stage.column(letters).await, refused);
    // held usage becomes a dead letter when it has waited beyond its policy: a day without any destination
    stage.at("2024-09-19T11:10:00Z").await;
    assert_eq!(stage.column(letters).await[2], "3 held usage no_subscription 9 unpriced");
    assert_eq!(stage.column(letters).await[..2], refused);
    stage.close().await;
}

#[tokio::test]
async fn e8_what_waits_is_held_by_filter_dry_run_first_and_retried_later() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.record("five", "globex", "cores", "5", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let hold = async |dry_run| {
        let filter = json!({ "org": "globex" });
        let me = Decider { who: "ada", why: "in dispute until Friday" };
        correct(&stage.db.database, Verb::Hold, &filter, me, dry_run).await.expect("a correction")
    };
    let shown = hold(true).await;
    assert_eq!((shown.len(), shown[0].before.as_str(), shown[0].after.as_str()), (1, "due", "held"));
    assert_eq!(stage.value("select count(*)::text from postmeter.due").await, "2", "the dry run changes nothing");
    hold(false).await;
    assert!(hold(false).await.is_empty(), "twice changes nothing more");
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 3", "18T10 held 5"]);
    assert_eq!(stage.value("select verb || ' ' || who || ', ' || reason from postmeter.decision_log, postmeter.remittance where reason is not null").await, "hold ada, by_operator");
    let me = Decider { who: "ada", why: "settled" };
    correct(&stage.db.database, Verb::Retry, &json!({ "org": "globex" }), me, false).await.expect("a correction");
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 3", "18T10 accepted 5"]);
    stage.close().await;
}

#[tokio::test]
async fn e8_what_is_under_way_cannot_be_held() {
    let stage = Stage::new().await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = stage.another_worker().await;
    assert_eq!(stage.claim_as(worker.id()).await.len(), 1);
    let me = Decider { who: "ada", why: "too late" };
    let held = correct(&stage.db.database, Verb::Hold, &json!({ "all": true }), me, false).await.expect("a correction");
    assert!(held.is_empty());
    assert_eq!(stage.remittances().await, ["18T10 in_flight 3"]);
}

/// So many remittances that are due, at one call of one record a second.
async fn due(count: i64) -> Stage {
    let stage = Stage::new().await;
    for n in 1..=count {
        stage.subscribe(&format!("org{n}"), &format!("1000000000{n:02}")).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "2", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.configure("records_max = 1").await;
    stage.sql("update postmeter.quota set calls_per_second = 1").await;
    stage
}

#[tokio::test]
async fn f4_the_forecast_counts_what_will_miss_its_deadline_at_the_rate_of_the_quota() {
    let stage = due(20).await;
    let forecast = "select format('%s waiting, %s miss, %s lost', waiting, misses, coalesce(quantity_missing, 0)) from postmeter.forecast";
    assert_eq!(stage.value(forecast).await, "20 waiting, 0 miss, 0 lost");
    // twelve and a half seconds before the deadline twelve of them can still be sent
    stage.sql("update postmeter.delivery set deadline = '2024-09-18T11:10:12.5Z'; update postmeter.due set deadline = '2024-09-18T11:10:12.5Z'").await;
    assert_eq!(stage.value(forecast).await, "20 waiting, 8 miss, 16 lost");
    stage.sql("update postmeter.destination set paused = true").await;
    assert_eq!(stage.value(forecast).await, "20 waiting, 20 miss, 40 lost");
}

#[tokio::test]
async fn f4_the_forecast_goes_by_deadline_over_all_that_share_a_quota() {
    let stage = due(4).await;
    stage
        .sql(
            "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'second', kind, settings, quota_id, age_limit, month_cutoff, closing_window, 1, bytes_max from postmeter.destination;
             update postmeter.due set destination_id = (select id from postmeter.destination where name = 'second'),
                 deadline = deadline - interval '1 minute' where delivery_id % 2 = 0;",
        )
        .await;
    let places = stage.column("select destination || ' ' || place from postmeter.forecast_detail order by place").await;
    assert_eq!(places, ["second 1", "second 2", "aws 3", "aws 4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e10_a_sweep_of_more_rows_than_a_page_meets_others_that_change_them() {
    const MANY: usize = 120;
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:05:00Z").await;
    for n in 0..MANY {
        stage.subscribe(&format!("org{n}"), &format!("{}", 100_000_000_000 + n)).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    refuse_all(&stage, true);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    refuse_all(&stage, false);
    let standing = "select status || ' ' || count(*) from postmeter.remittance group by status order by status";
    assert_eq!(stage.column(standing).await, [format!("rejected {MANY}")]);
    // two sweeps over everything, and somebody who gives up every third of them
    let sweep = |verb, filter: serde_json::Value| {
        let database = stage.db.another();
        tokio::spawn(async move {
            let me = Decider { who: "ada", why: "the dimension is back" };
            correct(&database, verb, &filter, me, false).await.expect("a correction")
        })
    };
    let mut others = vec![
        sweep(Verb::Retry, json!({ "all": true })),
        sweep(Verb::Retry, json!({ "destination": "aws", "status": "rejected" })),
    ];
    for n in (0..MANY).step_by(3) {
        others.push(sweep(Verb::WriteOff, json!({ "org": format!("org{n}") })));
    }
    let mut changed = 0;
    for other in others {
        changed += other.await.unwrap().iter().filter(|change| change.before != change.after).count();
    }
    assert_eq!(changed, MANY, "each was decided about once");
    assert_eq!(stage.value("select count(*)::text from postmeter.decision").await, MANY.to_string());
    stage.work().await;
    let after = "select bool_and(status in ('accepted', 'written_off'))::text from postmeter.remittance";
    assert_eq!(stage.value(after).await, "true");
    stage.close().await;
}

#[tokio::test]
async fn e6_a_destination_that_is_down_for_a_year_loses_nothing_and_says_what_it_tried() {
    let stage = Stage::new().await;
    let mut settings = stage.aws.settings();
    (settings.aws.max_age_hours, settings.aws.month_cutoff_hours) = (20_000, None);
    stage.aws.set_settings(settings);
    stage.configure("age_limit = '2 years', month_cutoff = null").await;
    stage.use_cores("patient", "3", "2024-09-18T10:10:00Z").await;
    stage.aws.add_fault(simulator::FaultRule::new(simulator::FaultKind::Status).status(503)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for month in ["2024-10", "2024-12", "2025-03", "2025-08"] {
        // the fleet's pause is real time: it ends here
        stage.sql("update postmeter.breaker set open_until = clock_timestamp()").await;
        stage.at(&format!("{month}-18T11:10:00Z")).await;
        stage.work_anew().await;
        let waits = "select (status = 'due' and tries = 0 and exists (select from postmeter.later l where l.due_at <= postmeter.clock() + interval '5 minutes'))::text
                     from postmeter.remittance where quantity = 3";
        assert_eq!(stage.value(waits).await, "true", "{month}: it waits for no longer than retry_max");
    }
    let last = "select concat_ws(' ', count(*) >= 5, max(number) = count(*), bool_and(outcome = 'unavailable'), max(code)) from postmeter.attempt_ledger";
    assert_eq!(stage.value(last).await, "t t t http_503");
    stage.aws.clear_faults();
    stage.sql("update postmeter.breaker set open_until = clock_timestamp()").await;
    stage.at("2025-09-18T11:10:00Z").await;
    stage.work_anew().await;
    assert_eq!(stage.value("select status from postmeter.remittance where quantity = 3").await, "accepted");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_who_reconsiders_waits_for_the_gate_of_an_edit_before_taking_any_lock() {
    let stage = expired("roll_forward").await;
    stage
        .sql("update postmeter.delivery set status = 'expired', changed_at = postmeter.clock() - interval '1 hour'")
        .await;
    let (mut editor, mover) = (stage.db.connect().await, stage.db.connect().await);
    let edit = editor.transaction().await.unwrap();
    edit.query("select postmeter.month_gate_alone()", &[]).await.unwrap();
    let moving = tokio::spawn(async move { mover.batch_execute("select postmeter.revisit_dead_letters(10)").await });
    stage.until_waiting(1).await;
    // as deadlines that follow a subscription do
    let locked = edit.query("select from postmeter.meter for update nowait", &[]).await;
    assert!(locked.is_ok(), "it holds a meter and waits for the gate: {locked:?}");
    edit.rollback().await.unwrap();
    moving.await.unwrap().unwrap();
    assert_eq!(stage.value("select verb from postmeter.decision").await, "release");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_whoever_moves_quantity_into_the_running_month_locks_both_meters_in_the_order_of_the_cut() {
    let stage = Stage::new().await;
    stage.configure("expired_policy = 'roll_forward', late_policy = 'part'").await;
    refuse_all(&stage, true);
    stage.at("2024-09-30T23:30:00Z").await;
    stage.use_cores("september", "3", "2024-09-30T23:10:00Z").await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    stage.at("2024-10-01T10:30:00Z").await;
    // the running month's meter has the smaller number, as when September's first usage comes late
    stage
        .sql(
            "delete from postmeter.meter where month = '2024-10-01';
             insert into postmeter.meter (id, destination_id, buyer, dimension, month, rounding, decimals, month_end) overriding system value
             select 0, destination_id, buyer, dimension, '2024-10-01', rounding, decimals, month_end from postmeter.meter;
             update postmeter.delivery set status = 'expired', changed_at = postmeter.clock()",
        )
        .await;
    for moves in [
        "select postmeter.revisit_dead_letters(10)",
        "select * from postmeter.release('{\"org\": \"acme\"}', 'ada', 'moved', false)",
        "select postmeter.open_target(max(m.id), d.identity, d.product) from postmeter.meter m, postmeter.delivery d group by d.id",
    ] {
        let (mut cut, mover) = (stage.db.connect().await, stage.db.connect().await);
        let cut = cut.transaction().await.unwrap();
        cut.query("select from postmeter.meter where id = 0 for update", &[]).await.unwrap();
        let moving = tokio::spawn(async move { mover.batch_execute(&format!("begin; {moves}; rollback")).await });
        stage.until_waiting(1).await;
        let second = cut.query("select from postmeter.meter where id > 0 for update nowait", &[]).await;
        assert!(second.is_ok(), "{moves}: it holds a meter and waits for one before it: {second:?}");
        cut.rollback().await.unwrap();
        moving.await.unwrap().unwrap();
    }
    refuse_all(&stage, false);
    stage.work_at("2024-10-01T10:31:00Z").await;
    stage.cut_at("2024-10-01T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["01T10 3"]);
    stage.close().await;
}
