//! The postmeter command as a library: its command line, its demo, and the embedded Postgres that tests use too.

pub mod cli;
pub mod demo;
pub mod embedded;
mod focus;
