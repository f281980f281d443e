//! Documents that cannot rot: whatever they name exists, and their tables are what the code does.

mod alerts;
mod api;
mod charts;
mod isolation;
mod marketplaces;
mod operating;
mod process;
mod scenarios;
mod schema;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the source tree")
}

pub fn read(path: &str) -> String {
    tests::limit();
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files below a directory, by their paths from the top; without what was built or installed.
fn files(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(directory)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "node_modules" && name != "target" {
                folders.push(path);
            } else if path.is_file() {
                found.push(path.strip_prefix(root()).expect("below the top").to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every page, with its path.
fn pages() -> Vec<(String, String)> {
    let pages = files("docs").into_iter().filter(|path| path.ends_with(".md"));
    pages
        .chain(["README.md".to_owned(), "CONTRIBUTING.md".to_owned()])
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// What stands in single backticks, outside fenced blocks; a span may go over a line's end.
fn spans(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    // a paragraph has an even number of backticks, or they are no spans
    let spans =
        |paragraph: &str| paragraph.split('`').skip(1).step_by(2).map(|s| s.replace('\n', " ")).collect::<Vec<_>>();
    prose.split("\n\n").flat_map(spans).collect()
}

/// What a text names as "not yet": the span after these words.
fn not_yet(text: &str) -> Vec<String> {
    let text = text.replace("Not yet: `", "not yet: `");
    text.split("not yet: `").skip(1).filter_map(|rest| Some(rest.split_once('`')?.0.to_owned())).collect()
}

/// Lines of fenced blocks.
fn fenced(page: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line.trim_start());
        }
    }
    lines
}

/// Words after a command's name, in code of any kind.
fn named_after(page: &str, command: &str) -> BTreeSet<String> {
    let spans = spans(page);
    let lines = spans.iter().map(String::as_str).chain(fenced(page));
    let rest = lines.filter_map(|line| line.trim_start_matches("$ ").strip_prefix(command)?.strip_prefix(' '));
    let word = |rest: &str| rest.trim_start().split([' ', '`', ',', ';', '|']).next().unwrap_or_default().to_owned();
    rest.map(word).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

#[test]
fn every_path_that_is_named_exists() {
    let all: BTreeSet<String> =
        ["crates", "sql", "docs", "tests", "deploy", ".ci"].iter().flat_map(|top| files(top)).collect();
    let endings = [".rs", ".sql", ".md", ".toml", ".py", ".mjs", ".service", ".example", ".json"];
    let mut missing = Vec::new();
    for (page, text) in pages() {
        let absent = not_yet(&text);
        for span in spans(&text) {
            let plain = !span.contains([' ', '*', '<', '(', '=', ':', '{', '…', '"', '$'])
                && !span.starts_with(['/', '~', '-']);
            let top = span.split('/').next().unwrap_or_default();
            let is_path = span.contains('/') && ["crates", "sql", "docs", "tests", "deploy", ".ci"].contains(&top);
            let is_file = endings.iter().any(|ending| span.ends_with(ending) && span.len() > ending.len());
            if !plain || !(is_path || is_file) || absent.contains(&span) {
                continue;
            }
            let by_name = || !span.contains('/') && all.iter().any(|path| path.ends_with(&format!("/{span}")));
            if !root().join(&span).exists() && !by_name() && !span.starts_with("postmeter.toml") && span != "p.toml" {
                missing.push(format!("{page}: {span}"));
            }
        }
    }
    assert!(missing.is_empty(), "no such file: {missing:#?}");
}

/// A heading as an anchor names it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_resolves() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        let place = root().join(&page).parent().expect("a directory").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root().join(&page) } else { place.join(path) };
            let found = file.exists() && (fragment.is_empty() || headings(&file).contains(fragment));
            if !found {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing: {broken:#?}");
}

fn headings(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).expect("a page");
    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn every_page_has_its_place_in_the_index() {
    let index = read("docs/README.md");
    let lost: Vec<_> = files("docs")
        .into_iter()
        .filter(|path| path.ends_with(".md") && path != "docs/README.md")
        .filter(|path| !index.contains(&format!("({})", path.trim_start_matches("docs/"))))
        .collect();
    assert!(lost.is_empty(), "docs/README.md does not link {lost:?}");
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    for (page, text) in pages() {
        let absent = not_yet(&text);
        for target in named_after(&text, "make") {
            let is_there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(is_there || absent.contains(&format!("make {target}")), "{page}: make {target}");
        }
    }
}

/// The commands there are: from the binary, else from its source.
fn commands() -> BTreeSet<String> {
    let binary = std::env::var("POSTMETER_BIN").ok().filter(|path| Path::new(path).exists());
    if let Some(binary) = binary {
        let help = std::process::Command::new(binary).arg("--help").output().expect("the command runs");
        let help = String::from_utf8(help.stdout).expect("text");
        let from = help.split_once("Commands:\n").expect("a list of commands").1;
        let lines = from.lines().take_while(|line| !line.trim().is_empty());
        return lines
            .filter(|line| !line.starts_with("   "))
            .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
            .collect();
    }
    let source = read("crates/postmeter/src/cli.rs");
    let body = source.split_once("enum Command {").expect("the commands").1.split_once("\n}").expect("their end").0;
    let variants = body.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    variants.map(|line| kebab(line.split(['(', ',', ' ', '{']).next().expect("a name"))).collect()
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

#[test]
fn every_command_that_is_named_exists() {
    let commands = commands();
    assert!(commands.contains("worker") && commands.contains("write-off"), "{commands:?}");
    for (page, text) in pages() {
        let absent = not_yet(&text);
        for command in named_after(&text, "postmeter") {
            let is_known = commands.contains(&command) || absent.contains(&format!("postmeter {command}"));
            assert!(is_known, "{page}: postmeter {command}; there are: {commands:?}");
        }
    }
}

#[test]
fn decisions_are_numbered_without_a_gap_and_have_their_parts() {
    for (index, path) in files("docs/decisions").iter().enumerate() {
        let text = read(path);
        let number = format!("{:04}", index + 1);
        assert!(
            path.contains(&format!("/{number}-")) && text.starts_with(&format!("# {number}: ")),
            "{path} should be {number}"
        );
        for part in ["\n## Context\n", "\n## Decision\n", "\n## Consequence\n"] {
            assert!(text.contains(part), "{path} lacks {}", part.trim());
        }
    }
}
