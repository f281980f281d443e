//! What keeps a month of the ledger, and who is not in the way of its drop.

use std::collections::BTreeSet;

use tests::{Dimension, Stage};

use super::{DROPPING, WHY_NOT, closes, exported, finished, follow_clock, in_time, run};

const RETAIN: &str = "select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')";

pub(super) fn refuse_all(stage: &Stage, refuse: bool) {
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = refuse.then(BTreeSet::new);
    stage.aws.set_settings(settings);
}

#[tokio::test]
async fn i4_a_month_is_not_finished_while_the_remittance_of_its_remainder_is_not() {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-30T22:30:00Z").await;
    stage.use_cores("some", "0.5", "2024-09-30T22:20:00Z").await;
    stage.cut_at("2024-09-30T23:20:00Z").await;
    refuse_all(&stage, true);
    // the month's last hour is cut without usage, in October
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.remittances().await, ["30T22 nothing_due 0", "30T23 rejected 1"]);
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    stage.sql(RETAIN).await;
    stage.at("2025-11-10T12:00:00Z").await;
    assert_eq!(stage.value(WHY_NOT).await, "remittance 2 is rejected");
    stage.sql("select * from postmeter.write_off('{\"delivery\": 2}', 'ada', 'lost', false)").await;
    assert_eq!(stage.value(WHY_NOT).await, "", "all is decided");
    stage.close().await;
}

#[tokio::test]
async fn i4_a_month_is_not_finished_while_what_it_released_into_is_not() {
    let stage = in_time().await;
    stage.subscribe("globex", "111122223333").await;
    refuse_all(&stage, true);
    stage.at("2024-09-30T22:30:00Z").await;
    stage.record("globex", "globex", "cores", "100", "2024-09-30T22:20:00Z").await;
    stage.cut_at("2024-09-30T23:20:00Z").await;
    stage.sql("select * from postmeter.release('{\"org\": \"globex\"}', 'ada', 'moved', false)").await;
    stage.at("2024-10-01T00:02:00Z").await;
    // recorded in October, with the hour that takes what was released
    stage.use_cores("acme", "5", "2024-09-30T21:50:00Z").await;
    stage.cut_at("2024-10-01T00:20:00Z").await;
    assert_eq!(stage.remittances().await, ["30T21 rejected 105", "30T22 released 100"]);
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    stage.sql(RETAIN).await;
    stage.at("2025-11-10T12:00:00Z").await;
    assert_eq!(stage.value(WHY_NOT).await, "remittance 2 is rejected", "and half of it is globex's");
    let unsent =
        "select concat_ws(' ', org, metric, trim_scale(quantity), unit, status) from postmeter.unremitted order by 1";
    assert_eq!(
        stage.column(unsent).await,
        ["acme 100 billing rejected", "acme cores 5 metric rejected", "globex 100 billing rejected"],
        "what was released is not hidden by usage of the hour"
    );
    stage.close().await;
}

#[tokio::test]
async fn i4_a_month_whose_usage_was_counted_by_a_subscription_that_is_gone_is_kept() {
    let stage = finished().await;
    assert_eq!(stage.value(WHY_NOT).await, "");
    stage.sql("begin; delete from postmeter.subscription").await;
    assert_eq!(stage.value(WHY_NOT).await, "usage of it was counted by subscription 1, which is gone");
    stage.sql("rollback").await;
}

/// A usage of September that a shadow was given and does not count.
const GIVEN: &str = "insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, quantity, hour, reason)
    select 99, id, org, product, metric, quantity, used_at, 'unmapped_dimension' from postmeter.usage where event_id = 'one'";
/// What a fold of the shadow does with it, once its catalogue is mended.
const COUNTED: &str = "delete from postmeter.shadow_usage;
    insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
    select usage_id, 99, delivery_id, meter_metric_id, round, quantity, hour, subscription_id from postmeter.allocation
    where usage_id = (select id from postmeter.usage where event_id = 'one')";

#[tokio::test]
async fn i4_what_a_shadow_does_not_count_ends_with_the_export() {
    let stage = finished().await;
    stage.sql(GIVEN).await;
    let folder = exported(&stage).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.shadow_usage").await, "0", "nothing is counted later");
    stage.sql(DROPPING).await;
    closes(&stage).await;
    drop(folder);
}

#[tokio::test]
async fn i4_a_fold_of_a_shadow_that_is_under_way_is_waited_for_and_nothing_of_it_is_dropped() {
    let stage = finished().await;
    let _folder = exported(&stage).await;
    stage.sql(GIVEN).await;
    let mut shadow = stage.db.connect().await;
    let fold = shadow.transaction().await.unwrap();
    fold.batch_execute(COUNTED).await.unwrap();
    let dropper = stage.db.connect().await;
    let dropping = tokio::spawn(async move { dropper.batch_execute(DROPPING).await });
    // it waits for the fold, or for nothing: then it has ended
    let watch = stage.db.connect().await;
    tests::until_locked(&watch, 1, || dropping.is_finished()).await;
    fold.commit().await.unwrap();
    let error = dropping.await.unwrap().expect_err("refused");
    assert!(["PM043 manifest ledger_rows", "55P03 - -"].contains(&Stage::refusal_in(&error).as_str()), "{error:?}");
    assert_eq!(stage.refusal(DROPPING).await, "PM043 manifest ledger_rows");
}

#[tokio::test]
async fn i4_a_vacuum_of_another_month_keeps_no_month_from_being_dropped() {
    let stage = finished().await;
    let _folder = exported(&stage).await;
    let mut other = stage.db.connect().await;
    let vacuum = other.transaction().await.unwrap();
    vacuum
        .batch_execute("lock table postmeter.usage_202410, postmeter.outcome_202410 in share update exclusive mode")
        .await
        .unwrap();
    stage.sql(DROPPING).await;
    vacuum.rollback().await.unwrap();
    assert_eq!(stage.value("select coalesce(to_regclass('postmeter.usage_202409')::text, 'gone')").await, "gone");
}

#[tokio::test]
async fn i4_only_the_month_that_is_asked_about_is_read() {
    let stage = finished().await;
    let health = include_str!("../../../sql/queries/health_ledger.sql");
    for sql in ["select * from postmeter.ledger_partition where month = '2024-09-01'", health] {
        // numbers of an earlier transaction may still be in its session
        let mut client = stage.db.connect().await;
        let tx = client.transaction().await.unwrap();
        tx.batch_execute("set local track_functions = 'all'").await.unwrap();
        tx.batch_execute(sql).await.unwrap();
        let asked = "select calls from pg_stat_xact_user_functions where funcname = 'ledger_why_not'";
        assert_eq!(tx.query_one(asked, &[]).await.unwrap().get::<_, i64>(0), 1, "{sql}");
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn i4_rows_leave_the_default_partitions_one_table_at_a_time() {
    let stage = in_time().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let make = "select postmeter.create_partitions(0)::text";
    let locked = "select string_agg(relation::regclass::text, ', ' order by 1) from pg_locks
                  where pid = pg_backend_pid() and mode = 'AccessExclusiveLock' and relation::regclass::text like '%\\_default'";
    let mut moved = BTreeSet::new();
    for _ in 0..4 {
        stage.sql("begin").await;
        assert_eq!(stage.value(make).await, "1");
        moved.insert(stage.value(locked).await);
        stage.sql("commit").await;
    }
    let each = ["allocation", "attempt", "outcome", "usage"].map(|table| format!("postmeter.{table}_default"));
    assert_eq!(moved, BTreeSet::from(each));
    stage.close().await;
}

#[tokio::test]
async fn a5_nothing_is_corrected_whose_earlier_corrections_may_have_been_dropped() {
    let stage = finished().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-10-01', 'ada', 'books', false)").await;
    stage.at("2026-01-01T00:00:00Z").await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    assert_eq!(run(&stage, &["ledger", "export", "--all-finished", "--to", to, "--why", "retention"]).0, 0);
    // October goes, in which September's usage may have been corrected; then older usage is taken again
    stage.sql(&DROPPING.replace("2024-09", "2024-10")).await;
    stage.sql("update postmeter.setting set ledger_retention = null, usage_age_max = '4000 days'").await;
    let correction =
        "select postmeter.record_usage('billing', 'less', 'acme', 'db', 'cores', -1, '2024-09-18T10:05Z', null, 'one')";
    assert_eq!(stage.refusal(correction).await, "PM005 used_at used_at_too_old");
    stage.use_cores("fresh", "2", "2025-12-31T23:30:00Z").await;
    stage.correct("fresh less", "fresh", "-1", "2025-12-31T23:30:00Z").await;
    closes(&stage).await;
}

#[tokio::test]
async fn i4_a_year_of_intake_is_not_a_retention_of_360_days() {
    let stage = finished().await;
    stage.sql("update postmeter.setting set ledger_retention = null, usage_age_max = '1 year'").await;
    let short = "select postmeter.set_ledger_retention('360 days', 'ada', 'why')";
    assert_eq!(stage.refusal(short).await, "PM044 retention ledger_outlives_intake");
    stage.sql("select postmeter.set_ledger_retention('366 days', 'ada', 'why')").await;
}

#[tokio::test]
async fn f4_a_subscription_that_usage_came_ahead_for_is_ended_by_prune_and_not_removed() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    let (code, shown) = run(&stage, &["catalog", "show"]);
    assert_eq!(code, 0, "{shown}");
    std::fs::write(&path, shown).unwrap();
    stage.subscribe_for("globex", "444455556666", "2024-09-18T11:00:00Z", None).await;
    stage.subscribe_for("initech", "777788889999", "2024-09-18T11:00:00Z", None).await;
    stage.record("ahead", "globex", "cores", "1", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    let (code, said) = run(&stage, &["catalog", "apply", path.to_str().unwrap(), "--prune"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        stage
            .column(
                "select org || ' ' || (valid_until at time zone 'UTC') from postmeter.subscription where org <> 'acme'"
            )
            .await,
        ["globex 2024-09-18 12:00:00"]
    );
    let again = run(&stage, &["catalog", "apply", path.to_str().unwrap(), "--prune", "--dry-run"]);
    assert!(again.0 == 0 && !again.1.contains("globex"), "twice changes nothing: {again:?}");
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.close().await;
}
