//! The log: to standard error, so that standard output stays for results.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Level {
    /// What failed.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And why.
    Debug,
}

/// How it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    pub level: Level,
    pub format: Format,
}

impl Log {
    /// Starts the log of this process. Only the first call has an effect.
    pub fn start(self) {
        let ours = match self.level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        };
        // other people's crates tell too much below a warning, some of it headers of requests
        let theirs = if self.level == Level::Error { "error" } else { "warn" };
        let crates =
            ["postmeter", "worker", "console", "outbox", "marketplaces", "remittance", "simulator", "telemetry"];
        let ours = crates.map(|name| format!(",{name}={ours}")).concat();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("{theirs}{ours}")))
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        // a second start, in a test, is no error
        drop(match self.format {
            Format::Text => builder.try_init(),
            Format::Json => builder.json().flatten_event(true).try_init(),
        });
    }
}
