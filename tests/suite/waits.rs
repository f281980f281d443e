//! A test on a busy machine may be slow; it may not hang. Whoever waits does it by `tests/support/wait.rs`, which has a
//! limit and says what it waited for.

use std::path::Path;

/// Where something takes time on purpose, or runs within a limit of the test around it; how often, and why.
const ALLOWED: [(&str, usize, &str); 18] = [
    ("suite/aws_wire.rs", 4, "a server that is slow, or says nothing"),
    ("suite/azure_wire/disturbed.rs", 1, "a server that is slow"),
    ("suite/azure_wire/tokens.rs", 1, "a server that says nothing"),
    ("suite/crash.rs", 2, "what dies by itself within a time, else is killed; the steady worker's turn"),
    ("suite/crash/storm.rs", 4, "how long a fault lasts, within the storm"),
    ("suite/doors/first.rs", 2, "have limits of their own, and say what they saw last"),
    ("suite/embedded.rs", 1, "the victim lives until it is killed"),
    ("suite/fleet.rs", 1, "between two strikes"),
    ("suite/folds/dying.rs", 1, "the entry that keeps its worker until that is cut off"),
    ("suite/google_wire/hostile.rs", 3, "servers that are slow, within the test's own limit"),
    ("suite/outage.rs", 3, "for how long the database is away"),
    ("suite/prometheus/scraped.rs", 2, "have limits of their own, and say what they saw last"),
    ("suite/real_prometheus.rs", 1, "has a limit of its own, and says why it was in vain"),
    ("suite/rounds/cutting.rs", 2, "an hour whose cut takes long; a measurement's look from time to time"),
    ("suite/switches/hearing.rs", 1, "the rhythm of a worker that lives"),
    ("suite/telling.rs", 1, "has a limit of its own, and says what was answered last"),
    ("support/limit.rs", 1, "looks again and again, at every test"),
    ("support/wait.rs", 3, "the way to wait"),
];

/// What waits for another without a limit, unless the line says one: a message, a notification, a line, an end.
const UNLIMITED: [&str; 7] =
    [".recv()", ".notified()", ".read_line(", ".next_line()", ".wait_with_output()", ".wait_for(", ".changed()"];

/// Loops without a condition, and waits of the kind above, that end all the same: file, how many, and how they end.
const ENDING: [(&str, usize, &str); 16] = [
    ("suite/alerts/webhook.rs", 1, "within a limit in the same line"),
    ("suite/aws_wire.rs", 1, "the peer's bytes, or its end"),
    ("suite/claims.rs", 1, "the queue of 2,000 is empty"),
    ("suite/console/lists.rs", 1, "the last page of a list"),
    ("suite/doors/first.rs", 1, "has a limit of its own"),
    ("suite/google_wire/hostile.rs", 1, "within the limit of its test"),
    ("suite/intake/answers.rs", 1, "the server's answer, or its end"),
    ("suite/lost.rs", 1, "three deliveries are due, and one call takes them"),
    ("suite/moto.rs", 2, "within a limit"),
    ("suite/real_prometheus.rs", 1, "has a limit of its own"),
    ("suite/rounds/cutting.rs", 1, "the last hour is cut"),
    ("suite/sending.rs", 1, "the queue of 40 is empty"),
    ("suite/switches/hearing.rs", 1, "until its test has seen enough"),
    ("suite/telling.rs", 1, "within a limit"),
    ("support/cutter.rs", 1, "one of both sides ends"),
    ("support/wait.rs", 1, "the way to wait"),
];

/// Every source file of the tests, as its path and its text.
fn sources() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut found) = (vec![top.join("suite"), top.join("support")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.retain(|(name, _)| name != "suite/waits.rs");
    found
}

#[test]
fn j12_a_loop_and_a_wait_for_another_end_or_have_their_reason_here() {
    for (name, text) in sources() {
        let is_unlimited = |line: &&str| {
            line.trim_start().starts_with("loop {")
                || line.contains(" loop {")
                || UNLIMITED.iter().any(|wait| line.contains(wait))
        };
        let found: Vec<_> = text.lines().filter(is_unlimited).collect();
        let allowed = ENDING.iter().find(|(file, ..)| *file == name).map_or(0, |(_, count, _)| *count);
        let limit = usize::from(name == "support/limit.rs");
        assert_eq!(
            found.len(),
            allowed + limit,
            "{name}: what ends it? Use tests::line_of, recv_timeout, …: {found:#?}"
        );
        // the limit of tests knows them by the names of their threads: no other thread may look like one
        assert!(!text.contains("thread::spawn("), "{name}: give the thread a name without :: (thread::Builder)");
    }
}

#[test]
fn hangs_if_it_is_told_to() {
    tests::limit();
    while std::env::var_os("POSTMETER_TEST_HANGS").is_some() {
        std::thread::park();
    }
}

/// A run that hangs does not outlive the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn j12_a_test_that_hangs_is_named_and_ends_the_run() {
    const HANGS: &str = "waits::hangs_if_it_is_told_to";
    let mut run = std::process::Command::new(std::env::current_exe().unwrap());
    run.args(["--exact", HANGS, "waits::every_wait_of_a_test_has_a_limit_and_says_what_for", "--test-threads=2"]);
    run.env("POSTMETER_TEST_HANGS", "1").env("POSTMETER_TEST_LIMIT_SECONDS", "2").env_remove("POSTMETER_SKIPS");
    let run = run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut run = Ended(run);
    let said = run.0.stderr.take().unwrap();
    let line = tests::line_of(said, |line| line.contains("it hangs").then(|| line.to_owned()));
    assert!(line.starts_with(&format!("test {HANGS} has run for ")), "{line}");
    assert_eq!(tests::end_of(&mut run.0).code(), Some(124));
}

#[test]
fn every_wait_of_a_test_has_a_limit_and_says_what_for() {
    for (name, text) in sources() {
        let pauses = text.matches("sleep(").count() + text.matches("yield_now()").count();
        let allowed = ALLOWED.iter().find(|(file, ..)| *file == name).map_or(0, |(_, count, _)| *count);
        assert_eq!(
            pauses, allowed,
            "{name}: wait by tests::wait_until and its like; a new pause needs its reason here"
        );
        // asking the database in a loop without a pause is a wait too
        let asks = |line: &&str| {
            line.trim_start().starts_with("while ") && [".value(", "query_one("].iter().any(|ask| line.contains(ask))
        };
        let asking: Vec<_> = text.lines().filter(asks).collect();
        let ends = ["suite/crash.rs", "suite/unknown.rs", "suite/rounds/cutting.rs"].contains(&name.as_str());
        assert!(asking.is_empty() || ends, "{name} asks without a limit: {asking:#?}");
        // a child that was not killed is waited for by tests::end_of
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(".wait()")) {
            let is_killed = lines[at.saturating_sub(2)..at].iter().any(|before| before.contains(".kill()"));
            assert!(is_killed, "{name}: {line} (tests::end_of has a limit)");
        }
    }
}
