//! The served document, believed to the letter by somebody else: schemathesis 4.32.5 (PyPI) makes requests from it, good
//! and bad ones, and judges the answers: no 5xx, no status, header, content type or body that it does not announce.
//!
//! `POSTMETER_TEST_PYTHON` names a Python with `tests/requirements.txt` installed; without it the test is skipped.

use std::io::Write;
use std::path::PathBuf;

use console::Options;
use tests::{Console, Stage};
use tokio::process::Command;

const NAME: &str = "h4_a_property_tester_finds_no_server_error_and_no_schema_breach";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,ignored_auth";

/// Says that the test did not run, to whoever reads and to whoever counts.
fn skip(reason: &str) {
    eprintln!("SKIPPED {NAME}: {reason}");
    if let Some(path) = std::env::var_os("POSTMETER_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{NAME}: {reason}")).expect("the list of skipped tests can be written");
    }
}

#[tokio::test]
async fn h4_a_property_tester_finds_no_server_error_and_no_schema_breach() {
    let Some(python) = std::env::var_os("POSTMETER_TEST_PYTHON") else {
        return skip("POSTMETER_TEST_PYTHON is not set");
    };
    let tester = PathBuf::from(python).with_file_name("st");
    if !tester.exists() {
        return skip("schemathesis is not installed");
    }
    // something to list: accepted, held, rejected, with a decision
    let stage = Stage::new().await;
    stage.use_cores("a", "3", "2024-09-18T09:10:00Z").await;
    stage.record("i", "initech", "cores", "7", "2024-09-18T09:05:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    stage.use_cores("b", "3", "2024-09-18T09:20:00Z").await;
    stage.sql("select postmeter.pause('aws', 'ada', 'a test')").await;
    // it has done its work: nobody waits until it acts by what is changed
    outbox::workers::stop(&stage.db.database, stage.worker.id()).await.expect("it stops");
    let options = Options { requests_per_minute: 10_000_000, guesses_per_minute: 10_000_000, ..Options::default() };
    let console = Console::start_with(&stage.db, options).await;
    let folder = tempfile::tempdir().expect("a folder");
    for scopes in [&["operate", "intake"][..], &["intake"], &["read"], &["operate"]] {
        let token = console.token(scopes).await;
        // the whole way for one that may do everything; the others show that a refusal is announced, too
        let examples = if scopes.len() == 2 { "12" } else { "2" };
        let output = Command::new(&tester)
            .args(["run", &format!("{}/openapi.json", console.url), "--no-color", "--seed", "1", "-n", examples])
            .args(["-H", &format!("Authorization: Bearer {token}"), "--checks", CHECKS, "--phases", "examples,fuzzing"])
            .args(["--warnings", "off", "--suppress-health-check", "all", "--continue-on-failure", "--no-shrink"])
            .args(["--generation-database", "none", "--exclude-path", "/metrics"])
            // a stream has no end to wait for; its test is in requests.rs
            .args(["--exclude-path", "/v1/requests/{request_id}/events"])
            .current_dir(folder.path())
            .kill_on_drop(true)
            .output()
            .await
            .expect("schemathesis starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{scopes:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
}
