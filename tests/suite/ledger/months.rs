//! Partitions are made ahead and healed after any pause; what is not finished is named.

use super::{WHY_NOT, finished, in_time, september};

const WHERE: &str = "select string_agg(p.t || ' ' || p.n, ', ' order by p.t) from (
    select replace(tableoid::regclass::text, 'postmeter.', '') as t, count(*) as n from postmeter.usage group by 1
    union all select replace(tableoid::regclass::text, 'postmeter.', ''), count(*) from postmeter.allocation group by 1
    union all select replace(tableoid::regclass::text, 'postmeter.', ''), count(*) from postmeter.attempt group by 1
    union all select replace(tableoid::regclass::text, 'postmeter.', ''), count(*) from postmeter.outcome group by 1) p";

#[tokio::test]
async fn i4_after_any_pause_months_are_made_and_rows_leave_the_default_partition_exactly() {
    let stage = in_time().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.at("2024-10-02T12:00:00Z").await;
    stage.use_cores("october", "1", "2024-10-02T11:30:00Z").await;
    assert_eq!(stage.value(WHERE).await, "allocation_default 1, attempt_default 1, outcome_default 1, usage_default 2");
    assert!(outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap() >= 8);
    assert_eq!(
        stage.value(WHERE).await,
        "allocation_202409 1, attempt_202409 1, outcome_202409 1, usage_202409 1, usage_202410 1"
    );
    assert_eq!(outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap(), 0, "twice changes nothing");
    // two months beyond the server's own
    let ahead = "select count(*)::text from generate_series(0, 2) n, unnest(array['usage', 'allocation', 'attempt', 'outcome']) t
                 where to_regclass('postmeter.' || t || to_char(clock_timestamp() at time zone 'UTC' + n * interval '1 month', '_YYYYMM')) is not null";
    assert_eq!(stage.value(ahead).await, "12");
    for table in ["usage_default", "usage_202409"] {
        assert_eq!(stage.refusal(&format!("delete from postmeter.{table}")).await, "PM020 - -", "still append-only");
    }
    stage.cut_at("2024-10-02T13:10:00Z").await;
    stage.close().await;
}

#[tokio::test]
async fn i4_a_reader_keeps_no_partition_from_being_made_later_and_never_waits_for_it() {
    let stage = in_time().await;
    stage.use_cores("one", "3", "2024-09-18T09:55:00Z").await;
    let mut reader = stage.db.connect().await;
    let reading = reader.transaction().await.unwrap();
    reading.batch_execute("select * from postmeter.usage").await.unwrap();
    assert_eq!(
        outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap(),
        0,
        "not while somebody reads"
    );
    let patience = "select string_agg(proname || ' ' || s, ', ' order by proname) from pg_proc, unnest(proconfig) s
                    where proname in ('create_partitions', 'drop_ledger_month') and s like 'lock_timeout%'";
    assert_eq!(
        stage.value(patience).await,
        "create_partitions lock_timeout=100ms, drop_ledger_month lock_timeout=100ms",
        "so long a reader may wait behind it"
    );
    reading.commit().await.unwrap();
    assert!(outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap() > 0);
    assert_eq!(stage.value(WHERE).await, "usage_202409 1");
}

#[tokio::test]
async fn i4_a_month_is_finished_only_when_everything_in_it_is() {
    let stage = september().await;
    stage.at("2025-11-10T12:00:00Z").await;
    assert_eq!(stage.value(WHY_NOT).await, "no retention is set: everything is kept");
    let short = "select postmeter.set_ledger_retention('44 days', 'ada', 'why')";
    assert_eq!(stage.refusal(short).await, "PM044 retention ledger_outlives_intake");
    stage.sql("select postmeter.set_ledger_retention('405 days', 'ada', 'the law says so')").await;
    assert_eq!(stage.value(WHY_NOT).await, "2024-09 of aws is not closed");
    stage.at("2025-11-09T23:59:00Z").await;
    assert_eq!(stage.value(WHY_NOT).await, "it is kept until 2025-11-10");
    stage.at("2025-11-10T12:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    assert_eq!(stage.value(WHY_NOT).await, "", "all is finished");
    let mut client = stage.db.connect().await;
    for (wrong, why) in [
        (
            "insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at, returned)
          select id, source, event_id, org, product, metric, quantity, used_at, true from postmeter.usage limit 1",
            "usage of it waits in the outbox: 1",
        ),
        (
            "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour)
          select id, 'no_subscription', org, product, metric, quantity, used_at from postmeter.usage limit 1",
            "usage of it is held: 1 (no_subscription)",
        ),
        (
            "insert into postmeter.shadow_usage (destination_id, usage_id, org, product, metric, quantity, hour)
          select 1, id, org, product, metric, quantity, used_at from postmeter.usage limit 1",
            "usage of it waits for a shadow: 1",
        ),
        (
            "update postmeter.delivery set status = 'rejected', confirmed = null where id = 1",
            "remittance 1 is rejected",
        ),
        (
            "insert into postmeter.attempt (id, delivery_id, destination_id, call_id, worker_id, number)
          values (postmeter.id_at('2024-09-20T00:00Z'), 1, 1, gen_random_uuid(), gen_random_uuid(), 9)",
            "an attempt of remittance 1 has no outcome",
        ),
        ("delete from postmeter.exempted", "usage exempt of billing is not in exactly one place"),
    ] {
        let tx = client.transaction().await.unwrap();
        tx.batch_execute(wrong).await.unwrap_or_else(|error| panic!("{wrong}: {error:?}"));
        assert_eq!(tx.query_one(WHY_NOT, &[]).await.unwrap().get::<_, Option<&str>>(0), Some(why));
        tx.rollback().await.unwrap();
    }
    // this month of the server is still written to, whatever the clock says
    let now = "select postmeter.ledger_why_not(date_trunc('month', clock_timestamp() at time zone 'UTC')::date)";
    stage.at("2099-01-01T00:00:00Z").await;
    assert_eq!(stage.value(now).await, "it is still written to");
    stage.close().await;
}

#[tokio::test]
async fn i3_only_an_operator_exports_drops_or_changes_the_retention() {
    let stage = finished().await;
    for sql in [
        "select postmeter.set_ledger_retention(null, 'x', 'y')",
        "select postmeter.record_ledger_export('2024-09-01', '{}', 'x', 'y')",
        "select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)",
        "drop table postmeter.usage_202409",
        "alter table postmeter.usage detach partition postmeter.usage_202409",
        "insert into postmeter.ledger_export (month, number, manifest, digest, decision_id) values ('2024-09-01', 1, '', repeat('0', 64), 1)",
        "update postmeter.setting set ledger_retention = '400 days'",
    ] {
        for role in ["postmeter_worker", "postmeter_reader", "postmeter_producer"] {
            let client = stage.db.connect().await;
            client.batch_execute(&format!("set role {role}")).await.unwrap();
            let error = client.batch_execute(sql).await.expect_err(sql);
            assert_eq!(error.code().unwrap().code(), "42501", "{role}: {sql}");
        }
    }
    stage.sql("set role postmeter_operator").await;
    let dropping = "select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)";
    assert_eq!(stage.refusal(dropping).await, "PM042 month ledger_exported");
    stage.sql("select postmeter.set_ledger_retention(null, 'ada', 'keep it')").await;
    for sql in ["drop table postmeter.usage_202409", "delete from postmeter.usage"] {
        assert_eq!(stage.refusal(sql).await, "42501 - -");
    }
}
