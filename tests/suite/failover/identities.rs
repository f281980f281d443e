//! Commits that are lost while identities turn: what services send again is one usage, and what was refused is refused.

use tests::Stage;
use tokio_postgres::IsolationLevel;

use super::{Pair, until_true};

const TURN: &str = "select postmeter.turn_identities()::text";
/// What a service keeps and sends again: event, what it corrects, quantity and time.
const KEPT: [(&str, &str, &str, &str); 5] = [
    ("forgotten", "null", "5", "2024-09-18T09:30:00Z"),
    ("survives", "null", "5", "2024-11-25T09:30:00Z"),
    ("before", "null", "2", "2024-12-23T09:30:00Z"),
    ("after", "null", "3", "2024-12-23T09:30:00Z"),
    ("less", "'survives'", "-4", "2024-11-25T09:30:00Z"),
];

/// When the standby is parted from its primary.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Parted {
    /// Before the turn: the standby has neither it nor what was recorded just before and after it.
    Before,
    /// While the turn is open: it is in the log, its commit is not.
    Inside,
    /// Between the turn and what is recorded after it.
    After,
}

/// Records a usage through one of three doors; `recorded`, `repeated` or how it is refused. Other doors than the batch do
/// not tell these two apart.
async fn send(stage: &Stage, door: usize, event: &str, corrects: &str, quantity: &str, used_at: &str) -> String {
    let columns = "source, event_id, org, product, metric, quantity, used_at, corrects";
    let values = format!("'s', '{event}', 'acme', 'db', 'cores', {quantity}, '{used_at}', {corrects}");
    let statement = match door {
        0 => format!(
            "select postmeter.record_usage('s', '{event}', 'acme', 'db', 'cores', {quantity}, '{used_at}', corrects => {corrects})"
        ),
        1 => format!("insert into postmeter.outbox ({columns}) values ({values})"),
        _ => {
            let json = format!(
                "jsonb_build_object('source', 's', 'event_id', '{event}', 'org', 'acme', 'product', 'db', 'metric', 'cores', \
                 'quantity', {quantity}, 'used_at', '{used_at}', 'corrects', {corrects})"
            );
            let sql = format!(
                "select coalesce(error_code || ' ' || field, verdict) from postmeter.record_usage_batch(jsonb_build_array({json}))"
            );
            return stage.value(&sql).await;
        }
    };
    match stage.db.client.batch_execute(&statement).await {
        Ok(()) => "recorded".to_owned(),
        Err(error) => Stage::refusal_in(&error).rsplit_once(' ').expect("three words").0.to_owned(),
    }
}

/// What each generation knows, and since when identities are complete.
async fn known(stage: &Stage) -> [String; 3] {
    let of = async |table: &str| {
        let sql = format!("select coalesce(string_agg(event_id, ' ' order by event_id), '') from postmeter.{table}");
        stage.value(&sql).await
    };
    let from = "select coalesce(to_char(nullif(identities_from, '-infinity') at time zone 'UTC', 'YYYY-MM-DD'), 'ever')
                from postmeter.setting";
    [of("usage_identity").await, of("usage_identity_before").await, stage.value(from).await]
}

/// A primary whose next turn drops what was recorded in September.
async fn due() -> (Pair, Stage) {
    let (pair, stage) = Pair::start().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.subscribe("acme", "111122223333").await;
    stage.sql("update postmeter.identity_generation set began_at = postmeter.clock()").await;
    let [forgotten, survives, ..] = KEPT;
    assert_eq!(send(&stage, 0, forgotten.0, forgotten.1, forgotten.2, forgotten.3).await, "recorded");
    stage.at("2024-11-05T10:00:00Z").await;
    assert_eq!(stage.value(TURN).await, "true");
    stage.at("2024-11-25T10:00:00Z").await;
    assert_eq!(send(&stage, 1, survives.0, survives.1, survives.2, survives.3).await, "recorded");
    stage.at("2024-12-23T10:00:00Z").await;
    (pair, stage)
}

/// Dies around a turn, and a standby takes over that lacks some of it.
async fn failed_over(parted: Parted) -> (Pair, Stage) {
    let (mut pair, mut stage) = due().await;
    let turns = stage.db.connect().await;
    let [_, _, before, after, less] = KEPT;
    if parted == Parted::Before {
        pair.part().await;
    }
    let mut lost = vec![before];
    if parted != Parted::Before {
        assert_eq!(send(&stage, 2, before.0, before.1, before.2, before.3).await, "recorded");
        lost.clear();
    }
    for (event, corrects, quantity, at) in lost {
        assert_eq!(send(&stage, 2, event, corrects, quantity, at).await, "recorded");
    }
    turns.batch_execute("begin").await.unwrap();
    assert_eq!(turns.query_one(TURN, &[]).await.unwrap().get::<_, String>(0), "true");
    if parted == Parted::Inside {
        // all of it but its commit is in the log
        turns.batch_execute("select pg_switch_wal()").await.unwrap();
        pair.part().await;
    }
    turns.batch_execute("commit").await.unwrap();
    if parted == Parted::After {
        pair.part().await;
    }
    assert_eq!(send(&stage, 0, after.0, after.1, after.2, after.3).await, "recorded");
    assert_eq!(send(&stage, 1, less.0, less.1, less.2, less.3).await, "recorded");
    assert_eq!(known(&stage).await, ["after less", "before survives", "2024-11-07"], "{parted:?}: as on the primary");
    drop(turns);
    pair.fail_over(&mut stage).await;
    (pair, stage)
}

/// How many there are of each, and how they add up.
const ONCE: &str =
    "select string_agg(concat_ws(' ', u.event_id, trim_scale(u.quantity), u.n, o.n), ', ' order by u.event_id)
    from (select event_id, sum(quantity) as quantity, count(*) as n from postmeter.usage group by 1) u
    left join (select event_id, count(*) as n from postmeter.outbox group by 1) o using (event_id)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real standbys: make failover"]
async fn failover_a2_what_was_lost_with_a_turn_of_identities_is_recorded_once_more() {
    for (parted, survives) in [
        (Parted::Before, ["survives", "forgotten", "ever"]),
        (Parted::Inside, ["before survives", "forgotten", "ever"]),
        (Parted::After, ["", "before survives", "2024-11-07"]),
    ] {
        let (pair, stage) = failed_over(parted).await;
        assert_eq!(known(&stage).await, survives, "{parted:?}: as on the standby");
        let id = "select id::text from postmeter.usage where event_id = 'survives'";
        let first = stage.value(id).await;
        // each door has it first once, and all of them again
        for (n, (event, corrects, quantity, at)) in KEPT.into_iter().enumerate() {
            for door in (0..3).map(|door| (door + n) % 3) {
                let said = send(&stage, door, event, corrects, quantity, at).await;
                let expected = if event == "forgotten" { "PM005 used_at" } else { "recorded" };
                assert!(said == expected || said == "repeated" && door == 2, "{parted:?}: {event} by {door}: {said}");
            }
        }
        for door in 0..3 {
            let mut said = Vec::new();
            for (event, corrects, quantity, at) in [
                ("survives", "null", "6", "2024-11-25T09:30:00Z"),
                ("after", "null", "3", "2024-12-23T09:30:01Z"),
                ("less", "'survives'", "-3", "2024-11-25T09:30:00Z"),
                ("more", "'survives'", "-2", "2024-11-25T09:30:00Z"),
                ("unknown", "'never'", "-2", "2024-12-23T09:30:00Z"),
            ] {
                said.push(send(&stage, door, event, corrects, quantity, at).await);
            }
            let expected = ["PM002 event_id", "PM002 event_id", "PM002 event_id", "PM004 corrects", "PM003 corrects"];
            assert_eq!(said, expected, "{parted:?} by {door}");
        }
        assert_eq!(stage.value(id).await, first, "{parted:?}: what survived is known");
        let once = "after 3 1 1, before 2 1 1, forgotten 5 1 1, less -4 1 1, survives 5 1 1";
        assert_eq!(stage.value(ONCE).await, once, "{parted:?}");
        // the turn that was lost is due here as well, and forgets nothing that can be sent again
        if parted != Parted::After {
            until_true(&stage.db.client, "select postmeter.turn_identities()").await;
        }
        assert_eq!(known(&stage).await[2], "2024-11-07", "{parted:?}");
        for (event, corrects, quantity, at) in KEPT {
            let expected = if event == "forgotten" { "PM005 used_at" } else { "repeated" };
            assert_eq!(send(&stage, 2, event, corrects, quantity, at).await, expected, "{parted:?}: {event}");
        }
        assert_eq!(stage.value(ONCE).await, once, "{parted:?}");
        stage.close().await;
        drop(pair);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real standbys: make failover"]
async fn failover_a2_who_had_begun_before_a_promotion_records_nothing_over_a_turn_after_it() {
    let (mut pair, mut stage) = due().await;
    pair.caught_up().await;
    pair.fail_over(&mut stage).await;
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let mut held = stage.db.connect().await;
        let snapshot = held.build_transaction().isolation_level(level).start().await.unwrap();
        snapshot.batch_execute("select from postmeter.usage").await.unwrap();
        stage.sql("update postmeter.identity_generation set began_at = postmeter.clock() - interval '47 days'").await;
        until_true(&stage.db.client, "select postmeter.turn_identities()").await;
        let late = "select postmeter.record_usage('s', 'late', 'acme', 'db', 'cores', 1, '2024-12-23T09:30:00Z')";
        let error = snapshot.batch_execute(late).await.unwrap_err();
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("40001"), "{error:?}");
    }
    stage.close().await;
}
