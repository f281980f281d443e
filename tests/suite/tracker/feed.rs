//! H8: a feed that never ends, over a pipe; and what is refused, counted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use console::Options;
use serde_json::{Value, json};
use tests::{Console, TestDatabase};

use super::{tracker, value};

/// An import that reads a pipe.
struct Feed {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Feed {
    fn start(db: &TestDatabase, more: &[&str]) -> Self {
        let mut command = tests::postmeter(&db.url());
        command.args(["import", "requests", "-", "--json"]).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipe = child.stdin.take();
        Self { child, pipe }
    }

    fn say(&mut self, text: &str) {
        let pipe = self.pipe.as_mut().unwrap();
        pipe.write_all(text.as_bytes()).unwrap();
        pipe.flush().unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Its exit code, its report and what it listed.
    fn end(mut self) -> (Option<i32>, Value, String) {
        let code = tests::end_of(&mut self.child).code();
        let mut report = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        let mut listed = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut listed).unwrap();
        (code, serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report} {listed}")), listed)
    }
}

fn line(number: usize) -> String {
    json!({"service": "a", "request_id": format!("r-{number}"), "status": "received", "date": "2026-03-10T09:00:00Z"})
        .to_string()
        + "\n"
}

async fn until_recorded(db: &TestDatabase, count: usize) {
    tests::until_true(&db.client, &format!("select count(*) >= {count} from postmeter.request_status")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_line_a_second_is_visible_within_two() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut feed = Feed::start(&db, &[]);
    feed.say(&line(0));
    until_recorded(&db, 1).await; // it has started
    for number in 1..4 {
        let said = Instant::now();
        feed.say(&line(number));
        until_recorded(&db, number + 1).await;
        assert!(said.elapsed() < Duration::from_secs(2), "{:?}", said.elapsed());
    }
    drop(feed.pipe.take());
    let (code, report, _) = feed.end();
    assert_eq!((code, report["counts"]["recorded"].as_u64()), (Some(0), Some(4)), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_signal_ends_a_feed_after_what_it_read_and_it_says_up_to_where() {
    for signal in ["TERM", "INT"] {
        let db = tracker("2026-03-10T10:00:00Z").await;
        let mut feed = Feed::start(&db, &[]);
        feed.say(&line(0));
        until_recorded(&db, 1).await;
        // these are read, and wait for others; the last is no line yet
        let text: String = (1..40).map(line).collect();
        feed.say(&format!("{text}{{\"service\": \"a\"}}\n{{\"service\""));
        feed.signal(signal);
        let (code, report, listed) = feed.end();
        assert_eq!(code, Some(1), "{signal}: {report} {listed}");
        assert_eq!(report["counts"], json!({"lines": 41, "recorded": 40, "repeated": 0, "rejected": 1}), "{signal}");
        assert_eq!((&report["finished"], &report["stopped_at_line"]), (&json!(false), &json!(42)), "{signal}");
        assert!(listed.contains("line 41: rejected: request_id: is missing"), "{listed}");
        assert_eq!(value(&db, "select count(*)::text from postmeter.request_status").await, "40", "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_line_that_cannot_be_recorded_is_refused_by_line_and_field_and_the_rest_goes_on() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut feed = Feed::start(&db, &[]);
    feed.say(&line(0));
    feed.say("{\"service\": \"a\", \"request_id\": \"r\\u0000\", \"status\": \"s\"}\n");
    feed.pipe.as_mut().unwrap().write_all(b"{\"service\": \"\xff\"}\n").unwrap();
    feed.say(&format!("{}\n", "x".repeat((1 << 20) + 1)));
    feed.say("{\"service\": \"a\", \"request_id\": \"-1\", \"status\": \"s\"}\n");
    feed.say(&line(1));
    until_recorded(&db, 2).await;
    drop(feed.pipe.take());
    let (code, report, listed) = feed.end();
    assert_eq!(code, Some(3), "{report}");
    assert_eq!(report["counts"], json!({"lines": 6, "recorded": 2, "repeated": 0, "rejected": 4}));
    for said in [
        "line 2: rejected: request_id: must not contain the character U+0000",
        "line 3: rejected: (line): is not UTF-8",
        "line 4: rejected: (line): has more than 1048576 bytes",
        "line 5: rejected: request_id: request status: request_id names no request",
    ] {
        assert!(listed.contains(said), "{said}: {listed}");
    }
    let counted = "select string_agg(field || ' ' || reason || ' ' || n, ', ' order by field, reason)
                   from postmeter.request_refusal_list where door = 'import'";
    assert_eq!(value(&db, counted).await, " json 1,  utf8 1, request_id noise 1, request_id nul 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_what_http_refuses_is_counted_by_reason_and_listed_and_nobody_can_flood_it() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let console = Console::start_with(&db, Options::default()).await;
    let (token, reader) = (console.token(&["intake"]).await, console.token(&["read"]).await);
    let mut all = vec![json!({"service": "a", "request_id": "r", "status": "s"})];
    for number in 0..300 {
        all.push(json!({"service": format!("s-{number}"), "request_id": "None", "status": "s"}));
        all.push(json!({"service": "a", "request_id": format!("\0{number}"), "status": "s"}));
        all.push(json!({"service": "a", "request_id": "r", "status": "s", "date": format!("{number}").repeat(400)}));
    }
    let reply = console.post(&token, "/v1/request-statuses", &json!(all)).await;
    assert_eq!((reply.status, reply.json()["refused"].as_u64()), (207, Some(900)), "{}", reply.text);
    let request = console.http.post(format!("{}/v1/request-statuses", console.url)).bearer_auth(&token);
    let reply = console.send(request.header("content-type", "application/json").body("{")).await;
    assert_eq!(reply.status, 400, "{}", reply.text);
    tests::until_true(&db.client, "select coalesce(sum(n), 0) = 901 from postmeter.request_refusal").await;
    let listed = console.get(&reader, "/v1/request-refusals?sort=id").await.json();
    let rows: Vec<_> = listed["items"].as_array().unwrap().iter().collect();
    let told: Vec<_> = rows.iter().map(|row| format!("{} {} {}", row["field"], row["reason"], row["n"])).collect();
    assert_eq!(
        told,
        [r#""" "json" 1"#, r#""date" "unreadable" 300"#, r#""request_id" "noise" 300"#, r#""request_id" "nul" 300"#],
        "{listed}"
    );
    assert!(rows.iter().all(|row| row["said"].as_str().unwrap().len() <= 200), "{listed}");
    let page = console.send(console.http.get(format!("{}/metrics", console.url))).await.text;
    assert!(page.contains(r#"postmeter_request_refusals_total{door="http",reason="noise"} 300"#), "{page}");
    // a producer who calls the function itself makes counts larger, and no table longer
    db.client.batch_execute("set role postmeter_producer").await.unwrap();
    for number in 0..20 {
        let call = format!(
            "select postmeter.count_refusals('http', '{{field{number}}}', '{{reason{number}}}', '{{9}}', array[repeat('x', 100000)])"
        );
        db.client.batch_execute(&call).await.unwrap();
    }
    db.client.batch_execute("reset role").await.unwrap();
    let own = "select format('%s %s %s', count(*), sum(n), max(octet_length(said))) from postmeter.request_refusal
               where reason = 'other'";
    assert_eq!(value(&db, own).await, "1 180 200");
    // they are kept for a while
    super::at(&db, "2026-04-10T10:00:00Z").await;
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_refusal_list").await, "0");
    console.post(&token, "/v1/request-statuses", &json!({"service": "a", "request_id": "-1", "status": "s"})).await;
    tests::until_true(&db.client, "select count(*) = 1 from postmeter.request_refusal").await;
    let ever = "select sum(n)::text from postmeter.request_refused";
    assert_eq!(value(&db, ever).await, (901 + 180 + 1).to_string(), "no counter falls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_refusals_are_listed_on_the_command_line() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut command = tests::postmeter(&db.url());
    let output = command.args(["request-refusals"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "nothing was refused");
    let mut feed = Feed::start(&db, &[]);
    feed.say("{\"service\": \"a\", \"request_id\": \"None\", \"status\": \"s\"}\n{}\n");
    drop(feed.pipe.take());
    assert_eq!(feed.end().0, Some(3));
    let output = tests::postmeter(&db.url()).args(["request-refusals", "--json"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told: Vec<_> =
        listed.as_array().unwrap().iter().map(|row| (&row["field"], &row["reason"], &row["n"])).collect();
    let (request_id, one) = (json!("request_id"), json!(1));
    assert_eq!(told, [(&request_id, &json!("missing"), &one), (&request_id, &json!("noise"), &one)], "{listed}");
    let output = tests::postmeter(&db.url()).args(["request-refusals"]).output().unwrap();
    let lines: Vec<_> = BufReader::new(output.stdout.as_slice()).lines().map(Result::unwrap).collect();
    assert!(lines.len() == 3 && lines[1].contains("import") && lines[1].contains("missing"), "{lines:?}");
}
