//! The Postgres of our own: it starts, survives a crash, and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use postmeter::embedded::{Cluster, Listen, Options};
use tests::block_until;
use tokio_postgres::{Client, NoTls};

/// Set for the copy of this test binary that is to be killed: where it writes its server's address.
const VICTIM: &str = "POSTMETER_TEST_EMBEDDED_VICTIM";

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the cluster takes connections");
    tokio::spawn(connection);
    client
}

async fn one(url: &str) -> i32 {
    connect(url).await.query_one("select 1", &[]).await.expect("select 1").get(0)
}

fn alive(pid: &str) -> bool {
    // A process that ended but was not waited for has no command line.
    std::fs::read(Path::new("/proc").join(pid).join("cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_survives_a_crash_and_leaves_nothing() {
    let settings = vec![("work_mem".to_owned(), "5MB".to_owned())];
    let options = Options { listen: Listen::FreePort, settings, ..Options::default() };
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(options)).await.unwrap().unwrap();
    let (url, directory) = (cluster.url("postgres"), cluster.directory().to_owned());

    assert_eq!(one(&url).await, 1);
    assert_eq!(one(&cluster.tcp_url("postgres").unwrap()).await, 1);
    let client = connect(&url).await;
    let work_mem: String = client.query_one("show work_mem", &[]).await.unwrap().get(0);
    assert_eq!(work_mem, "5MB");
    client.batch_execute("create table kept (n int); insert into kept values (7)").await.unwrap();

    tokio::task::block_in_place(|| cluster.kill()).unwrap();
    assert!(cluster.pid().is_none());
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());

    tokio::task::block_in_place(|| cluster.restart()).unwrap();
    assert_eq!(cluster.url("postgres"), url);
    let kept: i32 = connect(&url).await.query_one("select n from kept", &[]).await.unwrap().get(0);
    assert_eq!(kept, 7);

    let pid = cluster.pid().unwrap().to_string();
    tokio::task::block_in_place(|| drop(cluster));
    assert!(!directory.exists());
    assert!(!alive(&pid));
}

#[test]
fn a_bad_setting_is_named_and_nothing_stays() {
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = Cluster::start(Options { settings, ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

/// A SIGKILL runs no destructor; the watchdog cleans up.
#[test]
fn the_server_dies_with_its_parent() {
    if let Some(report) = std::env::var_os(VICTIM) {
        let cluster = Cluster::start(Options::default()).unwrap();
        let text = format!("{}\n{}", cluster.pid().unwrap(), cluster.directory().display());
        std::fs::write(Path::new(&report).with_extension("new"), text).unwrap();
        std::fs::rename(Path::new(&report).with_extension("new"), &report).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        panic!("nobody killed us");
    }
    let place = tempfile::tempdir().unwrap();
    let report = place.path().join("report");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::the_server_dies_with_its_parent"])
        .env(VICTIM, &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    block_until("the server starts", || report.exists());
    let text = std::fs::read_to_string(&report).unwrap();
    let (pid, directory) = text.split_once('\n').unwrap();
    assert!(alive(pid));

    victim.kill().unwrap();
    victim.wait().unwrap();
    block_until("the server stops", || !alive(pid));
    block_until("its directory goes", || !Path::new(directory).exists());
}
