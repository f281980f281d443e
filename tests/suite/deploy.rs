//! What `deploy/` says against what there is: commands, settings, ports, files. Each file is also linted by its own tool
//! (`.ci/lint-deploy`).

mod image;
mod install;
mod processes;
mod systemd;
mod users;

use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the source tree")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Says that a test did not run, to whoever reads and to whoever counts.
fn skip(test: &str, reason: &str) {
    use std::io::Write;
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os("POSTMETER_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{test}: {reason}")).expect("the list of skipped tests can be written");
    }
}
