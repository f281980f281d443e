//! E13: the database is restored to a moment before a settlement, and what was sent meanwhile is sent again with the
//! same key, but only after a person has looked.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use postmeter::embedded::{Cluster, Options as EmbeddedOptions};
use remittance::Answer;
use simulator::IdenticalResend;
use tests::{Dimension, Stage, TestDatabase, Wrapped};
use tokio::sync::Semaphore;
use worker::Worker;

pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success());
}

/// Three orgs with a core each, folded and cut, not sent.
pub async fn due(stage: &Stage) {
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..3 {
        stage.subscribe(&format!("org{n}"), &format!("10000000000{n}")).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
}

pub async fn started(stage: &Stage, options: &worker::Options) -> Arc<Worker> {
    Worker::start(stage.db.another(), options.clone()).await.expect("a worker")
}

const PAUSED: &str =
    "select format('%s %s', paused, (select count(*) from postmeter.timeline_break)) from postmeter.destination";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_settlement_lost_by_a_restore_is_made_again_with_the_same_key_after_a_person_has_looked() {
    let mut cluster = Cluster::start(EmbeddedOptions::default()).unwrap();
    let (data, kept) = (cluster.directory().join("data"), cluster.directory().join("kept"));
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    let mut settings = stage.aws.settings();
    settings.aws.identical_resend = IdenticalResend::Duplicate;
    stage.aws.set_settings(settings);
    due(&stage).await;
    let options = tests::quick();
    let worker = started(&stage, &options).await;
    assert!(worker.beat().await.unwrap());
    cluster.stop().unwrap();
    copy(&data, &kept);
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "f 0", "a restart that loses nothing is none of this");
    assert_eq!(worker.send().await.unwrap(), 3);
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"; 3]);

    cluster.stop().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    assert_eq!(stage.remittances().await, ["18T10 due 1"; 3], "the settlements are gone");
    assert_eq!(worker.send().await.unwrap(), 0, "nothing is claimed from a server that lacks what we have seen");
    // a worker of the same process, as after a lease that was lost
    let next = started(&stage, &options).await;
    assert_eq!(next.send().await.unwrap(), 0);
    assert!(next.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "t 1");
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "t 1", "what two notice is one break");
    assert_eq!(stage.value("select verb || ' ' || who from postmeter.decision_log").await, "pause worker");
    assert_eq!((next.send().await.unwrap(), stage.aws.record().len()), (0, 3));

    stage.sql("select postmeter.resume('aws', 'ada', 'compared with the marketplace')").await;
    next.reload().await.unwrap();
    assert_eq!(next.send().await.unwrap(), 3);
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"; 3], "their duplicates are ours");
    assert_eq!(stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum::<u64>(), 3);
    stage.close().await;
}

/// Lets the copied data come up as a standby does that was promoted: on a timeline of its own.
pub fn promoted(data: &Path) {
    use std::io::Write;
    std::fs::write(data.join("recovery.signal"), "").unwrap();
    let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).unwrap();
    settings.write_all(b"restore_command = 'false'\n").unwrap();
}

pub async fn until_promoted(stage: &Stage) -> tokio_postgres::Client {
    let client = stage.db.connect().await;
    tests::until_true(&client, "select not pg_is_in_recovery()").await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_lost_settlement_is_noticed_though_another_came_through_before_the_heartbeat() {
    static EACH: Semaphore = Semaphore::const_new(0);
    fn one_by_one(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
        Box::pin(async move {
            EACH.acquire().await.unwrap().forget();
            answers
        })
    }
    let mut cluster = Cluster::start(EmbeddedOptions::default()).unwrap();
    let (data, kept) = (cluster.directory().join("data"), cluster.directory().join("kept"));
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    due(&stage).await;
    stage.configure("records_max = 1").await;
    let lease = Duration::from_secs(600);
    let options = worker::Options { lease, open: |_, settings| Wrapped::aws(settings, one_by_one), ..tests::quick() };
    let worker = started(&stage, &options).await;
    assert!(worker.beat().await.unwrap());
    let sending = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { worker.send().await.unwrap() }
    });
    tests::wait_until("three records at the marketplace", async || stage.aws.record().len() >= 3).await;
    // three calls were answered; the standby has their claims, and not the settlement of the first two
    cluster.stop().unwrap();
    copy(&data, &kept);
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    EACH.add_permits(2);
    let accepted = "select count(*) = 2 from postmeter.delivery where status = 'accepted'";
    tests::until_true(&stage.db.client, accepted).await;
    cluster.stop().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    promoted(&data);
    cluster.restart().unwrap();
    stage.db.client = until_promoted(&stage).await;
    EACH.add_permits(10);
    assert_eq!(sending.await.unwrap(), 3);
    let through = "select count(*)::text from postmeter.delivery where status = 'accepted'";
    assert_eq!(stage.value(through).await, "1", "the third came through");
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "t 1");
}

/// What the test lets through, and when: the answers of calls.
static GATE: Semaphore = Semaphore::const_new(0);

fn at_the_gate(answers: Vec<Answer>) -> BoxFuture<'static, Vec<Answer>> {
    Box::pin(async move {
        GATE.acquire().await.unwrap().forget();
        answers
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_promotion_that_keeps_a_claim_and_loses_its_settlement_is_noticed() {
    let mut cluster = Cluster::start(EmbeddedOptions::default()).unwrap();
    let (data, kept) = (cluster.directory().join("data"), cluster.directory().join("kept"));
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    due(&stage).await;
    let lease = Duration::from_secs(600);
    let options = worker::Options { lease, open: |_, settings| Wrapped::aws(settings, at_the_gate), ..tests::quick() };
    let worker = started(&stage, &options).await;
    assert!(worker.beat().await.unwrap());
    let sending = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { worker.send().await.unwrap() }
    });
    // the call has been answered, and the answer is on its way: the standby has the claim and not the settlement
    tests::wait_until("three records at the marketplace", async || stage.aws.record().len() >= 3).await;
    cluster.stop().unwrap();
    copy(&data, &kept);
    cluster.restart().unwrap();
    stage.db.client = stage.db.connect().await;
    GATE.add_permits(100);
    assert_eq!(sending.await.unwrap(), 3);
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"; 3]);

    cluster.stop().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    promoted(&data);
    cluster.restart().unwrap();
    stage.db.client = until_promoted(&stage).await;
    assert_eq!(stage.value("select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)").await, "00000002");
    assert_eq!(stage.remittances().await, ["18T10 in_flight 1"; 3], "the settlement is gone, the claim is not");
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "t 1");
    // what it remembers of the lost time accuses nobody twice
    assert!(worker.beat().await.unwrap());
    assert_eq!(stage.value(PAUSED).await, "t 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_worker_that_never_claimed_notices_a_promotion_that_lost_commits_by_its_heartbeat() {
    let mut cluster = Cluster::start(EmbeddedOptions::default()).unwrap();
    let (data, kept) = (cluster.directory().join("data"), cluster.directory().join("kept"));
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    let options = worker::Options { lease: Duration::from_secs(600), ..tests::quick() };
    let worker = started(&stage, &options).await;
    for (loses_a_heartbeat, told) in [(false, "f 0"), (true, "t 1")] {
        assert!(worker.beat().await.unwrap());
        cluster.stop().unwrap();
        copy(&data, &kept);
        if loses_a_heartbeat {
            cluster.restart().unwrap();
            assert!(worker.beat().await.unwrap());
            cluster.stop().unwrap();
        }
        std::fs::remove_dir_all(&data).unwrap();
        std::fs::rename(&kept, &data).unwrap();
        promoted(&data);
        cluster.restart().unwrap();
        stage.db.client = until_promoted(&stage).await;
        if loses_a_heartbeat {
            // this one covers the trace of the lost one, and then it cannot tell
            stage.sql("alter function postmeter.timeline_went_back(text, text) rename to away").await;
            assert!(worker.beat().await.is_err());
            stage.sql("alter function postmeter.away(text, text) rename to timeline_went_back").await;
        }
        assert!(worker.beat().await.unwrap());
        assert_eq!(stage.value(PAUSED).await, told, "lost: {loses_a_heartbeat}");
    }
}

#[tokio::test]
async fn e13_a_refusal_of_what_may_have_been_sent_in_lost_time_proves_nothing() {
    let stage = Stage::bare().await;
    due(&stage).await;
    stage.sql("select postmeter.timeline_went_back('ada', 'restored from the backup of 11:00')").await;
    let marked = "select distinct maybe_billed || ' ' || (maybe_since at time zone 'UTC') from postmeter.delivery";
    assert_eq!(
        stage.column(marked).await,
        ["true 2024-09-18 11:00:00"],
        "the marketplace's memory counts from the hour's end"
    );
    stage.sql("select postmeter.resume('aws', 'ada', 'compared')").await;
    stage.worker.reload().await.unwrap();
    let mut settings = stage.aws.settings();
    settings.aws.subscriptions = Some(vec![]);
    stage.aws.set_settings(settings.clone());
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 unknown 1"; 3]);
    // the next hour was not over when it broke: nothing of it can have been sent
    stage.record("later", "org0", "cores", "2", "2024-09-18T11:12:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await[3..], ["18T11 held 2"]);
    // an hour that was over then and is cut only now may have been cut and sent in the lost time
    stage.record("late", "org1", "cores", "1", "2024-09-18T09:10:00Z").await;
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(
        stage
            .value(
                "select status || ' ' || maybe_billed from postmeter.remittance where cut_at > '2024-09-18T12:20:00Z'"
            )
            .await,
        "unknown true"
    );
    stage.close().await;
}
