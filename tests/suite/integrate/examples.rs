//! The examples of `docs/integrate/`, each against a real database: every language leaves the same rows.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use postmeter_client::{NewUsage, Verdict};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tests::{TestDatabase, q};

use super::{root, text};

#[path = "../../../docs/integrate/examples/rust/plain.rs"]
mod plain;
#[path = "../../../docs/integrate/examples/rust/usage.rs"]
pub mod usage;
#[path = "../../../docs/integrate/examples/rust/sqlx.rs"]
mod with_sqlx;

/// The trace context that every example records.
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A user who may record, create a table of its own, and nothing else; with its URL.
async fn service(db: &TestDatabase, name: &str) -> String {
    db.client
        .batch_execute(&format!(
            "create role {name} login password 'shop' in role postmeter_producer;
             grant create, usage on schema public to {name}"
        ))
        .await
        .expect("a user");
    let url = db.tcp_url();
    let (_, place) = url.split_once('@').expect("user@host");
    format!("postgresql://{name}:shop@{place}")
}

/// The database's time, to the second.
async fn now(db: &TestDatabase) -> Timestamp {
    let now = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    text(&db.client, now).await.parse().expect("a time")
}

pub fn skip(test: &str, variable: &str) {
    let line = format!("{test}: {variable} is not set");
    eprintln!("SKIPPED {line}");
    if let Ok(file) = std::env::var("POSTMETER_SKIPS") {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the list of skips");
        writeln!(file, "{line}").expect("a line");
    }
}

/// Runs an example and compares what it prints and what is in the database then.
async fn run(db: &TestDatabase, mut command: Command, url: &str, prefix: &str) {
    let output = command.env("DATABASE_URL", url).output().expect("the example starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let verdict = |item: i32, verdict: &str, code: Option<&str>, field: Option<&str>| json!({"item": item, "verdict": verdict, "error_code": code, "field": field});
    let verdicts = [
        verdict(1, "recorded", None, None),
        verdict(2, "repeated", None, None),
        verdict(3, "refused", Some("22P02"), Some("quantity")),
    ];
    assert_eq!(said, json!({"same_id_again": true, "flagged": true, "verdicts": verdicts}));
    is_recorded(db, prefix).await;
}

async fn is_recorded(db: &TestDatabase, prefix: &str) {
    let recorded = "select string_agg(concat_ws(' ', u.event_id, trim_scale(u.quantity), u.corrects, u.request_id,
                        u.traceparent), ', ' order by u.event_id collate \"C\")
                    from postmeter.usage u join postmeter.outbox o using (id)";
    let expected = format!(
        "{prefix}-1 0.25 req-1 {TRACE}, {prefix}-1-refund -0.05 {prefix}-1, {prefix}-2 1.5, {prefix}-4 2, {prefix}-5 3"
    );
    assert_eq!(text(&db.client, recorded).await, expected);
    let instants = "select count(distinct used_at)::text from postmeter.usage";
    assert_eq!(text(&db.client, instants).await, "1", "the correction has the instant of what it corrects");
    let jobs = "select string_agg(id || coalesce(' ' || flaw, ''), ', ' order by flaw nulls first) from job";
    let flawed = format!(
        "{prefix}-1, req-2 usage '{prefix}-1' of source 'shop' was recorded before with other content: quantity differs"
    );
    assert_eq!(text(&db.client, jobs).await, flawed);
}

#[tokio::test]
async fn a1_a_python_service_records_in_its_own_transaction() {
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        return skip("a1_a_python_service_records_in_its_own_transaction", "POSTMETER_TEST_PYTHON");
    };
    let db = TestDatabase::fresh().await;
    let url = service(&db, "python_shop").await;
    let mut command = Command::new(python);
    command.arg(root().join("docs/integrate/examples/python/usage.py"));
    run(&db, command, &url, "py").await;
}

#[tokio::test]
async fn a1_a_python_service_with_an_orm_records_in_its_own_transaction() {
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        return skip("a1_a_python_service_with_an_orm_records_in_its_own_transaction", "POSTMETER_TEST_PYTHON");
    };
    let db = TestDatabase::fresh().await;
    let url = service(&db, "orm_shop").await;
    let mut command = Command::new(python);
    command.arg(root().join("docs/integrate/examples/python/orm.py"));
    run(&db, command, &url, "orm").await;
}

#[tokio::test]
async fn a1_a_node_service_records_in_its_own_transaction() {
    let Ok(modules) = std::env::var("POSTMETER_TEST_NODE_MODULES") else {
        return skip("a1_a_node_service_records_in_its_own_transaction", "POSTMETER_TEST_NODE_MODULES");
    };
    let db = TestDatabase::fresh().await;
    let url = service(&db, "node_shop").await;
    // node looks for modules beside the file
    let place = tempfile::tempdir().expect("a directory");
    std::fs::copy(root().join("docs/integrate/examples/node/usage.mjs"), place.path().join("usage.mjs"))
        .expect("a copy");
    std::os::unix::fs::symlink(modules, place.path().join("node_modules")).expect("a link");
    let mut command = Command::new("node");
    command.arg(place.path().join("usage.mjs"));
    run(&db, command, &url, "js").await;
}

#[tokio::test]
async fn a1_a_java_service_records_in_its_own_transaction() {
    let Ok(driver) = std::env::var("POSTMETER_TEST_JDBC") else {
        return skip("a1_a_java_service_records_in_its_own_transaction", "POSTMETER_TEST_JDBC");
    };
    let db = TestDatabase::fresh().await;
    let url = service(&db, "java_shop").await;
    // java compiles a single source file itself
    let mut command = Command::new("java");
    command.arg("-cp").arg(driver).arg(root().join("docs/integrate/examples/java/Usage.java"));
    run(&db, command, &url, "java").await;
}

#[tokio::test]
async fn a1_a_rust_service_records_in_its_own_transaction() {
    let db = TestDatabase::fresh().await;
    db.client
        .batch_execute("create table job (id text primary key, org text not null, flaw text)")
        .await
        .expect("a table");
    let used_at = now(&db).await;
    let mut client = db.connect().await;
    let new = |event_id: &str, quantity: &str| {
        NewUsage::new("shop", event_id, "acme", "compute", "hours", q(quantity), used_at)
    };
    let job = NewUsage { request_id: Some("req-1".into()), traceparent: Some(TRACE.into()), ..new("rs-1", "0.25") };
    let first = usage::finish_job(&mut client, &job).await.expect("recorded");
    let flagged = usage::record_or_flag(&mut client, "req-2", &new("rs-1", "9")).await.expect("committed");
    assert_eq!(flagged, None);
    let late = NewUsage { used_at: used_at + SignedDuration::from_hours(48), ..new("rs-3", "1") };
    let verdicts =
        usage::record_many(&mut client, &[new("rs-2", "1.5"), new("rs-1", "0.250"), late]).await.expect("committed");
    assert!(matches!(&verdicts[0], Verdict::Recorded(_)), "{verdicts:?}");
    assert_eq!(verdicts[1], Verdict::Repeated(first));
    assert!(matches!(&verdicts[2], Verdict::Refused(refused) if refused.code == "PM006"), "{verdicts:?}");
    usage::refund(&mut client, &job, q("-0.05")).await.expect("recorded");
    usage::record_many(&mut client, &[new("rs-4", "2"), new("rs-5", "3")]).await.expect("committed");
    is_recorded(&db, "rs").await;
}

#[tokio::test]
async fn a1_a_rust_service_with_sqlx_records_in_its_own_transaction() {
    let db = TestDatabase::fresh().await;
    let url = service(&db, "sqlx_shop").await;
    let mut client = sqlx::PgConnection::connect(&url).await.expect("a connection");
    let table = "create table job (id text primary key, org text not null, flaw text)";
    sqlx::query(table).execute(&mut client).await.expect("a table");
    let used_at = now(&db).await;
    let new = |event_id: &str, quantity: &str| {
        NewUsage::new("shop", event_id, "acme", "compute", "hours", q(quantity), used_at)
    };
    let job = NewUsage { request_id: Some("req-1".into()), traceparent: Some(TRACE.into()), ..new("sq-1", "0.25") };
    let first = with_sqlx::finish_job(&mut client, &job).await.expect("recorded");
    assert_eq!(with_sqlx::record_or_flag(&mut client, "req-2", &new("sq-1", "9")).await.expect("committed"), None);
    let refund = NewUsage { corrects: Some("sq-1".into()), ..new("sq-1-refund", "-0.05") };
    let usages = [new("sq-2", "1.5"), new("sq-1", "0.250"), refund, new("sq-4", "2"), new("sq-5", "3")];
    let verdicts = with_sqlx::record_many(&mut client, &usages).await.expect("committed");
    assert_eq!(
        verdicts.iter().map(Verdict::word).collect::<Vec<_>>(),
        ["recorded", "repeated", "recorded", "recorded", "recorded"]
    );
    assert_eq!(verdicts[1], Verdict::Repeated(first));
    is_recorded(&db, "sq").await;
}

#[tokio::test]
async fn a1_a_rust_service_with_the_plain_driver_records_in_its_own_transaction() {
    let db = TestDatabase::fresh().await;
    let url = service(&db, "plain_shop").await;
    let (mut client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
        .batch_execute("create table job (id text primary key, org text not null, flaw text)")
        .await
        .expect("a table");
    #[expect(clippy::disallowed_methods, reason = "a service knows by its own clock when it was used")]
    let used_at = std::time::SystemTime::now();
    let job = plain::Usage {
        event_id: "plain-1",
        quantity: "0.25",
        used_at,
        corrects: None,
        request_id: Some("req-1"),
        traceparent: Some(TRACE),
    };
    let first = plain::finish_job(&mut client, &job).await.expect("recorded");
    let again = plain::Usage { quantity: "0.250", ..job };
    assert_eq!(plain::record_again(&mut client, &again).await.expect("repeated"), first);
    let other = plain::Usage { quantity: "9", ..job };
    assert_eq!(plain::record_or_flag(&mut client, "req-2", &other).await.expect("committed"), None);
    let instant: String = client
        .query_one("select to_json($1::timestamptz) #>> '{}'", &[&used_at])
        .await
        .expect("the instant as Postgres keeps it")
        .get(0);
    let usage = |event_id: &str, quantity: &str| {
        json!({"source": "shop", "event_id": event_id, "org": "acme", "product": "compute", "metric": "hours",
               "quantity": quantity, "used_at": instant})
    };
    let batch = json!([usage("plain-2", "1.5"), usage("plain-1", "0.25"), usage("plain-3", "a lot")]);
    let verdicts = plain::record_many(&mut client, &batch.to_string()).await.expect("committed");
    assert_eq!(verdicts, ["1 recorded", "2 repeated", "3 refused 22P02 quantity"]);
    plain::refund(&mut client, &job, "0.05").await.expect("recorded");
    let csv = format!("shop,plain-4,acme,compute,hours,2,{instant}\nshop,plain-5,acme,compute,hours,3,{instant}\n");
    for _ in 0..2 {
        plain::copy(&mut client, csv.clone()).await.expect("copied; again it changes nothing");
    }
    is_recorded(&db, "plain").await;
}

/// Which page shows which files. A file that no page shows, or shows otherwise, is not one that a reader can trust.
const SHOWN: &[(&str, &str, &[&str])] = &[
    ("go", "go", &["usage.go"]),
    ("java", "java", &["Usage.java"]),
    ("node", "js", &["usage.mjs"]),
    ("python", "python", &["orm.py", "usage.py"]),
    ("rust", "rust", &["plain.rs", "sqlx.rs", "usage.rs"]),
    ("streams", "python", &["feed.py", "kafka_feed.py", "nats_feed.py"]),
];

#[test]
fn a3_the_pages_show_the_examples_to_the_letter() {
    let folder = root().join("docs/integrate/examples");
    let names = |place: PathBuf| {
        let entries = std::fs::read_dir(place).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "__pycache__").collect::<BTreeSet<String>>()
    };
    let languages: BTreeSet<String> = SHOWN.iter().map(|(language, _, _)| (*language).to_owned()).collect();
    assert_eq!(names(folder.clone()), languages);
    for (language, block, files) in SHOWN {
        let all: BTreeSet<String> = files.iter().map(|file| (*file).to_owned()).collect();
        assert_eq!(names(folder.join(language)), all);
        let page = std::fs::read_to_string(root().join(format!("docs/integrate/{language}.md"))).expect("a page");
        for file in *files {
            let example = std::fs::read_to_string(folder.join(language).join(file)).expect(file);
            assert!(
                page.contains(&format!("```{block}\n{example}```\n")),
                "docs/integrate/{language}.md does not show {file} as it is"
            );
        }
    }
}
