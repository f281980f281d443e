//! What people and programs get from the command line.

use std::fmt::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tests::TestDatabase;

use super::{record, said, tracker, value};

fn run(db: &TestDatabase, words: &[&str]) -> (Option<i32>, Value) {
    let output = tests::postmeter(&db.url()).args(words).arg("--json").output().unwrap();
    let answer = serde_json::from_slice(&output.stdout);
    (output.status.code(), answer.unwrap_or_else(|_| String::from_utf8_lossy(&output.stderr).into_owned().into()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_an_import_that_is_killed_is_resumed_and_records_nothing_twice() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.ndjson");
    let mut text = String::new();
    for n in 0..6000 {
        match n {
            7 => text.push_str("{\"service\": \"a\", \"status\": \"received\"}\n"),
            8 => text.push_str("{\"service\n"),
            9 => text.push('\n'),
            10 => text.push_str("{\"service\":\"a\",\"request_id\":\"r\",\"status\":\"s\",\"date\":\"soon\"}\n"),
            _ => {
                let _ = writeln!(
                    text,
                    "{{\"service\":\"Puptoo\",\"request_id\":\"r-{}\",\"status\":\"received\",\"date\":\"2026-02-{:02} 09:00:00.{n:06}\",\"org_id\":\"acme\"}}",
                    n % 1000,
                    10 + n % 18
                );
            }
        }
    }
    std::fs::write(&path, text).unwrap();
    let file = path.to_string_lossy().into_owned();
    let mut killed = tests::postmeter(&db.url())
        .args(["import", "requests", &file])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tests::until_true(&db.client, "select count(*) > 0 from postmeter.request_status").await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before: u64 = value(&db, "select count(*)::text from postmeter.request_status").await.parse().unwrap();
    let (code, report) = run(&db, &["import", "requests", &file]);
    assert_eq!(code, Some(3), "what was listed needs a person: {report}");
    let counts = &report["counts"];
    assert_eq!((counts["lines"].as_u64(), counts["rejected"].as_u64()), (Some(5999), Some(3)));
    assert!(counts["repeated"].as_u64().unwrap() >= before.min(1));
    assert_eq!(counts["recorded"].as_u64().unwrap() + counts["repeated"].as_u64().unwrap(), 5996);
    let listed: Vec<_> = report["listed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| format!("{} {}", group["first_line"], group["field"]))
        .collect();
    assert_eq!(listed, ["9 \"(line)\"", "11 \"date\"", "8 \"request_id\""]);
    let (_, again) = run(&db, &["import", "requests", &file]);
    assert_eq!((again["counts"]["recorded"].as_u64(), again["counts"]["repeated"].as_u64()), (Some(0), Some(5996)));
    assert_eq!(value(&db, "select format('%s %s', count(*), count(*) filter (where tableoid = 'postmeter.request_status_default'::regclass)) from postmeter.request_status").await,
        "5996 0", "each day has its partition");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h1_simulated_requests_end_as_told_and_one_is_shown_in_plain_words() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let (code, report) =
        run(&db, &["simulator", "requests", "--requests", "300", "--unfinished", "30", "--failed", "20"]);
    assert_eq!((code, report["requests"].as_u64()), (Some(0), Some(300)));
    while outbox::requests::gather(&db.database).await.unwrap() > 0 {}
    let outcomes = value(
        &db,
        "select string_agg(outcome, ' ' order by outcome) from (select distinct outcome from postmeter.request) o",
    )
    .await;
    assert_eq!(outcomes, "failed open succeeded");
    let whole = "select count(*)::text from postmeter.request where outcome = 'succeeded' and statuses <> 11";
    assert_eq!(value(&db, whole).await, "0", "eleven messages each");
    let id = value(
        &db,
        "select request_id from postmeter.request where outcome = 'failed' and failed_service = 'ingress' limit 1",
    )
    .await;
    let (code, story) = run(&db, &["request", &id.to_uppercase()]);
    assert_eq!(code, Some(0));
    let in_short = story["in_short"].as_str().unwrap();
    assert!(
        in_short.starts_with(&format!("Request {id} of org-"))
            && in_short.contains("failed in ingress: ingress could not go on"),
        "{in_short}"
    );
    assert_eq!(story["last"]["status"], "error");
    assert!(story["durations"]["total"].as_str().unwrap().starts_with("00:00:0"));
    let (code, sentence) = run(&db, &["request", "nobody"]);
    assert_eq!(code, Some(2));
    assert!(sentence.as_str().unwrap().contains("nobody ever said anything about request"));
    db.client.batch_execute("update postmeter.setting set clock_frozen = null, purpose = 'production'").await.unwrap();
    let (code, sentence) = run(&db, &["simulator", "requests", "--requests", "1"]);
    assert_eq!(code, Some(2), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h1_an_open_request_says_who_has_not_finished() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(
        &db,
        &[said("ingress r-1 success 2026-03-10T09:59:00Z"), said("puptoo r-1 received 2026-03-10T09:59:30.5Z")],
    )
    .await;
    let output = tests::postmeter(&db.url()).args(["request", "r-1"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("Request r-1 is open: puptoo has not finished; nothing was said for 0 s. From first to last message: 00:00:30.500000.\n"), "{text}");
    assert!(text.contains("2026-03-10 09:59:30.500 UTC  puptoo   received"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_request_is_closed_from_the_command_line_with_a_reason() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("ingress r-1 received")]).await;
    let (code, refused) = run(&db, &["request", "r-1", "--close"]);
    assert_eq!(code, Some(2), "without a reason: {refused}");
    let (code, closed) = run(&db, &["request", "r-1", "--close", "--who", "mira", "--why", "lost"]);
    assert_eq!((code, &closed["outcome"], &closed["changed"]), (Some(0), &"open".into(), &true.into()), "{closed}");
    let (_, way) = run(&db, &["request", "r-1"]);
    assert!(way["in_short"].as_str().unwrap().contains("a person closed it"), "{way}");
}
