//! F6 in the log: what fails is said once and then counted, and secrets are never said.

use postmeter::embedded::{Cluster, Options};
use serde_json::Value;
use tests::{Stage, TestDatabase};

use super::Telling;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_an_outage_of_the_database_is_a_line_when_it_begins_and_one_when_it_ends() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    let worker = Telling::start(&stage.db.url(), &[]);
    worker.until("/ready", |status, _| status == 200).await;
    let before = worker.log().len();
    cluster.kill().unwrap();
    // until every loop has failed several times
    let failed = |text: &str, step: &str| -> f64 {
        let series = format!("postmeter_step_failures_total{{step=\"{step}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or_default()
    };
    let steps = ["fold", "cut", "promote", "gather", "health", "dispatch"];
    worker.until("/metrics", |_, text| steps.iter().all(|step| failed(text, step) >= 3.0)).await;
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    let is_well = || worker.log().iter().any(|line| line["message"] == "it goes well again");
    tests::wait_until("it goes well again", async || is_well()).await;
    worker.until("/ready", |status, _| status == 200).await;
    let log = worker.log();
    let of_outage: Vec<&Value> = log[before..].iter().filter(|line| line["step"].is_string()).collect();
    let said: Vec<_> = of_outage.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(
        said,
        ["the database is away: every step waits and is tried again", "it goes well again"],
        "a line when it begins, one when it ends: {log:#?}"
    );
    let [first, last] = of_outage[..] else { unreachable!() };
    assert_eq!((&first["level"], &last["level"]), (&"WARN".into(), &"INFO".into()));
    assert!(first["error"].as_str().unwrap().starts_with("the database cannot be reached"), "{first}");
    assert!(last["failures"].as_u64().unwrap() >= 20 && last["seconds"].is_u64(), "{last}");
    worker.stop();
    stage.close().await;
}

#[tokio::test]
async fn i6_the_log_has_a_sentence_and_fields_in_each_line_and_no_secret() {
    let stage = Stage::new().await;
    // a destination that cannot be served is said when it is read first, and not at each reading
    stage.sql("update postmeter.destination set settings = settings - 'region'").await;
    let secret = "sesame-in-the-log";
    let worker =
        Telling::start(&stage.db.url(), &[("AWS_SECRET_ACCESS_KEY", secret), ("POSTMETER_LOG_LEVEL", "debug")]);
    worker.until("/ready", |status, _| status == 200).await;
    // every six polls it is read again; the first check of the balance comes after fifty
    let reads = async || {
        let text = worker.get("/metrics").await.1;
        text.lines().any(|line| line.starts_with("postmeter_balance_checked_timestamp_seconds "))
    };
    tests::wait_until("the first check of the balance", reads).await;
    let log = worker.log();
    let unserved =
        log.iter().filter(|line| line["message"].as_str().is_some_and(|said| said.starts_with("cannot be served")));
    assert_eq!(unserved.count(), 1, "{log:#?}");
    for line in &log {
        assert!(line["not_json"].is_null(), "{line}");
        assert!(["timestamp", "level", "message", "target"].iter().all(|field| line[field].is_string()), "{line}");
        assert!(!line.to_string().contains(secret), "{line}");
    }
    worker.stop();
}
