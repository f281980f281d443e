//! The log: to standard error, so that standard output stays for results.

use std::fmt::Debug;
use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::sinks::{Lines, Sinks, Telling};
use crate::cli::output::{LOG_IS_JSON, plain, plain_json};

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Level {
    /// Only failures
    Error,
    /// Failures, and what needs attention
    Warn,
    /// Normal activity, too
    Info,
    /// Details and reasons, too
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

/// Writes a field of an event. Its value may be what others wrote: nothing of it moves the cursor or ends the line. What
/// the formatter adds itself (time, level, colour) stays.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> std::fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(out, "{}", plain(&value)),
        name => write!(out, "{name}={}", plain(&value)),
    }
}

/// Objects, a whole one at a time, that mean the same and in which nothing does more than be read.
struct PlainJson<W>(W);

impl<W: Write> Write for PlainJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(plain_json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Log {
    /// Starts this process's log, traces and error reports. Only the first call has an effect.
    ///
    /// # Errors
    /// What is to be told cannot be.
    pub fn start(self, telling: &Telling) -> anyhow::Result<Sinks> {
        // a second configuration, in a test, is no error
        let _ = LOG_IS_JSON.set(matches!(self.format, Format::Json));
        let ours = self.level.word();
        // other people's crates tell too much below a warning, some of it headers of requests
        let theirs = if self.level == Level::Error { "error" } else { "warn" };
        let crates =
            ["postmeter", "worker", "console", "outbox", "marketplaces", "remittance", "simulator", "telemetry"];
        // the pool says of each connection that has ended what our own lines say once
        let theirs = format!("{theirs},deadpool=error");
        let ours = crates.map(|name| format!(",{name}={ours}")).concat();
        let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
        let lines: Lines = match self.format {
            Format::Text => lines.fmt_fields(format::debug_fn(field).delimited(" ")).boxed(),
            Format::Json => lines.with_writer(|| PlainJson(io::stderr())).json().flatten_event(true).boxed(),
        };
        let mut layers: Vec<Lines> = vec![lines.with_filter(EnvFilter::new(format!("{theirs}{ours}"))).boxed()];
        let sinks = Sinks::open(telling, &mut layers)?;
        // a second start, in a test, is no error
        let _ = tracing_subscriber::registry().with(layers).try_init();
        Ok(sinks)
    }
}
