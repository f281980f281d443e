//! The balance is proven for ever: from what was written since the last proof, and from everything in turn.

use std::time::Duration;

use outbox::proof::{Found, Proof, Read};
use tests::Stage;

use super::{meter_of, ripe};

const ENOUGH: Duration = Duration::from_secs(60);

/// Proves what was written, and what that asks to be read again.
async fn prove(stage: &Stage) -> (Read, Found) {
    let mut proof = Proof::new(&stage.db.database, ENOUGH);
    assert!(proof.prove_moved().await.unwrap());
    assert!(proof.prove_asked().await.unwrap());
    (proof.read(), proof.found().await.unwrap())
}

/// Reads everything again, whether its turn has come or not.
async fn read_again(stage: &Stage) -> Found {
    let mut proof = Proof::new(&stage.db.database, ENOUGH);
    proof.read_again(true).await.unwrap();
    assert!(proof.read().is_whole);
    proof.found().await.unwrap()
}

/// As somebody does who owns the tables and knows how to get past every trigger.
async fn behind_the_triggers(stage: &Stage, sql: &str) {
    stage.sql(&format!("begin; set local session_replication_role = replica; {sql}; commit")).await;
}

async fn cut(stage: &Stage) {
    while stage.worker.cut().await.unwrap().cut > 0 {}
}

/// So many orgs with a remittance each that is cut, and everything proven.
async fn settled(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    cut(&stage).await;
    let (read, found) = prove(&stage).await;
    assert_eq!((read.meters, read.remittances, found.open), (i64::from(orgs), i64::from(orgs), 0));
    stage
}

#[tokio::test]
async fn i1_a_row_that_somebody_altered_or_deleted_is_found_when_its_turn_comes() {
    let stage = settled(3).await;
    let one = "(select usage_id from postmeter.allocation order by usage_id limit 1)";
    for (alter, mend) in [
        (
            "update postmeter.allocation set quantity = quantity + 1",
            "update postmeter.allocation set quantity = quantity - 1",
        ),
        ("update postmeter.usage set quantity = quantity + 1", "update postmeter.usage set quantity = quantity - 1"),
    ] {
        let key = if alter.contains("allocation") { "usage_id" } else { "id" };
        behind_the_triggers(&stage, &format!("{alter} where {key} = {one}")).await;
        assert_eq!(prove(&stage).await.1.open, 0, "nobody said so: {alter}");
        let found = read_again(&stage).await;
        assert!(found.open >= 1 && found.example.is_some(), "{alter}: {found:?}");
        // and it stays found, at each check, until it is mended
        assert_eq!(prove(&stage).await.1, found);
        behind_the_triggers(&stage, &format!("{mend} where {key} = {one}")).await;
        assert_eq!(prove(&stage).await.1.open, 0, "what did not close is read again by each check: {alter}");
    }
    behind_the_triggers(&stage, "create temp table aside as select * from postmeter.cut limit 1; delete from postmeter.cut c using aside a where a.delivery_id = c.delivery_id").await;
    assert_eq!(prove(&stage).await.1.open, 0);
    assert_eq!(read_again(&stage).await.open, 1, "a deleted cut");
    behind_the_triggers(&stage, "insert into postmeter.cut select * from aside").await;
    assert_eq!(prove(&stage).await.1.open, 0);
    stage.close().await;
}

#[tokio::test]
async fn i1_reading_again_keeps_the_pace_of_its_turn_and_says_between_when_it_was() {
    let stage = settled(2).await;
    let turn = "select (whole_until > whole_from and round_at >= whole_until and meters_after = 0 and usage_after = '')::text from postmeter.balance_check";
    assert_eq!(read_again(&stage).await.open, 0);
    assert_eq!(stage.value(turn).await, "true");
    let read = async |set: &str| {
        stage.sql(&format!("update postmeter.balance_check set {set}")).await;
        let mut proof = Proof::new(&stage.db.database, ENOUGH);
        proof.read_again(false).await.unwrap();
        proof.read().is_whole
    };
    let (hour, ten) = ("clock_timestamp() + interval '1 hour'", "clock_timestamp() - interval '10 hours'");
    assert!(!read(&format!("round_at = {hour}, round_ends_at = {hour} + interval '20 hours'")).await, "not its turn");
    // half of twenty hours has passed: half of the thousand seconds that it took the last time, and a quarter more
    let half = format!(
        "round_at = {ten}, round_ends_at = {ten} + interval '20 hours', whole_seconds = 1000, round_seconds = "
    );
    assert!(!read(&format!("{half} 630")).await, "more is read than time has passed");
    assert!(read(&format!("{half} 600")).await, "less is");
    let over = "whole_seconds = 1000, round_seconds = 5000, round_ends_at = clock_timestamp()";
    assert!(read(&format!("round_at = {ten}, {over}")).await, "its time is over: the rest at once");
    let next = "select (round_ends_at - round_at = '20 hours' and round_at > clock_timestamp() + interval '13 hours')::text from postmeter.balance_check";
    assert_eq!(stage.value(next).await, "true", "the next turn begins a day after this one did");
    stage.close().await;
}

#[tokio::test]
async fn i1_every_write_to_a_proven_meter_takes_its_proof_back() {
    let stage = settled(1).await;
    let month = "select moved || ' ' || anew || ' ' || proven from postmeter.balance_proof";
    assert_eq!(stage.value(month).await, "0 0 1");
    stage.record("afterwards", "org1", "cores", "2", "2024-09-18T10:30:00Z").await;
    for (write, says, open) in [
        ("update postmeter.meter set carried = carried + 1", "1 0 0", 1),
        ("update postmeter.meter set carried = carried - 1", "1 0 0", 0),
        ("update postmeter.meter_metric set covered = covered + 1", "1 0 0", 1),
        ("update postmeter.meter_metric set covered = covered - 1", "1 0 0", 0),
        ("update postmeter.meter_metric set factor_numerator = 2", "1 1 0", 1),
        ("update postmeter.meter_metric set factor_numerator = 1", "1 1 0", 0),
        ("update postmeter.delivery set status = 'released'", "1 0 0", 1),
        ("update postmeter.delivery set status = 'due'", "1 0 0", 0),
        (
            "alter table postmeter.allocation disable trigger append_only;
             update postmeter.allocation set quantity = quantity + 1",
            "1 0 0",
            1,
        ),
        ("update postmeter.allocation set quantity = quantity - 1", "1 0 0", 0),
        (
            "insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
             select u.id, a.destination_id, a.delivery_id, a.meter_metric_id, -1, u.quantity, a.hour, a.subscription_id
             from postmeter.allocation a, postmeter.usage u where u.event_id = 'afterwards'",
            "1 0 0",
            1,
        ),
        ("update postmeter.meter_metric set covered = covered + 2", "1 0 0", 0),
        (
            "insert into postmeter.ledger_carry select '2024-08-01', 'allocated', 'org1', 'db', 'cores', m.id, 1, d.id, 1, d.hour, 1, 5 from postmeter.meter_metric m, postmeter.delivery d",
            "0 1 0",
            1,
        ),
    ] {
        stage.sql(write).await;
        assert_eq!(stage.value(month).await, says, "{write}");
        assert_eq!(prove(&stage).await.1.open, open, "{write}");
        assert_eq!(stage.value(month).await, "0 0 1", "{write}");
    }
    let whole = "select count(*)::text from postmeter.balance where difference <> 0";
    assert_eq!(stage.value(whole).await, "1", "the view says the same");
}

#[tokio::test]
async fn i1_what_is_committed_after_two_proofs_is_proven_by_the_third() {
    let stage = settled(3).await;
    let late = stage.db.connect().await;
    late.batch_execute(&format!("begin; update postmeter.meter set carried = carried + 1 where id = {}", meter_of(1)))
        .await
        .unwrap();
    // others go on meanwhile, and are proven twice
    for second in [2, 3] {
        stage.sql(&format!("update postmeter.meter set carried = carried + 1 where id = {}", meter_of(second))).await;
        assert_eq!(prove(&stage).await.1.open, i64::from(second) - 1);
    }
    late.batch_execute("commit").await.unwrap();
    assert_eq!(prove(&stage).await.1.open, 3);
    stage.sql("update postmeter.meter set carried = carried - 1").await;
    assert_eq!(prove(&stage).await.1.open, 0);
    // usage that disappears is missed as late as that too
    stage.record("lost", "org1", "cores", "1", "2024-09-18T11:05:00Z").await;
    // as a fold takes it
    let take = "begin; with taken as (delete from postmeter.outbox returning id)
                insert into postmeter.usage_moved (slice) select distinct left(id::text, 8) from taken";
    late.batch_execute(take).await.unwrap();
    assert_eq!(prove(&stage).await.1.open, 0);
    assert_eq!(prove(&stage).await.1.open, 0);
    late.batch_execute("commit").await.unwrap();
    let found = prove(&stage).await.1;
    assert_eq!((found.open, found.example.as_deref()), (1, Some("org1 db cores: 1")));
}

#[tokio::test]
async fn i1_what_a_fold_took_and_counted_nowhere_is_missed_at_once() {
    let stage = settled(1).await;
    stage.record("lost", "org1", "cores", "1", "2024-09-18T11:05:00Z").await;
    assert_eq!(read_again(&stage).await.open, 0, "it waits");
    stage.fold().await;
    behind_the_triggers(
        &stage,
        "delete from postmeter.allocation a using postmeter.usage u where u.id = a.usage_id and u.event_id = 'lost'",
    )
    .await;
    let found = prove(&stage).await.1;
    assert_eq!((found.open, found.example.as_deref()), (1, Some("org1 db cores: 1")));
}

#[tokio::test]
async fn i1_after_commits_were_lost_nothing_counts_as_proven() {
    let stage = settled(3).await;
    assert_eq!(read_again(&stage).await.open, 0);
    behind_the_triggers(&stage, "update postmeter.usage set quantity = quantity + 1").await;
    assert_eq!(prove(&stage).await.1.open, 0);
    stage.sql("select postmeter.timeline_went_back('ada', 'a test')").await;
    assert_eq!(stage.value("select anew || ' ' || proven from postmeter.balance_proof").await, "3 0");
    stage.sql("update postmeter.balance_check set next_at = '-infinity'").await;
    let open = outbox::measure::check_balance(&stage.db.database, ENOUGH).await.unwrap();
    // three meters, and the usage of three orgs
    assert_eq!(open, Some(6));
}

#[tokio::test]
async fn i1_a_proof_that_dies_goes_on_where_it_was() {
    let stage = settled(1).await;
    for hour in ["11", "12", "13"] {
        stage.record(hour, "org1", "cores", "1", &format!("2024-09-18T{hour}:05:00Z")).await;
        stage.at(&format!("2024-09-18T{hour}:59:00Z")).await;
        stage.fold().await;
        let next = hour.parse::<u32>().unwrap() + 1;
        stage.at(&format!("2024-09-18T{next}:10:00Z")).await;
        cut(&stage).await;
    }
    assert_eq!(prove(&stage).await.1.open, 0);
    assert_eq!(outbox::proof::take_back(&stage.db.database).await.unwrap(), 1);
    let dying = stage.db.connect().await;
    let share = format!(
        "begin isolation level repeatable read; lock table postmeter.balance_gate in exclusive mode;
         select postmeter.prove_anew(array[{}], 2)",
        meter_of(1)
    );
    dying.batch_execute(&format!("{share}; commit")).await.unwrap();
    let after =
        "select (select count(*) from postmeter.delivery d where d.id <= w.after)::text from postmeter.balance_anew w";
    assert_eq!(stage.value(after).await, "2", "two of four are read");
    dying.batch_execute(&format!("{share}; rollback")).await.unwrap();
    assert_eq!(stage.value(after).await, "2", "what died in its share is not counted");
    let (read, found) = prove(&stage).await;
    assert_eq!((read.remittances, read.meters, found.open), (2, 1, 0), "only the rest is read");
    stage.close().await;
}

#[tokio::test]
async fn i1_a_proof_reads_what_was_written_and_not_what_is_there() {
    let stage = settled(60).await;
    // a second hour of six of them
    stage.sql("insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
               select 'billing', 'again ' || n, 'org' || n, 'db', 'cores', 1, '2024-09-18T11:05:00Z' from generate_series(1, 6) n").await;
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    cut(&stage).await;
    let client = stage.db.connect().await;
    client
        .batch_execute("analyze postmeter.allocation; analyze postmeter.delivery; analyze postmeter.usage")
        .await
        .unwrap();
    client
        .batch_execute("begin isolation level repeatable read; lock table postmeter.balance_gate in exclusive mode")
        .await
        .unwrap();
    let sql = "select p.remittances, p.proven from postmeter.prove_moved(array(select distinct m.meter_id from postmeter.balance_moved m)) p";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (6, 6));
    let rows = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables
                where schemaname = 'postmeter' and (relname like 'usage\\_2%' or relname = 'usage_default' or relname like 'allocation\\_%')";
    let read: i64 = client.query_one(rows, &[]).await.unwrap().get(0);
    assert!((6..=24).contains(&read), "{read} rows of usage and allocations for six usages");
    client.batch_execute("commit").await.unwrap();
    stage.close().await;
}

#[tokio::test]
async fn j1_balance_a_locked_table_costs_its_own_half_and_is_named() {
    let stage = ripe(2).await;
    cut(&stage).await;
    let held = stage.db.connect().await;
    held.batch_execute("begin; lock table postmeter.cut in access exclusive mode").await.unwrap();
    let mut proof = Proof::new(&stage.db.database, ENOUGH);
    let error = proof.prove_moved().await.unwrap_err().to_string();
    assert!(error.contains("cut"), "{error}");
    assert_eq!(stage.value("select count(*)::text from postmeter.usage_moved").await, "0", "usage is proven meanwhile");
    held.batch_execute("commit").await.unwrap();
    let (read, found) = prove(&stage).await;
    assert_eq!((read.meters, found.open), (2, 0));
    stage.close().await;
}

#[tokio::test]
async fn j2_balance_a_meter_that_cannot_be_proven_keeps_its_mark_and_nobody_else() {
    let stage = ripe(4).await;
    cut(&stage).await;
    let sick = stage.value(&format!("select {}::text", meter_of(2))).await;
    stage.sql(&format!("update postmeter.meter set denominator = 0 where id = {sick}")).await;
    let (read, found) = prove(&stage).await;
    assert_eq!((read.meters, found.open), (3, 1), "{found:?}");
    let example = found.example.unwrap();
    assert!(example.starts_with(&format!("meter {sick} cannot be proven: division by zero")), "{example}");
    stage.sql(&format!("update postmeter.meter set denominator = 1 where id = {sick}")).await;
    assert_eq!(prove(&stage).await.1.open, 0);
    stage.close().await;
}
