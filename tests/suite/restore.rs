//! E13: the database is restored to a moment before a settlement, and what was sent meanwhile is sent again with the
//! same key, but only after a person has looked.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use postmeter::embedded::{Cluster, Options};
use simulator::IdenticalResend;
use tests::{Dimension, Stage, TestDatabase};
use worker::Worker;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success());
}

/// Three orgs with a core each, folded and cut, not sent.
async fn due(stage: &Stage) {
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..3 {
        stage.subscribe(&format!("org{n}"), &format!("10000000000{n}")).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
}

async fn started(stage: &Stage, options: &worker::Options) -> Arc<Worker> {
    Worker::start(stage.db.another(), options.clone()).await.expect("a worker")
}

const PAUSED: &str =
    "select format('%s %s', paused, (select count(*) from postmeter.timeline_break)) from postmeter.destination";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e13_a_settlement_lost_by_a_restore_is_made_again_with_the_same_key_after_a_person_has_looked() {
    let mut cluster = Cluster::start(Options::default()).unwrap();
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
