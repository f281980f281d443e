//! J1: side tables. What steps note for people is locked: usage goes from its record to its settlement all the same.

use std::time::{Duration, Instant};

use tests::{Stage, until_true, wait_until};
use tokio_postgres::Client;

/// Side tables, as `docs/operate/isolation.md` names them.
const SIDE: [&str; 5] = ["setback", "suspect_range", "suspect", "cure", "step_failure"];

/// Something in each of them, so that each is worth being read.
const NOTED: &str = "
    insert into postmeter.setback (step, member, org, skipped) values ('fold', 'org:somebody', 'somebody', 1), ('cut', '0', null, 1);
    with r as (insert into postmeter.suspect_range (id) values (gen_random_uuid()) returning id)
    insert into postmeter.suspect (usage_id, shard, range_id) select gen_random_uuid(), 0, r.id from r;
    insert into postmeter.cure default values;
    insert into postmeter.step_failure (step, worker_id, message) values ('nothing', gen_random_uuid(), 'of the past')";

async fn lock(stage: &Stage, table: &str) -> Client {
    let holder = stage.db.connect().await;
    holder.batch_execute(&format!("begin; lock table postmeter.{table} in access exclusive mode")).await.unwrap();
    holder
}

/// One usage from its record to its settlement, each step once, while somebody holds a side table.
async fn travels_while_locked(table: &str) {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:54:00Z").await;
    stage.sql(NOTED).await;
    let dead = stage.another_worker().await;
    let spans = vec![outbox::workers::Span { shard: 0, first: uuid::Uuid::nil(), last: uuid::Uuid::nil() }];
    let folding = outbox::workers::Folding::Spans(spans);
    outbox::workers::set_folding(&stage.db.database, dead.id(), &folding).await.unwrap();
    let holder = lock(&stage, table).await;
    let began = Instant::now();
    let worker = stage.another_worker().await;
    stage.use_cores("travels", "3", "2024-09-18T10:10:00Z").await;
    assert!(worker.beat().await.unwrap());
    stage.end_lease_of(dead.id()).await;
    assert_eq!(worker.reap().await.unwrap(), 1, "{table}: reap");
    assert_eq!(worker.fold().await.unwrap().allocated, 1, "{table}: fold");
    worker.fold_apart().await.unwrap();
    stage.at("2024-09-18T11:10:00Z").await;
    assert!(
        worker.maintain_all(true).await.is_empty(),
        "{table}: promote, review, carry, month end, reap and what is rare"
    );
    worker.maintain().await.unwrap();
    assert_eq!(worker.cut().await.unwrap().cut, 1, "{table}: cut");
    assert_eq!(worker.send().await.unwrap(), 1, "{table}: claim and settle");
    assert_eq!(stage.accepted(), ["18T10 3"], "{table}");
    assert_eq!(stage.value("select status from postmeter.delivery").await, "accepted", "{table}");
    // each asks for a tenth of a second; a lock that is waited for costs five
    assert!(began.elapsed() < Duration::from_secs(60), "{table}: {:?}", began.elapsed());
    holder.batch_execute("rollback").await.unwrap();
    stage.work().await;
    let unseen = "select count(*)::text from postmeter.worker where folding is not null and reaped_at is not null";
    assert_eq!(stage.value(unseen).await, "0", "what the dead worker had in hand is looked at in the end");
    stage.close().await;
}

#[tokio::test]
async fn j1_usage_is_settled_while_setback_is_locked() {
    travels_while_locked("setback").await;
}

#[tokio::test]
async fn j1_usage_is_settled_while_suspect_range_is_locked() {
    travels_while_locked("suspect_range").await;
}

#[tokio::test]
async fn j1_usage_is_settled_while_suspect_is_locked() {
    travels_while_locked("suspect").await;
}

#[tokio::test]
async fn j1_usage_is_settled_while_cure_is_locked() {
    travels_while_locked("cure").await;
}

#[tokio::test]
async fn j1_usage_is_settled_while_step_failure_is_locked() {
    travels_while_locked("step_failure").await;
}

/// Statements that name a side table: they are asked through `crates/outbox/src/side.rs`, or by people and watchers.
const ASKED_ASIDE: [&str; 17] = [
    "cure_done",
    "cure_wanted",
    "fold_has_others",
    "fold_held_off",
    // only after fold_has_others has answered
    "fold_pick_org",
    "fold_pick_others",
    "fold_suspects",
    "setback_failed",
    "setback_forget",
    "setback_hold_off",
    "setback_locked",
    "setback_over",
    "setback_passed",
    "setback_put_down",
    "setback_read",
    "setback_steps",
    "setback_take_on",
];

#[test]
fn j1_no_main_statement_names_a_side_table() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/queries");
    let of_people = ["alert_", "health_", "report_", "measure_", "step_", "suspect_"];
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if ASKED_ASIDE.contains(&name.as_str()) || of_people.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let sql = std::fs::read_to_string(&path).unwrap();
        let words: Vec<&str> = sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').collect();
        let named: Vec<_> =
            SIDE.iter().filter(|table| words.contains(&format!("postmeter.{table}").as_str())).collect();
        assert!(named.is_empty(), "{name} waits for whoever locks {named:?}");
    }
}

#[tokio::test]
async fn j1_usage_of_a_shadow_is_folded_and_cut_while_setback_is_locked() {
    let (stage, _theirs) = crate::shadow::stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:54:00Z").await;
    stage.sql("insert into postmeter.setback (step, member) values ('shadow_fold', '0:org:somebody'), ('shadow_cut', '0')").await;
    let holder = lock(&stage, "setback").await;
    stage.use_cores("travels", "3", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.worker.shadow().await.unwrap();
    let counted =
        "select count(*)::text from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                   where t.shadow_of is not null";
    assert_eq!(stage.value(counted).await, "1");
    stage.at("2024-09-18T11:10:00Z").await;
    stage.worker.shadow().await.unwrap();
    // the cut waits for what a changed catalogue may move
    outbox::maintain::return_marked(&stage.db.database).await.unwrap();
    stage.worker.shadow().await.unwrap();
    let cut = "select count(*)::text from postmeter.delivery where shadow and status <> 'open'";
    assert_eq!(stage.value(cut).await, "1");
    holder.batch_execute("rollback").await.unwrap();
    stage.close().await;
}

#[tokio::test]
async fn j1_what_is_locked_while_setback_is_locked_is_noted_once_it_is_free() {
    let stage = super::ripe(3).await;
    let member =
        super::holding(&stage, &format!("select from postmeter.meter where id = {} for update", super::meter_of(2)))
            .await;
    let side = lock(&stage, "setback").await;
    for _ in 0..3 {
        stage.worker.cut().await.unwrap();
    }
    let open = "select count(*)::text from postmeter.open_hour";
    assert_eq!(stage.value(open).await, "1", "the others are cut");
    side.batch_execute("rollback").await.unwrap();
    stage.worker.cut().await.unwrap();
    assert_eq!(super::setbacks(&stage).await, ["cut 1/0"], "the next round says it");
    wait_until("the holder is named", async || {
        stage.worker.cut().await.unwrap();
        stage.value("select (holder like '%(a console)')::text from postmeter.setback").await == "true"
    })
    .await;
    member.batch_execute("rollback").await.unwrap();
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    assert_eq!(super::setbacks(&stage).await, [""; 0]);
    stage.close().await;
}

#[tokio::test]
async fn j1_what_fails_while_setback_is_locked_is_set_aside_once_it_is_free() {
    let stage = super::ripe(3).await;
    super::sick(&stage, "cut", &super::moving::delivery_of(2), "delivery_id").await;
    let side = lock(&stage, "setback").await;
    for _ in 0..2 {
        stage.worker.cut().await.unwrap();
    }
    let open = "select count(*)::text from postmeter.open_hour";
    assert_eq!(stage.value(open).await, "1", "the others are cut");
    side.batch_execute("rollback").await.unwrap();
    stage.worker.cut().await.unwrap();
    assert_eq!(super::setbacks(&stage).await, ["cut 0/0: 23514"], "nobody has passed beside it yet");
    super::cure(&stage, "cut").await;
    stage.worker.cut().await.unwrap();
    assert_eq!((stage.value(open).await.as_str(), super::setbacks(&stage).await), ("0", vec![]));
    stage.close().await;
}

#[tokio::test]
async fn j1_a_step_that_fails_while_step_failure_is_locked_is_told_once_it_is_free() {
    let stage = Stage::new().await;
    stage.sql("alter table postmeter.outbox rename to outbox_elsewhere").await;
    let worker = stage.another_worker().await;
    let side = lock(&stage, "step_failure").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn({
        let (worker, stop) = (std::sync::Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await }
    });
    // it asks for a tenth of a second, and gives up
    for waits in [true, false] {
        let asks = format!(
            "select {waits} = exists (select from pg_locks where not granted and relation = 'postmeter.step_failure'::regclass
             and database = (select oid from pg_database where datname = current_database()))"
        );
        until_true(&stage.db.client, &asks).await;
    }
    side.batch_execute("rollback").await.unwrap();
    until_true(&stage.db.client, "select exists (select from postmeter.step_failure where step = 'fold')").await;
    stop.cancel();
    running.await.unwrap().unwrap();
    stage.close().await;
}
