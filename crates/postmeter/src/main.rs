//! The postmeter command.
fn main() {}
