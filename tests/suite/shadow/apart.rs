//! A live destination does not notice its shadows.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::fleet::Running;

#[tokio::test]
async fn a_shadow_that_cannot_be_served_or_knows_nobody_changes_nothing_for_the_live_one() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage
        .sql(
            "update postmeter.destination set settings = '{\"region\": 7}', kind = 'nowhere' where name = 'trial';
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max, dry_run, shadow_of)
             select 'empty', kind, settings, quota_id, age_limit, records_max, bytes_max, true, id from postmeter.destination where name = 'aws'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    assert_eq!(uncounted(&stage).await, ["waiting 5"], "it can be counted when the shadow is mended");
    assert_eq!(differences(&stage).await, ["18T10 live accepted 5, shadow  : -5 live_alone"]);
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_with_other_buyers_is_no_second_subscription_and_shows_what_is_on_one_side() {
    let stage = Stage::new().await;
    let _theirs = add_shadow(&stage).await;
    shadow_dimension(&stage, "1/1").await;
    shadow_subscription(&stage, "acme", "999999999999").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    let sides =
        "select format('%s %s', split_part(buyer, '/', 4), verdict) from postmeter.shadow_difference order by 1";
    assert_eq!(stage.column(sides).await, ["111122223333 live_alone", "999999999999 shadow_alone"]);
    let by_usage =
        "select format('%s %s %s', live_quantity, shadow_quantity, difference) from postmeter.shadow_usage_difference";
    assert_eq!(stage.column(by_usage).await, ["5 5 0"], "by usage it is the same");
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_counts_in_no_total_of_the_live_ones() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.sql("update postmeter.destination set grace = '5 minutes'").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    cut_both(&stage, "2024-09-18T11:10:00Z").await;
    stage.at("2024-09-19T09:30:00Z").await;
    for view in ["at_risk", "unremitted", "forecast", "forecast_detail"] {
        let of = format!("select destination from postmeter.{view}");
        assert_eq!(stage.column(&of).await, ["aws"], "{view}");
    }
    for view in ["queue", "balance", "destination_health", "month_close"] {
        let of = format!("select destination || ' ' || shadow from postmeter.{view} order by 1");
        assert_eq!(stage.column(&of).await, ["aws false", "trial true"], "{view}");
    }
    assert_eq!(stage.value("select string_agg(destination, ' ') from postmeter.usage_explained").await, "aws");
    // too late for both: the shadow's is expired too, and nobody's dead letter
    stage.work_at("2024-09-19T11:00:00Z").await;
    assert_eq!(both_sides(&stage).await, ["aws expired 5", "trial expired 5"]);
    assert_eq!(stage.column("select destination from postmeter.dead_letter").await, ["aws"]);
    stage.close().await;
}

#[tokio::test]
async fn a_shadow_that_is_stuck_holds_no_live_hour_up() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    let other = stage.db.connect().await;
    other
        .batch_execute("begin; select from postmeter.meter m join postmeter.balance b on b.meter_id = m.id where b.shadow for update of m;
                        select from postmeter.delivery d where d.shadow for update of d")
        .await
        .unwrap();
    // of the running hour: nothing but the lock keeps the shadow's hour of ten from being cut
    stage.at("2024-09-18T11:03:00Z").await;
    stage.use_cores("b", "2", "2024-09-18T11:02:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.worker.send().await.unwrap();
    assert_eq!(stage.accepted(), ["18T10 5"]);
    other.batch_execute("rollback").await.unwrap();
    stage.work().await;
    assert_eq!(both_sides(&stage).await, ["aws accepted 5", "aws open", "trial dry_run 5", "trial open"]);
    stage.close().await;
}

#[tokio::test]
async fn without_a_shadow_a_fold_gives_nothing() {
    let stage = Stage::new().await;
    // were the statement run, it would find no table
    stage.sql("alter table postmeter.shadow_usage rename to elsewhere").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    stage.fold().await;
    stage.worker.shadow().await.unwrap();
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "1");
    stage.sql("alter table postmeter.elsewhere rename to shadow_usage").await;
    stage.close().await;
}

#[tokio::test]
async fn telling_a_shadow_of_a_buyer_waits_for_the_folds_that_do_not_know_it() {
    let stage = Stage::new().await;
    let _theirs = add_shadow(&stage).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("a", "5", "2024-09-18T10:05:00Z").await;
    let other = stage.db.connect().await;
    let telling = async || {
        other.batch_execute("set lock_timeout = '200ms'").await.unwrap();
        let refused = other
            .batch_execute(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select 'acme', 'db', id, '{}', '2024-01-01Z' from postmeter.destination where name = 'trial'",
            )
            .await
            .unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55P03");
    };
    let folded = outbox::fold::fold_with(&stage.db.database, &mut outbox::fold::Turns::default(), 100, telling).await;
    assert_eq!(folded.unwrap().allocated, 1);
    stage.close().await;
}

#[tokio::test]
async fn the_loops_of_two_workers_serve_a_shadow_beside_the_live_destination() {
    let (stage, theirs) = stage_with_shadow("1/4").await;
    stage.at("2024-09-18T10:10:00Z").await;
    let workers = [Running::start(&stage).await, Running::start(&stage).await];
    stage.use_cores("a", "10", "2024-09-18T10:05:00Z").await;
    until(&stage, "aws open, trial open").await;
    stage.at("2024-09-18T11:20:00Z").await;
    until(&stage, "aws accepted 10, trial dry_run 3").await;
    for worker in workers {
        assert!(worker.stop().await);
    }
    assert!(theirs.calls().is_empty());
    stage.close().await;
}

/// Waits until both sides stand so.
async fn until(stage: &Stage, standing: &str) {
    tests::wait_until(standing, async || both_sides(stage).await.join(", ") == standing).await;
}

#[tokio::test]
async fn e4_after_random_days_both_sides_have_billed_their_own_roundings_of_the_same_usage() {
    for seed in 1..=2 {
        let (stage, theirs) = stage_with_shadow("1/4").await;
        let mut draw = StdRng::seed_from_u64(seed);
        let (mut now, mut number) = (t("2024-09-18T10:05:00Z"), 0);
        while now < t("2024-09-18T15:00:00Z") {
            stage.work_at(&now.to_string()).await;
            for _ in 0..draw.random_range(0..4) {
                number += 1;
                let back = if draw.random_bool(0.3) { draw.random_range(30..150) } else { draw.random_range(0..10) };
                let quantity = format!("{}.{}", draw.random_range(1..9), draw.random_range(0..9));
                let used_at = now - jiff::SignedDuration::from_mins(back);
                stage.use_cores(&format!("e{number}"), &quantity, &used_at.to_string()).await;
            }
            now += jiff::SignedDuration::from_mins(draw.random_range(4..20));
        }
        for _ in 0..12 {
            now += jiff::SignedDuration::from_mins(10);
            stage.work_at(&now.to_string()).await;
        }
        let sums = "select format('live %s, shadow %s', sum(quantity) filter (where status = 'accepted'), sum(quantity) filter (where status = 'dry_run'))
                    from postmeter.remittance";
        let used =
            "select format('live %s, shadow %s', ceil(sum(quantity)), ceil(sum(quantity) / 4)) from postmeter.usage";
        assert_eq!(stage.value(sums).await, stage.value(used).await, "seed {seed}");
        assert_eq!(
            stage.column("select distinct difference::text from postmeter.shadow_usage_difference").await,
            ["0"]
        );
        assert!(theirs.calls().is_empty());
        stage.close().await;
    }
}
