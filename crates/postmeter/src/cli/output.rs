//! What people and programs see: lines, tables, JSON, failures.
//!
//! The one place that writes to standard output. Secrets never come this far: they live in `SecretString`, and errors
//! of the connection do not quote it.
//!
//! Most of what is said was written by others: orgs and event ids by producers, answers by marketplaces, names by files.
//! So a line is a line: whatever in it is not seen, line ends too, is written out ([`explain::plain`]), and text of several lines
//! is said line by line. No caller can forget it, because no caller does it.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::demo::LastWords;
use crate::embedded::EmbeddedError;
pub(super) use explain::Table;
pub(super) use explain::plain::{is_unseen, plain, plain_in_strings, plain_json};
use serde::Serialize;

/// Wrong usage or input: the command did nothing and exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(pub String);

/// Wrong input with more than one problem, each on a line of its own: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{head} {}", problems.join("; "))]
pub(super) struct Problems {
    /// What they are problems of.
    pub head: String,
    /// Each in a sentence.
    pub problems: Vec<String>,
}

/// Done, but something needs a person: exit code 3.
pub(super) const NEEDS_A_PERSON: u8 = 3;

/// Writes text to standard output as it is, for another program to read: what a value brings along must be plain already.
///
/// # Errors
/// It cannot be written; a reader that has gone (`| head`) is none.
pub(super) fn raw(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says a line to people. What a command does must not depend on whether anybody listens, so this cannot fail.
pub(super) fn say(line: impl AsRef<str>) {
    drop(raw(&format!("{}\n", plain(line.as_ref()))));
}

/// Says several lines.
pub(super) fn say_all(lines: impl IntoIterator<Item = impl AsRef<str>>) {
    lines.into_iter().for_each(say);
}

/// Gives a value to a program: JSON in which nothing does more than be read, should a person look at it.
///
/// # Errors
/// It cannot be written.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    raw(&format!("{}\n", plain_json(&serde_json::to_string_pretty(value)?)))
}

/// Says that a service has begun: a line for people, or one of the log where that is for programs.
pub(super) fn started(line: impl AsRef<str>) {
    if is_log_json() { tracing::info!("{}", line.as_ref()) } else { say(line) }
}

/// The log is an object a line. Before the configuration was read, the environment alone says so.
fn is_log_json() -> bool {
    LOG_IS_JSON.get().copied().unwrap_or_else(|| std::env::var("POSTMETER_LOG_FORMAT").is_ok_and(|word| word == "json"))
}

/// Whether the log is an object a line, once the configuration has said so.
pub(super) static LOG_IS_JSON: OnceLock<bool> = OnceLock::new();

/// Shows on a terminal how far it is, in place of what was shown before; `None`: takes it away.
pub(super) fn progress(line: Option<&str>) {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        let line = line.map(plain).unwrap_or_default();
        // nobody depends on whether it is seen
        drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
    }
}

/// Says what went wrong and gives the exit code for it.
pub(super) fn failure(error: &anyhow::Error) -> ExitCode {
    if is_log_json() {
        // collectors of logs read objects, and the last line is the one that matters
        let message = match error.downcast_ref::<Problems>() {
            Some(problems) => problems.to_string(),
            None => format!("{error:#}"),
        };
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{message}");
        } else {
            // the log could not even be started
            let line = serde_json::json!({ "level": "ERROR", "target": "postmeter", "message": message });
            eprintln!("{}", plain_json(&line.to_string()));
        }
        return ExitCode::from(code_of(error));
    }
    if let Some(Problems { head, problems }) = error.downcast_ref::<Problems>() {
        eprintln!("postmeter: {}", plain(head));
        problems.iter().for_each(|problem| eprintln!("  {}", plain(problem)));
    } else if error.is::<EmbeddedError>() || error.is::<LastWords>() {
        // several lines of a server or a worker that we started ourselves
        format!("postmeter: {error:#}").lines().for_each(|line| eprintln!("{}", plain(line)));
    } else {
        eprintln!("postmeter: {}", plain(&format!("{error:#}")));
    }
    ExitCode::from(code_of(error))
}

/// 2: wrong usage or input; 4: the database cannot be reached; 1: anything else.
fn code_of(error: &anyhow::Error) -> u8 {
    let database = error.downcast_ref::<outbox::Error>().or(match error.downcast_ref::<worker::WorkerError>() {
        Some(worker::WorkerError::Database(error)) => Some(error),
        _ => None,
    });
    match database {
        Some(
            outbox::Error::Unavailable(_)
            | outbox::Error::Unable(_)
            | outbox::Error::Shut(_)
            | outbox::Error::Retryable { .. },
        ) => 4,
        Some(
            outbox::Error::Refused(_)
            | outbox::Error::Schema(_)
            | outbox::Error::Unwelcome(_)
            | outbox::Error::Untrusted(_),
        ) => 2,
        Some(_) => 1,
        None if error.is::<Wrong>() || error.is::<Problems>() => 2,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn i5_exit_codes_mean_something() {
        let away = || outbox::Error::Unavailable("gone".to_owned());
        assert_eq!(code_of(&away().into()), 4);
        assert_eq!(code_of(&worker::WorkerError::Database(away()).into()), 4);
        assert_eq!(code_of(&Err::<(), _>(away()).context("a").context("b").unwrap_err()), 4, "context hides nothing");
        assert_eq!(code_of(&outbox::Error::Schema("old".to_owned()).into()), 2);
        assert_eq!(code_of(&Wrong("no".to_owned()).into()), 2);
        let two = Problems { head: "two:".to_owned(), problems: vec!["a".to_owned(), "b".to_owned()] };
        assert_eq!(two.to_string(), "two: a; b");
        assert_eq!(code_of(&two.into()), 2);
        assert_eq!(code_of(&anyhow::anyhow!("else")), 1);
    }
}
