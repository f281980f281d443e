//! What sessions and transactions do to a call: savepoints, prepared transactions, and SQLSTATEs that are not ours.

use tests::{Stage, TestDatabase};
use tokio_postgres::Client;

use super::page;

const CALL: &str = "select postmeter.record_usage('s', 'e', 'acme', 'db', 'cores', 1, '2024-09-18T09:30:00Z')";

async fn state(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).code().code().to_owned()
}

async fn count(client: &Client) -> i64 {
    client.query_one("select count(*) from postmeter.usage", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn l4_postgres_own_answers_are_those_of_the_page() {
    let stage = Stage::new().await;
    let (client, other) = (stage.db.connect().await, stage.db.connect().await);
    let with = |from: &str, to: &str| CALL.replace(from, to);
    let mut seen = vec![
        state(&client, &with(" 1,", " 'much',")).await,
        state(&client, &with(" 1,", " '1e400000',")).await,
        state(&client, &with("2024-09-18T09:30:00Z", "soon")).await,
        state(&client, &with("2024-09-18T09:30:00Z", "2024-09-31T09:30:00Z")).await,
        state(&client, &with("2024-09-18T09:30:00Z", "2024-09-18T09:30:00+99")).await,
        state(&client, "select postmeter.record_usage_batch('[{\"org\": \"\\u0000\"}]')").await,
        state(&client, &with(" 1,", " 1::float8,")).await,
    ];
    seen.push(state(&client, &format!("begin read only; {CALL}")).await);
    seen.push(state(&client, CALL).await);
    client.batch_execute("rollback; create role nobody_at_all; set role nobody_at_all").await.unwrap();
    seen.push(state(&client, CALL).await);
    client.batch_execute("reset role; drop role nobody_at_all").await.unwrap();
    // somebody records the same, and does not end
    other.batch_execute(&format!("begin; {CALL}")).await.unwrap();
    seen.push(state(&client, &format!("set lock_timeout = '50ms'; {CALL}")).await);
    seen.push(state(&client, &format!("set lock_timeout = 0; set statement_timeout = '50ms'; {CALL}")).await);
    other.batch_execute("rollback").await.unwrap();
    client.batch_execute(&format!("set statement_timeout = 0; {CALL}")).await.unwrap();
    assert_eq!(count(&client).await, 1);
    let page = page("docs/integrate.md");
    let table = page.split("### Postgres's own").nth(1).expect("the section").split("\n#").next().unwrap();
    let mut written: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap().split(','))
        .map(|code| code.trim().trim_matches('`'))
        .filter(|code| code.len() == 5 && !["40001", "40P01", "22030", "54001"].contains(code))
        .collect();
    written.sort_unstable();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(written, seen, "the codes of the page's table, and what Postgres answers");
    stage.close().await;
}

#[tokio::test]
async fn l4_a_savepoint_keeps_the_transaction_and_a_prepared_one_is_recorded_once_it_is_committed() {
    let db = TestDatabase::fresh().await;
    let (client, other) = (db.connect().await, db.connect().await);
    client.batch_execute("update postmeter.setting set clock_frozen = '2024-09-18T10:00:00Z'").await.unwrap();
    // a refusal inside a savepoint leaves what came before it
    client.batch_execute(&format!("begin; {CALL}; savepoint usage")).await.unwrap();
    assert_eq!(state(&client, &CALL.replace(" 1,", " 2,")).await, "PM002");
    client.batch_execute("rollback to savepoint usage; commit").await.unwrap();
    assert_eq!(count(&client).await, 1);
    // two-phase commit: nothing is there before the second phase; whoever records the same waits for it
    let second = CALL.replace("'e'", "'two-phase'");
    client.batch_execute(&format!("begin; {second}; prepare transaction 'usage'")).await.unwrap();
    assert_eq!(count(&client).await, 1);
    assert_eq!(state(&other, &format!("set lock_timeout = '50ms'; {second}")).await, "55P03");
    client.batch_execute("commit prepared 'usage'").await.unwrap();
    other.batch_execute(&second).await.unwrap();
    assert_eq!(count(&client).await, 2);
    client
        .batch_execute(&format!("begin; {}; prepare transaction 'gone'", CALL.replace("'e'", "'gone'")))
        .await
        .unwrap();
    client.batch_execute("rollback prepared 'gone'").await.unwrap();
    assert_eq!(count(&client).await, 2);
}
