//! postmeter

pub mod embedded;
pub mod cli;
