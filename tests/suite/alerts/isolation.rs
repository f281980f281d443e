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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_a_destination_that_cannot_be_dispatched_is_named_and_anothers_success_does_not_hide_it() {
    let stage = quiet().await;
    // nothing can be claimed there: an error of that destination's step alone
    stage
        .sql(
            "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'aws-us', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max from postmeter.destination;
             create function no_claim() returns trigger language plpgsql as $$ begin raise exception 'no claim here'; end $$;
             create trigger no_claim before insert on postmeter.attempt for each row execute function no_claim()",
        )
        .await;
    stage.use_cores("not sent", "1", "2024-09-18T11:05:00Z").await;
    stage.cut_only("2024-09-18T12:10:00Z").await;
    let (stop, worker) = (CancellationToken::new(), stage.another_worker().await);
    let running = tokio::spawn({
        let (worker, stop) = (Arc::clone(&worker), stop.clone());
        async move { worker.run(stop).await }
    });
    // `aws-us` has nothing due, and goes well all the while
    let failed = "select exists (select from postmeter.step_failure where step = 'dispatch at aws' and times >= 5)";
    until_true(&stage.db.client, failed).await;
    let why = summary(&stage, "step_failing").await;
    assert!(why.starts_with("step dispatch at aws failed ") && why.contains("no claim here"), "{why}");
    assert!(says(&stage, "status").await.contains("dispatch at aws failed "));
    let steps = "select string_agg(distinct step, ', ') from postmeter.step_failure";
    assert_eq!(stage.value(steps).await, "dispatch at aws");
    // its table is not touched: the worker is in it
    stage
        .sql("create or replace function no_claim() returns trigger language plpgsql as $$ begin return new; end $$")
        .await;
    until_true(&stage.db.client, "select not exists (select from postmeter.step_failure)").await;
    assert_eq!(summary(&stage, "step_failing").await, "");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_what_is_set_aside_is_an_alert_and_a_dead_letter_and_clears_when_it_is_cured() {
    let stage = quiet().await;
    stage.sql("alter table postmeter.allocation add constraint thirteen check (quantity <> 13) not valid").await;
    for (event, quantity) in [("fails", "13"), ("passes", "1")] {
        stage.use_cores(event, quantity, "2024-09-18T11:05:00Z").await;
    }
    assert_eq!(stage.worker.fold().await.unwrap().failed, 1);
    assert_eq!(summary(&stage, "set_aside").await, "", "once is not enough");
    stage.use_cores("passes too", "1", "2024-09-18T11:05:00Z").await;
    stage.worker.fold().await.unwrap();
    stage.sql("update postmeter.setback set next_at = clock_timestamp()").await;
    assert_eq!(stage.worker.fold_apart().await.unwrap().failed, 1);
    let why = summary(&stage, "set_aside").await;
    assert!(why.starts_with("1 member of step fold is set aside; the latest: ") && why.contains("thirteen"), "{why}");
    let letter = "select class || ' ' || code || ' ' || org || ' ' || metric || ' ' || trim_scale(quantity) from postmeter.dead_letter";
    assert_eq!(stage.column(letter).await, ["set aside 23514 acme cores 13"]);
    assert!(says(&stage, "doctor").await.contains("PROBLEM  steps         fold: 1 set aside for "));
    assert!(says(&stage, "status").await.contains("fold: 1 set aside for "));
    stage.sql("alter table postmeter.allocation drop constraint thirteen; select postmeter.try_setbacks_again()").await;
    assert_eq!(stage.worker.fold_apart().await.unwrap().failed, 0);
    assert_eq!(summary(&stage, "set_aside").await, "");
    assert_eq!(stage.column(letter).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_what_is_locked_out_is_an_alert_that_names_the_session_and_clears_when_it_is_free() {
    let stage = quiet().await;
    stage.sql("update postmeter.alert_rule set patience = '0' where name = 'locked_out'").await;
    stage.use_cores("locked", "1", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    let holder = stage.db.connect().await;
    holder
        .batch_execute("set application_name = 'a forgotten psql'; begin; select from postmeter.meter for update")
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    }
    let why = summary(&stage, "locked_out").await;
    assert!(why.starts_with("1 member of step cut is locked for up to 0 minutes: held by session "), "{why}");
    assert!(why.contains("a forgotten psql"), "{why}");
    assert!(says(&stage, "doctor").await.contains("warning  steps         cut: 1 locked for "));
    assert!(says(&stage, "status").await.contains("cut: 1 locked for "));
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    assert_eq!(summary(&stage, "locked_out").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j6_what_fails_with_nobody_passing_is_told_after_five_minutes() {
    let stage = quiet().await;
    stage.sql("alter table postmeter.allocation add constraint nothing check (quantity < 0) not valid").await;
    stage.use_cores("fails", "1", "2024-09-18T11:05:00Z").await;
    assert_eq!(stage.worker.fold().await.unwrap().failed, 1);
    assert_eq!(summary(&stage, "set_aside").await, "", "it may pass in a moment");
    stage.sql("update postmeter.setback set since = clock_timestamp() - interval '6 minutes'").await;
    let why = summary(&stage, "set_aside").await;
    assert!(why.starts_with("1 member of step fold fails again and again; the latest: "), "{why}");
    stage.sql("alter table postmeter.allocation drop constraint nothing; select postmeter.try_setbacks_again()").await;
    assert_eq!(stage.worker.fold_apart().await.unwrap().failed, 0);
    assert_eq!(summary(&stage, "set_aside").await, "");
}
