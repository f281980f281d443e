//! The files of `sql/operations`, for those who run them without psql.

use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sql/operations")
}

/// Names of all files, in order.
///
/// # Panics
/// Without the source tree.
#[must_use]
pub fn operations() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("sql/operations").flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.sql"))).expect(name)
}

/// Settings that a file makes for its transaction, as commands for a session.
///
/// # Panics
/// If there is no such file.
#[must_use]
pub fn settings_of(name: &str) -> String {
    let text = text(name);
    let settings = text.lines().filter_map(|line| line.strip_prefix("set local "));
    settings.map(|setting| format!("set {setting}")).collect::<Vec<_>>().join("\n")
}

/// The one query of a file, with its variables filled in; what is not given has its file's default.
///
/// # Panics
/// If there is no such file.
#[must_use]
pub fn operation(name: &str, given: &[(&str, &str)]) -> String {
    let text = text(name);
    let defaults = text.lines().filter_map(|line| line.trim().strip_prefix("\\set ")?.split_once(' '));
    let defaults: Vec<(String, String)> =
        defaults.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect();
    let mut sql = text.split_once(&format!("\n-- {name}\n")).expect("the statement's name").1.trim_end().to_owned();
    sql = sql.strip_suffix("\ncommit;").expect("its transaction's end").to_owned();
    for (variable, value) in given {
        sql = sql.replace(&format!(":'{variable}'"), &format!("'{value}'"));
    }
    for (variable, value) in &defaults {
        sql = sql.replace(&format!(":'{variable}'"), &format!("'{value}'"));
    }
    sql.trim_end_matches(';').to_owned()
}
