//! A: what `docs/integrate.md` promises to producers; its examples, as services of several languages run them.

mod client;
mod examples;
mod streams;

pub use examples::{skip, usage};

use std::path::PathBuf;

use tests::TestDatabase;
use tokio_postgres::Client;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/integrate.md")).expect("the page")
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// Everything a table row promises to be refused: what is wrong, as arguments that replace the good ones.
const REFUSED: &[(&str, &str)] = &[
    ("org => null", "23502 org -"),
    ("source => ''", "PM001 source source_length"),
    ("event_id => repeat('x', 256)", "PM001 event_id event_id_length"),
    ("org => ''", "PM001 org org_length"),
    ("product => ''", "PM001 product product_length"),
    ("metric => repeat('é', 128)", "PM001 metric metric_length"),
    ("account => ''", "PM001 account account_length"),
    ("corrects => ''", "PM001 corrects corrects_length"),
    ("request_id => ''", "PM001 request_id request_id_length"),
    ("traceparent => ''", "PM001 traceparent traceparent_length"),
    ("quantity => 'NaN'", "PM001 quantity quantity_range"),
    ("quantity => 'Infinity'", "PM001 quantity quantity_range"),
    ("quantity => 1000000000001", "PM001 quantity quantity_range"),
    ("quantity => 0.1234567890123456", "PM001 quantity quantity_decimals"),
    ("quantity => -1", "PM001 quantity quantity_negative"),
    ("corrects => 'first'", "PM001 corrects corrects_negative"),
    ("quantity => -0.1, corrects => 'taken'", "PM001 corrects corrects_correction"),
    ("quantity => -0.1, corrects => 'first', metric => 'other'", "PM001 corrects corrects_meter"),
    ("quantity => -0.1, corrects => 'first', used_at => now() - interval '40 days'", "PM001 corrects corrects_month"),
    ("used_at => localtimestamp", "PM001 used_at used_at_zone"),
    ("attributes => '[1]'", "PM001 attributes attributes_object"),
    ("event_id => 'first', quantity => 7", "PM002 event_id usage_identity"),
    ("quantity => -0.1, corrects => 'nobody'", "PM003 corrects corrects_unknown"),
    ("quantity => -0.9, corrects => 'first'", "PM004 corrects corrects_below_zero"),
    ("used_at => now() - interval '401 days'", "PM005 used_at used_at_too_old"),
    ("used_at => now() + interval '2 hours'", "PM006 used_at used_at_too_far_ahead"),
];

/// The call with some arguments replaced.
fn call(changes: &str) -> String {
    let good = [
        ("source", "'shop'"),
        ("event_id", "'new'"),
        ("org", "'acme'"),
        ("product", "'compute'"),
        ("metric", "'hours'"),
        ("quantity", "1"),
        ("used_at", "now()"),
    ];
    let kept = good.iter().filter(|(name, _)| !changes.contains(&format!("{name} =>")));
    let arguments: Vec<String> =
        kept.map(|(name, value)| format!("{name} => {value}")).chain([changes.to_owned()]).collect();
    format!("select postmeter.record_usage({})", arguments.join(", "))
}

/// How a statement is refused: SQLSTATE, column, constraint.
async fn refusal(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let db = error.as_db_error().expect(sql);
    format!("{} {} {}", db.code().code(), db.column().unwrap_or("-"), db.constraint().unwrap_or("-"))
}

#[tokio::test]
async fn a4_every_refusal_of_the_page_is_as_documented() {
    let db = TestDatabase::fresh().await;
    let client = &db.client;
    client.batch_execute(&call("event_id => 'first'")).await.expect("recorded");
    client.batch_execute(&call("event_id => 'taken', quantity => -0.5, corrects => 'first'")).await.expect("corrected");
    let mut seen = Vec::new();
    for (changes, expected) in REFUSED {
        assert_eq!(refusal(client, &call(changes)).await, *expected, "{changes}");
        seen.push((*expected).to_owned());
    }
    seen.push(refusal(client, "select * from postmeter.record_usage_batch('{}')").await);
    // as if this month of the ledger had been dropped
    let drop = "begin; insert into postmeter.ledger_drop (month, decision_id) values (date_trunc('month', now() at time zone 'UTC'), 1)";
    client.batch_execute(drop).await.expect("a dropped month");
    seen.push(refusal(client, &call("quantity => -0.1, corrects => 'first'")).await);
    client.batch_execute("rollback").await.expect("undone");
    seen.extend(unresolved(client).await);
    let page = page();
    let errors = page.split("\n## Errors").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    for line in errors.lines().filter(|line| line.starts_with("| `PM") || line.starts_with("| `23")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let column = if cells[1] == "23502" { "org" } else { cells[2] };
        let constraint = if cells[3].is_empty() { "-" } else { cells[3] };
        let row = format!("{} {column} {constraint}", cells[1]);
        assert!(seen.contains(&row), "the page promises {row}; refused were: {seen:#?}");
        seen.retain(|other| *other != row);
    }
    assert!(seen.is_empty(), "the page does not mention {seen:?}");
}

/// PM007 for each reason, on a catalogue that fits one after the other.
async fn unresolved(client: &Client) -> Vec<String> {
    let subscribe = "insert into postmeter.subscription (org, product, account, destination_id, identity, valid_from)
                     select 'acme', 'compute', $$ACCOUNT$$, id, '{}', '2024-01-01' from postmeter.destination";
    let steps = [
        "update postmeter.setting set unresolved = 'refuse';
         insert into postmeter.quota (name) values ('q');
         insert into postmeter.destination (name, kind, quota_id, age_limit, records_max, bytes_max)
         select 'd', 'aws', id, '24 hours', 25, 900000 from postmeter.quota"
            .to_owned(),
        subscribe.replace("ACCOUNT", "one"),
        "update postmeter.subscription set buyer = 'b', buyer_account = 'b', identity_form = 'f'".to_owned(),
        subscribe.replace("ACCOUNT", "two"),
    ];
    let mut seen = Vec::new();
    for step in steps {
        client.batch_execute(&step).await.expect(&step);
        seen.push(refusal(client, &call("event_id => 'new'")).await);
    }
    seen
}

#[tokio::test]
async fn a2_under_repeatable_read_a_racer_is_told_to_run_again() {
    let db = TestDatabase::fresh().await;
    let other = db.connect().await;
    for level in ["read committed", "repeatable read", "serializable"] {
        // the same content in each try: used_at is the event's own time
        let id = level.replace(' ', "-");
        let record =
            call(&format!("event_id => '{id}', used_at => '{}'", text(&db.client, "select now()::text").await));
        db.client
            .batch_execute(&format!("begin isolation level {level}; select 1 from postmeter.setting"))
            .await
            .expect("a snapshot");
        other.batch_execute(&record).await.expect("recorded meanwhile");
        if level == "read committed" {
            db.client.batch_execute(&record).await.expect("the first id again");
        } else {
            assert!(refusal(&db.client, &record).await.starts_with("40001"), "{level}");
        }
        db.client.batch_execute("rollback").await.expect("over");
        db.client.batch_execute(&record).await.expect("run again");
    }
    assert_eq!(text(&db.client, "select count(*)::text from postmeter.usage").await, "3");
}

#[tokio::test]
async fn a3_the_sql_of_the_page_runs_as_it_stands() {
    let db = TestDatabase::fresh().await;
    let mut block = None;
    for line in page().lines() {
        block = match block {
            None => (line == "```sql").then(String::new),
            Some(sql) if line == "```" => {
                // the last block asks; the others record, with no other right
                let role = if sql.contains("usage_explained") { "reader" } else { "producer" };
                db.client.batch_execute(&format!("set role postmeter_{role}")).await.expect("a role");
                db.client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                None
            }
            Some(sql) => Some(sql + line + "\n"),
        };
    }
    db.client.batch_execute("reset role").await.expect("a role");
    let recorded =
        "select string_agg(event_id, ' ' order by event_id) from postmeter.usage where event_id !~ '471[23]'";
    assert_eq!(text(&db.client, recorded).await, "job-4711 job-4711-refund job-4714 job-4715");
}
