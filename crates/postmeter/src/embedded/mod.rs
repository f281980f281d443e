//! A Postgres of our own, for as long as we live: what the demo, the tests and the benchmarks run on.
//!
//! It starts installed server binaries ([`Binaries::find`]) on a fresh data directory under the temporary directory and
//! leaves nothing behind: not after `drop`, not after a panic, not after SIGKILL (a small shell holds the other end of
//! a pipe and cleans up when we are gone). It never downloads anything and never touches a cluster it did not make.
//!
//! Postgres refuses to run as root. Started by root, the server runs as `postgres` or `nobody` ([`Account`]).
//!
//! Everything here blocks, for about a second at the start: call it from `spawn_blocking` inside a runtime.
//!
//! ```no_run
//! use postmeter::embedded::{Cluster, Options};
//!
//! let mut cluster = Cluster::start(Options::default())?;
//! println!("psql '{}'", cluster.url("postgres"));
//! cluster.kill()?; // as if the power had gone
//! cluster.restart()?; // same directory, same address
//! # Ok::<(), postmeter::embedded::EmbeddedError>(())
//! ```

mod binaries;
mod cluster;
mod error;
mod options;
mod privileges;
mod watchdog;

pub use binaries::{BIN_VARIABLE, Binaries};
pub use cluster::Cluster;
pub use error::EmbeddedError;
pub use options::{Listen, Options};
pub use privileges::Account;
