//! The units, by hand: what systemd would start, with the credentials it would hand over, against a real database.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::TestDatabase;

use super::root;

/// Settings of a unit; one that stands there several times has several values.
pub(super) fn unit(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut settings = BTreeMap::<_, Vec<String>>::new();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for line in text.lines().filter(|line| !line.starts_with(['#', '['])) {
        if let Some((name, value)) = line.split_once('=') {
            settings.entry(name.to_owned()).or_default().push(value.to_owned());
        }
    }
    settings
}

/// The directory of credentials that systemd would make, from files below `etc`.
pub(super) fn credentials(unit: &BTreeMap<String, Vec<String>>, etc: &Path, into: &Path) {
    for credential in &unit["LoadCredential"] {
        let (name, path) = credential.split_once(':').expect("name and path");
        let file = path.strip_prefix("/etc/postmeter/").expect("below /etc/postmeter");
        std::fs::copy(etc.join(file), into.join(name)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// What `ExecStart=` starts, as an instance.
pub(super) fn exec_start(unit: &BTreeMap<String, Vec<String>>, credentials: &Path, instance: u32) -> Command {
    let line = unit["ExecStart"][0].replace("%H", "host").replace("%i", &instance.to_string());
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/postmeter"));
    let mut command = tests::postmeter("");
    command.args(words).env_remove("POSTMETER_DATABASE_URL").env("CREDENTIALS_DIRECTORY", credentials);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn f5_a_workers_unit_starts_it_with_its_credentials_and_stops_it_in_time() {
    let unit = unit(&root().join("deploy/systemd/postmeter-worker@.service"));
    let db = TestDatabase::fresh().await;
    let (etc, handed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(etc.path().join("worker-url"), format!("{}\n", db.url())).unwrap();
    std::fs::write(etc.path().join("postmeter.toml"), "[worker]\npoll_ms = 20\nstop_within_seconds = 7\n").unwrap();
    credentials(&unit, etc.path(), handed.path());
    let mut worker = exec_start(&unit, handed.path(), 1).spawn().expect("the command");
    let is_there = "select exists (select from postmeter.worker where name = 'host/1')";
    tests::wait_until("the worker is there", async || {
        assert!(worker.try_wait().unwrap().is_none(), "the worker has ended");
        db.client.query_one(is_there, &[]).await.unwrap().get::<_, bool>(0)
    })
    .await;
    let signal = unit["KillSignal"][0].strip_prefix("SIG").expect("a signal");
    tests::signal(&worker, signal);
    assert!(tests::end_of(&mut worker).success());
    let patience: u64 = unit["TimeoutStopSec"][0].trim_end_matches('s').parse().expect("seconds");
    assert!(patience >= worker::Options::default().stop_within.as_secs() + 10);
    assert_eq!((unit["Restart"][0].as_str(), unit["StartLimitIntervalSec"][0].as_str()), ("always", "0"));
}

#[tokio::test]
async fn a_consoles_unit_starts_it_with_its_credentials() {
    let unit = unit(&root().join("deploy/systemd/postmeter-console.service"));
    let db = TestDatabase::fresh().await;
    let (etc, handed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(etc.path().join("console-url"), db.url()).unwrap();
    std::fs::write(etc.path().join("postmeter.toml"), "[console]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    credentials(&unit, etc.path(), handed.path());
    let mut console = exec_start(&unit, handed.path(), 1).spawn().expect("the command");
    let said = console.stdout.take().unwrap();
    let url = tests::line_of(said, |line| Some(line.strip_prefix("listening at ")?.to_owned()));
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(reqwest::get(format!("{url}/ready")).await.unwrap().status(), 200);
    tests::signal(&console, "TERM");
    assert!(tests::end_of(&mut console).success());
}
