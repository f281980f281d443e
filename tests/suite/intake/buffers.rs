//! L3: what a repeated batch reads on a connection whose plans were made over empty tables.

use serde_json::{Value, json};
use tests::{Stage, TestDatabase};
use tokio_postgres::Client;

/// So many usages of one batch.
const BATCH: i64 = 500;
/// What waits in the outbox meanwhile.
const WAITING: i64 = 100_000;

/// How a door takes a batch: the statement, with the number that begins its event ids.
type Door = fn(i64) -> String;

const DOORS: [(&str, Door); 3] = [
    ("batch", |from| {
        let usages: Vec<Value> = (from..from + BATCH)
            .map(|n| {
                json!({"source": "s", "event_id": n.to_string(),
            "org": format!("org{}", n % 50), "product": "db", "metric": "cores", "quantity": "1",
            "used_at": "2024-09-18T09:30:00Z"})
            })
            .collect();
        format!("select * from postmeter.record_usage_batch('{}')", Value::Array(usages))
    }),
    ("insert", |from| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 's', 'i' || n, 'org' || n % 50, 'db', 'cores', 1, '2024-09-18T09:30:00Z'
             from generate_series({from}, {from} + {BATCH} - 1) n"
        )
    }),
    ("corrections", |from| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, corrects)
             select 's', 'c' || n, 'org' || n % 50, 'db', 'cores', -0.5, '2024-09-18T09:30:00Z', 'i' || n
             from generate_series({from}, {from} + {BATCH} - 1) n"
        )
    }),
];

/// Runs a statement inside of another, so that the buffers of its triggers are counted: a plan's own leave them out.
const RUN: &str = "create function pg_temp.run(sql text) returns void language plpgsql as $$ begin execute sql; end $$";

/// Buffers that a statement touched, with whatever it set off.
async fn buffers(client: &Client, sql: &str) -> i64 {
    let run = format!("explain (analyze, buffers, format json) select pg_temp.run($run${sql}$run$)");
    let row = client.query_one(&run, &[]).await.expect("a plan");
    let plan: Value = row.get(0);
    let plan = &plan[0]["Plan"];
    let count = |name: &str| plan[name].as_i64().unwrap_or_default();
    count("Shared Hit Blocks") + count("Shared Read Blocks")
}

/// Usage that waits in the outbox, and its identities.
async fn fill(db: &TestDatabase, from: i64, entries: i64) {
    db.client
        .batch_execute(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'waiting', n::text, 'org' || n % 50, 'db', 'cores', 1, '2024-09-18T09:30:00Z'
             from generate_series({from}, {from} + {entries} - 1) n"
        ))
        .await
        .expect("a backlog");
}

#[tokio::test]
async fn l3_a_repeated_batch_reads_no_more_than_twice_the_first_whatever_waits() {
    let stage = Stage::new().await;
    let session = stage.db.connect().await;
    session.batch_execute(RUN).await.expect("a function");
    // every plan of this session is made here, over next to nothing
    for (_, door) in DOORS {
        session.batch_execute(&door(0)).await.expect("recorded");
        session.batch_execute(&door(0)).await.expect("repeated");
    }
    let one =
        |n: i64| format!("select postmeter.record_usage('s', 'one{n}', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')");
    for _ in 0..2 {
        session.batch_execute(&one(-1)).await.expect("recorded");
    }
    let mut told = Vec::new();
    for waiting in [0, WAITING] {
        fill(&stage.db, waiting, waiting).await;
        for (number, (name, door)) in DOORS.into_iter().enumerate() {
            let batch = door(BATCH * (1 + waiting / WAITING));
            let first = buffers(&session, &batch).await;
            for repeat in 1..=2 {
                let again = buffers(&session, &batch).await;
                told.push(format!("{number} {name}, {waiting} waiting: {first} first, {again} repeat {repeat}"));
                assert!(again <= 2 * first, "{told:#?}");
            }
        }
    }
    // each by itself, as services do that do not batch
    let one =
        |n: i64| format!("select postmeter.record_usage('s', 'one{n}', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')");
    for n in 0..7 {
        let (first, again) = (buffers(&session, &one(n)).await, buffers(&session, &one(n)).await);
        assert!(again <= 2 * first, "alone: {first} first, {again} again");
    }
    let mut kept = stage.column("select count(*)::text from postmeter.usage").await;
    kept.extend(stage.column("select count(*)::text from postmeter.outbox").await);
    assert_eq!(kept[0], kept[1], "each usage waits once");
}

#[tokio::test]
async fn l3_many_corrections_of_one_usage_are_summed_once() {
    let stage = Stage::new().await;
    let session = stage.db.connect().await;
    session.batch_execute(RUN).await.expect("a function");
    stage.record("much", "acme", "cores", "1000000", "2024-09-18T09:30:00Z").await;
    let correct = |from: i64| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, corrects)
             select source, 'c' || n, 'acme', 'db', 'cores', -1, '2024-09-18T09:30:00Z', 'much'
             from postmeter.usage, generate_series({from}, {from} + {BATCH} - 1) n where event_id = 'much'"
        )
    };
    let first = buffers(&session, &correct(0)).await;
    for round in 1..8 {
        let later = buffers(&session, &correct(round * BATCH)).await;
        assert!(later <= 2 * first, "round {round}: {later} after {first}");
    }
}
