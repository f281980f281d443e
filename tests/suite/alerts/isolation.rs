//! J6: what does not go through while the rest goes on is named as alert, in doctor, status and metrics, and clears by itself.

use std::sync::Arc;

use tests::{Stage, postmeter, until_true};
use tokio_util::sync::CancellationToken;

use super::quiet;

/// What `postmeter` says when it is run with these words.
async fn says(stage: &Stage, words: &str) -> String {
    let mut command = postmeter(&stage.db.url());
    command.args(words.split(' '));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn summary(stage: &Stage, name: &str) -> String {
    stage.worker.look(true).await.unwrap();
    let sql =
        format!("select coalesce(max(summary), '') from postmeter.alert where name = '{name}' and cleared_at is null");
    stage.value(&sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_an_hour_open_past_its_deadline_is_an_alert_and_clears_when_it_is_cut() {
    let stage = quiet().await;
    stage.use_cores("left open", "1", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T12:30:00Z").await;
    assert_eq!(summary(&stage, "hour_not_cut").await, "", "its deadline is far");
    let deadline = stage.value("select max(deadline)::text from postmeter.delivery").await;
    stage.at(&deadline.replace(' ', "T").replace("+00", "Z")).await;
    assert!(summary(&stage, "hour_not_cut").await.starts_with("1 hour at aws is still open; the first deadline is "));
    assert!(says(&stage, "doctor").await.contains("aws: 1 open hours should have been cut 30 min ago"));
    assert!(says(&stage, "status").await.contains("aws: 1 open hour should have been cut 30 min ago"));
    stage.work().await;
    assert_eq!(summary(&stage, "hour_not_cut").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_a_step_that_failed_five_times_is_an_alert_with_its_error_and_clears_when_it_goes_well() {
    let stage = quiet().await;
    // what everybody would meet: the step cannot go on, and nobody is to blame
    stage.sql("alter table postmeter.cut rename to cut_elsewhere").await;
    stage.use_cores("not cut", "1", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    let (stop, worker) = (CancellationToken::new(), stage.another_worker().await);
    let running = tokio::spawn({
        let (worker, stop) = (Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await }
    });
    let failed = "select exists (select from postmeter.step_failure where step = 'cut' and times >= 5)";
    until_true(&stage.db.client, failed).await;
    let why = summary(&stage, "step_failing").await;
    assert!(why.starts_with("step cut failed ") && why.contains("postmeter.cut\" does not exist"), "{why}");
    assert!(says(&stage, "doctor").await.contains("PROBLEM  steps         cut failed "));
    assert!(says(&stage, "status").await.contains("cut failed "));
    assert_eq!(stage.value("select count(*)::text from postmeter.setback where set_aside_at is not null").await, "0");
    stage.sql("alter table postmeter.cut_elsewhere rename to cut").await;
    until_true(&stage.db.client, "select not exists (select from postmeter.step_failure where step = 'cut')").await;
    assert_eq!(summary(&stage, "step_failing").await, "");
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(stage.value("select count(*)::text from postmeter.open_hour").await, "0", "it was cut after all");
}
