//! Two record the same usage at once, or one while the generations turn: every case in three isolation levels, through every
//! door. Whoever is second finds what the first has recorded, or is told to begin again; never does he record it once more.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::SinkExt as _;
use tests::Stage;
use tokio_postgres::Client;

/// Tries after which something is taken not to end.
const TRIES: usize = 200;
const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];
const DUE: &str = "update postmeter.identity_generation set began_at = postmeter.clock() - interval '48 days'";
const COLUMNS: &str = "source, event_id, org, product, metric, quantity, used_at, corrects";

/// A door, and whether another usage comes with it, for which intake has a way of its own.
#[derive(Debug, Clone, Copy)]
enum Door {
    Function,
    Batch { company: bool },
    Insert { company: bool },
    Copy { company: bool },
}

const DOORS: [Door; 7] = [
    Door::Function,
    Door::Batch { company: false },
    Door::Batch { company: true },
    Door::Insert { company: false },
    Door::Insert { company: true },
    Door::Copy { company: false },
    Door::Copy { company: true },
];

#[derive(Debug, Clone)]
struct Usage {
    event: String,
    corrects: Option<String>,
    quantity: &'static str,
    used_at: &'static str,
}

/// Its time is today's.
fn usage(event: &str) -> Usage {
    Usage { event: event.to_owned(), corrects: None, quantity: "5", used_at: "2024-09-18T09:30:00Z" }
}

/// An event id that nobody has used.
fn fresh(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn code(error: &tokio_postgres::Error) -> String {
    error.code().unwrap_or_else(|| panic!("{error:?}")).code().to_owned()
}

fn values(usages: &[Usage]) -> String {
    let value = |usage: &Usage| {
        let corrects = usage.corrects.as_ref().map_or_else(|| "null".to_owned(), |event| format!("'{event}'"));
        format!("('s', '{}', 'acme', 'db', 'cores', {}, '{}', {corrects})", usage.event, usage.quantity, usage.used_at)
    };
    usages.iter().map(value).collect::<Vec<_>>().join(", ")
}

async fn copied(client: &Client, usages: &[Usage]) -> Result<u64, tokio_postgres::Error> {
    let line = |usage: &Usage| {
        let corrects = usage.corrects.as_deref().unwrap_or_default();
        format!("s,{},acme,db,cores,{},{},{corrects}\n", usage.event, usage.quantity, usage.used_at)
    };
    let copy = format!("copy postmeter.outbox ({COLUMNS}) from stdin (format csv)");
    let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await?);
    sink.send(Bytes::from(usages.iter().map(line).collect::<String>())).await?;
    sink.finish().await
}

/// Records usages inside a transaction: `ok`, or the code with which the first is refused.
async fn send(client: &Client, door: Door, usages: &[Usage]) -> String {
    let mut all = usages.to_vec();
    if let Door::Batch { company: true } | Door::Insert { company: true } | Door::Copy { company: true } = door {
        all.push(usage(&fresh("company")));
    }
    let values = values(&all);
    let said = match door {
        Door::Function => {
            let call = format!(
                "select postmeter.record_usage(v.a, v.b, v.c, v.d, v.e, v.f, v.g::timestamptz, corrects => v.h)
                 from (values {values}) v(a, b, c, d, e, f, g, h)"
            );
            client.batch_execute(&call).await
        }
        Door::Insert { .. } => {
            client.batch_execute(&format!("insert into postmeter.outbox ({COLUMNS}) values {values}")).await
        }
        Door::Copy { .. } => copied(client, &all).await.map(drop),
        Door::Batch { .. } => {
            let call = format!(
                "select coalesce(r.error_code, 'ok')
                 from postmeter.record_usage_batch((
                     select jsonb_agg(to_jsonb(v)) from (values {values}) v({COLUMNS}))) r order by r.item limit 1"
            );
            match client.query_one(&call, &[]).await {
                Ok(row) => return row.get(0),
                Err(error) => Err(error),
            }
        }
    };
    said.map_or_else(|error| code(&error), |()| "ok".to_owned())
}

async fn commit(client: &Client) -> String {
    client.batch_execute("commit").await.map_or_else(|error| code(&error), |()| "ok".to_owned())
}

/// Another session, which has looked at what is there.
async fn looked(stage: &Stage, level: &str) -> Client {
    let client = stage.db.connect().await;
    client.batch_execute(&format!("begin isolation level {level}; select from postmeter.usage limit 1")).await.unwrap();
    client
}

/// Begins again as long as Postgres says so; what it comes to.
async fn again(stage: &Stage, level: &str, door: Door, usage: &Usage) -> String {
    for _ in 0..TRIES {
        let client = looked(stage, level).await;
        match send(&client, door, std::slice::from_ref(usage)).await {
            said if said == "ok" => match commit(&client).await {
                said if said == "40001" => {}
                said => return said,
            },
            said if said == "40001" => {}
            said => return said,
        }
    }
    panic!("{usage:?} by {door:?} is not done after {TRIES} tries");
}

/// What there is of an event: how often, of what quantity and month, and with how many entries.
async fn there(stage: &Stage, event: &str) -> String {
    let sql = format!(
        "select concat_ws(' ', count(*), trim_scale(sum(u.quantity)), min(extract(month from u.used_at at time zone 'UTC')),
                          count(o.id))
         from postmeter.usage u left join postmeter.outbox o on o.id = u.id where u.source = 's' and u.event_id = '{event}'"
    );
    stage.value(&sql).await
}

/// A turn of the generations, as a worker takes it: again and again.
async fn turned(stage: &Stage) {
    stage.sql(DUE).await;
    for _ in 0..TRIES {
        if outbox::maintain::turn_identities(&stage.db.database).await.unwrap() {
            return;
        }
    }
    panic!("no turn in {TRIES} tries");
}

/// The second is under way when the first ends; what he is told at once, and in the end.
async fn second(stage: &Stage, level: &str, door: Door, first: &Usage, then: &Usage, commits: bool) -> [String; 2] {
    let one = looked(stage, level).await;
    assert_eq!(send(&one, door, std::slice::from_ref(first)).await, "ok", "{first:?} by {door:?}, {level}");
    let two = looked(stage, level).await;
    let usage = then.clone();
    let waits = tokio::spawn(async move {
        let said = send(&two, door, &[usage]).await;
        if said == "ok" { commit(&two).await } else { said }
    });
    tests::until_locked(&stage.db.client, 1, || waits.is_finished()).await;
    if commits {
        assert_eq!(commit(&one).await, "ok", "{level}");
    } else {
        one.batch_execute("rollback").await.unwrap();
    }
    let at_once = waits.await.unwrap();
    let finally = if at_once == "40001" { again(stage, level, door, then).await } else { at_once.clone() };
    [at_once, finally]
}

/// Each level and door; a statement of several usages makes the second wait for the first of them.
fn everywhere() -> impl Iterator<Item = (&'static str, Door)> {
    LEVELS.into_iter().flat_map(|level| DOORS.into_iter().map(move |door| (level, door)))
}

/// What the second is told at once, where the first has committed: a snapshot that cannot see him ends with 40001.
fn expected(level: &str, commits: bool, finally: &'static str) -> &'static str {
    if commits && level != "read committed" { "40001" } else { finally }
}

#[tokio::test]
async fn a2_of_two_who_record_an_id_at_once_the_second_finds_the_first() {
    let stage = Stage::new().await;
    for (level, door) in everywhere() {
        for (change, quantity, used_at, refusal) in [
            ("identical", "5.0", "2024-09-18T09:30:00Z", "ok"),
            ("other quantity", "6", "2024-09-18T09:30:00Z", "PM002"),
            ("other month", "5", "2024-08-18T09:30:00Z", "PM002"),
        ] {
            for commits in [true, false] {
                let first = usage(&fresh("two"));
                let then = Usage { quantity, used_at, ..first.clone() };
                let case = format!("{change}, first commits: {commits}, {door:?}, {level}");
                let finally = if commits { refusal } else { "ok" };
                let said = second(&stage, level, door, &first, &then, commits).await;
                assert_eq!(said, [expected(level, commits, finally), finally], "{case}");
                let stands = if commits || change == "identical" {
                    "1 5 9 1"
                } else {
                    ["1 6 9 1", "1 5 8 1"][usize::from(change == "other month")]
                };
                assert_eq!(there(&stage, &first.event).await, stands, "{case}");
            }
        }
    }
    stage.close().await;
}

#[tokio::test]
async fn a5_of_two_corrections_at_once_the_second_counts_the_first_in_either_generation() {
    let stage = Stage::new().await;
    for generation in ["younger", "older"] {
        let mut raced = Vec::new();
        for (level, door) in everywhere() {
            for commits in [true, false] {
                let base = usage(&fresh("base"));
                assert_eq!(again(&stage, level, door, &base).await, "ok");
                raced.push((level, door, commits, base));
            }
        }
        if generation == "older" {
            turned(&stage).await;
        }
        for (level, door, commits, base) in raced {
            let less =
                || Usage { event: fresh("less"), corrects: Some(base.event.clone()), quantity: "-3", ..base.clone() };
            let (first, then) = (less(), less());
            let case = format!("{generation}, first commits: {commits}, {door:?}, {level}");
            let finally = if commits { "PM004" } else { "ok" };
            let said = second(&stage, level, door, &first, &then, commits).await;
            assert_eq!(said, [expected(level, commits, finally), finally], "{case}");
            let stands = [&first, &then].map(|usage| there(&stage, &usage.event));
            let [first, then] = stands;
            let stands = (first.await, then.await);
            let (one, none) = ("1 -3 9 1".to_owned(), "0 0".to_owned());
            assert_eq!(stands, if commits { (one, none) } else { (none, one) }, "{case}");
        }
    }
    stage.close().await;
}

#[tokio::test]
async fn a2_who_began_before_a_turn_finds_what_was_recorded_before_and_after_it() {
    let stage = Stage::new().await;
    for (level, door) in everywhere() {
        let sees = level == "read committed";
        let mut cases = Vec::new();
        for (name, when, quantity, corrects, finally) in [
            ("identical, before it", Some(false), "5", false, "ok"),
            ("identical, after it", Some(true), "5", false, "ok"),
            ("other quantity, before it", Some(false), "6", false, "PM002"),
            ("other quantity, after it", Some(true), "6", false, "PM002"),
            ("new", None, "5", false, "ok"),
            ("correction of what was before it", Some(false), "-6", true, "PM004"),
            ("correction of what was after it", Some(true), "-6", true, "PM004"),
        ] {
            let base = usage(&fresh("turn"));
            let corrected = Usage { event: fresh("less"), corrects: Some(base.event.clone()), ..base.clone() };
            let then = Usage { quantity, ..if corrects { corrected } else { base.clone() } };
            cases.push((name, when, base, then, finally));
        }
        for (_, _, base, ..) in cases.iter().filter(|(_, when, ..)| *when == Some(false)) {
            assert_eq!(again(&stage, LEVELS[0], door, base).await, "ok");
        }
        let mut began = Vec::new();
        for _ in &cases {
            began.push(looked(&stage, level).await);
        }
        turned(&stage).await;
        for (_, _, base, ..) in cases.iter().filter(|(_, when, ..)| *when == Some(true)) {
            assert_eq!(again(&stage, LEVELS[0], door, base).await, "ok");
        }
        for ((name, when, base, then, finally), client) in cases.into_iter().zip(began) {
            let case = format!("{name}, {door:?}, {level}");
            let mut said = send(&client, door, std::slice::from_ref(&then)).await;
            said = if said == "ok" { commit(&client).await } else { said };
            drop(client);
            // a batch that repeats what he had seen needs to know no more, and writes nothing
            let has_seen = name == "identical, before it" && matches!(door, Door::Batch { company: false });
            if !(has_seen && said == "ok") {
                assert_eq!(said, if sees { finally } else { "40001" }, "{case}");
            }
            if said == "40001" {
                said = again(&stage, level, door, &then).await;
                assert_eq!(said, finally, "{case}, again");
            }
            if when.is_some() || finally == "ok" {
                assert_eq!(there(&stage, &base.event).await, "1 5 9 1", "{case}");
            }
        }
    }
    stage.close().await;
}

#[tokio::test]
async fn a2_a_turn_waits_for_whoever_records_in_every_level_by_every_door() {
    let stage = Stage::new().await;
    for (level, door) in everywhere() {
        let open = usage(&fresh("open"));
        let recording = looked(&stage, level).await;
        assert_eq!(send(&recording, door, std::slice::from_ref(&open)).await, "ok", "{door:?}, {level}");
        stage.sql(DUE).await;
        let turn = "select postmeter.turn_identities()::text";
        assert_eq!(stage.value(turn).await, "false", "{door:?}, {level}");
        assert_eq!(commit(&recording).await, "ok", "{door:?}, {level}");
        turned(&stage).await;
        assert_eq!(again(&stage, level, door, &open).await, "ok", "{door:?}, {level}");
        assert_eq!(there(&stage, &open.event).await, "1 5 9 1", "{door:?}, {level}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a2_two_who_bring_the_same_in_opposite_order_wait_for_each_other_in_no_level() {
    let stage = Stage::new().await;
    for (level, door) in everywhere().filter(|(_, door)| !matches!(door, Door::Function)) {
        for round in 0..3 {
            let name = fresh("order");
            let usages: Vec<Usage> = (0..60).map(|n| usage(&format!("{name}-{n}"))).collect();
            let mut writers = Vec::new();
            for backwards in [false, true] {
                let mut usages = usages.clone();
                if backwards {
                    usages.reverse();
                }
                let client = looked(&stage, level).await;
                writers.push(tokio::spawn(async move {
                    let said = send(&client, door, &usages).await;
                    if said == "ok" { commit(&client).await } else { said }
                }));
            }
            let mut said = Vec::new();
            for writer in writers {
                said.push(writer.await.unwrap());
            }
            let fair = |said: &String| said == "ok" || said == "40001" && level != "read committed";
            assert!(said.iter().all(fair), "{door:?}, {level}, {round}: {said:?}");
            assert!(said.contains(&"ok".to_owned()), "{door:?}, {level}, {round}: one of them is first: {said:?}");
            let sql = format!(
                "select concat_ws(' ', count(*), count(distinct u.event_id), count(o.id)) from postmeter.usage u
                 left join postmeter.outbox o on o.id = u.id where u.event_id like '{name}-%'"
            );
            assert_eq!(stage.value(&sql).await, "60 60 60", "{door:?}, {level}, {round}");
        }
    }
    stage.close().await;
}
