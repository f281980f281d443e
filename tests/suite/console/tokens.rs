//! Who may come in.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use tests::{Console, TestDatabase, postmeter};

#[tokio::test]
async fn i3_nothing_but_health_and_the_document_answers_without_a_token() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    for (path, status) in [("/live", 200), ("/ready", 200), ("/metrics", 200), ("/openapi.json", 200)] {
        let reply = console.send(console.http.get(format!("{}{path}", console.url))).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text);
    }
    let reply = console.send(console.http.get(format!("{}/v1/usage/s/e", console.url))).await;
    assert_eq!((reply.status, reply.kind.as_str()), (401, "application/problem+json"));
    assert_eq!(console.get("pmt_guessed", "/v1/usage/s/e").await.status, 401);
    assert_eq!(console.get("pmt_guessed", "/v1/nothing").await.status, 404);
}

#[tokio::test]
async fn i6_a_token_is_kept_by_its_hash_and_a_revoked_one_is_refused() {
    let db = TestDatabase::fresh().await;
    let console = Console::start(&db).await;
    let token = console.token(&["read"]).await;
    let row = db.client.query_one("select to_jsonb(t)::text from postmeter.token t", &[]).await.unwrap();
    assert!(!row.get::<_, String>(0).contains(token.trim_start_matches("pmt_")));
    let name: String = db.client.query_one("select name from postmeter.token", &[]).await.unwrap().get(0);
    assert!(outbox::tokens::revoke(&db.database, &name, "ada").await.unwrap());
    assert!(!outbox::tokens::revoke(&db.database, &name, "ada").await.unwrap(), "revoked before");
    // this console has never seen the token: nothing is believed from before
    assert_eq!(console.get(&token, "/v1/usage/s/e").await.status, 401);
    let error = outbox::tokens::create(&db.database, &name, "x", &["read".to_owned()], None, "ada").await.unwrap_err();
    assert!(error.to_string().contains("never given twice"), "{error}");
    let error = outbox::tokens::create(&db.database, "o", "x", &["operate".to_owned()], Some("acme"), "ada").await;
    assert!(error.unwrap_err().to_string().contains("one org"));
}

#[tokio::test]
async fn i3_guesses_are_limited_by_address_and_a_good_token_is_none() {
    let db = TestDatabase::fresh().await;
    let options = console::Options { guesses_per_minute: 2, ..Default::default() };
    let console = Console::start_with(&db, options).await;
    let (good, fresh) = (console.token(&["read"]).await, console.token(&["read"]).await);
    assert_eq!(console.get(&good, "/v1/held").await.status, 200);
    for guess in ["pmt_a", "pmt_b"] {
        assert_eq!(console.get(guess, "/v1/held").await.status, 401);
    }
    let reply = console.get("pmt_c", "/v1/held").await;
    assert_eq!((reply.status, reply.retry_after.is_some()), (429, true), "{}", reply.text);
    assert_eq!(console.get(&good, "/v1/held").await.status, 200, "its owner may share the address");
    assert_eq!(console.get(&fresh, "/v1/held").await.status, 429, "nobody has seen yet that it is good");
}

#[tokio::test]
async fn a2_a_console_forgets_answers_that_are_older_than_a_day() {
    let db = TestDatabase::fresh().await;
    db.client
        .batch_execute(
            "insert into postmeter.idempotency (caller, key, fingerprint, status, answer, answered_at)
             values ('c', 'old', '', 202, '', postmeter.clock() - interval '25 hours'),
                    ('c', 'new', '', 202, '', postmeter.clock() - interval '23 hours')",
        )
        .await
        .unwrap();
    let _console = Console::start(&db).await;
    tests::wait_until("the old answer is forgotten", async || {
        let rows = db.client.query("select key from postmeter.idempotency", &[]).await.unwrap();
        let keys: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(keys.contains(&"new".to_owned()), "{keys:?}");
        keys.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_worker_serves_http_too_if_told_and_both_end_with_a_signal() {
    let db = TestDatabase::fresh().await;
    let http = Console::start(&db).await.http;
    let mut child = postmeter(&db.url())
        .args(["worker", "--console"])
        .env("POSTMETER_CONSOLE_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let url = said.strip_prefix("listening at ").expect("an address");
    assert_eq!(http.get(format!("{url}/ready")).send().await.unwrap().status(), 200);
    tests::signal(&child, "TERM");
    assert!(tests::end_of(&mut child).success());
}
