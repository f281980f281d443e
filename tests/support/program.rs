//! The postmeter command, as a process.

use std::path::PathBuf;
use std::process::Command;

/// The built command with nothing of our own environment but the database.
///
/// It lies beside the test binary, unless `POSTMETER_BIN` says where.
#[must_use]
pub fn postmeter(database_url: &str) -> Command {
    crate::limit();
    let program = std::env::var_os("POSTMETER_BIN").map_or_else(
        || {
            let test = std::env::current_exe().expect("this program's path");
            test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps").join("postmeter")
        },
        PathBuf::from,
    );
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTMETER_") {
            command.env_remove(name);
        }
    }
    command.env("POSTMETER_DATABASE_URL", database_url);
    // a test that wants to ask a worker how it is says where
    command.env("POSTMETER_WORKER_LISTEN", "off");
    command
}
