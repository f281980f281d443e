//! The log: to standard error, so that standard output stays for results.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Level {
    /// What failed.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
}

impl Level {
    /// Its word in settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
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
        let ours = self.level.word();
        // other people's crates tell too much below a warning, some of it headers of requests
        let theirs = if self.level == Level::Error { "error" } else { "warn" };
        let crates = ["postmeter", "worker", "outbox", "marketplaces", "remittance", "simulator"];
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
