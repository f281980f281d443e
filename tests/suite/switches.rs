//! J10: switches act at once. When a command has returned, no call begins by the old rule, however seldom workers poll.

mod acting;
mod ended;
mod hearing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tests::{Stage, quick, t};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Options, Worker};

/// A worker whose loops run, and look for work once a minute.
struct Slow {
    stop: CancellationToken,
    done: JoinHandle<bool>,
}

impl Slow {
    /// Starts one that is woken by what becomes due.
    async fn start(stage: &Stage, open: worker::Opener) -> Self {
        let options = Options { poll: Duration::from_secs(60), lease: Duration::from_secs(60), open, ..quick() };
        let worker = Worker::start(stage.db.another(), options).await.unwrap();
        stage
            .sql(
                "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select 'hooli', 'db', id, '{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"999900001111\"}', '2024-01-01Z'
                 from postmeter.destination where name = 'other'",
            )
            .await;
        // it says that it sleeps, so that due deliveries wake it
        worker.beat().await.unwrap();
        let stop = CancellationToken::new();
        let done = tokio::spawn({
            let stop = stop.clone();
            async move { worker.run(stop).await.unwrap() }
        });
        listens(stage).await;
        // its first round of maintenance reads the catalogue too: what it has read then lasts for six minutes
        let read = "select bool_and(buyer is not null) from postmeter.subscription";
        tests::until_true(&stage.db.client, read).await;
        Self { stop, done }
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(tests::PATIENCE, self.done).await;
        assert!(ended.expect("a worker that was told to stop does").unwrap());
    }
}

/// Waits until a worker's loops run: one of them listens.
async fn listens(stage: &Stage) {
    let sessions = "select exists (select from pg_stat_activity
                    where datname = current_database() and query = 'listen postmeter_due')";
    tests::until_true(&stage.db.client, sessions).await;
}

/// `acme` buys at `aws`, `globex` at `other`, of the same marketplace; the stage's own worker folds and cuts, and does not
/// send: it has said goodbye, so that nobody waits for it.
async fn two_destinations() -> Stage {
    let stage = Stage::new().await;
    stage
        .sql(
            "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'other', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max from postmeter.destination;
             insert into postmeter.dimension (destination_id, product, metric, name)
             select id, 'db', 'cores', 'cores-too' from postmeter.destination where name = 'other'",
        )
        .await;
    stage.subscribe("globex", "444455556666").await;
    stage
        .sql("update postmeter.subscription set destination_id = (select id from postmeter.destination where name = 'other') where org = 'globex'")
        .await;
    stage.worker.reload().await.unwrap();
    outbox::workers::stop(&stage.db.database, stage.worker.id()).await.unwrap();
    stage
}

/// Both use a core in the hour of 10 and two of 11, and each hour becomes due. Returns when the other destination has both:
/// the slow worker was woken for each, and looked at `aws` too.
async fn use_at_both(stage: &Stage) {
    for (number, hour) in [(1, 10), (2, 11)] {
        let (at, over) = (format!("2024-09-18T{hour}:10:00Z"), format!("2024-09-18T{}:10:00Z", hour + 1));
        stage.at(&at).await;
        stage.record(&format!("a{hour}"), "acme", "cores", &number.to_string(), &at).await;
        stage.record(&format!("g{hour}"), "globex", "cores", &number.to_string(), &at).await;
        stage.cut_only(&over).await;
        accepted(stage, "other", number).await;
    }
}

async fn accepted(stage: &Stage, destination: &str, count: i32) {
    tests::until_true(
        &stage.db.client,
        &format!("select count(*) = {count} from postmeter.remittance where destination = '{destination}' and status = 'accepted'"),
    )
    .await;
}

/// Calls that bore a record of `acme`, as so many records each.
fn calls_for_acme(aws: &simulator::Running) -> Vec<usize> {
    let calls = aws.calls();
    let of_acme = calls.iter().filter(|call| call.records.iter().any(|record| &*record.key.dimension == "cores"));
    of_acme.map(|call| call.records.len()).collect()
}

/// Runs a command beside the workers of this process.
async fn run(stage: &Stage, words: &[&str]) -> (Option<i32>, String) {
    let mut command = tests::postmeter(&stage.db.url());
    command.args(words).env("USER", "ada");
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the command runs"));
    let output = tokio::time::timeout(tests::PATIENCE, ended).await.expect("every command ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// Applies the catalogue with one text in place of another.
async fn apply(stage: &Stage, edit: impl FnOnce(String) -> String) -> String {
    let (_, shown) = run(stage, &["catalog", "show"]).await;
    let edited = edit(shown.clone());
    assert_ne!(shown, edited, "the edit changes something");
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("catalogue.toml");
    std::fs::write(&path, edited).unwrap();
    let (code, said) =
        run(stage, &["catalog", "apply", &path.to_string_lossy(), "--who", "ada", "--why", "a switch"]).await;
    assert_eq!(code, Some(0), "{said}");
    said
}

/// A second marketplace.
fn elsewhere() -> simulator::Running {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let clock = simulator::Clock::frozen_at(t("2024-09-18T10:00:00Z"));
    let mut settings = simulator::Settings { clock, ..simulator::Settings::default() };
    settings.aws.rate = None;
    simulator::Simulator::start(tokio::net::TcpListener::from_std(listener).unwrap(), settings).unwrap()
}
