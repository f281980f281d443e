//! J11: a worker or a console that is gone and was not replaced.

use tests::Stage;

use super::fired::ConsoleProcess;

/// What is missing, as `part missing of expected`.
async fn missing(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select part || ' ' || missing || ' of ' || expected from postmeter.fleet where missing > 0 order by part",
        )
        .await
}

/// All that was said so far was said six minutes earlier.
const SIX_MINUTES_LATER: &str = "update postmeter.console set started_at = started_at - interval '6 minutes',
    seen_at = seen_at - interval '6 minutes', stopped_at = stopped_at - interval '6 minutes'";

/// Looks, and returns the open alerts of it as `subject count`.
async fn look(stage: &Stage) -> Vec<String> {
    stage.worker.look(true).await.unwrap();
    stage.column("select subject || ' ' || count from postmeter.alert where name = 'fleet_incomplete' and cleared_at is null order by subject").await
}

async fn until_consoles(stage: &Stage, alive: i64) {
    let sql = format!("select alive = {alive} from postmeter.fleet where part = 'console'");
    tests::until_true(&stage.db.client, &sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j11_a_console_that_died_is_missed_until_another_is_there_and_one_that_stopped_is_not() {
    let stage = Stage::new().await;
    let mut stops = ConsoleProcess::start(&stage.db.url());
    until_consoles(&stage, 1).await;
    tests::signal(&stops.child, "TERM");
    assert!(tests::end_of(&mut stops.child).success());
    until_consoles(&stage, 0).await;
    stage.sql(SIX_MINUTES_LATER).await;
    assert_eq!(missing(&stage).await, [""; 0], "it stopped in order");

    let mut dies = ConsoleProcess::start(&stage.db.url());
    until_consoles(&stage, 1).await;
    tests::signal(&dies.child, "KILL");
    tests::end_of(&mut dies.child);
    assert_eq!(missing(&stage).await, [""; 0], "it may be about to say something");
    stage.sql(SIX_MINUTES_LATER).await;
    assert_eq!(missing(&stage).await, ["console 1 of 1"]);
    assert_eq!(look(&stage).await, ["console 1"]);
    let another = ConsoleProcess::start(&stage.db.url());
    until_consoles(&stage, 1).await;
    assert_eq!(look(&stage).await, [""; 0], "it was replaced");
    let text = crate::telling::get(&another.url, "/metrics").await.1;
    for line in ["postmeter_consoles 1", "postmeter_processes_missing{part=\"console\"} 0"] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn j11_as_many_as_were_asked_for_are_missed_though_none_was_ever_seen() {
    let stage = Stage::new().await;
    assert_eq!(missing(&stage).await, [""; 0]);
    stage.sql("update postmeter.setting set workers_expected = 3, consoles_expected = 1").await;
    assert_eq!(missing(&stage).await, ["console 1 of 1", "worker 2 of 3"]);
    assert_eq!(look(&stage).await, ["console 1", "worker 2"]);
    stage.sql("update postmeter.setting set workers_expected = 1, consoles_expected = 0").await;
    assert_eq!(look(&stage).await, [""; 0]);
}

#[tokio::test]
async fn j11_a_worker_that_was_taken_for_dead_and_began_anew_is_not_missed() {
    let stage = Stage::new().await;
    // killed while its lease held, and started again a moment later by its supervisor, three times
    for (number, ago) in [40, 30, 20].into_iter().enumerate() {
        let worker = stage.another_worker().await;
        let dies = format!(
            "update postmeter.worker set started_at = clock_timestamp() - interval '{} minutes',
                    heartbeat_at = clock_timestamp() - interval '{ago} minutes', lease_until = clock_timestamp() - interval '{} minutes'
             where id = '{}'",
            ago + 9, ago - 1, worker.id()
        );
        stage.sql(&dies).await;
        assert_eq!(
            missing(&stage).await,
            [""; 0],
            "death {number}: the stage's own worker lives, and no more did then"
        );
    }
    // two lived then, one of them does now
    stage.sql("update postmeter.worker set started_at = clock_timestamp() - interval '1 hour' where lease_until > clock_timestamp()").await;
    assert_eq!(missing(&stage).await, ["worker 1 of 2"]);
    let _instead = stage.another_worker().await;
    assert_eq!(missing(&stage).await, [""; 0]);
}

#[tokio::test]
async fn j11_workers_and_consoles_of_long_ago_are_forgotten_but_not_those_with_something_open() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("e", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let holds = stage.another_worker().await;
    assert_eq!(stage.claim_as(holds.id()).await.len(), 1);
    let folds = stage.another_worker().await;
    stage.sql(&format!("update postmeter.worker set folding = '{{\"most\": 5}}' where id = '{}'", folds.id())).await;
    let yesterday = stage.another_worker().await;
    let gone = stage.another_worker().await;
    let (of_holds, of_folds, of_yesterday) = (holds.id(), folds.id(), yesterday.id());
    let ended = format!(
        "update postmeter.worker set lease_until = clock_timestamp() - interval '9 days', reaped_at = clock_timestamp() - interval '8 days'
         where id <> '{}';
         update postmeter.worker set reaped_at = clock_timestamp() - interval '2 days' where id = '{of_yesterday}'",
        stage.worker.id()
    );
    stage.sql(&ended).await;
    stage.sql("select postmeter.console_seen(gen_random_uuid(), 'c', '1', false)").await;
    stage.sql("update postmeter.console set seen_at = clock_timestamp() - interval '8 days'").await;
    assert_eq!(outbox::fleet::forget(&stage.db.database).await.unwrap(), 2, "a worker and a console");
    let left = stage.column("select id::text from postmeter.worker order by started_at").await;
    let kept = [stage.worker.id(), of_holds, of_folds, of_yesterday].map(|id| id.to_string());
    assert_eq!(left, kept, "not {}", gone.id());
    // a share at a time, and a worker's round does it
    stage.sql("insert into postmeter.worker (id, name, version, lease, lease_until, reaped_at)
               select gen_random_uuid(), 'w' || n, '1', '1 minute', '2024-01-01', '2024-01-01' from generate_series(1, 501) n").await;
    assert_eq!(outbox::fleet::forget(&stage.db.database).await.unwrap(), 500);
    assert!(stage.worker.maintain_all(true).await.is_empty());
    let left = stage.column("select id::text from postmeter.worker order by started_at").await;
    let kept = [stage.worker.id(), of_folds, of_yesterday].map(|id| id.to_string());
    assert_eq!(left, kept, "what the first one held was taken over, so nothing of it is open");
}
