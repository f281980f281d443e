//! What recording costs when many identities are known: the log a usage, and whole pages in it, for event ids that grow
//! with time and for random ones; and what a generation leaves behind when it is dropped.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::ground::{self, Ground, connect};
use crate::report::{Report, Target, scaled};

const BATCH: usize = 500;
const RECORDED: usize = 300_000;
const MILLIONS: [usize; 2] = [10, 50];

/// Identities of the days before, as they would lie there.
const KNOWN: &str = "insert into postmeter.usage_identity (source, event_id, usage_id)
    select 'bench', k.event_id, gen_random_uuid()
    from (select case when $1 then to_char($2 + n, 'FM000000000000') || '-known' else gen_random_uuid()::text end as event_id
          from generate_series(1::bigint, 1000000) n) k";
/// Key by key, an index larger than memory takes a page of log for each: it is made when they are there.
const WITHOUT_KEY: &str = "alter table postmeter.usage_identity drop constraint usage_identity_pkey";
const WITH_KEY: &str = "set maintenance_work_mem = '1GB';
    alter table postmeter.usage_identity add constraint usage_identity_pkey primary key (source, event_id);
    reset maintenance_work_mem";

pub async fn run(report: &mut Report) {
    for millions in MILLIONS.map(scaled) {
        for (way, grows) in [("ids that grow", true), ("random ids", false)] {
            let ground = Ground::start(true, &[]);
            let url = ground.database("identities").await;
            let client = connect(&url).await;
            client.batch_execute(WITHOUT_KEY).await.expect("no key");
            for share in 0..millions {
                let first = i64::try_from(share * 1_000_000).expect("few");
                client.execute(KNOWN, &[&grows, &first]).await.expect("identities");
            }
            client.batch_execute(WITH_KEY).await.expect("the key");
            for rest in ["vacuum analyze", "checkpoint"] {
                client.batch_execute(rest).await.expect("rest");
            }
            let (wal, pages, postgres) = recorded(&ground, &client, grows, millions).await;
            let mut note = |what: &str, figure: f64, unit: &'static str, target: Target| {
                report.note("identities", format!("{what}, {millions} million known, {way}"), figure, unit, target);
            };
            let most = if grows { 700.0 } else { 1500.0 };
            note("WAL a usage", wal, "B", if millions == 10 { Target::Below(most) } else { Target::None });
            note("whole pages a usage", pages, "", Target::None);
            note("CPU of Postgres a usage", postgres * 1e6, "us", Target::None);
            dropped(&client, &mut note).await;
        }
    }
}

/// Records in batches; what the log took a usage, in bytes and whole pages, and seconds of CPU.
async fn recorded(ground: &Ground, client: &Client, grows: bool, millions: usize) -> (f64, f64, f64) {
    let sql = "select verdict from postmeter.record_usage_batch($1)";
    let statement = client.prepare(sql).await.expect("a statement");
    let now = ground::now(client).await;
    let usage = |n: usize| -> Value {
        let event =
            if grows { format!("{:0>12}-new", millions * 1_000_000 + n) } else { uuid::Uuid::new_v4().to_string() };
        json!({
            "source": "bench", "event_id": event, "org": format!("org-{}", n % 1000), "product": "db", "metric": "cores",
            "quantity": (n % 7 + 1).to_string(), "used_at": now, "attributes": {"region": "eu-west-1"},
        })
    };
    let batches = scaled(RECORDED).div_ceil(BATCH);
    let log = async || {
        let sql = "select wal_bytes::bigint, wal_fpi from pg_stat_wal";
        client.batch_execute("select pg_stat_clear_snapshot()").await.expect("statistics");
        let row = client.query_one(sql, &[]).await.expect("statistics of the log");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let (before, cpu) = (log().await, ground.cpu_seconds());
    for batch in 0..batches {
        let body = Value::Array((batch * BATCH..(batch + 1) * BATCH).map(usage).collect());
        let rows = client.query(&statement, &[&body]).await.expect("recorded");
        assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "recorded"));
    }
    // sessions report what they have written when they are idle
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let (after, cpu) = (log().await, ground.cpu_seconds() - cpu);
    let each = |count: i64| count as f64 / (batches * BATCH) as f64;
    (each(after.0 - before.0), each(after.1 - before.1), cpu / (batches * BATCH) as f64)
}

/// Two turns later nothing of them is left.
async fn dropped(client: &Client, note: &mut impl FnMut(&str, f64, &'static str, Target)) {
    let due = "update postmeter.identity_generation set began_at = postmeter.clock() - interval '48 days'";
    let size = "select pg_total_relation_size('postmeter.usage_identity')
                       + pg_total_relation_size('postmeter.usage_identity_before')";
    let size = async || client.query_one(size, &[]).await.expect("a size").get::<_, i64>(0) as f64 / 1e6;
    note("identities on disk", size().await, "MB", Target::None);
    for _ in 0..2 {
        client.batch_execute(due).await.expect("due");
        let started = std::time::Instant::now();
        let turned: bool = client.query_one("select postmeter.turn_identities()", &[]).await.expect("a turn").get(0);
        assert!(turned, "nobody is in its way");
        note("a turn", started.elapsed().as_secs_f64() * 1e3, "ms", Target::None);
    }
    note("identities on disk after two turns", size().await, "MB", Target::Below(1.0));
}
