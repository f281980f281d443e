//! The demo's processes: the same command that you would run, with an environment of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than a worker needs to finish its calls and hand the rest back.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// More starts than this, and something else than the demo kills workers.
const STARTS_MAX: usize = 6;

/// Where a worker dies.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    /// The crash point.
    pub point: &'static str,
    /// When it passes it for the nth time.
    pub passing: u32,
}

/// Every process that the demo has started; they end with it.
pub struct Children {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    workers: Vec<Child>,
    started: usize,
}

/// What processes of our own said before they failed, line by line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LastWords(String);

impl Children {
    pub fn new(folder: &Path, url: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of this program")?;
        Ok(Self { program, folder: folder.to_owned(), url: url.to_owned(), workers: Vec::new(), started: 0 })
    }

    /// Runs one of our own commands to its end.
    pub async fn command(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.base();
        command.args(args).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        if !output.status.success() {
            let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            return Err(LastWords(format!("`postmeter {}` failed:\n{said}{complained}", args.join(" "))).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a worker.
    pub fn start_worker(&mut self, crash: Option<Crash>) -> anyhow::Result<()> {
        self.started += 1;
        let log = File::create(self.log(self.started))?;
        let mut command = self.base();
        command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.env("POSTMETER_WORKER_NAME", format!("demo-{}", self.started));
        // a day in a minute: the rhythm of real time would be too slow
        command.env("POSTMETER_WORKER_POLL_MS", "40").env("POSTMETER_TEST_LEASE_SECONDS", "3");
        if let Some(Crash { point, passing }) = crash {
            command.env("POSTMETER_CRASH", format!("{point}:{passing}"));
        }
        self.workers.push(command.spawn().context("a worker process")?);
        Ok(())
    }

    fn base(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSTMETER_") {
                command.env_remove(name);
            }
        }
        command
            .env("POSTMETER_DATABASE_URL", &self.url)
            // keys that the simulator takes; the vendor's chain finds them in the environment
            .env("AWS_ACCESS_KEY_ID", "AKIDDEMO")
            .env("AWS_SECRET_ACCESS_KEY", "demo")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        command
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("worker-{number}.log"))
    }

    /// Starts a worker for each that has died; says whether there was one.
    pub fn replace_the_dead(&mut self) -> anyhow::Result<bool> {
        let before = self.workers.len();
        let mut alive = Vec::new();
        for mut worker in self.workers.drain(..) {
            if worker.try_wait()?.is_none() {
                alive.push(worker);
            }
        }
        self.workers = alive;
        let dead = before - self.workers.len();
        if self.started > STARTS_MAX {
            return Err(LastWords(format!("workers keep dying; their last words:\n{}", self.last_words())).into());
        }
        for _ in 0..dead {
            self.start_worker(None)?;
        }
        Ok(dead > 0)
    }

    /// Stops the workers as an init system would, and waits for them.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        for worker in &self.workers {
            signal(worker, Signal::TERM);
        }
        let began = Instant::now();
        for worker in &mut self.workers {
            while worker.try_wait()?.is_none() {
                if began.elapsed() > STOP_WITHIN {
                    bail!("a worker did not stop within {} s", STOP_WITHIN.as_secs());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.workers.clear();
        Ok(())
    }

    /// The end of the workers' logs.
    pub fn last_words(&self) -> String {
        let tail = |number| {
            let text = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(5)..].join("\n")
        };
        (1..=self.started).map(tail).collect::<Vec<_>>().join("\n")
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // a child that has ended cannot be signalled, and need not be
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            signal(worker, Signal::KILL);
            let _ = worker.wait();
        }
    }
}
