//! What a shadow counts, and what its difference to the live destination says.

use outbox::corrections::Verb;
use serde_json::json;
use tests::Stage;

use super::*;

#[tokio::test]
async fn a_shadow_with_another_factor_shows_the_difference_exactly() {
    let (stage, theirs) = stage_with_shadow("1/4").await;
    stage.sql("update postmeter.dimension set unit_price = case factor_denominator when 1 then 2 else 9 end, currency = 'USD'").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("a", "10", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("b", "6", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.use_cores("running", "1", "2024-09-18T12:05:00Z").await;
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 10", "18T11 6"]);
    assert!(theirs.record().is_empty() && theirs.calls().is_empty(), "a shadow never calls");
    // 10/4 = 2.5 is 3; 16/4 = 4, of which 3 are billed
    assert_eq!(
        differences(&stage).await,
        [
            "18T10 live accepted 10, shadow dry_run 3: -7 quantity",
            "18T11 live accepted 6, shadow dry_run 1: -5 quantity",
            "18T12 live open , shadow open : 0 open",
        ]
    );
    assert_eq!(
        stage
            .column(
                "select format('%s beside %s, %s: %s hours, %s differ, %s %s %s, %s %s against %s %s', shadow, live, dimension, hours, hours_differ,
                               live_quantity, shadow_quantity, difference, trim_scale(live_amount), live_currency, trim_scale(shadow_amount), shadow_currency)
                 from postmeter.shadow_meter_difference where month = '2024-09-01'"
            )
            .await,
        ["trial beside aws, cores: 3 hours, 3 differ, 16 4 -12, 32 USD against 36 USD"]
    );
    assert_eq!(
        stage
            .column("select format('%s %s: live %s of %s, shadow %s of %s, %s', org, metric, live_quantity, live_usages, shadow_quantity, shadow_usages, difference) from postmeter.shadow_usage_difference")
            .await,
        ["acme cores: live 17 of 3, shadow 17 of 3, 0"]
    );
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_like_the_live_one_differs_in_nothing_and_both_balances_close() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("a", "10", "2024-09-18T10:05:00Z").await;
    stage.correct("less", "a", "-2", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // late usage goes its ways on both sides
    stage.use_cores("late", "3", "2024-09-18T10:06:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    let verdicts = stage.column("select distinct verdict from postmeter.shadow_difference").await;
    assert_eq!(verdicts, ["equal"], "{:?}", differences(&stage).await);
    assert_eq!(
        stage.column("select format('%s %s: %s, dry run %s, accepted %s, %s', destination, shadow, recorded, dry_run, accepted, difference) from postmeter.balance order by 1").await,
        ["aws f: 11, dry run 0, accepted 11, 0", "trial t: 11, dry run 11, accepted 0, 0"]
    );
    assert_eq!(
        stage
            .column("select format('%s of %s, %s', allocated, recorded, difference) from postmeter.usage_balance")
            .await,
        ["11 of 11, 0"],
        "usage is counted once, whatever shadows do"
    );
    assert_eq!(recalculated(&stage).await, ["used 13", "corrected -2", "counted 11"]);
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_of_mid_month_counts_from_then_on_and_says_so() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("before", "5", "2024-09-18T10:05:00Z").await;
    stage.work_at("2024-09-18T10:20:00Z").await;
    let _theirs = add_shadow(&stage).await;
    shadow_dimension(&stage, "1/1").await;
    shadow_subscription(&stage, "acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("after", "2", "2024-09-18T10:25:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("next", "4", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(
        differences(&stage).await,
        [
            "18T10 live accepted 7, shadow dry_run 2: -5 before_shadow",
            "18T11 live accepted 4, shadow dry_run 4: 0 equal",
        ]
    );
    assert_eq!(
        stage.column("select format('%s %s %s, %s before', live_quantity, shadow_quantity, difference, live_before_shadow) from postmeter.shadow_meter_difference").await,
        ["4 4 0, 7 before"]
    );
    assert_eq!(recalculated(&stage).await, ["used 11", "counted 6", "not_given 5"]);
    stage.close().await;
}

#[tokio::test]
async fn usage_that_its_shadow_lost_is_unexplained() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("lost", "5", "2024-09-18T10:05:00Z").await;
    stage.fold().await;
    assert_eq!(uncounted(&stage).await, ["waiting 5"]);
    stage.sql("begin; delete from postmeter.shadow_usage").await;
    let parts = recalculated(&stage).await;
    assert!(parts.contains(&"unexplained 5".to_owned()), "{parts:?}");
    stage.sql("rollback").await;
    stage.work().await;
    assert_eq!(recalculated(&stage).await, ["used 5", "open_hour 5"]);
    stage.close().await;
}

#[tokio::test]
async fn what_a_shadow_cannot_count_is_named_and_counted_once_the_catalogue_is_mended() {
    let stage = Stage::new().await;
    let _theirs = add_shadow(&stage).await;
    shadow_subscription(&stage, "acme", "111122223333").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    assert_eq!(uncounted(&stage).await, ["unmapped_dimension 5"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "0", "nothing of the live one is held");
    assert_eq!(
        stage.column("select format('%s, %s: %s', uncounted_quantity, reasons, difference) from postmeter.shadow_usage_difference").await,
        ["5, unmapped_dimension: 0"]
    );
    shadow_dimension(&stage, "1/1").await;
    assert_eq!(uncounted(&stage).await, ["unmapped_dimension 5"], "no edit of the catalogue waits for a shadow");
    stage.worker.maintain().await.unwrap();
    assert_eq!(uncounted(&stage).await, ["waiting 5"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(differences(&stage).await, ["18T10 live accepted 5, shadow dry_run 5: 0 equal"]);
    stage.close().await;
}

#[tokio::test]
async fn j5_usage_that_a_shadow_knows_by_now_is_counted_in_shares() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage
        .sql(
            "insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, quantity, hour, reason)
             select t.id, postmeter.new_id(), 'acme', 'db', 'cores', 1, '2024-09-18T10:00Z', 'unmapped_dimension'
             from postmeter.destination t, generate_series(1, 2500) n where t.name = 'trial'",
        )
        .await;
    assert_eq!(outbox::maintain::return_cured_shadow(&stage.db.database, 1000).await.unwrap(), 2500);
    let most = "select max(n)::text from (select count(*) n from postmeter.shadow_usage where reason is null group by xmin::text) t";
    assert_eq!(stage.value(most).await, "1000", "usages in one transaction");
    let left = "select count(*)::text from postmeter.shadow_usage where reason is not null";
    assert_eq!(stage.value(left).await, "0");
}

#[tokio::test]
async fn a_shadow_counts_usage_once_though_the_live_side_holds_and_returns_it() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T10:00Z' where destination_id = (select id from postmeter.destination where name = 'aws')").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    assert_eq!(stage.value("select string_agg(reason, ' ') from postmeter.held").await, "no_subscription");
    assert_eq!(recalculated(&stage).await, ["used 5", "open_hour 5"]);
    stage.subscribe_for("acme", "111122223333", "2024-09-18T10:00:00Z", None).await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(differences(&stage).await, ["18T10 live accepted 5, shadow dry_run 5: 0 equal"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "2");
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_of_one_customer_hears_nothing_of_the_others_and_exempt_usage_is_nobodys() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.subscribe("globex", "444455556666").await;
    shadow_subscription(&stage, "ours", "777788889999").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.record("b", "globex", "cores", "7", "2024-09-18T10:05:00Z").await;
    stage.record("c", "ours", "cores", "9", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5", "18T10 7"]);
    assert!(uncounted(&stage).await.is_empty());
    assert_eq!(differences(&stage).await, ["18T10 live accepted 5, shadow dry_run 5: 0 equal"]);
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_hour_waits_for_usage_that_the_shadow_has_not_counted_yet() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.use_cores("b", "2", "2024-09-18T10:06:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    assert_eq!(both_sides(&stage).await, ["aws due 7", "trial open"], "the live hour waits for no shadow");
    assert_eq!(uncounted(&stage).await, ["waiting 2"]);
    let shadow =
        stage.db.client.query_one("select id from postmeter.destination where name = 'trial'", &[]).await.unwrap();
    let freeze = |_: &outbox::cut::Sum| unreachable!("nothing is cut");
    let cut = outbox::cut::cut(&stage.db.database, 100, &[shadow.get(0)], &freeze).await.unwrap();
    assert_eq!(cut.cut, 0, "usage of that hour still waits for the shadow");
    stage.work().await;
    assert_eq!(both_sides(&stage).await, ["aws accepted 7", "trial dry_run 7"]);
    stage.close().await;
}

#[tokio::test]
async fn corrections_reach_a_shadow_only_by_its_name() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    assert_eq!(both_sides(&stage).await, ["aws due 5", "trial due 5"]);
    assert_eq!(corrected(&stage, Verb::Hold, json!({"all": true})).await, 1);
    assert_eq!(corrected(&stage, Verb::Hold, json!({"org": "acme"})).await, 0);
    assert_eq!(corrected(&stage, Verb::Hold, json!({"destination": "trial"})).await, 1);
    let held = "select string_agg(destination || ' ' || status, ', ' order by destination) from postmeter.remittance";
    assert_eq!(stage.value(held).await, "aws held, trial held");
    assert_eq!(stage.column("select destination from postmeter.dead_letter").await, ["aws"]);
    assert_eq!(stage.column("select destination from postmeter.unremitted").await, ["aws"]);
    assert_eq!(corrected(&stage, Verb::Release, json!({"status": "held"})).await, 1);
    assert_eq!(stage.value(held).await, "aws released, aws open, trial held");
    assert_eq!(corrected(&stage, Verb::Retry, json!({"destination": "trial"})).await, 1);
    stage.cut_at("2024-09-18T11:30:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.value("select status from postmeter.remittance where shadow").await, "dry_run");
    stage.close().await;
}
