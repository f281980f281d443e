//! A schema that shadows what our SQL calls, for whoever has it on a search_path.

use std::path::PathBuf;

use tokio_postgres::Client;

/// All SQL of ours: the schema, the queries and the files that people run.
fn our_sql() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql");
    let mut all = String::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("the source tree").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                all += &std::fs::read_to_string(path).expect("a file");
            }
        }
    }
    all
}

/// Makes the schema `hostile` in a database: whoever calls one of its functions is told that it was `FOOLED`.
///
/// # Panics
/// If it cannot be made, or shadows next to nothing.
pub async fn hostile(client: &Client) {
    client.batch_execute("create temp table our_sql (sql text)").await.expect("a place for our SQL");
    client.execute("insert into our_sql values ($1)", &[&our_sql()]).await.expect("our SQL");
    client.batch_execute(include_str!("hostile.sql")).await.unwrap_or_else(|error| panic!("hostile.sql: {error:?}"));
    let made = "select (select count(*) from pg_proc where pronamespace = 'hostile'::regnamespace)
                     + (select count(*) from pg_operator where oprnamespace = 'hostile'::regnamespace)";
    let made: i64 = client.query_one(made, &[]).await.expect("a count").get(0);
    assert!(made > 5_000, "it shadows {made} functions and operators");
}
