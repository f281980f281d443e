//! L: one table of odd inputs through every door; what the documents promise to somebody who begins.

mod batch;
mod cases;
mod drivers;
mod export;
mod first;
mod rust;
mod session;
mod table;

use std::path::PathBuf;

/// The source tree.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A document of it.
fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
