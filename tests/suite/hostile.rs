//! L1: a schema that answers for every function, operator and type of ours, wherever a producer can put it: nobody is
//! fooled, and everything is answered as without it.

use std::path::{Path, PathBuf};

use tests::{Stage, TestDatabase, hostile, skip};

use super::defaults::{self, OPERATOR, PRODUCER, USERS, Way, goes};
use super::operations;
use super::pooled::stage_without_workers;

/// Every session of this database finds the hostile schema before Postgres's own.
async fn before_everything(db: &TestDatabase) {
    hostile(&db.client).await;
    defaults::users(db).await;
    let name = defaults::database(db).await;
    db.client.batch_execute(&format!("alter database {name} set search_path = hostile, pg_catalog")).await.unwrap();
    let naive = db.connect().await.query_one("select now()", &[]).await;
    assert!(naive.is_err(), "or these tests would say nothing");
}

/// The hostile schema is `public`, in which everybody may create.
async fn as_public(db: &TestDatabase) {
    hostile(&db.client).await;
    db.client
        .batch_execute(
            "drop schema public cascade; alter schema hostile rename to public; grant all on schema public to public",
        )
        .await
        .unwrap();
    // its own functions call each other by name
    db.client
        .batch_execute(
            "create schema hostile; grant usage on schema hostile to public;
             alter function public.fooled(text) set schema hostile",
        )
        .await
        .unwrap();
    // the test's own questions are no part of it
    db.client.batch_execute("set search_path = pg_catalog, pg_temp").await.unwrap();
    let naive = db.connect().await.query_one("select concat_ws(name, 1) from (select name 'x') x(name)", &[]).await;
    assert!(naive.is_err(), "or these tests would say nothing");
}

/// A producer's own statements, as its language's client sends them.
async fn produces(way: &Way) {
    let (client, connection) =
        tokio_postgres::connect(&way.urls[PRODUCER], tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let columns = "source, event_id, org, product, metric, quantity, used_at";
    for sql in [
        "select postmeter.record_usage('s', 'called', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')".to_owned(),
        format!(
            "insert into postmeter.outbox ({columns}) values ('s', 'plain', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')"
        ),
        format!(
            "insert into postmeter.outbox ({columns}) values ('s', 'plain', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')"
        ),
        "select * from postmeter.record_usage_batch('[{\"source\": \"s\", \"event_id\": \"batch\", \"org\": \"acme\",
            \"product\": \"db\", \"metric\": \"cores\", \"quantity\": 1, \"used_at\": \"2024-09-18T09:30:00Z\"}]')"
            .to_owned(),
        "select postmeter.track('ingress', 'r', 'received'), postmeter.clock()".to_owned(),
    ] {
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

async fn nobody_is_fooled(way: &Way, stage: &Stage) {
    produces(way).await;
    goes(way, stage, &["18T09 3", "18T10 5"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_the_whole_way_with_a_hostile_schema_before_everything() {
    let stage = stage_without_workers().await;
    before_everything(&stage.db).await;
    nobody_is_fooled(&Way::direct(&stage.db), &stage).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_the_whole_way_with_a_hostile_schema_through_a_pooler() {
    let stage = stage_without_workers().await;
    before_everything(&stage.db).await;
    let Some(way) = Way::pooled(&stage.db) else {
        return skip("l1_the_whole_way_with_a_hostile_schema_through_a_pooler", "pgbouncer is not installed");
    };
    nobody_is_fooled(&way, &stage).await;
    stage.close().await;
}

#[tokio::test]
async fn l1_a_database_with_a_hostile_public_is_migrated() {
    let db = TestDatabase::empty().await;
    before_everything(&db).await;
    let database = db.another();
    outbox::health::create_roles(&database).await.unwrap();
    assert_eq!(outbox::migrate::apply(&database).await.unwrap().len(), outbox::migrate::MIGRATIONS.len());
    // by hand, as the superuser who owns none of it
    let by_hand = TestDatabase::empty().await;
    as_public(&by_hand).await;
    by_hand.connect().await.batch_execute(outbox::migrate::ROLES).await.unwrap();
}

#[tokio::test]
async fn l1_the_files_that_people_run_answer_as_without_it() {
    let psql = postmeter::embedded::Binaries::find().expect("server programs").program("psql");
    if !psql.exists() {
        return skip("l1_the_files_that_people_run_answer_as_without_it", "no psql beside the server");
    }
    let stage = operations::ground::ground().await;
    as_public(&stage.db).await;
    // and in the schema that is named like whoever runs them
    stage.sql("create schema postmeter_reader").await;
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/operations");
    for name in operations::names() {
        let answer = operations::answer(&psql, &stage.db.url(), "postmeter_reader", &name);
        if operations::OF_THE_SERVER.iter().all(|(of, _)| *of != name) {
            assert_eq!(answer, std::fs::read_to_string(answers.join(format!("{name}.txt"))).unwrap(), "{name}");
        }
    }
}

/// Files of `sql/queries` that can be run as they stand: without parameters.
fn runnable() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql/queries");
    let mut all: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .filter(|(_, sql)| !sql.lines().any(|line| !line.starts_with("--") && line.contains("$1")))
        .collect();
    all.sort();
    all
}

/// What a statement would call of others, whether there are rows to call it with or not: Postgres writes down what the
/// body of a function stands on.
const STANDS_ON: &str = "
    select coalesce(d.refobjid::regoperator::text, '') from pg_catalog.pg_depend d
    join pg_catalog.pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    where d.classid = 'pg_proc'::regclass and d.objid = 'asked'::regproc and o.oprnamespace = 'public'::regnamespace
    union
    select d.refobjid::regprocedure::text from pg_catalog.pg_depend d
    join pg_catalog.pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
    where d.classid = 'pg_proc'::regclass and d.objid = 'asked'::regproc and p.pronamespace = 'public'::regnamespace";

#[tokio::test]
async fn l1_each_query_is_safe_by_itself_where_public_is_hostile() {
    let stage = operations::ground::ground().await;
    as_public(&stage.db).await;
    let client = stage.db.connect().await;
    client.batch_execute("create schema checked").await.unwrap();
    let version = "select current_setting('server_version_num')::integer";
    let version: i32 = stage.db.client.query_one(version, &[]).await.unwrap().get(0);
    let mut wrong = Vec::new();
    for (name, sql) in runnable() {
        // it says so itself
        if name == "health_collation_of_database" && version < 150_000 {
            continue;
        }
        client.batch_execute("begin; set local check_function_bodies = on").await.unwrap();
        let made = format!("create function checked.asked() returns void language sql begin atomic {sql};\nend");
        match client.batch_execute(&made).await {
            Err(error) => wrong.push(format!("{name}: {}", error.as_db_error().unwrap().message())),
            Ok(()) => {
                client.batch_execute("set local search_path = pg_catalog, checked").await.unwrap();
                let others = client.query(STANDS_ON, &[]).await.unwrap();
                wrong.extend(others.iter().map(|row| format!("{name}: {}", row.get::<_, String>(0))));
            }
        }
        client.batch_execute("rollback").await.unwrap();
        // and nobody is fooled while it runs
        client.batch_execute("begin").await.unwrap();
        if let Err(error) = client.batch_execute(&sql).await {
            let message = error.as_db_error().unwrap().message().to_owned();
            wrong.extend(message.contains("FOOLED").then(|| format!("{name}: {message}")));
        }
        client.batch_execute("rollback").await.unwrap();
    }
    assert!(wrong.is_empty(), "{} are fooled: {wrong:#?}", wrong.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_schema_named_like_the_user_fools_nobody() {
    let stage = Stage::new().await;
    defaults::users(&stage.db).await;
    hostile(&stage.db.client).await;
    let way = Way::direct(&stage.db);
    stage.use_cores("one", "2", "2024-09-18T09:30:00Z").await;
    let mut named = "hostile".to_owned();
    for user in USERS {
        stage.sql(&format!("alter schema {named} rename to {user}")).await;
        // its functions call one that went along
        let along = format!(
            "create schema hostile; grant usage on schema hostile to public;
             alter function {user}.fooled(text) set schema hostile"
        );
        stage.sql(&along).await;
        for words in [
            &["doctor"][..],
            &["status"],
            &["explain", "billing", "one"],
            &["retry", "--org", "acme", "--why", "a test"],
            &["recalculate", "aws", "2024-09"],
            &["attempts", "--org", "acme"],
        ] {
            let (code, text) = way.run(user, words);
            assert!(!text.contains("FOOLED"), "{user}: {words:?}: {code} {text}");
        }
        stage.sql(&format!("alter function hostile.fooled(text) set schema {user}; drop schema hostile")).await;
        named = user.to_owned();
    }
    let (code, text) = way.run(OPERATOR, &["status"]);
    assert_eq!(code, 0, "{text}");
    stage.close().await;
}

#[tokio::test]
async fn l1_a_producer_is_refused_what_would_pass_intake_by() {
    let stage = Stage::bare().await;
    defaults::users(&stage.db).await;
    let way = Way::direct(&stage.db);
    let (client, connection) =
        tokio_postgres::connect(&way.urls[PRODUCER], tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    for sql in [
        "set session_replication_role = replica",
        "alter table postmeter.outbox disable trigger arrived",
        "drop trigger arrived on postmeter.outbox",
        "create publication mine for table postmeter.usage",
        "create subscription mine connection 'host=localhost' publication theirs with (connect = false)",
        "alter function postmeter.clock() reset search_path",
        "create function postmeter.mine() returns integer language sql as 'select 1'",
        "set role postmeter_migrator",
        "alter role odd_worker set search_path = hostile",
    ] {
        let code = client.batch_execute(sql).await.expect_err(sql).code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}");
    }
}
