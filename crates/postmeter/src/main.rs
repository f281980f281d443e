//! The postmeter command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    postmeter::cli::main().await
}
