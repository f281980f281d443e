//! Whatever waits for several rows takes them in the order of their numbers: two that wait for each other would be a deadlock.

use tests::{Stage, until_locked};
use tokio_postgres::error::SqlState;

/// Statements that wait: their name, the table whose rows they lock, and whether their parameter is meters or deliveries.
const WAITING: [(&str, &str, &str); 6] = [
    ("lock_deliveries", "delivery", "delivery"),
    ("settle_lock", "delivery", "delivery"),
    ("fold_lock", "delivery", "delivery"),
    ("cut_lock_meters", "meter", "delivery"),
    ("fold_late_lock", "meter", "meter"),
    ("lock_meters", "meter", "meter"),
];

/// Three open hours, each on a meter of its own.
async fn three() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..3 {
        stage.subscribe(&format!("org{n}"), &format!("{}", 100_000_000_000_u64 + n)).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.fold().await;
    stage
}

async fn ids(stage: &Stage, sql: &str) -> Vec<i64> {
    stage.db.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_whatever_waits_for_rows_takes_them_in_the_order_of_their_numbers() {
    let stage = three().await;
    for (name, table, by) in WAITING {
        let sql = std::fs::read_to_string(format!("{}/../sql/queries/{name}.sql", env!("CARGO_MANIFEST_DIR"))).unwrap();
        // no cut waits for any of them
        let sql = sql.replace("$2", "'{}'");
        let rows = ids(&stage, &format!("select id from postmeter.{table} order by id")).await;
        let mut given = ids(&stage, &format!("select id from postmeter.{by} order by id desc")).await;
        assert_eq!((rows.len(), given.len()), (3, 3), "{name}");
        given.rotate_left(1);
        let lock = async |id: i64, mode: &str| {
            let client = stage.db.connect().await;
            let sql = format!("begin; select from postmeter.{table} where id = {id} for update {mode}");
            let locked = client.batch_execute(&sql).await;
            (client, locked)
        };
        let (holder, held) = lock(rows[1], "").await;
        held.unwrap();
        let waiting = stage.db.connect().await;
        let running = tokio::spawn(async move {
            waiting.batch_execute("begin").await.unwrap();
            waiting.query(&sql, &[&given]).await.map(|_| waiting)
        });
        until_locked(&stage.db.client, 1, || running.is_finished()).await;
        let (_, below) = lock(rows[0], "nowait").await;
        let code = below.expect_err("the first is locked by who waits").code().cloned();
        assert_eq!(code, Some(SqlState::LOCK_NOT_AVAILABLE), "{name}");
        let (_, above) = lock(rows[2], "nowait").await;
        assert!(above.is_ok(), "{name} took a later row before the one that it waits for");
        holder.batch_execute("rollback").await.unwrap();
        running.await.unwrap().unwrap();
    }
}
