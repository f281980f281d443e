//! I6: what a process would stumble over later, `postmeter config` and its start refuse: by name, with what to do.

use std::io::Read;
use std::path::Path;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOOK: (&str, &str) = ("POSTMETER_ALERTS_WEBHOOK_URL", "https://example.com/hook");

/// Runs a command with these settings; no database is there. Its exit code, and what it said.
fn told(words: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = tests::postmeter("postgres://nobody@127.0.0.1:1/nothing");
    command.args(words).envs(settings.iter().copied());
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let code = tests::end_of(&mut child).code();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (code, said)
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn i6_what_would_fail_later_is_refused_by_config_and_by_the_processes_that_need_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| file(directory.path(), name, text);
    let (bad, empty, nonsense) =
        (at("bad", "hunter2-is-short\n"), at("empty", "\n"), at("nonsense", "hunter2 nonsense"));
    let no_certificate = at("none.pem", "hunter2: no certificate stands here\n");
    let broken = at("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = directory.path().join("missing").to_string_lossy().into_owned();
    let (worker, console, both) = (&["worker"][..], &["console"][..], &["worker", "console"][..]);
    for (settings, field, processes) in [
        (&[HOOK][..], "webhook_secret is not set", worker),
        (
            &[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET", "hunter2")],
            "POSTMETER_ALERTS_WEBHOOK_SECRET must be whsec_",
            both,
        ),
        (&[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", &bad)], "POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", worker),
        (&[("POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", &bad)], "the file must hold whsec_", worker),
        (&[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", &empty)], "the file is empty", worker),
        (&[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", &missing)], "No such file", worker),
        (
            &[
                ("POSTMETER_ALERTS_WEBHOOK_URL", "http://example.com/hunter2"),
                ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET),
            ],
            "alerts.webhook_url: the URL must be https://",
            worker,
        ),
        (
            &[
                ("POSTMETER_ALERTS_WEBHOOK_URL", "https://me:hunter2@example.com/"),
                ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET),
            ],
            "alerts.webhook_url: the URL must name a host, and no user",
            worker,
        ),
        (&[("POSTMETER_ALERTS_WEBHOOK_URL_FILE", &nonsense)], "the file must hold an address of the web", worker),
        (&[("POSTMETER_DATABASE_TLS_AUTHORITY", &missing)], "database.tls_authority", both),
        (&[("POSTMETER_DATABASE_TLS_AUTHORITY", &no_certificate)], "holds no certificate", both),
        (&[("POSTMETER_DATABASE_TLS_AUTHORITY", &broken)], "it must be a PEM file", both),
        (&[("POSTMETER_DATABASE_DIRECT_URL_FILE", &nonsense)], "the file must hold the URL of a Postgres", both),
        (&[("POSTMETER_CONSOLE_STATIC_DIR", &missing)], "console.static_dir", console),
        (
            &[("POSTMETER_CONSOLE_ARCHIVE_URL", "https://{request_id}:x:y/")],
            "POSTMETER_CONSOLE_ARCHIVE_URL must be",
            both,
        ),
        (
            &[("POSTMETER_CONSOLE_TRACKER_ACCESS", "open"), ("POSTMETER_CONSOLE_LISTEN", "0.0.0.0:0")],
            "console.tracker_access is open",
            console,
        ),
    ] {
        for command in [&["config"][..]].into_iter().chain(processes.iter().map(std::slice::from_ref)) {
            let (code, said) = told(command, settings);
            assert_eq!(code, Some(2), "{command:?} {settings:?}: {said}");
            assert!(said.contains(field), "{command:?} {settings:?}: {said}");
            assert!(!said.contains("hunter2"), "{command:?} {settings:?} shows what may be a secret: {said}");
        }
    }
}

#[test]
fn i6_what_is_right_passes_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = file(directory.path(), "secrets", &format!("{SECRET}\n{SECRET}\n"));
    let place = directory.path().to_string_lossy().into_owned();
    for settings in [
        &[][..],
        &[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET)],
        &[HOOK, ("POSTMETER_ALERTS_WEBHOOK_SECRET_FILE", &secrets)],
        // a test database's receiver is on this machine
        &[("POSTMETER_ALERTS_WEBHOOK_URL", "http://127.0.0.1:1/"), ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET)],
        &[("POSTMETER_ALERTS_WEBHOOK_URL", "http://[::1]:1/"), ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET)],
        &[
            ("POSTMETER_ALERTS_WEBHOOK_URL", "http://10.0.0.1/"),
            ("POSTMETER_ALERTS_WEBHOOK_SECRET", SECRET),
            ("POSTMETER_ALERTS_WEBHOOK_PRIVATE", "true"),
        ],
        &[("POSTMETER_CONSOLE_STATIC_DIR", &place), ("POSTMETER_CONSOLE_KIBANA_URL", "https://kibana/app?q={query}")],
        &[("POSTMETER_CONSOLE_TRACKER_ACCESS", "open")],
    ] {
        let (code, said) = told(&["config"], settings);
        assert_eq!(code, Some(0), "{settings:?}: {said}");
        assert!(!said.contains(SECRET));
    }
}
