//! What can go wrong with a Postgres of our own, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why there is no server. Each message ends with what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No usable server binaries anywhere we look.
    #[error(
        "no PostgreSQL server (14 or newer) found; looked in {searched}. Install one (Debian: apt-get install \
         postgresql), or run `.ci/setup-postgres` in the source tree, or set POSTMETER_PG_BIN to the directory that \
         holds initdb and postgres"
    )]
    NotFound {
        /// The places, in the order they were tried.
        searched: String,
    },
    /// `POSTMETER_PG_BIN` is set, so nothing else is tried, but it does not lead to a server.
    #[error("POSTMETER_PG_BIN={path}: {reason}. Set it to the directory that holds initdb and postgres, or unset it")]
    BadDirectory {
        /// What the variable says.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// We are root, and there is nobody to run the server as.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd names neither `postgres` nor `nobody`. Create one of them \
         (useradd --system postgres), or run this as an ordinary user"
    )]
    NoAccount,
    /// The account that runs the server cannot reach a directory it needs.
    #[error(
        "the account `{account}` cannot reach {path}. Make that directory and its parents passable (chmod a+x), or \
         use another place: TMPDIR for the data, POSTMETER_PG_BIN for the binaries"
    )]
    Unreachable {
        /// Who.
        account: String,
        /// What.
        path: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed: {output}. See that the temporary directory (TMPDIR) is writable and has 100 MB free")]
    Init {
        /// The end of what it printed.
        output: String,
    },
    /// The server ended, or was not ready in time.
    #[error("PostgreSQL did not start: {log}. Correct the setting or free the resource that it names")]
    Start {
        /// The end of its log.
        log: String,
    },
    /// The operating system refused something.
    #[error("{doing}: {source}. See that TMPDIR is writable and that processes may be started")]
    Io {
        /// What we were at.
        doing: String,
        /// What it said.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err`: an I/O error with what we were at.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> EmbeddedError {
        let doing = doing.into();
        move |source| EmbeddedError::Io { doing, source }
    }
}
