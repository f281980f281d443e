//! The one way to wait: with a limit, and with a sentence that says what for.

use std::fmt::Display;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

/// Longer than what tests wait for takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How soon it is looked again.
const EVERY: Duration = Duration::from_millis(5);

/// Looks until it is so.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn wait_until(what: impl Display, mut is_so: impl AsyncFnMut() -> bool) {
    crate::limit();
    let look = async {
        while !is_so().await {
            tokio::time::sleep(EVERY).await;
        }
    };
    // a look that never answers has the same limit
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// The same for what has no runtime.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub fn block_until(what: impl Display, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(EVERY);
    }
}

/// Asks the database until it says `true`, as a boolean or as text.
///
/// # Panics
/// When that takes longer than [`PATIENCE`], or the database refuses.
pub async fn until_true(client: &Client, sql: &str) {
    wait_until(sql, async || {
        let answer = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        matches!(row, Some("t" | "true"))
    })
    .await;
}

/// Waits until so many sessions of this database wait for a lock, or what they do has ended without.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
pub async fn until_locked(client: &Client, sessions: i64, has_ended: impl Fn() -> bool) {
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    wait_until(format_args!("{sessions} sessions wait for a lock"), async || {
        let row = client.query_one(waiting, &[]).await.expect("a list of sessions");
        row.get::<_, i64>(0) >= sessions || has_ended()
    })
    .await;
}

/// Sends a signal (`TERM`, `STOP`, `CONT`) to a process.
///
/// # Panics
/// When there is no such process.
pub fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill").success(), "SIG{name}");
}

/// The first line of what a process says that satisfies `wanted`; the rest is read too, or the process would stand still.
///
/// # Panics
/// When that takes longer than [`PATIENCE`], or the process says nothing like it.
pub fn line_of<T: Send + 'static>(
    said: impl std::io::Read + Send + 'static,
    mut wanted: impl FnMut(&str) -> Option<T> + Send + 'static,
) -> T {
    let (found, finding) = std::sync::mpsc::channel();
    let reading = move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(said));
        for line in lines.map_while(Result::ok) {
            if let Some(line) = wanted(&line) {
                // whoever has the first one does not wait any more
                let _ = found.send(line);
            }
        }
    };
    std::thread::Builder::new().name("reader".to_owned()).spawn(reading).expect("a thread");
    finding.recv_timeout(PATIENCE).expect("the process says it within its time")
}

/// Waits for a process that was told to end, or that ends by itself.
///
/// # Panics
/// When that takes longer than [`PATIENCE`]; then it is killed.
pub fn end_of(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().expect("a living child");
            panic!("waited in vain for process {} to end", child.id());
        }
        std::thread::sleep(EVERY);
    }
}
