//! F8: through pgbouncer in transaction mode, with few connections to the server, so that every client meets sessions
//! which another has used.

use std::io::Write;
use std::process::{Child, Stdio};

use outbox::{Access, Database, NewUsage, record_usage, record_usages};
use serde_json::json;
use tests::{Bouncer, Console, Stage, TestDatabase, q, skip, t};
use tokio_postgres::{Client, NoTls};

const WORKER: &str = "pooled_worker";
const PRODUCER: &str = "pooled_producer";
const CONSOLE: &str = "pooled_console";
const ADMIN: &str = "postgres";

/// Users with the rights of their roles and no more.
async fn users(db: &TestDatabase) {
    for (user, role) in [(WORKER, "worker"), (PRODUCER, "producer"), (CONSOLE, "console")] {
        let made = format!(
            "do $$ begin perform pg_advisory_xact_lock(6432); if to_regrole('{user}') is null then
             create role {user} login in role postmeter_{role}; end if; end $$"
        );
        db.client.batch_execute(&made).await.unwrap();
    }
}

async fn bouncer(name: &str, db: &TestDatabase, connections: usize) -> Option<Bouncer> {
    users(db).await;
    let bouncer = Bouncer::before(&db.url(), &[WORKER, PRODUCER, CONSOLE, ADMIN], connections);
    if bouncer.is_none() {
        skip(name, "pgbouncer is not installed");
    }
    bouncer
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the pooler answers");
    tokio::spawn(connection);
    client
}

pub(super) fn worker(url: &str, direct: Option<&str>, pooled: bool) -> Child {
    let mut command = tests::postmeter(url);
    command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("POSTMETER_DATABASE_POOLED", pooled.to_string()).env("POSTMETER_WORKER_POLL_MS", "20");
    command.envs(direct.map(|url| ("POSTMETER_DATABASE_DIRECT_URL", url)));
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
    command.spawn().unwrap()
}

pub(super) fn end(mut worker: Child) {
    tests::signal(&worker, "TERM");
    assert!(tests::end_of(&mut worker).success());
}

pub(super) async fn until(stage: &Stage, sql: &str) {
    tests::until_true(&stage.db.client, sql).await;
}

/// A command through the pooler: exit code and both streams.
fn run(url: &str, more: &[(&str, &str)], words: &[&str]) -> (i32, String) {
    let mut command = tests::postmeter(url);
    command.env("POSTMETER_DATABASE_POOLED", "true").env("USER", "ada").envs(more.iter().copied()).args(words);
    let output = command.output().expect("the command is built");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    (output.status.code().expect("it ended by itself"), text)
}

/// Records by function, INSERT, COPY, batch and the Rust client: five cores of `acme`.
async fn record(url: &str, at: &str) {
    let mut client = connect(url).await;
    let used = format!("'acme', 'db', 'cores', 1, '{at}'");
    let function = format!("select postmeter.record_usage('function', '{at}', {used})");
    client.batch_execute(&function).await.unwrap();
    let columns = "source, event_id, org, product, metric, quantity, used_at";
    let insert = format!("insert into postmeter.outbox ({columns}) values ('insert', '{at}', {used})");
    // as an ORM does it: in a transaction, and again
    for _ in 0..2 {
        let transaction = client.transaction().await.unwrap();
        assert_eq!(transaction.execute_typed(&insert, &[]).await.unwrap(), 1);
        transaction.commit().await.unwrap();
    }
    let transaction = client.transaction().await.unwrap();
    let usage = |source| NewUsage::new(source, at, "acme", "db", "cores", q("1"), t(at));
    record_usage(&transaction, &usage("rust")).await.unwrap();
    assert_eq!(record_usages(&transaction, &[usage("rust-batch")]).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    copy(url, &format!("copy postmeter.outbox ({columns}) from stdin (format csv)"), at);
    let batch = json!([{"source": "batch", "event_id": at, "org": "acme", "product": "db", "metric": "cores",
        "quantity": "1", "used_at": at}]);
    client.batch_execute(&format!("select * from postmeter.record_usage_batch('{batch}')")).await.unwrap();
}

/// COPY by psql: the client of these tests would prepare it.
fn copy(url: &str, command: &str, at: &str) {
    let psql = postmeter::embedded::Binaries::find().expect("server programs").program("psql");
    let psql = if psql.exists() { psql } else { "psql".into() };
    let mut psql = std::process::Command::new(psql);
    let child = psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", command]).stdin(Stdio::piped());
    let mut child = child.spawn().expect("psql");
    let line = format!("copy,{at},acme,db,cores,1,{at}\n");
    child.stdin.take().expect("its input").write_all(line.as_bytes()).expect("it reads");
    assert!(tests::end_of(&mut child).success());
}

/// Lets a running worker fold and cut, first before the grace is over, then after.
async fn sent(stage: &Stage, before: &str, after: &str, remittances: u32) {
    stage.at(before).await;
    until(stage, "select (not exists (select from postmeter.outbox))::text").await;
    stage.at(after).await;
    let accepted =
        format!("select (count(*) = {remittances} and bool_and(status = 'accepted'))::text from postmeter.remittance");
    until(stage, &accepted).await;
}

pub(super) async fn stage_without_workers() -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.worker set stopped_at = now(), reaped_at = now()").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_usage_is_recorded_folded_cut_sent_and_settled_through_a_pooler() {
    let stage = stage_without_workers().await;
    let name = "f8_usage_is_recorded_folded_cut_sent_and_settled_through_a_pooler";
    let Some(mut bouncer) = bouncer(name, &stage.db, 2).await else { return };
    record(&bouncer.url(PRODUCER), "2024-09-18T10:10:00Z").await;
    let workers = [worker(&bouncer.url(WORKER), None, true), worker(&bouncer.url(WORKER), None, true)];
    sent(&stage, "2024-09-18T11:04:00Z", "2024-09-18T11:10:00Z", 1).await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    let listening = "select (count(*) filter (where w.sleeping) || ' ' || (select count(*) from pg_stat_activity
                     where datname = current_database() and query ilike 'listen%')) from postmeter.worker w where stopped_at is null";
    until(
        &stage,
        "select (count(*) = 2)::text from postmeter.worker where stopped_at is null and heartbeat_at > started_at",
    )
    .await;
    assert_eq!(stage.value(listening).await, "0 0", "what it listens to would be another client's");
    // the pooler goes away and comes back; what was in flight is the database's to tell
    bouncer.stop();
    bouncer.start();
    record(&bouncer.url(PRODUCER), "2024-09-18T11:20:00Z").await;
    sent(&stage, "2024-09-18T12:04:00Z", "2024-09-18T12:10:00Z", 2).await;
    assert_eq!(stage.accepted(), ["18T10 6", "18T11 6"]);
    workers.into_iter().for_each(end);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_a_direct_url_beside_the_pooler_is_listened_on() {
    let stage = stage_without_workers().await;
    let Some(bouncer) = bouncer("f8_a_direct_url_beside_the_pooler_is_listened_on", &stage.db, 2).await else { return };
    let worker = worker(&bouncer.url(WORKER), Some(&stage.db.url()), true);
    until(&stage, "select exists (select from postmeter.worker where sleeping)::text").await;
    let listens = "select exists (select from pg_stat_activity where datname = current_database() and query ilike 'listen%')::text";
    until(&stage, listens).await;
    end(worker);
}

#[tokio::test]
async fn f8_two_clients_share_one_session_of_the_server() {
    let db = TestDatabase::fresh().await;
    let Some(bouncer) = bouncer("f8_two_clients_share_one_session_of_the_server", &db, 1).await else { return };
    let pid = "select pg_backend_pid()";
    let clients = [connect(&bouncer.url(PRODUCER)).await, connect(&bouncer.url(PRODUCER)).await];
    let mut pids = Vec::new();
    for client in &clients {
        pids.push(client.query_typed(pid, &[]).await.unwrap()[0].get::<_, i32>(0));
    }
    assert_eq!(pids[0], pids[1], "or these tests would say nothing");
    // and what is not told of the pooler fails on it: its statement stays behind in the session that another takes
    let bouncer = Bouncer::before(&db.url(), &[ADMIN], 2).expect("it was there just now");
    for pooled in [true, false] {
        let mut access = Access::new(&bouncer.url(ADMIN));
        (access.connections_max, access.pooled) = (1, pooled);
        let database = Database::open(&access).unwrap();
        assert_eq!(outbox::tokens::find(&database, &[0; 32]).await.unwrap(), None);
        let mut other = connect(&bouncer.url(ADMIN)).await;
        let held = other.transaction().await.unwrap();
        held.batch_execute("select 1").await.unwrap();
        let found = outbox::tokens::find(&database, &[0; 32]).await;
        assert_eq!(found.is_ok(), pooled, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_the_console_takes_lists_exports_and_tracks_through_a_pooler() {
    let stage = Stage::new().await;
    let name = "f8_the_console_takes_lists_exports_and_tracks_through_a_pooler";
    let Some(bouncer) = bouncer(name, &stage.db, 2).await else { return };
    stage.at("2024-09-18T10:30:00Z").await;
    let mut access = Access::new(&bouncer.url(CONSOLE));
    access.pooled = true;
    let console = Console::start_on(Database::open(&access).unwrap(), stage.db.another(), Default::default()).await;
    let token = console.token(&["intake", "read", "operate"]).await;
    let usage = json!({"source": "http", "event_id": "e1", "org": "acme", "product": "db", "metric": "cores",
        "quantity": "2", "used_at": "2024-09-18T10:10:00Z", "request_id": "0af7651916cd43dd8448eb211c80319c"});
    for _ in 0..2 {
        let reply = console.post(&token, "/v1/usage", &usage).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let status = json!({"service": "ingress", "request_id": "0af7651916cd43dd8448eb211c80319c", "status": "received",
        "date": "2024-09-18T10:05:00Z", "org": "acme"});
    let reply = console.post(&token, "/v1/request-statuses", &status).await;
    assert!([200, 202].contains(&reply.status), "{}", reply.text);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let at_once = (0..8).map(|_| console.get(&token, "/v1/usage/http/e1"));
    for reply in futures_util::future::join_all(at_once).await {
        assert_eq!((reply.status, reply.json()["done"].as_bool()), (200, Some(true)), "{}", reply.text);
    }
    for list in &outbox::listing::LISTS {
        for ending in ["", "?format=ndjson", "?format=csv"] {
            let reply = console.get(&token, &format!("/v1/{}{ending}", list.name)).await;
            assert_eq!(reply.status, 200, "{}{ending}: {}", list.name, reply.text);
        }
    }
    let lines = console.get(&token, "/v1/remittances?format=ndjson").await.text;
    assert!(lines.contains("accepted"), "{lines}");
    for path in ["/v1/requests", "/v1/requests/0af7651916cd43dd8448eb211c80319c", "/metrics", "/v1/catalogue"] {
        let reply = console.get(&token, path).await;
        assert!(
            [200, 404].contains(&reply.status) && !reply.text.contains("prepared statement"),
            "{path}: {}",
            reply.text
        );
    }
    let way = console.get(&token, "/v1/requests/0af7651916cd43dd8448eb211c80319c").await;
    assert_eq!(way.status, 200, "{}", way.text);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_people_ask_decide_and_close_months_through_a_pooler() {
    let stage = Stage::new().await;
    let name = "f8_people_ask_decide_and_close_months_through_a_pooler";
    let Some(bouncer) = bouncer(name, &stage.db, 1).await else { return };
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("one", "2", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    let url = bouncer.url(ADMIN);
    for (words, said) in [
        (&["status"][..], "aws"),
        (&["doctor"], "every migration of this program is applied"),
        (&["attempts"], "accepted"),
        (&["explain", "billing", "one"], "accepted"),
        (&["pause", "aws", "--why", "a test"], "aws"),
        (&["resume", "aws", "--why", "a test"], "aws"),
        (&["retry", "--org", "acme", "--why", "a test"], ""),
        (&["recalculate", "aws", "2024-09"], ""),
    ] {
        let (code, text) = run(&url, &[], words);
        assert!([0, 3].contains(&code) && text.contains(said), "{words:?}: {code} {text}");
    }
    stage.at("2024-10-01T12:00:00Z").await;
    let (code, text) = run(&url, &[], &["month", "close", "aws", "2024-09", "--why", "the books", "--apply"]);
    assert!(code == 0 && text.contains("is closed"), "{text}");
    stage.close().await;
}

#[tokio::test]
async fn f8_migrations_are_refused_through_a_pooler_and_done_beside_it() {
    let stage = Stage::new().await;
    let name = "f8_migrations_are_refused_through_a_pooler_and_done_beside_it";
    let Some(bouncer) = bouncer(name, &stage.db, 1).await else { return };
    let last = outbox::migrate::MIGRATIONS.last().unwrap();
    let (code, text) = run(&bouncer.url(ADMIN), &[], &["migrate"]);
    assert!(code != 0 && text.contains("POSTMETER_DATABASE_DIRECT_URL"), "{code} {text}");
    let (code, text) = run(&bouncer.url(ADMIN), &[], &["migrate", "--plan"]);
    assert!(code == 0 && text.contains("nothing is pending"), "looking needs no session: {text}");
    let direct = stage.db.url();
    let (code, text) = run(&bouncer.url(ADMIN), &[("POSTMETER_DATABASE_DIRECT_URL", &direct)], &["migrate"]);
    assert!(code == 0 && text.contains("nothing to do"), "{} {text}", last.name);
}
