//! J11: a table that somebody locks, for a migration by hand or by mistake, costs what reads it and nothing else.

use std::time::Duration;

use tests::{Console, Stage};

use super::Telling;
use super::scraped::value;

/// As long as Prometheus waits by itself.
const SCRAPED_WITHIN: Duration = Duration::from_secs(10);

/// One scrape, as Prometheus makes it: once, and no longer than it waits.
async fn scrape(url: &str) -> String {
    let client = reqwest::Client::builder().timeout(SCRAPED_WITHIN).build().unwrap();
    let answer = client.get(format!("{url}/metrics")).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    answer.text().await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Questions that a scrape names as missing.
fn missing(text: &str) -> Vec<&str> {
    let name = |line| str::strip_prefix(line, "postmeter_reading_missing{question=\"")?.strip_suffix("\"} 1");
    text.lines().filter_map(name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_a_locked_table_costs_a_scrape_its_own_series_and_nothing_else() {
    let stage = Stage::new().await;
    // the time of every decision: most questions read it
    for (table, reads_it, does_not) in [
        ("setting", "destinations", "workers"),
        ("worker", "workers", "destinations"),
        ("setback", "isolation", "hours"),
    ] {
        let worker = Telling::start(&stage.db.url(), &[]);
        worker.until("/ready", |status, _| status == 200).await;
        let console = Console::start(&stage.db).await;
        let mut other = stage.db.connect().await;
        let lock = other.transaction().await.unwrap();
        lock.batch_execute(&format!("lock table postmeter.{table}")).await.unwrap();
        for url in [&worker.url, &console.url] {
            let text = scrape(url).await;
            assert_eq!(value(&text, "postmeter_database_up"), Some("1"), "{table}: {text}");
            let missing = missing(&text);
            assert!(missing.contains(&reads_it) && !missing.contains(&does_not), "{table}: {missing:?}");
            for own in ["process_resident_memory_bytes", "postmeter_pool_connections{state=\"idle\"}"] {
                assert!(value(&text, own).is_some(), "{own} needs no database: {text}");
            }
        }
        let alive = value(&scrape(&worker.url).await, "postmeter_workers{state=\"alive\"}").map(str::to_owned);
        assert_eq!(alive.is_some(), table != "worker", "who can be asked whether workers live, is: {alive:?}");
        drop(lock);
        // what was missing comes again by itself
        worker
            .until("/metrics", |_, text| missing(text).is_empty() && value(text, "postmeter_database_up") == Some("1"))
            .await;
        worker.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_who_cannot_do_its_work_for_a_lock_is_not_ready_and_says_who_holds_it() {
    let stage = Stage::new().await;
    let worker = Telling::start(&stage.db.url(), &[]);
    let console = Console::start(&stage.db).await;
    let ready = async |url: &str| super::get(url, "/ready").await;
    worker.until("/ready", |status, _| status == 200).await;
    assert_eq!(ready(&console.url).await.0, 200);
    let mut other = stage.db.connect().await;
    // table, whether a worker needs it, whether a console does
    for (table, of_worker, of_console) in [
        ("setting", true, true),
        ("outbox", true, true),
        ("worker", true, false),
        ("delivery", true, false),
        ("due", true, false),
        ("attempt", true, false),
        ("outcome", true, false),
        ("usage_identity", false, true),
        ("request_status", false, true),
        ("token", false, true),
        ("migration", true, true),
        ("alert_post", false, false),
        // side tables: what needs them goes on without
        ("setback", false, false),
        ("suspect", false, false),
        ("step_failure", false, false),
    ] {
        let lock = other.transaction().await.unwrap();
        lock.batch_execute(&format!("lock table postmeter.{table}")).await.unwrap();
        let holder: i32 = lock.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        for (url, needs_it) in [(&worker.url, of_worker), (&console.url, of_console)] {
            let (status, why) = ready(url).await;
            assert_eq!(status, if needs_it { 503 } else { 200 }, "{table} at {url}: {why}");
            let names = why.contains(&format!("session {holder} holds AccessExclusiveLock on {table}"));
            assert!(names || !needs_it, "{table} at {url}: {why}");
        }
        drop(lock);
        worker.until("/ready", |status, _| status == 200).await;
        tests::wait_until("the console is ready again", async || ready(&console.url).await.0 == 200).await;
    }
    worker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_status_and_doctor_say_what_is_locked_and_show_the_rest() {
    let stage = Stage::new().await;
    stage.use_cores("e", "3", "2024-09-18T10:10:00Z").await;
    let run = async |words: &'static [&'static str]| {
        let mut command = tests::postmeter(&stage.db.url());
        command.args(words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut other = stage.db.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("lock table postmeter.held").await.unwrap();
    let (code, said) = run(&["status"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("NOT READ held: a table that it reads is locked") && said.contains("held     not read"),
        "{said}"
    );
    assert!(said.contains("outbox   1 usage waiting") && said.contains("1 alive"), "the rest is there: {said}");
    let (code, said) = run(&["doctor"]).await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("not looked at: a table that it reads is locked: session "), "{said}");
    assert!(said.contains("holds AccessExclusiveLock on held"), "{said}");
    assert!(said.contains("every identity can be used"), "the rest is looked at: {said}");
    drop(lock);
    assert_eq!(run(&["status"]).await.0, Some(0));
    for (table, part) in [("refusal", "refused"), ("pace", "paces"), ("setback", "isolated")] {
        let lock = other.transaction().await.unwrap();
        lock.batch_execute(&format!("lock table postmeter.{table}")).await.unwrap();
        let (code, said) = run(&["status"]).await;
        assert!(
            code == Some(3) && said.contains(&format!("NOT READ {part}: a table that it reads is locked")),
            "{said}"
        );
        assert!(said.contains("outbox   1 usage waiting") && said.contains("1 alive"), "the rest is there: {said}");
    }
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("lock table postmeter.setting").await.unwrap();
    let (code, said) = run(&["status"]).await;
    assert!(code == Some(3) && said.contains("NOT READ backlog") && said.contains("1 alive"), "{said}");
    let (code, said) = run(&["doctor"]).await;
    assert!(code == Some(3) && said.contains("holds AccessExclusiveLock on setting"), "{said}");
}
