//! Nothing of a dropped billing month is decided, counted or billed again, and what comes late is shown.

use remittance::{Answer, Outcome};
use tests::q;

use super::super::{DROPPING, closes, exported, finished, run};
use super::{LEFT, drop_words, manifold};

#[tokio::test]
async fn i4_every_decision_about_a_dropped_remittance_is_refused_by_name() {
    let stage = manifold().await;
    let key = stage.value("select key from postmeter.delivery where id = 1").await;
    let folder = exported(&stage).await;
    stage.sql(DROPPING).await;
    stage.sql("select * from postmeter.begin_month_drop('aws', '2024-09-01', 'ada', 'retention', false)").await;
    // from the mark on, and when all of it is gone
    for when in ["begun", "gone"] {
        for decision in [
            "select * from postmeter.retry('{\"delivery\": 1}', 'ada', 'x', false)",
            "select * from postmeter.release('{\"delivery\": 1}', 'ada', 'x', false)",
            "select * from postmeter.write_off('{\"delivery\": 1}', 'ada', 'x', false)",
            "select * from postmeter.hold('{\"delivery\": 1}', 'ada', 'x', false)",
            "select * from postmeter.recount('{\"delivery\": 1}', 'ada', 'x', false)",
            "select * from postmeter.resolve_unknown(1, true, 'ada', 'x')",
            "select * from postmeter.resolve_unknown(1, false, 'ada', 'x')",
            "select * from postmeter.resolve_quantity(1, 7, 'ada', 'x')",
        ] {
            assert_eq!(stage.refusal(decision).await, "PM046 delivery remittance_dropped", "{when}: {decision}");
        }
        for month in [
            "select * from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'x', false)",
            "select * from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'x', true)",
            "delete from postmeter.closed_month",
            "insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
             values (1, 'x', 'cores', '2024-09-01', 'down', 0, 'round_up')",
        ] {
            assert_eq!(stage.refusal(month).await, "PM046 month month_dropped", "{when}: {month}");
        }
        let rows = format!("select concat_ws(' ', verdict, note) from postmeter.resolve_rows(jsonb_build_array(
            jsonb_build_object('delivery', 1, 'billed', true), jsonb_build_object('key', '{key}', 'billed', true)), 'ada', 'x', false)");
        let gone = "not_found was dropped with 2024-09 of aws, whose export tells of it";
        assert_eq!(stage.column(&rows).await[0], gone, "{when}");
        if when == "gone" {
            assert_eq!(stage.column(&rows).await, [gone, gone]);
            let (code, told) = run(&stage, &["explain", "--delivery", "1"]);
            assert!(code == 2 && told.contains("remittance 1 was dropped with 2024-09 of aws"), "{told}");
        }
        let (code, told) = run(&stage, &["recalculate", "aws", "2024-09"]);
        assert!(code != 0 && told.contains("dropped"), "{told}");
        if when == "begun" {
            assert_eq!(run(&stage, &drop_words(&folder)).0, 0);
        }
    }
    for wrong in ["delete from postmeter.cut", "delete from postmeter.ledger_carry where delivery_id is null"] {
        for opened in ["off", "on"] {
            stage.sql(&format!("set postmeter.drops_remittances = '{opened}'")).await;
            assert_eq!(stage.refusal(wrong).await, "PM020 - -", "what is not dropped is append-only still: {opened}");
        }
    }
}

#[tokio::test]
async fn a2_late_usage_of_a_dropped_month_is_held_and_billed_by_nobody() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    assert_eq!(run(&stage, &drop_words(&folder)).0, 0);
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    stage.sql("update postmeter.setting set ledger_retention = null, usage_age_max = '4000 days'").await;
    // its hour, its key and its meter once were
    stage.use_cores("late", "2", "2024-09-18T10:40:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2025-11-10T13:10:00Z").await;
    assert_eq!(stage.column("select reason from postmeter.held").await, ["month_closed"]);
    assert_eq!(stage.accepted(), ["18T10 5", "02T11 1"], "nothing is billed twice");
    let advice = "select what_to_do from postmeter.dead_letter where class = 'held usage'";
    stage.sql("update postmeter.held set deadline = '2024-09-19'").await;
    assert_eq!(stage.value(advice).await, "write off: its month was dropped");
    // and without the rule that holds it, there is no way to its key
    stage
        .sql("alter table postmeter.closed_month disable trigger kept_dropped; delete from postmeter.closed_month")
        .await;
    stage.sql("select * from postmeter.retry_held('{\"org\": \"acme\"}', 'ada', 'again', false)").await;
    stage.work_anew().await;
    stage.cut_at("2025-11-10T14:10:00Z").await;
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    assert_eq!(stage.accepted(), ["18T10 5", "02T11 1"]);
    closes(&stage).await;
}

#[tokio::test]
async fn k11_an_answer_that_comes_after_the_drop_is_a_contradiction_and_stops_nobody() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    let attempt: uuid::Uuid =
        stage.value("select id::text from postmeter.attempt where delivery_id = 1").await.parse().unwrap();
    assert_eq!(run(&stage, &drop_words(&folder)).0, 0);
    let late = outbox::settle::Settlement {
        delivery: 1,
        attempt,
        batch: 1,
        answer: Answer::bare(Outcome::Conflict { shown: Some(q("9")) }),
        took: std::time::Duration::from_secs(1),
        others_passed: false,
        is_lost: false,
        is_death: false,
    };
    let policy = remittance::Policy { retry: remittance::RetrySchedule::default(), memory: None };
    let settled = outbox::settle::settle(&stage.db.database, uuid::Uuid::nil(), &[late], &|_| policy).await.unwrap();
    assert_eq!((settled.moved, settled.late), (0, 1));
    let listed = "select concat_ws(' ', destination, delivery_id, says, their_quantity, status, is_open) from postmeter.contradiction_list";
    assert_eq!(stage.column(listed).await, ["aws 1 other_quantity 9 dropped t"]);
    let advice = "select what_to_do from postmeter.dead_letter where class = 'contradiction'";
    assert_eq!(stage.value(advice).await, "compare with what they hold, then judge contradiction 1 as ours");
    assert_eq!(
        stage.refusal("select * from postmeter.judge(1, 'theirs', 'ada', 'x')").await,
        "PM046 delivery remittance_dropped"
    );
    stage.work().await;
    stage.sql("select * from postmeter.judge(1, 'ours', 'ada', 'the export says so')").await;
    assert_eq!(stage.column(listed).await, ["aws 1 other_quantity 9 dropped f"]);
    closes(&stage).await;
}

#[tokio::test]
async fn i4_nothing_is_dropped_that_was_decided_about_since_its_export_or_is_asked_about_still() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    stage.sql("update postmeter.delivery set confirmed = true where id = 1").await;
    stage.sql("update postmeter.delivery set shown_quantity = 5 where id = 1").await;
    stage.sql(DROPPING).await;
    let begin = "select * from postmeter.begin_month_drop('aws', '2024-09-01', 'ada', 'retention', false)";
    assert_eq!(stage.refusal(begin).await, "PM043 manifest month_rows");
    let to = folder.path().to_str().unwrap();
    let again = ["ledger", "export", "--month", "2024-09", "--to", to, "--why", "again"];
    let (code, told) = run(&stage, &again);
    assert_eq!(code, 0, "{told}");
    for (open, why) in [
        (
            "insert into postmeter.contradiction (destination_id, delivery_id, source, says, settled_as) values (1, 1, 'person', 'held', 'accepted')",
            "remittance 1 has contradiction 1 open",
        ),
        (
            "insert into postmeter.unconfirmed (delivery_id) values (1)",
            "remittance 1 is not confirmed since commits were lost",
        ),
        (
            "insert into postmeter.doubt (delivery_id, break_id, status) values (1, 1, 'accepted')",
            "remittance 1 may have been sent in the time that was lost",
        ),
        (
            "insert into postmeter.late_evidence (attempt_id, delivery_id, outcome) values (gen_random_uuid(), 1, 'accepted')",
            "remittance 1 has an answer that nobody has read",
        ),
        (
            "insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number) values (1, 1, gen_random_uuid(), gen_random_uuid(), 9)",
            "the ledger of 2025-11, which is not dropped, has rows of it",
        ),
        (
            "insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
             values (postmeter.new_id(), 1, 1, 1, 0, 0, '2024-09-18T10:00Z', 1)",
            "the ledger of 2025-11, which is not dropped, has rows of it",
        ),
    ] {
        stage.sql(&format!("begin; {open}")).await;
        assert_eq!(stage.value("select why_not from postmeter.ledger_month where month = '2024-09-01'").await, why);
        stage.sql("rollback").await;
    }
    let (code, told) = run(&stage, &drop_words(&folder));
    assert_eq!(code, 0, "{told}");
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    let (code, told) = run(&stage, &["ledger", "verify", to, "--against-database"]);
    assert_eq!(code, 0, "both exports stand: {told}");
}
