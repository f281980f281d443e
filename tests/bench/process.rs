//! Processes: parts of a benchmark that must not share one with the rest.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// This program again, in another role. It ends when we drop it.
pub struct Part {
    pub process: Child,
    pub lines: Lines<BufReader<ChildStdout>>,
}

impl Part {
    pub fn start(words: &[&str]) -> Self {
        Self::spawn(Command::new(std::env::current_exe().expect("our own path")).args(words))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("a process starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The next line it prints; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.expect("text")
    }

    /// CPU seconds it has used.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.process.id().expect("it runs").to_string())
    }

    /// Lets it end by itself: its standard input closes.
    pub async fn end(mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait().await;
    }
}

/// What `/proc` says about a process; times in CPU seconds.
pub struct Fields {
    pub process: String,
    pub parent: String,
    pub own: f64,
    pub ended_children: f64,
}

impl Fields {
    /// `None` if there is no such process (any more).
    pub fn of(process: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // after the name, which may contain spaces: state, parent, …, utime, stime, cutime, cstime from the 12th on
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).map_or(0.0, |t| t / 100.0);
        let parent = (*fields.get(1)?).to_owned();
        let (own, ended_children) = (seconds(11) + seconds(12), seconds(13) + seconds(14));
        Some(Self { process: process.to_owned(), parent, own, ended_children })
    }
}

/// CPU seconds that a process has used; `self` for this one.
pub fn cpu_seconds(process: &str) -> f64 {
    Fields::of(process).expect("it runs").own
}

/// Peak resident memory of this process, in MiB.
pub fn peak_mib() -> f64 {
    peak_mib_of("self")
}

/// The same of another process.
pub fn peak_mib_of(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// Waits until whoever started us closes our standard input, or ends.
pub async fn until_parent_is_done() {
    let read = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ = tokio::task::spawn_blocking(read).await;
}
