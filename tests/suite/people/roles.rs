//! I3: who may do what.

use outbox::corrections::{Verb, correct};
use outbox::{Access, Database};
use tests::{Stage, quick};
use worker::Worker;

use super::{ADA, rejected};

/// What a role is told for a statement: `ok` or the SQLSTATE.
async fn told(stage: &Stage, role: &str, sql: &str) -> String {
    let client = stage.db.connect().await;
    client.batch_execute(&format!("set role {role}; begin")).await.unwrap();
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}

const DENIED: &str = "42501";
const APPEND_ONLY: &str = "PM020";

const TABLES: [&str; 23] = [
    "setting",
    "quota",
    "destination",
    "subscription",
    "cover",
    "dimension",
    "exemption",
    "usage",
    "usage_identity",
    "outbox",
    "held",
    "exempted",
    "meter",
    "meter_metric",
    "delivery",
    "allocation",
    "cut",
    "open_hour",
    "due",
    "later",
    "decision",
    "closed_month",
    "attempt",
];

#[tokio::test]
async fn i3_a_producer_records_by_function_and_insert_and_can_do_nothing_else() {
    let stage = rejected().await;
    let columns = "source, event_id, org, product, metric, quantity, used_at, account, corrects, request_id, \
                   traceparent, attributes";
    let values = "'s', 'e', 'acme', 'db', 'cores', 1, '2024-09-18T11:00Z', null, null, null, null, '{}'";
    for allowed in [
        format!("insert into postmeter.outbox ({columns}) values ({values})"),
        format!("select postmeter.record_usage({values})"),
        r#"select * from postmeter.record_usage_batch('[{"source": "s", "event_id": "e", "org": "acme", "product": "db",
           "metric": "cores", "quantity": 1, "used_at": "2024-09-18T11:00Z"}]')"#
            .to_owned(),
        "select postmeter.clock()".to_owned(),
    ] {
        assert_eq!(told(&stage, "postmeter_producer", &allowed).await, "ok", "{allowed}");
    }
    // the two columns that would let a producer pass for a returned entry
    for column in ["id", "returned"] {
        let value = if column == "id" { "gen_random_uuid()" } else { "true" };
        let sql = format!("insert into postmeter.outbox ({column}, {columns}) values ({value}, {values})");
        assert_eq!(told(&stage, "postmeter_producer", &sql).await, DENIED, "{column}");
    }
    for table in TABLES {
        for sql in [
            format!("select from postmeter.{table}"),
            format!("delete from postmeter.{table}"),
            format!("truncate postmeter.{table}"),
        ] {
            assert_eq!(told(&stage, "postmeter_producer", &sql).await, DENIED, "{sql}");
        }
    }
    for sql in [
        "update postmeter.outbox set quantity = 0",
        "update postmeter.setting set purpose = 'demo'",
        "select * from postmeter.balance",
        "select postmeter.retry('{\"all\": true}', 'me', 'mine', false)",
        "select postmeter.open_hour_at(1, now(), '{}', 'db')",
        "select postmeter.return_cured(1)",
        "create table postmeter.mine ()",
    ] {
        assert_eq!(told(&stage, "postmeter_producer", sql).await, DENIED, "{sql}");
    }
    stage.close().await;
}

#[tokio::test]
async fn i3_a_reader_reads_and_can_change_nothing() {
    let stage = rejected().await;
    // people read through the parents: a partition inherits no grant
    let views = "select relname::text from pg_class where relnamespace = 'postmeter'::regnamespace
                 and relkind in ('r', 'p', 'v') and not relispartition";
    for table in stage.column(views).await {
        // who may come in and what they were answered is the console's; token_list shows the rest; a gate is to be locked
        let read =
            if ["token", "idempotency", "gate", "balance_gate"].contains(&table.as_str()) { DENIED } else { "ok" };
        assert_eq!(told(&stage, "postmeter_reader", &format!("select from postmeter.{table}")).await, read, "{table}");
        let delete = told(&stage, "postmeter_reader", &format!("delete from postmeter.{table}")).await;
        assert!([DENIED, "55000"].contains(&delete.as_str()), "{table}: {delete}");
    }
    for sql in [
        "select postmeter.record_usage('s', 'e', 'acme', 'db', 'cores', 1, now())",
        "select postmeter.write_off('{\"all\": true}', 'me', 'mine', false)",
        "select postmeter.pause('aws', 'me', 'mine')",
        "update postmeter.destination set paused = true",
        "update postmeter.delivery set status = 'accepted'",
        "insert into postmeter.decision (who, why, verb) values ('me', 'mine', 'retry')",
    ] {
        assert_eq!(told(&stage, "postmeter_reader", sql).await, DENIED, "{sql}");
    }
    stage.close().await;
}

#[tokio::test]
async fn i3_nobody_can_change_or_delete_evidence_the_owner_and_the_worker_included() {
    let stage = rejected().await;
    let owner = stage
        .value("select tableowner::text from pg_tables where schemaname = 'postmeter' and tablename = 'attempt'")
        .await;
    let partitions = "select inhrelid::regclass::text from pg_inherits
                      where inhparent in ('postmeter.usage'::regclass, 'postmeter.allocation'::regclass,
                                          'postmeter.attempt'::regclass, 'postmeter.outcome'::regclass)";
    let mut tables = stage.column(partitions).await;
    assert!(tables.len() >= 8, "{tables:?}");
    tables.extend(
        ["usage", "allocation", "attempt", "outcome", "late_evidence", "cut", "decision", "catalogue_change"]
            .map(|table| format!("postmeter.{table}")),
    );
    for table in tables {
        let column = format!(
            "select attname::text from pg_attribute
             where attrelid = '{table}'::regclass and attnum > 0 and attidentity = '' order by attnum desc limit 1"
        );
        let column = stage.value(&column).await;
        for sql in [
            format!("update {table} set {column} = {column}"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            for role in ["postmeter_worker", "postmeter_operator", "postmeter_producer", "postmeter_reader"] {
                assert_eq!(told(&stage, role, &sql).await, DENIED, "{role}: {sql}");
            }
            assert_eq!(told(&stage, &owner, &sql).await, APPEND_ONLY, "{owner}: {sql}");
        }
    }
    stage.close().await;
}

#[tokio::test]
async fn i3_an_operator_decides_and_edits_the_catalogue_but_writes_no_ledger() {
    let stage = rejected().await;
    for sql in [
        "select * from postmeter.release('{\"all\": true}', 'ada', 'moved', false)",
        "select postmeter.pause('aws', 'ada', 'their incident')",
        "insert into postmeter.exemption (org, reason) values ('ours', 'staging')",
        "select * from postmeter.balance",
    ] {
        assert_eq!(told(&stage, "postmeter_operator", sql).await, "ok", "{sql}");
    }
    for sql in [
        "update postmeter.delivery set status = 'accepted'",
        "insert into postmeter.decision (who, why, verb) values ('ada', 'why', 'retry')",
        "insert into postmeter.allocation select * from postmeter.allocation",
        "select postmeter.record_usage('s', 'e', 'acme', 'db', 'cores', 1, now())",
        "update postmeter.setting set usage_age_max = '1 day'",
    ] {
        assert_eq!(told(&stage, "postmeter_operator", sql).await, DENIED, "{sql}");
    }
    stage.close().await;
}

#[tokio::test]
async fn i3_a_worker_needs_no_more_than_its_role() {
    let stage = Stage::new().await;
    stage.configure("late_policy = 'part'").await;
    let url = stage.db.url();
    let url = format!("{url}{}options=-c%20role%3Dpostmeter_worker", if url.contains('?') { "&" } else { "?" });
    let database = Database::open(&Access::new(&url)).unwrap();
    let more = correct(&database, Verb::Retry, &serde_json::json!({"all": true}), ADA, true).await;
    assert!(matches!(more, Err(outbox::Error::Unexpected { code, .. }) if code == DENIED), "it has no more");
    let worker = Worker::start(database, quick()).await.unwrap();
    // every way of a usage: on time, late, late by a month, held, exempt, rounded at the month's end
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage
        .dimension(tests::Dimension { metric: "gb", name: "gb", rounding: "down", ..tests::Dimension::default() })
        .await;
    stage.at("2024-09-30T22:30:00Z").await;
    for (org, metric) in [("acme", "cores"), ("acme", "gb"), ("ours", "cores"), ("nobody", "cores")] {
        stage.record(&format!("{org} {metric}"), org, metric, "1.5", "2024-09-30T22:10:00Z").await;
    }
    for (event, time) in [
        ("", "2024-09-30T23:04:00Z"),
        ("", "2024-09-30T23:10:00Z"),
        ("late", "2024-09-30T23:20:00Z"),
        ("", "2024-10-01T00:10:00Z"),
        ("later", "2024-10-01T10:20:00Z"),
        ("", "2024-10-01T11:10:00Z"),
    ] {
        stage.at(time).await;
        if !event.is_empty() {
            stage.use_cores(event, "1.25", "2024-09-30T22:20:00Z").await;
        }
        worker.work().await.unwrap();
        outbox::maintain::return_cured(&stage.db.database, 10).await.unwrap();
        worker.reap().await.unwrap();
    }
    assert_eq!(stage.accepted(), ["30T21 1", "30T22 2", "01T10 1", "30T22 1", "30T23 1"]);
    stage.close().await;
}
