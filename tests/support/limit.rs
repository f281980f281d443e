//! No test hangs: one that runs for longer than any may is named, and the run ends.
//!
//! Every wait has its own limit, which says what it waited for (`wait.rs`). This one is for what nobody thought of: a
//! child that never ends, a lock between two tasks, a socket without an answer. It watches the threads of the test
//! program from outside, so that nothing that a test does can keep it from looking.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// Longer than any test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// Another one in seconds: for the test of this, and for soaks.
const OTHERWISE: &str = "POSTMETER_TEST_LIMIT_SECONDS";
/// How soon it is looked again.
const EVERY: Duration = Duration::from_millis(500);
/// Exit code of a run that was ended.
const HUNG: i32 = 124;
/// Ticks of a second in `/proc`.
const TICKS: f64 = 100.0;
/// Bytes of a thread's name that the kernel keeps.
const SHORT: usize = 15;

/// Names of tests in full, by the number of their thread.
static NAMES: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// Begins to watch; whatever tests stand on calls it first.
pub fn limit() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let limit = std::env::var(OTHERWISE).ok().and_then(|seconds| seconds.parse().ok());
        let limit = limit.map_or(LIMIT, Duration::from_secs);
        let watching = std::thread::Builder::new().name("limit of tests".to_owned());
        watching.spawn(move || watch(limit)).expect("a thread");
    });
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let number = thread.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    if name.contains("::") {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get_or_insert_default().insert(number, name);
    }
}

fn watch(limit: Duration) -> ! {
    loop {
        std::thread::sleep(EVERY);
        let Some((number, name, age)) = running().into_iter().find(|(.., age)| *age > limit.as_secs_f64()) else {
            continue;
        };
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        // a number may have been another thread's before
        let known = names.as_ref().and_then(|names| names.get(&number)).filter(|known| known.starts_with(&name));
        let name = known.map_or_else(|| format!("{name}…"), Clone::clone);
        let said = format!(
            "\ntest {name} has run for {age:.0} s, longer than any test may ({} s): it hangs, and the run ends here\n",
            limit.as_secs()
        );
        // past whatever captures what tests print
        let _ = std::io::stderr().write_all(said.as_bytes());
        end_children();
        std::process::exit(HUNG);
    }
}

/// Threads that run a test: number, name as far as the kernel keeps it, and age in seconds. The harness names a test's
/// thread after the test; no other thread has a name like that (a test of the tests sees to it).
fn running() -> Vec<(String, String, f64)> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok();
    let uptime = uptime.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let (Some(uptime), Ok(threads)) = (uptime, std::fs::read_dir("/proc/self/task")) else { return Vec::new() };
    let read = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (before, rest) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        // the 22nd field is when it began, and the third comes first here
        let began: f64 = rest.split_whitespace().nth(22 - 3)?.parse().ok()?;
        let is_test = name.contains("::") && name.len() <= SHORT;
        is_test.then(|| (entry.file_name().to_string_lossy().into_owned(), name, uptime - began / TICKS))
    };
    threads.filter_map(Result::ok).filter_map(read).collect()
}

/// What a test has started would outlive it.
fn end_children() {
    let own = std::process::id().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.filter_map(Result::ok) {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
        if parent.as_deref() == Some(own.as_str()) {
            let number = process.file_name();
            let _ = std::process::Command::new("kill").arg("-KILL").arg(number).status();
        }
    }
}
