//! L2: what reaches the outbox around intake's checks, with ids of another time, or without a usage behind it.

use postmeter::embedded::{Cluster, Options};
use tests::{Stage, TestDatabase};

use super::{call, insert, rows};

const ROW: &str = "'s', 'around', 'acme', 'db', 'cores', 3, '2024-09-18T09:30:00Z'";
const INTO: &str = "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at";
const STRAYS: &str = "select reason || ' ' || (entry ->> 'event_id') from postmeter.stray_entry order by id";

/// Inserts into the outbox while its trigger is disabled.
async fn around_intake(stage: &Stage, sql: &str) {
    let sql = format!(
        "begin; alter table postmeter.outbox disable trigger arrived; {sql};
         alter table postmeter.outbox enable always trigger arrived; commit"
    );
    stage.sql(&sql).await;
}

#[tokio::test]
async fn l2_a_fresh_row_bears_an_id_of_this_time() {
    let stage = Stage::new().await;
    for id in [
        "'ffffffff-ffff-7fff-bfff-ffffffffffff'",
        "'00000000-0000-7000-8000-000000000000'",
        "postmeter.id_at(clock_timestamp() + interval '2 hours')",
        "postmeter.id_at(clock_timestamp() - interval '2 hours')",
    ] {
        let sql = format!("{INTO}, id) values ({ROW}, {id})");
        assert_eq!(stage.refusal(&sql).await, "PM001 id id_of_this_time", "{id}");
    }
    assert_eq!(rows(&stage).await, "0 0 0");
    // what comes back keeps the id it had
    stage.record("held", "nobody", "cores", "2", "2024-09-18T09:30:00Z").await;
    stage.fold().await;
    let old =
        "with u as (select * from postmeter.usage) select count(*)::text from u, postmeter.return_held(array[u.id])";
    assert_eq!(stage.value(old).await, "1");
    stage.fold().await;
    stage.close().await;
}

#[tokio::test]
async fn l2_no_id_stretches_a_loop_over_months() {
    let stage = Stage::new().await;
    for table in ["usage", "attempt"] {
        let columns = if table == "usage" {
            "source, event_id, org, product, metric, quantity, used_at, attributes) values ($1, 's', 'e', 'acme', 'db', 'cores', 1, now(), '{}')"
        } else {
            "delivery_id, destination_id, call_id, worker_id, number) values ($1, 1, 1, gen_random_uuid(), gen_random_uuid(), 1)"
        };
        for id in ["ffffffff-ffff-ffff-ffff-ffffffffffff", "7fffffff-ffff-7fff-bfff-ffffffffffff"] {
            let sql =
                format!("insert into postmeter.{table}_default (id, {}", columns.replace("$1", &format!("'{id}'")));
            stage.sql(&sql).await;
        }
    }
    stage.sql("set statement_timeout = '20s'").await;
    assert_eq!(stage.column("select spilled_months::text from postmeter.spilled_months()").await, [""; 0]);
    assert_eq!(stage.value("select postmeter.create_partitions(1)::text").await, "0");
}

#[tokio::test]
async fn l2_a_session_that_plays_replica_goes_through_intake() {
    let stage = Stage::new().await;
    stage.sql("set session_replication_role = replica").await;
    for _ in 0..2 {
        stage.sql(&insert(&[])).await;
        stage.sql(&call(&[])).await;
    }
    assert_eq!(rows(&stage).await, "1 1 1");
    let refused = insert(&[("event_id", "'e2'"), ("quantity", "'NaN'")]);
    assert_eq!(stage.refusal(&refused).await, "PM001 quantity quantity_range");
    stage.sql("reset session_replication_role").await;
    stage.close().await;
}

#[tokio::test]
async fn l2_an_entry_without_its_usage_is_set_aside_by_name_and_its_neighbours_are_billed() {
    let stage = Stage::new().await;
    stage.use_cores("real", "2", "2024-09-18T09:30:00Z").await;
    around_intake(&stage, &format!("{INTO}) values ({ROW}), ({ROW})")).await;
    // a usage's own id under another quantity
    stage.record("other", "initech", "cores", "1", "2024-09-18T09:30:00Z").await;
    around_intake(
        &stage,
        "with gone as (delete from postmeter.outbox where event_id = 'other' returning *)
         insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
         select id, source, event_id, org, product, metric, 1000, used_at from gone",
    )
    .await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 2"], "nothing without a usage is billed");
    let mut strays = stage.column(STRAYS).await;
    strays.sort();
    assert_eq!(strays, ["other_content other", "without_usage around", "without_usage around"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "0");
    // a person takes it for usage: however often, it counts once
    for id in stage.column("select id::text from postmeter.stray_entry where reason = 'without_usage'").await {
        stage.sql(&format!("select postmeter.resolve_stray({id}, true, 'ada', 'usage of the night')")).await;
        let again = format!("select postmeter.resolve_stray({id}, true, 'ada', 'usage of the night')");
        assert_eq!(stage.refusal(&again).await, "PM033 stray stray_open");
    }
    let other = "select postmeter.resolve_stray(min(id), false, 'ada', 'forged') from postmeter.stray_entry where reason = 'other_content'";
    stage.sql(other).await;
    assert_eq!(
        stage.refusal("select postmeter.resolve_stray(99, true, 'ada', 'why')").await,
        "PM033 stray stray_exists"
    );
    assert_eq!(stage.refusal("select postmeter.resolve_stray(1, true, '', 'why')").await, "PM032 who decision_signed");
    stage.cut_at("2024-09-18T11:20:00Z").await;
    let sum: i64 = stage.accepted().iter().map(|line| line.split(' ').nth(1).unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 5, "{:?}", stage.accepted());
    assert_eq!(
        stage
            .column(
                "select status_before || ' ' || status_after from postmeter.decision where verb = 'resolve' order by id"
            )
            .await,
        ["without_usage recorded", "without_usage recorded", "other_content dropped"]
    );
    // the usage whose entry was forged has its own again, and goes on
    let other = "select event_id || ' ' || reason from postmeter.usage_explained where event_id = 'other'";
    assert_eq!(stage.column(other).await, ["other no_subscription"]);
    stage.close().await;
}

#[tokio::test]
async fn l2_values_that_no_usage_could_have_stop_no_fold_and_are_kept_to_the_last_digit() {
    let stage = Stage::new().await;
    stage.use_cores("real", "2", "2024-09-18T09:30:00Z").await;
    let long = "123456789012.123456789012345";
    for (event, quantity, used_at) in [
        ("nan", "'NaN'", "'2024-09-18T09:30Z'"),
        ("huge", "1e60", "'2024-09-18T09:30Z'"),
        ("ever", "1", "'infinity'"),
        ("far", "1", "'20000-01-01Z'"),
        ("long", long, "'2024-09-18T09:30Z'"),
    ] {
        let row = format!("'s', '{event}', 'acme', 'db', 'cores', {quantity}, {used_at}");
        around_intake(&stage, &format!("{INTO}) values ({row})")).await;
    }
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 2"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.stray_entry").await, "5");
    let stray = "select id::text from postmeter.stray_entry where entry ->> 'event_id' = 'long'";
    let resolve = format!("select postmeter.resolve_stray({}, true, 'ada', 'it is usage')", stage.value(stray).await);
    stage.sql(&resolve).await;
    assert_eq!(stage.value("select quantity::text from postmeter.usage where event_id = 'long'").await, long);
    stage.fold().await;
    stage.close().await;
}

/// Fold asks about every entry that was not written together with its usage: of what comes in through a door, about none.
#[tokio::test]
async fn l2_every_door_writes_usage_and_entry_in_one_transaction() {
    let stage = Stage::new().await;
    stage.sql(&call(&[])).await;
    stage.sql(&insert(&[("event_id", "'e2'")])).await;
    stage.sql(&format!("begin; savepoint a; {}; release a; commit", call(&[("event_id", "'e3'")]))).await;
    // beside one that is refused: row by row, each in a savepoint of its own
    let batch = "select * from postmeter.record_usage_batch('[{\"source\": \"s\"}, {\"source\": \"s\", \"event_id\": \"e4\",
        \"org\": \"acme\", \"product\": \"db\", \"metric\": \"cores\", \"quantity\": 1, \"used_at\": \"2024-09-18T09:30:00Z\"}]')";
    stage.sql(batch).await;
    let together =
        "select count(*)::text from postmeter.outbox o join postmeter.usage u using (id) where o.xmin = u.xmin";
    assert_eq!(stage.value(together).await, "4");
    stage.fold().await;
    stage.close().await;
}

#[tokio::test]
async fn l2_a_second_entry_is_set_aside_wherever_its_usage_is_accounted_for() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    for org in ["acme", "ours", "nobody", "given-up"] {
        stage.record(org, org, "cores", "2", "2024-09-18T09:30:00Z").await;
    }
    stage.fold().await;
    stage.sql("select * from postmeter.write_off_held('{\"org\": \"given-up\"}', 'ada', 'theirs', false)").await;
    // each would go elsewhere now
    stage.sql("delete from postmeter.exemption").await;
    for (org, account) in [("ours", "222233334444"), ("given-up", "333344445555")] {
        stage.subscribe(org, account).await;
    }
    let again = "insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
                 select id, source, event_id, org, product, metric, quantity, used_at from postmeter.usage
                 on conflict do nothing";
    around_intake(&stage, again).await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    let mut strays = stage.column(STRAYS).await;
    strays.sort();
    strays.retain(|stray| !stray.ends_with(" ours"));
    assert_eq!(strays, ["accounted_for acme", "accounted_for given-up", "accounted_for nobody"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation where quantity <> 2").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn l2_a_second_entry_of_a_usage_that_is_accounted_for_is_set_aside() {
    let stage = Stage::new().await;
    stage.use_cores("twice", "2", "2024-09-18T09:30:00Z").await;
    stage.record("whose", "nobody", "cores", "2", "2024-09-18T09:30:00Z").await;
    stage.fold().await;
    let again = "insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, returned)
                 select id, source, event_id, org, product, metric, quantity, used_at, true from postmeter.usage";
    around_intake(&stage, again).await;
    stage.use_cores("after", "1", "2024-09-18T09:40:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 3"]);
    let mut strays = stage.column(STRAYS).await;
    strays.sort();
    assert_eq!(strays, ["accounted_for twice", "accounted_for whose"]);
    stage.close().await;
}

/// A publisher's rows, applied by a real subscription: no trigger for statements fires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_what_logical_replication_brings_without_usage_is_never_billed() {
    let settings = vec![("wal_level".to_owned(), "logical".to_owned())];
    let cluster = Cluster::start(Options { settings, ..Options::default() }).expect("a server");
    let stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe("acme", "111122223333").await;
    stage.sql("create database publisher").await;
    let publisher = TestDatabase::client_of(&cluster.url("publisher")).await;
    publisher
        .batch_execute(
            "create schema postmeter;
             create table postmeter.outbox (id uuid not null default gen_random_uuid(), source text, event_id text, org text,
                product text, metric text, quantity numeric, used_at timestamptz, attributes jsonb default '{}',
                returned boolean default false, primary key (id));
             create publication usage for table postmeter.outbox",
        )
        .await
        .expect("a publication");
    let slot = "select pg_create_logical_replication_slot('usage', 'pgoutput')";
    publisher.batch_execute(slot).await.expect("a slot");
    let connection = cluster.url("publisher").replace('\'', "''");
    stage
        .sql(&format!(
            "create subscription usage connection '{connection}' publication usage
             with (create_slot = false, slot_name = 'usage', copy_data = false)"
        ))
        .await;
    for _ in 0..2 {
        publisher.batch_execute(&format!("{INTO}) values ({ROW})")).await.expect("a row");
    }
    tests::until_true(&stage.db.client, "select count(*) = 2 from postmeter.outbox").await;
    stage.use_cores("own", "1", "2024-09-18T09:30:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 1"]);
    assert_eq!(stage.column(STRAYS).await, ["without_usage around", "without_usage around"]);
    stage.sql("alter subscription usage disable; alter subscription usage set (slot_name = none); drop subscription usage").await;
    stage.close().await;
}
