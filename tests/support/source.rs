//! The schema as people write it: the files below `sql/schema`.

use std::path::{Path, PathBuf};

/// The files below `sql/schema`, in the order in which they are loaded: that of their paths.
#[must_use]
pub fn schema_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/schema"), &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("sql/schema") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "sql") {
            files.push(path);
        }
    }
}

/// What these files say, one after the other.
#[must_use]
pub fn schema_source() -> String {
    schema_files().iter().map(|path| std::fs::read_to_string(path).expect("a file of sql/schema")).collect()
}

/// The statements of `sql/schema` that make a trigger.
#[must_use]
pub fn trigger_source(name: &str, table: &str) -> Option<String> {
    let source = schema_source();
    let begin = format!("\ncreate trigger {name} ");
    source.split(&begin).skip(1).find_map(|rest| {
        let statement = format!("create trigger {name} {}", &rest[..=rest.find(";\n")?]);
        let always = format!("alter table postmeter.{table} enable always trigger {name};");
        let always = if source.contains(&always) { &*always } else { "" };
        let is_it = statement.split_whitespace().any(|word| word == format!("postmeter.{table}"));
        is_it.then(|| format!("{statement}\n{always}"))
    })
}
