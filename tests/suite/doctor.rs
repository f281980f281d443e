//! What doctor says about what surrounds our schema: each is made so, named, cured with the words of the advice, and
//! not named again.

use serde_json::Value;
use tests::TestDatabase;

/// What doctor finds under a check: what it found and what to do, where something is to be done.
fn found(db: &TestDatabase, check: &str) -> Vec<(String, String, String)> {
    let output = tests::postmeter(&db.url()).args(["doctor", "--json"]).output().expect("the command is built");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("findings").iter();
    findings
        .filter(|finding| finding["check"] == check && finding["level"] != "ok")
        .map(|finding| (text(finding, "level"), text(finding, "found"), text(finding, "advice")))
        .collect()
}

/// Makes it so; doctor names it; its advice, run as it stands, cures it.
async fn named_and_cured(db: &TestDatabase, check: &str, make: &str, level: &str, word: &str) {
    assert_eq!(found(db, check), [], "{check} is well before");
    db.client.batch_execute(make).await.unwrap_or_else(|error| panic!("{make}: {error:?}"));
    let findings = found(db, check);
    let advice: Vec<String> = findings.iter().map(|(_, _, advice)| advice.clone()).collect();
    let is_named = |(at, found, _): &(String, String, String)| at == level && found.contains(word);
    assert!(findings.iter().any(is_named), "{check}, {word}: {findings:?}");
    db.client.batch_execute(&advice.join(";")).await.unwrap_or_else(|error| panic!("{advice:?}: {error:?}"));
    assert_eq!(found(db, check), [], "{advice:?} cures it");
}

#[tokio::test]
async fn l9_doctor_names_odd_defaults_and_what_resets_them() {
    let db = TestDatabase::fresh().await;
    let name = db.client.query_one("select current_database()::text", &[]).await.unwrap().get::<_, String>(0);
    db.client
        .batch_execute(
            "do $$ begin create role odd_service login in role postmeter_producer;
             exception when duplicate_object or unique_violation then null; end $$",
        )
        .await
        .unwrap();
    let user = format!("role odd_service in database {name}");
    for (make, level, word) in [
        (format!("alter database {name} set default_transaction_isolation = 'serializable'"), "warning", "40001"),
        (format!("alter database {name} set timezone = 'Asia/Kathmandu'"), "warning", "without a zone"),
        (format!("alter {user} set default_transaction_read_only = on"), "warning", "user odd_service in"),
        (format!("alter {user} set session_replication_role = replica"), "problem", "triggers"),
        (format!("alter {user} set search_path = elsewhere, pg_catalog"), "warning", "instead of Postgres's own"),
        (format!("alter {user} set datestyle = 'German'"), "warning", "our documents say"),
        (format!("alter {user} set statement_timeout = '300ms'"), "warning", "cut off"),
        (format!("alter {user} set enable_indexscan = off"), "warning", "quick"),
    ] {
        named_and_cured(&db, "defaults", &make, level, word).await;
    }
    // names are written as SQL needs them
    db.client
        .batch_execute(
            "do $$ begin create role \"odd-service\" login in role postmeter_producer;
             exception when duplicate_object or unique_violation then null; end $$",
        )
        .await
        .unwrap();
    let make = format!("alter role \"odd-service\" in database {name} set datestyle = 'German'");
    named_and_cured(&db, "defaults", &make, "warning", "odd-service").await;
    // what a DBA may well want is not odd
    db.client
        .batch_execute(&format!("alter {user} set search_path = billing, public; alter {user} set work_mem = '64MB'"))
        .await
        .unwrap();
    assert_eq!(found(&db, "defaults"), []);
}

#[tokio::test]
async fn l1_doctor_names_who_may_create_where_names_are_looked_up() {
    let db = TestDatabase::fresh().await;
    // as it is on 14, and where a cluster came from there
    db.client.batch_execute("revoke create on schema public from public").await.unwrap();
    named_and_cured(&db, "grants", "grant create on schema public to public", "warning", "schema public").await;
    let make = "grant create on schema postmeter to postmeter_producer";
    named_and_cured(&db, "grants", make, "problem", "postmeter_producer may create").await;
    // a producer's own schema is its own
    db.client
        .batch_execute("create schema workshop; grant create on schema workshop to postmeter_producer")
        .await
        .unwrap();
    assert_eq!(found(&db, "grants"), []);
}

#[tokio::test]
async fn l2_doctor_names_triggers_that_do_not_fire() {
    let db = TestDatabase::fresh().await;
    // as pg_dump --disable-triggers leaves it
    let make =
        "alter table postmeter.outbox disable trigger arrived; alter table postmeter.outbox enable trigger arrived";
    named_and_cured(&db, "triggers", make, "problem", "fires not for replicas").await;
    let make = "alter table postmeter.outbox disable trigger arrived";
    named_and_cured(&db, "triggers", make, "problem", "beside intake").await;
    let trigger = db
        .client
        .query_one(
            "select t.tgname::text, c.relname::text from pg_trigger t join pg_class c on c.oid = t.tgrelid
             where c.relname = 'decision' and c.relnamespace = 'postmeter'::regnamespace and not t.tgisinternal limit 1",
            &[],
        )
        .await
        .unwrap();
    let (name, table): (String, String) = (trigger.get(0), trigger.get(1));
    let make = format!("alter table postmeter.{table} disable trigger {name}");
    named_and_cured(&db, "triggers", &make, "problem", "what it refuses can be done").await;
    db.client.batch_execute("drop trigger arrived on postmeter.outbox").await.unwrap();
    let (_, dropped, advice) = found(&db, "triggers").remove(0);
    assert!(dropped.contains("no trigger arrived"), "{dropped}");
    let of = advice.split_once("sql/schema says of ").unwrap().1;
    assert_eq!(of, "trigger arrived on postmeter.outbox");
    let statement = tests::trigger_source("arrived", "outbox").expect("a statement");
    db.client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    assert_eq!(found(&db, "triggers"), []);
}

#[tokio::test]
async fn l2_doctor_names_publications_that_send_the_outbox() {
    let db = TestDatabase::fresh().await;
    let make = "create publication named for table postmeter.outbox, postmeter.delivery";
    named_and_cured(&db, "publications", make, "warning", "sends postmeter.outbox").await;
    let make = "create publication identities for table postmeter.usage_identity, postmeter.delivery";
    named_and_cured(&db, "publications", make, "warning", "sends postmeter.usage_identity").await;
    let version = "select current_setting('server_version_num')::integer";
    if db.client.query_one(version, &[]).await.unwrap().get::<_, i32>(0) >= 150_000 {
        db.client.batch_execute("create publication ours for tables in schema postmeter").await.unwrap();
        let (_, _, advice) = found(&db, "publications").remove(0);
        db.client.batch_execute(advice.split_once(", and name").unwrap().0).await.unwrap();
        assert_eq!(found(&db, "publications"), []);
    }
    db.client.batch_execute("create publication everything for all tables").await.unwrap();
    let findings = found(&db, "publications");
    assert!(findings.iter().all(|(_, _, advice)| advice.starts_with("drop publication everything")), "{findings:?}");
    assert_eq!(findings.len(), 3, "{findings:?}");
    db.client.batch_execute("drop publication everything").await.unwrap();
    assert_eq!(found(&db, "publications"), []);
}

#[tokio::test]
async fn l2_the_publication_that_is_documented_sends_neither_outbox_nor_identities() {
    let db = TestDatabase::fresh().await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operate/replication.md")).unwrap();
    let statements: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(statements.len(), 2);
    db.client.batch_execute("alter table postmeter.outbox enable trigger arrived").await.unwrap();
    for statement in statements {
        db.client.batch_execute(statement).await.unwrap();
    }
    assert_eq!((found(&db, "publications"), found(&db, "triggers")), (vec![], vec![]));
    // the tables go on taking changes: each says by what key a row is known
    let keyless = "select count(*) from pg_publication_tables t join pg_class c on c.oid = format('%I.%I', t.schemaname, t.tablename)::regclass
                   where c.relreplident = 'd' and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)";
    assert_eq!(db.client.query_one(keyless, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn l1_doctor_names_functions_that_are_not_pinned() {
    let db = TestDatabase::fresh().await;
    let body = "returns text language plpgsql as $$ begin return 'x'; end $$";
    let make = format!("create function postmeter.loose(a integer) {body}");
    named_and_cured(&db, "functions", &make, "warning", "loose(integer)").await;
    let make = format!("create function postmeter.mighty() {body}; alter function postmeter.mighty() security definer");
    named_and_cured(&db, "functions", &make, "problem", "with its owner's rights").await;
}

#[tokio::test]
async fn l9_doctor_names_a_collation_that_has_changed() {
    let db = TestDatabase::fresh().await;
    let icu = "select exists (select from pg_collation where collname = 'en-x-icu')";
    if !db.client.query_one(icu, &[]).await.unwrap().get::<_, bool>(0) {
        return tests::skip("l9_doctor_names_a_collation_that_has_changed", "the server was built without ICU");
    }
    db.client.batch_execute("create table public.names (name text collate \"en-x-icu\" primary key)").await.unwrap();
    assert_eq!(found(&db, "collation"), []);
    db.client.batch_execute("update pg_collation set collversion = '1' where collname = 'en-x-icu'").await.unwrap();
    let findings = found(&db, "collation");
    assert!(findings.len() == 1 && findings[0].0 == "problem" && findings[0].1.contains("en-x-icu"), "{findings:?}");
    let cure = findings[0].2.split("; then ").nth(1).unwrap();
    db.client.batch_execute(cure).await.unwrap_or_else(|error| panic!("{cure}: {error:?}"));
    assert_eq!(found(&db, "collation"), []);
}

#[tokio::test]
async fn j11_doctor_finds_a_month_that_was_taken_out_by_hand() {
    let db = TestDatabase::fresh().await;
    db.client
        .batch_execute("select postmeter.create_partitions(2), postmeter.create_request_partitions(2, 1)")
        .await
        .unwrap();
    let day = "select 'request_status_' || to_char(postmeter.clock() at time zone 'UTC', 'YYYYMMDD')";
    for (parent, name) in [
        ("attempt", "select 'attempt_' || to_char(now() at time zone 'UTC', 'YYYYMM')"),
        ("usage", "select 'usage_' || to_char(now() at time zone 'UTC' + interval '1 month', 'YYYYMM')"),
        ("request_status", day),
    ] {
        let name: String = db.client.query_one(name, &[]).await.unwrap().get(0);
        let detach = format!("alter table postmeter.{parent} detach partition postmeter.{name}");
        named_and_cured(&db, "months", &detach, "problem", &format!("{name} is there and is no part of {parent}"))
            .await;
    }
    let detach = "do $$ declare name text := 'outcome_' || to_char(now() at time zone 'UTC', 'YYYYMM'); begin
        execute format('alter table postmeter.outcome detach partition postmeter.%I', name);
        execute format('drop table postmeter.%I', name); end $$";
    db.client.batch_execute(detach).await.unwrap();
    let findings = found(&db, "months");
    assert!(findings.len() == 1 && findings[0].1.contains("is gone, while other tables"), "{findings:?}");
}

#[tokio::test]
async fn j5_doctor_names_changes_that_deadlines_have_not_followed() {
    let db = TestDatabase::fresh().await;
    let mark = "insert into postmeter.deadline_change (destination_id, buyer, wanted_at)
        select 1, 'aws/late', clock_timestamp() - age from unnest(array[interval '0', interval '1 hour']) age";
    db.client.batch_execute(mark).await.unwrap();
    let findings = found(&db, "deadlines");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].0 == "warning" && findings[0].1.contains("1 changes") && findings[0].1.contains("aws/late"),
        "{findings:?}"
    );
}
