//! K8: a copy of a database sends nothing before a person has said what it is; a failover that a worker has proven goes on.

use std::process::Command;
use std::sync::Arc;

use outbox::{Access, Database};
use postmeter::embedded::{Binaries, Cluster, Options as EmbeddedOptions};
use tests::{Stage, TestDatabase};
use worker::{Options, Worker, WorkerError};

use crate::restore::{copy, due, promoted, started, until_promoted};

/// A copy by `pg_dump` and `pg_restore`, on the same server.
pub struct Copy {
    url: String,
    pub client: tokio_postgres::Client,
    pub database: Database,
}

impl Copy {
    pub async fn of(stage: &Stage) -> Self {
        let binaries = Binaries::find().unwrap();
        let from = stage.db.url();
        let (name, copied) = {
            let name = stage.value("select current_database()::text").await;
            (name.clone(), format!("{name}_copy"))
        };
        stage.sql(&format!("create database {copied}")).await;
        let url = from.replace(&name, &copied);
        let dump = tempfile::NamedTempFile::new().unwrap();
        for (program, words) in [
            ("pg_dump", vec!["--format=custom", "--file", dump.path().to_str().unwrap(), &from]),
            ("pg_restore", vec!["--exit-on-error", "--dbname", &url, dump.path().to_str().unwrap()]),
        ] {
            let output = Command::new(binaries.program(program)).args(&words).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let client = TestDatabase::client_of(&url).await;
        let database = Database::open(&Access::new(&url)).unwrap();
        Self { url, client, database }
    }

    pub async fn worker(&self) -> Arc<Worker> {
        Worker::start(self.database.clone(), tests::quick()).await.unwrap()
    }

    pub async fn value(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub fn run(&self, words: &str) -> (i32, String) {
        let mut command = tests::postmeter(&self.url);
        let output = command
            .env("USER", "ada")
            .args(words.split(' '))
            .args(if words.starts_with("explain") || words == "status" { &[][..] } else { &["--why", "looked"] })
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

const ALERT: &str = "select coalesce(string_agg(summary, '; '), 'none') from postmeter.alert
                     where name = 'installation_unclear' and cleared_at is null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k8_a_restored_copy_sends_nothing_until_a_person_declares_it_the_original() {
    let stage = Stage::bare().await;
    due(&stage).await;
    let copy = Copy::of(&stage).await;
    let worker = copy.worker().await;
    assert!(worker.beat().await.unwrap());
    assert_eq!(worker.send().await.unwrap(), 0);
    copy.client.batch_execute("update postmeter.delivery set deaths = 1").await.unwrap();
    assert_eq!(worker.send().await.unwrap(), 0, "nor what goes alone");
    copy.client.batch_execute("update postmeter.delivery set deaths = 0").await.unwrap();
    assert_eq!(stage.aws.record().len(), 0);
    worker.look(true).await.unwrap();
    let told = copy.value(ALERT).await;
    assert!(told.starts_with("nothing is sent: this database was copied or restored"), "{told}");
    let status = tests::postmeter(&copy.url).arg("status").output().unwrap();
    assert!(
        String::from_utf8(status.stdout).unwrap().contains("NOTHING IS SENT: this database was copied or restored")
    );
    // the installation itself goes on
    assert_eq!(stage.worker.send().await.unwrap(), 3);
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"; 3]);

    let (code, said) = copy.run("declare original");
    assert!(code == 0 && said.contains("compare, then resume each"), "{said}");
    let marked =
        "select format('%s %s %s', bool_and(maybe_billed), (select bool_and(paused) from postmeter.destination),
                  (select count(*) from postmeter.timeline_break)) from postmeter.delivery";
    assert_eq!(copy.value(marked).await, "t t 1", "what was sent since the dump may have been");
    worker.reload().await.unwrap();
    assert_eq!(worker.send().await.unwrap(), 0, "paused");
    assert_eq!(copy.run("resume aws").0, 0);
    worker.reload().await.unwrap();
    assert_eq!(worker.send().await.unwrap(), 3);
    assert_eq!(stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum::<u64>(), 3, "the same keys");
    worker.look(true).await.unwrap();
    assert_eq!(copy.value(ALERT).await, "none");
    let decided =
        "select who || ' ' || status_before || ' ' || status_after from postmeter.decision where verb = 'declare'";
    assert_eq!(copy.value(decided).await, "ada unclear original");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k8_what_was_declared_a_copy_sends_nothing_and_alerts_nobody() {
    let stage = Stage::bare().await;
    due(&stage).await;
    let copy = Copy::of(&stage).await;
    let worker = copy.worker().await;
    assert_eq!(copy.run("declare copy").0, 0);
    let (code, said) = copy.run("declare copy");
    assert!(code == 0 && said.contains("nothing was changed"), "{said}");
    assert_eq!(worker.send().await.unwrap(), 0);
    worker.look(true).await.unwrap();
    assert_eq!(copy.value(ALERT).await, "none");
    // a planned move: nobody has sent anything since
    assert_eq!(copy.run("declare original --nothing-lost").0, 0);
    assert_eq!(copy.value("select count(*)::text from postmeter.timeline_break").await, "0");
    assert_eq!(worker.send().await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k8_a_promoted_server_is_sent_from_once_a_worker_that_remembers_has_found_its_last_commits() {
    let mut cluster = Cluster::start(EmbeddedOptions::default()).unwrap();
    let (data, kept) = (cluster.directory().join("data"), cluster.directory().join("kept"));
    let mut stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    due(&stage).await;
    let options = Options { lease: std::time::Duration::from_secs(600), ..tests::quick() };
    let remembers = started(&stage, &options).await;
    assert!(remembers.beat().await.unwrap());
    cluster.stop().unwrap();
    copy(&data, &kept);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&kept, &data).unwrap();
    promoted(&data);
    cluster.restart().unwrap();
    stage.db.client = until_promoted(&stage).await;
    let fresh = started(&stage, &Options { history: Arc::default(), ..options.clone() }).await;
    assert!(fresh.beat().await.unwrap());
    assert!(fresh.beat().await.unwrap());
    assert_eq!(fresh.send().await.unwrap(), 0, "a clone that was promoted looks the same to it");
    let doubt = "select postmeter.installation_doubt()";
    assert!(stage.value(doubt).await.starts_with("the server is on timeline 00000002 and was on 00000001"));
    assert!(remembers.beat().await.unwrap());
    assert_eq!(stage.value("select coalesce(postmeter.installation_doubt(), 'none')").await, "none");
    assert_eq!(fresh.send().await.unwrap(), 3);
    assert_eq!(stage.value("select count(*)::text from postmeter.timeline_break").await, "0");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k8_a_worker_of_another_installation_does_not_start() {
    let stage = Stage::new().await;
    let named = async |name: Option<&str>| {
        let options = Options { installation: name.map(str::to_owned), ..tests::quick() };
        Worker::start(stage.db.another(), options).await.map(drop)
    };
    named(None).await.unwrap();
    named(Some("prod")).await.unwrap();
    for (name, why) in [(Some("staging"), "configured for 'staging'"), (None, "was not told which one")] {
        let refused = named(name).await.unwrap_err();
        assert!(matches!(&refused, WorkerError::Installation(said) if said.contains(why)), "{refused}");
    }
    named(Some("prod")).await.unwrap();
    stage.sql("select postmeter.declare_installation('original', 'ada', 'renamed', true, 'main')").await;
    named(Some("main")).await.unwrap();
    assert!(named(Some("prod")).await.is_err());
}
