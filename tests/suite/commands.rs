//! The command as people run it: words, exit codes, and what it leaves in the database.

mod configured;
mod contracts;
mod corrections;
mod derive;
mod explain;
mod hostile;
mod month;
mod resolved;
mod said;

use tests::Stage;

/// Runs the command; exit code, standard output, standard error.
fn run(stage: &Stage, words: &[&str]) -> (i32, String, String) {
    let output =
        tests::postmeter(&stage.db.url()).env("USER", "ada").args(words).output().expect("the command is built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}
