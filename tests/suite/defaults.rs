//! L9: what our sessions do is not what the defaults of their role and their database would make of it. Each way goes
//! from the door to the books, directly and through a pooler, which keeps no session.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use outbox::{Access, Database};
use serde_json::json;
use tests::{Bouncer, Console, Stage, TestDatabase, skip};

use super::pooled::{end, stage_without_workers, until, worker};

const WORKER: &str = "odd_worker";
pub(super) const OPERATOR: &str = "odd_operator";
const CONSOLE: &str = "odd_console";
pub(super) const PRODUCER: &str = "odd_producer";

pub(super) const USERS: [&str; 4] = [WORKER, OPERATOR, CONSOLE, PRODUCER];

/// Users with the rights of their roles and no more.
pub(super) async fn users(db: &TestDatabase) {
    for (user, role) in USERS.iter().zip(["worker", "operator", "console", "producer"]) {
        let made = format!(
            "do $$ begin create role {user} login in role postmeter_{role};
             exception when duplicate_object or unique_violation then null; end $$"
        );
        db.client.batch_execute(&made).await.unwrap();
    }
}

pub(super) async fn database(db: &TestDatabase) -> String {
    db.client.query_one("select current_database()::text", &[]).await.unwrap().get(0)
}

/// What an administrator may have set for a role or a database, by name. Times are long enough to connect.
const ODD: [(&str, &str); 28] = [
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_read_only", "on"),
    ("search_path", "elsewhere, pg_catalog"),
    ("timezone", "'Asia/Kathmandu'"),
    ("datestyle", "'German, DMY'"),
    ("intervalstyle", "'sql_standard'"),
    ("bytea_output", "'escape'"),
    ("extra_float_digits", "-15"),
    ("standard_conforming_strings", "off"),
    ("escape_string_warning", "off"),
    ("quote_all_identifiers", "on"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "'1s'"),
    ("lock_timeout", "'1ms'"),
    ("idle_in_transaction_session_timeout", "'500ms'"),
    ("idle_session_timeout", "'2s'"),
    ("row_security", "off"),
    ("jit", "on"),
    ("jit_above_cost", "0"),
    ("plan_cache_mode", "'force_generic_plan'"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_nestloop", "off"),
    ("enable_hashjoin", "off"),
    ("enable_sort", "off"),
    ("enable_tidscan", "off"),
    ("enable_partition_pruning", "off"),
];

/// Gives the database and the users of this test odd defaults. A schema before Postgres's own answers wrongly.
async fn oddly(db: &TestDatabase) {
    let mut sql = String::from(
        "create schema elsewhere; grant usage on schema elsewhere to public;
         create function elsewhere.now() returns timestamptz language sql as $$ select timestamptz '1999-01-01Z' $$;
         create function elsewhere.lower(text) returns text language sql as $$ select 'nobody'::text $$;
         create function elsewhere.length(text) returns integer language sql as $$ select 0 $$;
         create function elsewhere.to_regclass(text) returns regclass language sql as $$ select null::regclass $$;
         create function elsewhere.same(text, text) returns boolean language sql as $$ select false $$;
         create operator elsewhere.= (leftarg = text, rightarg = text, function = elsewhere.same);\n",
    );
    let name = database(db).await;
    users(db).await;
    for user in USERS {
        for (setting, value) in ODD {
            sql += &format!("alter role {user} in database {name} set {setting} = {value};\n");
        }
    }
    for (setting, value) in ODD {
        sql += &format!("alter database {name} set {setting} = {value};\n");
    }
    db.client.batch_execute(&sql).await.unwrap();
    let client = db.connect().await;
    client.batch_execute("set statement_timeout = 0; set jit = off").await.unwrap();
    let odd = client.query_one("select now()::text || current_setting('timezone')", &[]).await.unwrap();
    assert_eq!(odd.get::<_, String>(0), "01.01.1999 05:45:00 +0545Asia/Kathmandu", "or this test would say nothing");
}

/// How a user reaches the database.
pub(super) struct Way {
    pub(super) urls: HashMap<&'static str, String>,
    pooled: bool,
    _bouncer: Option<Bouncer>,
}

impl Way {
    pub(super) fn direct(db: &TestDatabase) -> Self {
        let url = |user: &str| db.url().replacen("postgres@", &format!("{user}@"), 1);
        let urls = USERS.map(|user| (user, url(user))).into();
        Self { urls, pooled: false, _bouncer: None }
    }

    pub(super) fn pooled(db: &TestDatabase) -> Option<Self> {
        let bouncer = Bouncer::before(&db.url(), &USERS, 4)?;
        Some(Self { urls: USERS.map(|user| (user, bouncer.url(user))).into(), pooled: true, _bouncer: Some(bouncer) })
    }

    /// A command: exit code and both streams.
    pub(super) fn run(&self, user: &str, words: &[&str]) -> (i32, String) {
        let mut command = tests::postmeter(&self.urls[user]);
        command.env("POSTMETER_DATABASE_POOLED", self.pooled.to_string()).env("USER", "ada").args(words);
        let output = command.output().expect("the command is built");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        (output.status.code().expect("it ended by itself"), text)
    }

    fn database(&self, user: &str) -> Database {
        let mut access = Access::new(&self.urls[user]);
        access.pooled = self.pooled;
        Database::open(&access).unwrap()
    }
}

/// An export with three cores of acme in the hour after nine.
fn export(folder: &Path) -> String {
    let path = folder.join("export.csv");
    std::fs::write(
        &path,
        "Id,SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargePeriodEnd,ProviderName\n\
         1,acme,Db,Cores,3,2024-09-18 10:00:00,2024-09-18 11:00:00,Aws\n",
    )
    .unwrap();
    path.to_string_lossy().into_owned()
}

/// Records by HTTP and by import: five cores of the hour after ten, and one that cannot be sent.
async fn record(way: &Way, console: &Console, token: &str) {
    let usage = |event: &str, org: &str| {
        json!({"source": "http", "event_id": event, "org": org, "product": "db", "metric": "cores", "quantity": "2",
        "used_at": "2024-09-18T10:10:00Z", "request_id": "0af7651916cd43dd8448eb211c80319c"})
    };
    for (event, org) in [("one", "acme"), ("one", "acme"), ("two", "nobody")] {
        let reply = console.post(token, "/v1/usage", &usage(event, org)).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    let status = json!({"service": "ingress", "request_id": "0af7651916cd43dd8448eb211c80319c", "status": "received",
        "date": "2024-09-18T10:05:00Z", "org": "acme"});
    let reply = console.post(token, "/v1/request-statuses", &status).await;
    assert!([200, 202].contains(&reply.status), "{}", reply.text);
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = way.run(PRODUCER, &["import", "focus", &export(folder.path())]);
    assert_eq!(code, 0, "{text}");
}

/// The whole way.
pub(super) async fn goes(way: &Way, stage: &Stage, accepted: &[&str]) {
    let console = Console::start_on(way.database(CONSOLE), stage.db.another(), Default::default()).await;
    let token = console.token(&["intake", "read", "operate"]).await;
    record(way, &console, &token).await;
    let working = worker(&way.urls[WORKER], None, way.pooled);
    stage.at("2024-09-18T11:04:00Z").await;
    until(stage, "select (not exists (select from postmeter.outbox))::text").await;
    stage.at("2024-09-18T11:20:00Z").await;
    let all = accepted.len();
    let sent = format!("select (count(*) = {all} and bool_and(status = 'accepted'))::text from postmeter.remittance");
    until(stage, &sent).await;
    assert_eq!(stage.accepted(), accepted);
    for (user, words, said) in [
        (OPERATOR, &["status"][..], "aws"),
        (OPERATOR, &["explain", "http", "one"], "2024-09-18 10:10"),
        (OPERATOR, &["attempts"], "accepted"),
        (OPERATOR, &["pause", "aws", "--why", "a test"], "aws"),
        (OPERATOR, &["resume", "aws", "--why", "a test"], "aws"),
        (OPERATOR, &["write-off", "--held-usage", "--org", "nobody", "--why", "a test", "--apply"], "no_subscription"),
        (OPERATOR, &["recalculate", "aws", "2024-09"], ""),
        (OPERATOR, &["request", "0af7651916cd43dd8448eb211c80319c"], "ingress"),
        (OPERATOR, &["doctor"], "every migration of this program is applied"),
    ] {
        let (code, text) = way.run(user, words);
        assert!([0, 3].contains(&code) && text.contains(said), "{words:?}: {code} {text}");
    }
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "0", "it was written off");
    for list in &outbox::listing::LISTS {
        for ending in ["", "?format=ndjson"] {
            let reply = console.get(&token, &format!("/v1/{}{ending}", list.name)).await;
            assert_eq!(reply.status, 200, "{}{ending}: {}", list.name, reply.text);
            assert!(!reply.text.contains(".2024") && !reply.text.contains("+05:45"), "{}: {}", list.name, reply.text);
        }
    }
    for path in ["/v1/usage/http/one", "/v1/requests", "/v1/catalogue", "/metrics"] {
        let reply = console.get(&token, path).await;
        assert!([200, 404].contains(&reply.status), "{path}: {} {}", reply.status, reply.text);
    }
    let reply = console.post(&token, "/v1/destinations/aws/pause", &json!({"who": "ada", "why": "a test"})).await;
    assert!(reply.status < 500, "{}", reply.text);
    end(working);
}

/// Nearly all of ours ask for the time of decisions: the clock refuses whoever comes in another state.
const CLOCK: &str = "
    alter function postmeter.clock() rename to time_of_decisions;
    create function postmeter.clock() returns timestamptz language plpgsql stable as $$
    begin
        if current_setting('transaction_isolation') = 'serializable'
           or current_setting('timezone') <> 'UTC' or current_setting('datestyle') <> 'ISO, YMD'
           or current_setting('enable_indexscan') <> 'on' or current_setting('statement_timeout') = '1s' then
            raise exception 'a statement came in the state of its role';
        end if;
        return postmeter.time_of_decisions();
    end
    $$;
    grant execute on function postmeter.clock() to public;";

async fn odd_stage() -> Stage {
    let stage = stage_without_workers().await;
    stage.sql(CLOCK).await;
    // the test's own session asks as well
    stage.sql("set datestyle = 'ISO, YMD'; set timezone = 'UTC'").await;
    oddly(&stage.db).await;
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_odd_defaults_of_roles_and_database_change_nothing() {
    let stage = odd_stage().await;
    goes(&Way::direct(&stage.db), &stage, &["18T10 5"]).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_odd_defaults_change_nothing_through_a_pooler() {
    let stage = odd_stage().await;
    let Some(way) = Way::pooled(&stage.db) else {
        return skip("l9_odd_defaults_change_nothing_through_a_pooler", "pgbouncer is not installed");
    };
    goes(&way, &stage, &["18T10 5"]).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_a_database_with_odd_defaults_is_migrated() {
    let db = TestDatabase::empty().await;
    oddly(&db).await;
    let odd = db.another();
    assert_eq!(outbox::migrate::apply(&odd).await.unwrap().len(), outbox::migrate::MIGRATIONS.len());
    let told = db.another();
    assert!(outbox::migrate::pending(&told).await.unwrap().is_empty());
    // what the migrations wrote down does not depend on them either
    let usual = TestDatabase::fresh().await;
    let schema = "select string_agg(pg_get_functiondef(p.oid), '' order by p.oid::regprocedure::text) from pg_proc p
                  where p.pronamespace = 'postmeter'::regnamespace and p.prokind = 'f'";
    let made = db.client.query_one(schema, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(made, usual.client.query_one(schema, &[]).await.unwrap().get::<_, String>(0));
}

#[tokio::test]
async fn l9_a_transaction_of_ours_has_the_state_that_is_written_down() {
    let db = TestDatabase::fresh().await;
    oddly(&db).await;
    let database = db.another();
    let mut client = database.client().await.unwrap();
    let transaction = outbox::begin(&mut client).await.unwrap();
    for (name, value) in [
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
        ("search_path", "pg_catalog, pg_temp"),
        ("timezone", "UTC"),
        ("datestyle", "ISO, YMD"),
        ("intervalstyle", "postgres"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
        ("standard_conforming_strings", "on"),
        ("quote_all_identifiers", "off"),
        ("synchronous_commit", "on"),
        ("statement_timeout", "0"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("jit", "off"),
        ("plan_cache_mode", "auto"),
    ] {
        let there = transaction.query_one("select current_setting($1)", &[&name]).await.unwrap();
        // what was quoted while every identifier was, stays quoted
        assert_eq!(there.get::<_, String>(0).replace('"', ""), value, "{name}");
    }
    let off = transaction
        .query("select name from pg_settings where name ~ '^enable_' and boot_val = 'on' and setting = 'off'", &[]);
    assert!(off.await.unwrap().is_empty(), "every kind of plan is allowed again");
    transaction.commit().await.unwrap();
    let after =
        client.query_one("select current_setting('datestyle'), current_setting('lock_timeout')", &[]).await.unwrap();
    assert_eq!((after.get::<_, &str>(0), after.get::<_, &str>(1)), ("German, DMY", "1ms"), "the session is as it was");
}

/// Files of the program that may speak to a connection without a transaction of ours, and what for.
const DOORS: [(&str, &str); 10] = [
    ("client/src/tokio_postgres.rs", "the caller's transaction: one statement, fully qualified"),
    ("outbox/src/connect.rs", "the pool, `begin`, and the connection that listens"),
    ("outbox/src/query.rs", "every transaction of ours"),
    ("outbox/src/migrate.rs", "a session of its own, in the state that all have"),
    ("outbox/src/migrate/adopt.rs", "the same session"),
    ("outbox/src/migrate/alone.rs", "the same session"),
    ("outbox/src/migrate/steps.rs", "the same session"),
    ("outbox/src/import.rs", "the caller's transaction: one statement, fully qualified"),
    ("outbox/src/record.rs", "the same"),
    ("outbox/src/track.rs", "the same"),
];

#[test]
fn l9_every_statement_goes_through_a_door_that_knows_its_state() {
    let words = [
        ".transaction()",
        ".build_transaction(",
        ".batch_execute(",
        ".simple_query(",
        ".query_typed",
        ".query_raw(",
        ".query_one(",
        ".query_opt(",
        ".execute_typed(",
        ".copy_in(",
        ".copy_out(",
        ".prepare",
    ];
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut breaches = Vec::new();
    let mut folders = vec![crates.clone()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&crates).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !DOORS.iter().any(|(door, _)| *door == name) {
                let text = std::fs::read_to_string(&path).unwrap();
                breaches
                    .extend(words.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")));
            }
        }
    }
    // the one that is put together and runs in a transaction of ours
    breaches.retain(|breach| breach != "outbox/src/requests/compose.rs: .prepare");
    assert!(breaches.is_empty(), "{breaches:#?}");
}
