//! J11: whoever watches a request keeps nobody else from being served.

use std::time::Duration;

use reqwest::Response;
use tests::{Console, TestDatabase};

const STATUSES: usize = 2000;
const WATCHERS: usize = 12;

async fn watch(console: &Console, token: &str, id: &str) -> Response {
    let path = format!("{}/v1/requests/{id}/events", console.url);
    let response = console.http.get(&path).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), 200, "{id}");
    response
}

/// Reads events until one holds `word`; returns how many statuses were told.
async fn read_until(response: &mut Response, word: &str) -> usize {
    let mut text = String::new();
    let reading = async {
        let mut seen = 0;
        // only what came last is searched, with what of the word may have come before
        while !text[text.floor_char_boundary(seen)..].contains(word) {
            seen = text.len().saturating_sub(word.len());
            let chunk = response.chunk().await.expect("the stream lives").expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    };
    let in_time = tokio::time::timeout(tests::PATIENCE, reading).await;
    assert!(in_time.is_ok(), "no {word} among {} bytes", text.len());
    text.matches("event: status").count()
}

/// So many statuses of a request, dated one minute after the other.
async fn say(db: &TestDatabase, id: &str, statuses: usize) {
    let sql = format!(
        "select count(*) from postmeter.track_batch((select jsonb_agg(jsonb_build_object('service', 'a', 'request_id', '{id}',
             'status', 's' || n, 'date', to_char(timestamp '2026-03-10' + n * interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))
         from generate_series(1, {statuses}) n))"
    );
    db.client.batch_execute(&sql).await.unwrap();
}

/// Sessions that wait for the locked table; in other tests' databases, which are copies, it has the same number.
const WAITING: &str =
    "select count(distinct pid) from pg_locks where not granted and relation = 'postmeter.request_status'::regclass
     and database = (select oid from pg_database where datname = current_database())";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_twelve_watchers_of_a_request_are_one_reading_through_connections_of_their_own() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["intake", "read"]).await;
    say(&db, "long", STATUSES).await;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(watch(&console, &token, "long").await);
    }
    for watcher in &mut watchers {
        assert_eq!(read_until(watcher, &format!("\"s{STATUSES}\"")).await, STATUSES);
    }
    // their readings wait for a table that somebody locks; nobody else does
    let mut other = db.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("lock table postmeter.request_status in access exclusive mode").await.unwrap();
    let waiting = async || -> i64 { db.client.query_one(WAITING, &[]).await.unwrap().get(0) };
    tests::wait_until("a reading waits", async || waiting().await > 0).await;
    let reply = console.get(&token, "/v1/remittances").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut most = 0;
    let ends = async {
        for watcher in &mut watchers {
            read_until(watcher, "event: problem").await;
        }
    };
    let counts = async {
        tests::wait_until("the readings give up", async || {
            let now = waiting().await;
            most = most.max(now);
            now == 0
        })
        .await;
    };
    tokio::join!(ends, counts);
    assert_eq!(most, 1, "one reading for all");
    drop(lock);

    // who comes again is told everything again, in order, and what is new
    let mut again = watch(&console, &token, "long").await;
    assert_eq!(read_until(&mut again, &format!("\"s{STATUSES}\"")).await, STATUSES);
    let news =
        serde_json::json!({ "service": "b", "request_id": "long", "status": "news", "date": "2026-03-09T00:00:00Z" });
    assert_eq!(console.post(&token, "/v1/request-statuses", &news).await.status, 202);
    assert_eq!(read_until(&mut again, "\"news\"").await, 1);
    let mut later = watch(&console, &token, "long").await;
    let text = read_until(&mut later, "\"news\"").await;
    assert_eq!(text, 1, "the earliest date is told first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_watchers_of_many_requests_leave_the_console_its_connections() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["read"]).await;
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        let id = format!("r-{number}");
        say(&db, &id, 1).await;
        watchers.push(watch(&console, &token, &id).await);
    }
    let mut other = db.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("lock table postmeter.request_status in access exclusive mode").await.unwrap();
    let waiting = async || -> i64 { db.client.query_one(WAITING, &[]).await.unwrap().get(0) };
    tests::wait_until("readings wait", async || waiting().await >= 3).await;
    let reply = tokio::time::timeout(Duration::from_secs(60), console.get(&token, "/v1/remittances")).await;
    assert_eq!(reply.expect("an answer").status, 200);
    // until the first of them give up: whoever else could wait would have begun by then
    let mut most = 0;
    tests::wait_until("the readings give up", async || {
        let now = waiting().await;
        most = most.max(now);
        now == 0
    })
    .await;
    assert_eq!(most, 3, "watchers have three connections");
    drop(lock);
}
