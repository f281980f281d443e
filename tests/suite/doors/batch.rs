//! The batch function: the same in every session, and by its key whatever plan a session keeps.

use serde_json::{Value, json};
use tests::{Console, Stage, TestDatabase};
use tokio_postgres::Client;

fn usage(event_id: &str, used_at: &str) -> Value {
    json!({"source": "batch", "event_id": event_id, "org": "acme", "product": "db", "metric": "cores",
           "quantity": "1", "used_at": used_at})
}

async fn verdicts(client: &Client, batch: &Value) -> Vec<String> {
    let call = "select concat_ws(' ', verdict, error_code, field) from postmeter.record_usage_batch($1) order by item";
    client.query(call, &[batch]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What Postgres reads as a time, and what it reads differently in another session.
const NO_TIMES: [&str; 14] = [
    "now",
    "today",
    "yesterday",
    "tomorrow",
    "epoch",
    "infinity",
    "-infinity",
    "allballs",
    "18/09/2024 09:30Z",
    "09/18/2024 09:30Z",
    "Sep 18 2024 09:30Z",
    "2024-09-18T09:30:00 PST",
    "20240918T093000Z",
    "J2460572",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_what_a_time_means_in_a_batch_does_not_depend_on_the_session() {
    let stage = Stage::new().await;
    let console = Console::start(&stage.db).await;
    let token = console.token(&["intake"]).await;
    let client = stage.db.connect().await;
    let sessions = [("UTC", "ISO, MDY"), ("America/New_York", "SQL, DMY"), ("Pacific/Kiritimati", "German, YMD")];
    for (n, (zone, style)) in sessions.into_iter().enumerate() {
        client.batch_execute(&format!("set timezone = '{zone}'; set datestyle = '{style}'")).await.unwrap();
        for time in ["2024-09-18T09:30:00Z", "2024-09-18t11:30:00.0000009+02", "2024-09-18 05:30-0400"] {
            assert_eq!(verdicts(&client, &json!([usage(time, time)])).await, [["recorded", "repeated"][n.min(1)]]);
        }
        for time in NO_TIMES {
            assert_eq!(verdicts(&client, &json!([usage("no", time)])).await, ["refused 22007 used_at"], "{time}");
        }
        for time in ["2024-09-18T09:30:00", "2024-09-18 09:30", "2024-09-18"] {
            assert_eq!(verdicts(&client, &json!([usage("no", time)])).await, ["refused PM001 used_at"], "{time}");
        }
    }
    for time in NO_TIMES {
        let reply = console.post(&token, "/v1/usage", &usage("no", time)).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (422, Some("22007")), "{time}: {}", reply.text);
    }
    assert_eq!(stage.value("select count(distinct used_at)::text from postmeter.usage").await, "1");
    stage.close().await;
}

#[tokio::test]
async fn l4_a_field_of_the_wrong_type_is_refused_the_same_alone_and_beside_what_is_wrong() {
    let db = TestDatabase::fresh().await;
    let time = "2024-09-18T09:30:00Z";
    db.client.batch_execute(&format!("update postmeter.setting set clock_frozen = '{time}'")).await.unwrap();
    let texts = ["source", "event_id", "org", "product", "metric", "account", "corrects", "request_id", "traceparent"];
    for field in texts.into_iter().chain(["quantity", "used_at", "attributes"]) {
        for wrong in [json!({"a": 1}), json!(["a"]), json!(true), json!(7), json!(null)] {
            let mut odd = usage("odd", time);
            odd[field] = wrong.clone();
            let optional = ["account", "corrects", "request_id", "traceparent", "attributes"].contains(&field);
            let expected = match (field, &wrong) {
                (_, Value::Null) if optional => "recorded".to_owned(),
                (_, Value::Null) => format!("refused 23502 {field}"),
                ("quantity", Value::Number(_)) | ("attributes", Value::Object(_)) => "recorded".to_owned(),
                ("quantity", _) => "refused 22P02 quantity".to_owned(),
                ("used_at", _) => "refused 22007 used_at".to_owned(),
                _ => format!("refused PM001 {field}"),
            };
            for (batch, place) in [(json!([odd]), 0), (json!([7, odd, usage("good", time)]), 1)] {
                db.client.batch_execute("begin").await.unwrap();
                let said = verdicts(&db.client, &batch).await;
                db.client.batch_execute("rollback").await.unwrap();
                assert_eq!(said[place], expected, "{field} = {wrong}, {} usages", said.len());
                assert!(place == 0 || said[2] == "recorded", "what is refused does not stop the rest");
            }
        }
    }
}

#[tokio::test]
async fn l4_a_number_with_a_huge_exponent_is_refused_and_not_written_out() {
    let db = TestDatabase::fresh().await;
    let time = "2024-09-18T09:30:00Z";
    db.client.batch_execute(&format!("update postmeter.setting set clock_frozen = '{time}'")).await.unwrap();
    for exponent in ["1e100000", "-1e100000", "1e-16000"] {
        // as text, because serde_json has no number as large
        let odd = usage("odd", time).to_string().replace("\"quantity\":\"1\"", &format!("\"quantity\":{exponent}"));
        let sql = format!(
            "select string_agg(verdict || ' ' || error_code || ' ' || field, ', ')
                           from postmeter.record_usage_batch('[{odd}]')"
        );
        let verdict: String = db.client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(verdict, "refused PM001 quantity", "{exponent}");
    }
    let printed = "select coalesce(string_agg(proname, ', '), '') from pg_proc
                   where pronamespace = 'postmeter'::regnamespace and proname ~ '^(record|usage)_'
                     and regexp_replace(coalesce(prosrc, '') || coalesce(pg_get_function_sqlbody(oid), ''), '::text|\\s', '', 'g')
                         ~ '->>''quantity''\\)::numeric'";
    let printed: String = db.client.query_one(printed, &[]).await.unwrap().get(0);
    assert_eq!(
        printed, "",
        "these write a JSON number out, with all its digits, to read it: postmeter.usage_quantity does not"
    );
}

/// Scans of whole tables that this session has made of identities and the outbox.
async fn scans(client: &Client) -> i64 {
    let scans = "select sum(seq_scan)::bigint from pg_stat_xact_user_tables
                 where schemaname = 'postmeter' and relname in ('usage_identity', 'outbox')";
    client.query_one(scans, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn l3_a_batch_looks_its_identities_up_by_key_whatever_plan_the_session_has_kept() {
    let db = TestDatabase::fresh().await;
    let time = "2024-09-18T09:30:00Z";
    let client = db.connect().await;
    // statistics that make a scan the cheapest plan there is: both tables are known to be empty
    let empty = format!(
        "update postmeter.setting set clock_frozen = '{time}'; set plan_cache_mode = force_generic_plan;
         vacuum analyze postmeter.usage_identity; vacuum analyze postmeter.outbox"
    );
    for statement in empty.split(';') {
        client.batch_execute(statement).await.unwrap();
    }
    let batch = json!((0..20).map(|n| usage(&n.to_string(), time)).collect::<Vec<_>>());
    let mut with_fault = batch.as_array().unwrap().clone();
    with_fault.push(json!({}));
    let with_fault = json!(with_fault);
    client.batch_execute("begin").await.unwrap();
    for word in ["recorded", "repeated", "repeated"] {
        assert_eq!(verdicts(&client, &batch).await, vec![word.to_owned(); 20]);
        assert_eq!(verdicts(&client, &with_fault).await[..20], vec!["repeated".to_owned(); 20]);
    }
    assert_eq!(scans(&client).await, 0, "a kept plan reads a whole table");
    client.batch_execute("commit").await.unwrap();
}
