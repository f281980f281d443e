//! Closing a month: what is refused, what is held from then on, what the report lists.

use outbox::corrections::{Decider, Verb, correct};
use serde_json::json;
use tests::{Dimension, Stage};

use super::close;

const CLOSED_NOW: &str = "select month || ' ' || closed::text from postmeter.month_close where class = 'accepted'";

/// September is over and can no longer be sent; one usage of it was accepted.
async fn september() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("on time", "3", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    stage.at("2024-10-01T12:00:00Z").await;
    stage
}

/// Held usage, as `reason quantity`.
async fn held(stage: &Stage) -> Vec<String> {
    stage.column("select reason || ' ' || quantity from postmeter.held order by usage_id").await
}

#[tokio::test]
async fn c8_a_month_that_can_still_be_sent_is_not_closed_unless_forced() {
    let stage = Stage::new().await;
    stage.at("2024-09-30T22:10:00Z").await;
    let refusal = "select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)";
    assert_eq!(stage.refusal(refusal).await, "PM035 month month_still_sendable");
    stage.at("2024-10-01T05:49:00Z").await;
    assert_eq!(stage.refusal(refusal).await, "PM035 month month_still_sendable", "six hours less the margin");
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    assert_eq!(stage.value("select count(*)::text from postmeter.closed_month").await, "1");
    for (sql, refused) in [
        ("select * from postmeter.close_month('aws', '2024-09-02', 'ada', 'books')", "PM036 month month_first_day"),
        (
            "select * from postmeter.close_month('gone', '2024-09-01', 'ada', 'books')",
            "PM033 destination destination_exists",
        ),
        ("select * from postmeter.close_month('aws', '2024-09-01', '', 'books')", "PM032 who decision_signed"),
        ("select * from postmeter.reopen_month('aws', '2024-09-01', 'ada', '')", "PM032 why decision_signed"),
    ] {
        assert_eq!(stage.refusal(sql).await, refused, "{sql}");
    }
    stage.close().await;
}

#[tokio::test]
async fn c8_closing_is_a_decision_a_dry_run_changes_nothing_and_twice_changes_nothing_more() {
    let stage = september().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'the books')").await;
    assert_eq!(stage.column(CLOSED_NOW).await, ["2024-09-01 false"], "a dry run");
    close(&stage).await;
    close(&stage).await;
    assert_eq!(stage.column(CLOSED_NOW).await, ["2024-09-01 true"]);
    assert_eq!(
        stage
            .column(
                "select format('%s %s %s: %s, %s -> %s, %s', verb, destination, who, why, status_before, status_after, detail)
                 from postmeter.decision_log"
            )
            .await,
        [r#"close aws ada: the books of September, open -> closed, {"month": "2024-09-01", "forced": false}"#]
    );
    stage.close().await;
}

#[tokio::test]
async fn c8_usage_of_a_closed_month_is_held_by_name_and_reopening_returns_it() {
    let stage = september().await;
    stage.configure("late_policy = 'part'").await;
    close(&stage).await;
    stage.use_cores("too late for the books", "2", "2024-09-30T22:20:00Z").await;
    stage.use_cores("october", "1", "2024-10-01T12:00:00Z").await;
    stage.cut_at("2024-10-01T13:10:00Z").await;
    assert_eq!(held(&stage).await, ["month_closed 2"]);
    assert_eq!(stage.accepted(), ["30T22 3", "01T12 1"], "October goes on");
    assert_eq!(close(&stage).await, ["held_usage month_closed acme cores 1 2 metric"]);
    let back = "select * from postmeter.retry_held('{\"reason\": \"month_closed\"}', 'ada', 'again', false)";
    stage.sql(back).await;
    stage.work_anew().await;
    assert_eq!(held(&stage).await, ["month_closed 2"], "a retry meets the same closed month");
    let reopen = "select concat_ws(' ', usages, org, metric, quantity)
                  from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'a mistake'";
    assert_eq!(stage.column(&format!("{reopen})")).await, ["1 acme cores 2"], "a dry run");
    assert_eq!(held(&stage).await, ["month_closed 2"]);
    assert_eq!(stage.column(&format!("{reopen}, false)")).await, ["1 acme cores 2"]);
    assert!(stage.column(&format!("{reopen}, false)")).await.is_empty(), "twice changes nothing more");
    stage.at("2024-10-01T13:20:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2024-10-01T14:10:00Z").await;
    assert!(held(&stage).await.is_empty());
    assert_eq!(stage.accepted(), ["30T22 3", "01T12 1", "01T13 2"], "as a part of the running hour, by policy");
    assert_eq!(stage.column("select verb from postmeter.decision order by id").await, ["close", "retry", "reopen"]);
    stage.close().await;
}

#[tokio::test]
async fn c8_what_the_catalogue_cures_after_the_close_is_held_again_and_exempt_usage_is_exempt() {
    let stage = september().await;
    stage.record("nobody's", "globex", "cores", "7", "2024-09-30T22:20:00Z").await;
    stage.work().await;
    close(&stage).await;
    assert_eq!(held(&stage).await, ["no_subscription 7"]);
    stage.subscribe("globex", "444455556666").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.record("ours", "ours", "cores", "5", "2024-09-30T22:20:00Z").await;
    stage.work_anew().await;
    assert_eq!(held(&stage).await, ["month_closed 7"]);
    assert_eq!(stage.value("select exempt::text from postmeter.usage_balance where org = 'ours'").await, "5");
    stage.close().await;
}

#[tokio::test]
async fn c8_a_closed_month_refuses_no_producer_even_where_the_unresolved_are_refused() {
    let stage = september().await;
    close(&stage).await;
    stage.sql("update postmeter.setting set unresolved = 'refuse'").await;
    stage.use_cores("late", "2", "2024-09-30T22:20:00Z").await;
    stage.work().await;
    assert_eq!(held(&stage).await, ["month_closed 2"]);
    stage.close().await;
}

#[tokio::test]
async fn c8_nothing_is_released_or_carried_into_a_closed_month() {
    let stage = Stage::new().await;
    stage.dimension(Dimension { metric: "gb", name: "gb", rounding: "down", ..Dimension::default() }).await;
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = Some(["gb".to_owned()].into());
    stage.aws.set_settings(settings);
    stage.at("2024-09-30T20:10:00Z").await;
    stage.use_cores("refused", "3", "2024-09-30T20:05:00Z").await;
    stage.record("part", "acme", "gb", "1.5", "2024-09-30T20:05:00Z").await;
    stage.cut_at("2024-09-30T21:10:00Z").await;
    assert_eq!(stage.remittances().await, ["30T20 rejected 3", "30T20 accepted 1"]);
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    let ada = Decider { who: "ada", why: "move it" };
    let changes = correct(&stage.db.database, Verb::Release, &json!({"status": "rejected"}), ada, false).await.unwrap();
    assert!(changes[0].note.as_deref().unwrap().contains("its month is closed"), "{changes:?}");
    // the month's last hour would have settled the remainder
    for time in ["2024-09-30T23:30:00Z", "2024-10-01T00:30:00Z", "2024-10-01T01:30:00Z"] {
        stage.cut_at(time).await;
    }
    assert_eq!(stage.remittances().await, ["30T20 rejected 3", "30T20 accepted 1"]);
    assert_eq!(close(&stage).await, ["rejected cores 1 3 billing", "remainder gb 1 0.5 billing"]);
    stage.close().await;
}

#[tokio::test]
async fn c8_what_was_allocated_before_the_close_is_still_cut_and_sent() {
    let stage = Stage::new().await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("in time", "2", "2024-09-30T22:05:00Z").await;
    stage.work().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    assert_eq!(close(&stage).await, ["open cores 1 2 metric"]);
    stage.use_cores("after", "4", "2024-09-30T22:06:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    assert_eq!((stage.accepted(), held(&stage).await), (vec!["30T22 2".to_owned()], vec!["month_closed 4".to_owned()]));
    stage.close().await;
}

#[tokio::test]
async fn c8_a_close_waits_for_folds_that_began_before_it() {
    let stage = september().await;
    stage.configure("late_policy = 'part'").await;
    stage.use_cores("late", "2", "2024-09-30T22:20:00Z").await;
    let other = stage.db.connect().await;
    let closing = async || {
        // the fold has read the catalogue and found an open hour; the close must not pass it
        other.batch_execute("set lock_timeout = '200ms'").await.unwrap();
        let close = "select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)";
        let refused = other.batch_execute(close).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55P03");
    };
    let folded = outbox::fold::fold_with(&stage.db.database, &mut outbox::fold::Turns::default(), 100, closing).await;
    assert_eq!(folded.unwrap().allocated, 1);
    assert_eq!(close(&stage).await, ["open cores 1 2 metric"], "it is in the report");
    stage.cut_at("2024-10-01T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T22 3", "01T12 2"]);
    stage.close().await;
}

#[tokio::test]
async fn b6_the_close_report_lists_every_open_item_with_quantity_amount_and_what_to_do() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.dimension(Dimension { metric: "gb", name: "gb", factor: (1, 4), ..Dimension::default() }).await;
    stage
        .sql(
            "update postmeter.dimension set unit_price = 0.25, currency = 'USD' where metric = 'cores';
             update postmeter.dimension set unit_price = 3, currency = 'EUR' where metric = 'gb'",
        )
        .await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-30T20:10:00Z").await;
    stage.use_cores("much", "10", "2024-09-30T20:05:00Z").await;
    stage.cut_at("2024-09-30T21:10:00Z").await;
    stage.correct("less", "much", "-4", "2024-09-30T20:05:00Z").await;
    stage.record("nobody's", "globex", "cores", "7", "2024-09-30T20:20:00Z").await;
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = Some(["cores".to_owned()].into());
    stage.aws.set_settings(settings);
    stage.record("refused", "acme", "gb", "6", "2024-09-30T21:05:00Z").await;
    stage.cut_at("2024-09-30T22:10:00Z").await;
    stage.at("2024-10-01T12:00:00Z").await;
    stage.record("unfolded", "acme", "gb", "6", "2024-09-30T21:07:00Z").await;
    assert_eq!(
        close(&stage).await,
        [
            "waiting acme gb 1 6 metric",
            "held_usage no_subscription globex cores 1 7 metric",
            "rejected gb 1 2 billing 6 EUR",
            "over_billed cores 1 4 billing 1 USD",
        ]
    );
    let silent = "select count(*)::text from postmeter.close_report('aws', '2024-09-01') where to_do is null";
    assert_eq!(stage.value(silent).await, "0", "each says what to do");
    stage.work_anew().await;
    stage.close().await;
}
