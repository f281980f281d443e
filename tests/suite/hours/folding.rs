//! Folding: one remittance, whoever folds.

use outbox::fold::{Turns, fold};
use tests::{Dimension, Stage, q, t};

/// Inserts so many usages of one core into an hour of the 18th.
async fn many(stage: &Stage, hour: u32, usages: u32, orgs: u32) {
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', '{hour} ' || n, 'org' || n % {orgs}, 'db', (array['cores', 'gpus'])[1 + n % 2],
                    1 + n * 0.001, '2024-09-18T{hour}:10Z' from generate_series(1, {usages}) n"
        ))
        .await;
}

#[tokio::test]
async fn c1_many_workers_folding_at_once_make_one_remittance_with_the_exact_sum() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { decimals: 6, ..Dimension::default() }).await;
    stage.dimension(Dimension { metric: "gpus", decimals: 6, ..Dimension::default() }).await;
    for org in 0..5 {
        // all orgs buy under one account: one key
        stage.subscribe(&format!("org{org}"), "111122223333").await;
    }
    stage.at("2024-09-18T11:02:00Z").await;
    many(&stage, 10, 100, 5).await;
    many(&stage, 11, 50, 5).await;
    let mut workers = Vec::new();
    for _ in 0..8 {
        let database = stage.db.another();
        workers.push(tokio::spawn(async move {
            let (mut turns, mut taken) = (Turns::default(), 0);
            for _ in 0..20 {
                taken += fold(&database, &mut turns, 7).await.unwrap().taken;
            }
            taken
        }));
    }
    let mut taken = 0;
    for worker in workers {
        taken += worker.await.unwrap();
    }
    assert_eq!(taken, 150, "each entry once");
    assert_eq!(stage.value("select count(*)::text from postmeter.delivery").await, "2");
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 105.05", "18T11 51.275"]);
    stage.close().await;
}

#[tokio::test]
async fn c2_two_service_levels_in_one_hour_are_one_call() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for level in ["gold", "silver"] {
        let mut usage =
            outbox::NewUsage::new("billing", level, "acme", "db", "cores", q("2"), t("2024-09-18T10:10:00Z"));
        usage.attributes = serde_json::json!({ "level": level });
        stage.record_as(&usage).await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 4"]);
    assert_eq!(stage.aws.calls().len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn c3_an_hour_is_cut_and_sent_although_nothing_arrives_after_it() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("only", "1", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    stage.work_at("2024-09-18T11:04:59Z").await;
    assert_eq!(stage.remittances().await, ["18T10 open"], "not before the hour and its grace are over");
    stage.work_at("2024-09-18T11:05:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn c3_usage_ahead_of_the_clock_waits_for_its_hour() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("ahead", "1", "2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    assert_eq!(stage.remittances().await, ["18T11 open"]);
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 1"]);
    stage.close().await;
}
