//! Files, lines and functions that fit a screen. What is over a limit today stands in `tests/tidy.txt` with its measure,
//! which may only shrink: `POSTMETER_BLESS=tidy` lowers and removes lines there, and never raises or adds one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const FILE_LINES: usize = 400;
const LINE_LENGTH: usize = 120;
const FUNCTION_LINES: usize = 70;

/// Rule and path, with the measure: lines of a file, too long lines of a file, lines of its longest function.
type Measures = BTreeMap<(&'static str, String), usize>;

const RULES: [&str; 3] = ["file", "function", "lines"];

/// The code of this repository, by path. Migrations are left out: what has been applied is not rewritten.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> =
        ["crates", "tests", "sql/queries", "sql/operations"].iter().map(|top| root.join(top)).collect();
    let mut found = vec![root.join("sql/roles.sql")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_foreign = path.ends_with("node_modules") || path.ends_with("target");
            if path.is_dir() && !is_foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "sql") {
                found.push(path);
            }
        }
    }
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    found.iter().map(|path| (path.strip_prefix(&root).unwrap().display().to_string(), text(path))).collect()
}

/// Lines of the longest function, from `fn` to its closing brace, as rustfmt writes them.
fn longest_function(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let length = |at: usize| {
        let line = lines[at];
        let words = line.trim_start();
        let before = words.split("fn ").next().unwrap_or_default();
        let is_head = words.contains("fn ")
            && before.split_whitespace().all(|word| matches!(word, "const" | "async") || word.starts_with("pub"));
        let opens = lines[at..].iter().find(|line| line.ends_with(['{', ';', '}']))?;
        if !is_head || !opens.ends_with('{') {
            return None;
        }
        let end = format!("{}}}", &line[..line.len() - words.len()]);
        Some(lines[at..].iter().position(|line| *line == end)? + 1)
    };
    (0..lines.len()).filter_map(length).max().unwrap_or_default()
}

fn measured() -> Measures {
    let mut measures = Measures::new();
    for (path, text) in sources() {
        let long = text.lines().filter(|line| line.chars().count() > LINE_LENGTH).count();
        let of = |rule, measure, limit| (measure > limit).then(|| ((rule, path.clone()), measure));
        measures.extend(of("lines", long, 0));
        if path.ends_with(".rs") {
            measures.extend(of("file", text.lines().count(), FILE_LINES));
            measures.extend(of("function", longest_function(&text), FUNCTION_LINES));
        }
    }
    measures
}

fn listed(text: &str) -> Measures {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let measure = |line: &str| {
        let [rule, path, measure] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("tests/tidy.txt: {line}") };
        let rule = RULES.into_iter().find(|known| *known == rule).unwrap_or_else(|| panic!("no rule: {line}"));
        ((rule, path.to_owned()), measure.parse().unwrap_or_else(|_| panic!("no measure: {line}")))
    };
    lines.map(measure).collect()
}

#[test]
fn files_lines_and_functions_fit_and_what_does_not_only_shrinks() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tidy.txt");
    let text = std::fs::read_to_string(&place).unwrap();
    let (measured, listed) = (measured(), listed(&text));
    let grown: Vec<_> = measured
        .iter()
        .filter(|(what, measure)| listed.get(*what).is_none_or(|listed| *measure > listed))
        .map(|((rule, path), measure)| format!("{rule} {path} {measure}"))
        .collect();
    let shrunk: Vec<_> = listed
        .iter()
        .filter(|(what, listed)| measured.get(*what).is_none_or(|measure| measure < *listed))
        .map(|((rule, path), listed)| format!("{rule} {path} {listed}"))
        .collect();
    if std::env::var("POSTMETER_BLESS").is_ok_and(|what| what == "tidy") {
        let head = text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n"));
        let mut written: String = head.collect();
        for ((rule, path), listed) in &listed {
            if let Some(measure) = measured.get(&(*rule, path.clone())) {
                writeln!(written, "{rule} {path} {}", measure.min(listed)).unwrap();
            }
        }
        std::fs::write(&place, written).unwrap();
    } else {
        assert!(shrunk.is_empty(), "smaller than tests/tidy.txt lists them; POSTMETER_BLESS=tidy lowers: {shrunk:#?}");
    }
    assert!(
        grown.is_empty(),
        "Rust files have at most {FILE_LINES} lines and functions {FUNCTION_LINES}, and lines of Rust and SQL \
         {LINE_LENGTH} characters (file: lines; function: lines of the longest; lines: how many are too long): {grown:#?}"
    );
}

#[test]
fn a_function_is_measured_from_its_head_to_its_end() {
    let text =
        "impl A {\n    pub const fn one(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n\n    fn none(&self);\n}\n";
    assert_eq!(longest_function(text), 5);
    assert_eq!(longest_function("trait B {\n    fn none(\n        a: u8,\n    );\n}\n"), 0);
}
