//! Two generations of identities that take turns: what is remembered, for how long, and who may record meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::Stage;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel};

use super::{call, insert, rows};

/// Tries after which something is taken not to end.
const TRIES: usize = 2000;
const DUE: &str = "update postmeter.identity_generation set began_at = postmeter.clock() - interval '48 days'";
const TURN: &str = "select postmeter.turn_identities()::text";

/// A stage whose younger generation begins at its time.
async fn begun() -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.identity_generation set began_at = postmeter.clock()").await;
    stage
}

/// Lets the generations take a turn, as a worker does: again and again.
async fn turned(stage: &Stage) {
    for _ in 0..TRIES {
        if outbox::maintain::turn_identities(&stage.db.database).await.unwrap() {
            return;
        }
    }
    panic!("no turn in {TRIES} tries");
}

/// Which ids each generation knows.
async fn known(stage: &Stage) -> [String; 2] {
    let of = async |table: &str| {
        let sql = format!("select coalesce(string_agg(event_id, ' ' order by event_id), '') from postmeter.{table}");
        stage.value(&sql).await
    };
    [of("usage_identity").await, of("usage_identity_before").await]
}

#[tokio::test]
async fn l3_an_identity_outlives_one_turn_and_is_dropped_by_the_next() {
    let stage = begun().await;
    let one = call(&[("event_id", "'one'")]);
    stage.sql(&one).await;
    stage.at("2024-11-04T09:59:59Z").await;
    assert_eq!(stage.value(TURN).await, "false", "45 days and two have not passed");
    let two = [("event_id", "'two'"), ("used_at", "'2024-11-04T09:30:00Z'")];
    let id = stage.value(&format!("{}::text", call(&two))).await;
    stage.at("2024-11-04T10:00:00Z").await;
    assert_eq!(stage.value(TURN).await, "true");
    assert_eq!(known(&stage).await, ["", "one two"]);
    assert_eq!(stage.value(TURN).await, "false", "it has just begun");
    // whatever door it comes through
    assert_eq!(stage.value(&format!("{}::text", call(&two))).await, id);
    stage.sql(&insert(&two)).await;
    let batch = r#"[{"source": "billing", "event_id": "two", "org": "acme", "product": "db", "metric": "cores",
                     "quantity": 2.5, "used_at": "2024-11-04T09:30:00Z"}]"#;
    let verdict = format!("select verdict || ' ' || usage_id from postmeter.record_usage_batch('{batch}')");
    assert_eq!(stage.value(&verdict).await, format!("repeated {id}"));
    let other = call(&[two[0], two[1], ("quantity", "3")]);
    assert_eq!(stage.refusal(&other).await, "PM002 event_id usage_identity");
    assert_eq!(rows(&stage).await, "2 0 2");
    // the next one forgets, and what it forgets is never taken again
    stage.at("2024-12-21T10:00:00Z").await;
    assert_eq!(stage.value(TURN).await, "true");
    assert_eq!(known(&stage).await, ["", ""]);
    stage.sql("update postmeter.setting set usage_age_max = '4000 days'").await;
    for usage in [&one, &call(&two)] {
        assert_eq!(stage.refusal(usage).await, "PM005 used_at used_at_too_old");
    }
    let since = call(&[("event_id", "'since'"), ("used_at", "'2024-11-06T10:00:00Z'")]);
    stage.sql(&since).await;
    let before = call(&[("event_id", "'before'"), ("used_at", "'2024-11-06T09:59:59.999999Z'")]);
    assert_eq!(stage.refusal(&before).await, "PM005 used_at used_at_too_old");
    stage.close().await;
}

#[tokio::test]
async fn l3_nothing_is_forgotten_by_a_turn_that_drops_nothing() {
    let stage = begun().await;
    stage.at("2024-11-04T10:00:00Z").await;
    assert_eq!(stage.value(TURN).await, "true");
    assert_eq!(stage.value("select identities_from::text from postmeter.setting").await, "-infinity");
    // history from before the installation
    stage.sql("update postmeter.setting set usage_age_max = '4000 days'").await;
    stage.sql(&call(&[("used_at", "'2020-01-01T00:00:00Z'")])).await;
    stage.close().await;
}

#[tokio::test]
async fn a4_usage_further_ahead_than_a_day_is_never_taken() {
    let stage = Stage::new().await;
    let error = stage.db.client.batch_execute("update postmeter.setting set usage_lead_max = '25 hours'").await;
    let error = error.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().constraint(), Some("setting_usage_lead_bound"));
    stage.close().await;
}

#[tokio::test]
async fn a5_corrections_find_what_they_correct_in_either_generation() {
    let stage = begun().await;
    for event in ["'old'", "'older'"] {
        stage.sql(&call(&[("event_id", event), ("quantity", "5")])).await;
    }
    stage.sql(DUE).await;
    turned(&stage).await;
    stage.sql(&call(&[("event_id", "'new'"), ("quantity", "5")])).await;
    for of in ["old", "new"] {
        let correct = |n: u32, quantity: &str| {
            let (event, of) = (format!("'{of}-{n}'"), format!("'{of}'"));
            call(&[("event_id", &event), ("corrects", &of), ("quantity", quantity)])
        };
        stage.sql(&correct(1, "-3")).await;
        assert_eq!(stage.refusal(&correct(2, "-3")).await, "PM004 corrects corrects_below_zero", "{of}");
        // under a snapshot that hides the first correction, the second one must not add up without it
        let mut held = stage.db.connect().await;
        let snapshot = held.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let snapshot = snapshot.start().await.unwrap();
        snapshot.batch_execute("select from postmeter.usage").await.unwrap();
        stage.sql(&correct(3, "-1")).await;
        let error = snapshot.batch_execute(&correct(4, "-1")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{of}: {error:?}");
    }
    // what both correct is found by its id from then on, whatever is forgotten
    stage.sql(DUE).await;
    turned(&stage).await;
    let corrected = "select string_agg(c.event_id || ' of ' || u.event_id, ', ' order by c.event_id)
                     from postmeter.usage c join postmeter.usage u on u.id = c.corrected_id";
    assert_eq!(stage.value(corrected).await, "new-1 of new, new-3 of new, old-1 of old, old-3 of old");
    let unknown = call(&[("event_id", "'late'"), ("corrects", "'older'"), ("quantity", "-1")]);
    let error = stage.db.client.batch_execute(&unknown).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "PM003", "{error}");
    assert!(error.message().contains("names no usage of source 'billing' that was used since 2024-08-03"), "{error}");
    stage.close().await;
}

#[tokio::test]
async fn a2_who_has_looked_before_a_turn_records_nothing_after_it() {
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let stage = begun().await;
        let mut held = stage.db.connect().await;
        let columns = "source, event_id, org, product, metric, quantity, used_at";
        let rows_of = "('s', 'x', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z'), \
                       ('s', 'y', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')";
        let batch = r#"[{"source": "s", "event_id": "x", "org": "acme", "product": "db", "metric": "cores",
                         "quantity": 1, "used_at": "2024-09-18T09:30:00Z"}]"#;
        for door in [
            call(&[("event_id", "'x'")]),
            insert(&[("event_id", "'x'")]),
            format!("insert into postmeter.outbox ({columns}) values {rows_of}"),
            format!("select postmeter.record_usage_batch('{batch}')"),
        ] {
            let snapshot = held.build_transaction().isolation_level(level).start().await.unwrap();
            snapshot.batch_execute("select from postmeter.usage").await.unwrap();
            stage.sql(DUE).await;
            turned(&stage).await;
            let error = snapshot.batch_execute(&door).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{door}: {error:?}");
            snapshot.rollback().await.unwrap();
        }
        assert_eq!(rows(&stage).await, "0 0 0");
        stage.close().await;
    }
}

#[tokio::test]
async fn l3_a_turn_waits_for_whoever_records_and_keeps_nobody_waiting() {
    let stage = begun().await;
    let mut recording = stage.db.connect().await;
    let open = recording.transaction().await.unwrap();
    open.batch_execute(&call(&[("event_id", "'open'")])).await.unwrap();
    stage.sql(DUE).await;
    assert_eq!(stage.value(TURN).await, "false", "somebody records");
    stage.sql(&call(&[("event_id", "'beside'")])).await;
    open.commit().await.unwrap();
    turned(&stage).await;
    assert_eq!(known(&stage).await, ["", "beside open"]);
    stage.close().await;
}

/// Four usages, by one of four doors, from one end of the round's ids or from the other.
fn four(round: usize, step: usize, door: usize, backwards: bool) -> String {
    let ids = (0..4).map(|n| step * 4 + n).map(|n| if backwards { 39 - n } else { n });
    let events: Vec<String> = ids.map(|n| format!("r{round}-{n}")).collect();
    let row = |event: &String| format!("('s', '{event}', 'acme', 'db', 'cores', 1, '2024-09-18T09:30Z')");
    let object = |event: &String| {
        format!(
            r#"{{"source": "s", "event_id": "{event}", "org": "acme", "product": "db", "metric": "cores",
                 "quantity": "1.0", "used_at": "2024-09-18T09:30:00Z"}}"#
        )
    };
    match door {
        0 => format!(
            "select postmeter.record_usage(v.a, v.b, v.c, v.d, v.e, v.f, v.g) from (values {}) v(a, b, c, d, e, f, g)",
            events.iter().map(row).collect::<Vec<_>>().join(", ").replace("'2024", "timestamptz '2024")
        ),
        1 => format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at) values {}",
            events.iter().map(row).collect::<Vec<_>>().join(", ")
        ),
        2 => format!(
            "select postmeter.record_usage_batch('[{}]')",
            events.iter().map(object).collect::<Vec<_>>().join(", ")
        ),
        _ => format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at) values {}",
            row(&events[0])
        ),
    }
}

/// Records every usage of a round three times over, and begins again where Postgres says so.
async fn record(mut client: Client, round: usize, number: usize, done: Arc<AtomicUsize>) {
    let level =
        [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable][number % 3];
    for step in (0..30).map(|step| step % 10) {
        let sql = four(round, step, (number + step) % 4, number.is_multiple_of(2));
        for attempt in 0.. {
            assert!(attempt < TRIES, "{sql} is not done after {TRIES} tries");
            let open = client.build_transaction().isolation_level(level).start().await.unwrap();
            let recorded = match open.batch_execute(&sql).await {
                Ok(()) => open.commit().await,
                Err(error) => open.rollback().await.and(Err(error)),
            };
            match recorded {
                Ok(()) => break,
                Err(error) => {
                    let code = error.code().cloned();
                    let again = !number.is_multiple_of(3)
                        && code == Some(SqlState::T_R_SERIALIZATION_FAILURE)
                        // of several calls in one statement each takes its identity as it comes
                        || code == Some(SqlState::T_R_DEADLOCK_DETECTED);
                    assert!(again, "{sql}: {error:?}");
                }
            }
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a2_of_what_many_record_at_once_while_generations_turn_each_is_one_usage() {
    let stage = begun().await;
    for round in 0..4 {
        let done = Arc::new(AtomicUsize::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..6 {
            writers.spawn(record(stage.db.connect().await, round, number, done.clone()));
        }
        tests::wait_until("a third is recorded", async || done.load(Ordering::SeqCst) > 60).await;
        stage.sql(DUE).await;
        turned(&stage).await;
        while let Some(writer) = writers.join_next().await {
            writer.unwrap();
        }
        let once = format!(
            "select format('%s usages of %s ids, %s entries', count(*), count(distinct u.event_id), count(o.id))
             from postmeter.usage u left join postmeter.outbox o on o.id = u.id where u.event_id like 'r{round}-%'"
        );
        assert_eq!(stage.value(&once).await, "40 usages of 40 ids, 40 entries", "round {round}");
    }
    stage.close().await;
}

#[tokio::test]
async fn l3_who_has_looked_before_a_turn_takes_none_himself() {
    let stage = begun().await;
    stage.sql(&call(&[("event_id", "'one'")])).await;
    stage.sql(DUE).await;
    let mut held = stage.db.connect().await;
    let snapshot = held.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    snapshot.batch_execute("select from postmeter.usage").await.unwrap();
    turned(&stage).await;
    let error = snapshot.batch_execute(TURN).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
    snapshot.rollback().await.unwrap();
    assert_eq!(known(&stage).await, ["", "one"]);
    // where it is not known since when the younger generation is there, none is dropped
    stage.sql("delete from postmeter.identity_generation").await;
    for sql in [TURN.to_owned(), call(&[("event_id", "'two'")])] {
        let error = stage.db.client.batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{sql}: {error:?}");
    }
    assert_eq!(known(&stage).await, ["", "one"]);
    stage.close().await;
}

#[tokio::test]
async fn l3_whoever_records_goes_on_by_every_door_while_a_turn_waits_for_him() {
    let stage = begun().await;
    stage.sql(&call(&[("event_id", "'known'")])).await;
    stage.sql(DUE).await;
    let turning = stage.db.connect().await;
    let tries = tokio::spawn(async move {
        let mut turned = 0;
        for _ in 0..10 {
            turned += i32::from(turning.query_one(TURN, &[]).await.unwrap().get::<_, String>(0) == "true");
        }
        turned
    });
    let mut recording = stage.db.connect().await;
    let mut number = 0;
    while !tries.is_finished() {
        let open = recording.transaction().await.unwrap();
        for door in [call, insert] {
            for event in ["'known'".to_owned(), format!("'new-{number}'")] {
                open.batch_execute(&door(&[("event_id", &event)])).await.unwrap();
                number += 1;
            }
        }
        open.commit().await.unwrap();
    }
    assert_eq!(tries.await.unwrap(), 1, "it had its turn between two of them, and was not due again");
    stage.close().await;
}

#[tokio::test]
async fn a4_how_old_usage_is_does_not_depend_on_the_zone_of_its_session() {
    let stage = begun().await;
    for zone in ["Pacific/Kiritimati", "AAA-167BBB+167,J200/0,J300/0"] {
        for door in [call, insert] {
            for used_at in ["'2024-08-04T09:59:59Z'", "'2024-09-18T11:00:01Z'"] {
                let sql = format!("set timezone = '{zone}'; {}", door(&[("used_at", used_at)]));
                let code = stage.refusal(&sql).await;
                assert!(code.starts_with("PM005") || code.starts_with("PM006"), "{zone}: {sql}: {code}");
            }
        }
    }
    stage.sql("reset timezone").await;
    assert_eq!(rows(&stage).await, "0 0 0");
    stage.close().await;
}

#[tokio::test]
async fn a5_a_forgotten_id_given_to_another_usage_has_none_of_the_old_corrections() {
    let stage = begun().await;
    stage.sql(&call(&[("event_id", "'x'"), ("quantity", "10")])).await;
    stage.sql(&call(&[("event_id", "'x-less'"), ("corrects", "'x'"), ("quantity", "-10")])).await;
    for _ in 0..2 {
        stage.sql(DUE).await;
        turned(&stage).await;
    }
    stage.at("2024-11-20T10:00:00Z").await;
    let later = ("used_at", "'2024-11-20T09:30:00Z'");
    stage.sql(&call(&[("event_id", "'x'"), ("quantity", "5"), later])).await;
    stage.sql(&call(&[("event_id", "'again-less'"), ("corrects", "'x'"), ("quantity", "-5"), later])).await;
    let more = call(&[("event_id", "'more'"), ("corrects", "'x'"), ("quantity", "-1"), later]);
    assert_eq!(stage.refusal(&more).await, "PM004 corrects corrects_below_zero");
    stage.close().await;
}

#[tokio::test]
async fn a3_what_another_records_meanwhile_is_repeated_also_beside_what_is_refused() {
    let stage = begun().await;
    let mut first = stage.db.connect().await;
    let open = first.transaction().await.unwrap();
    let one = [("event_id", "'one'"), ("request_id", "null"), ("attributes", "'{}'")];
    open.batch_execute(&call(&one)).await.unwrap();
    let second = stage.db.connect().await;
    let batch = tokio::spawn(async move {
        let batch = r#"[{"source": "billing", "event_id": "one", "org": "acme", "product": "db", "metric": "cores",
                         "quantity": 2.5, "used_at": "2024-09-18T09:30:00Z"}, {"source": "billing"}]"#;
        let sql = format!("select string_agg(verdict, ' ' order by item) from postmeter.record_usage_batch('{batch}')");
        second.query_one(&sql, &[]).await.unwrap().get::<_, String>(0)
    });
    stage.until_waiting(1).await;
    open.commit().await.unwrap();
    assert_eq!(batch.await.unwrap(), "repeated refused");
    stage.close().await;
}
