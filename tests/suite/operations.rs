//! I2: every file of `sql/operations` answers its question. Each is run as its head says, on one small ledger whose
//! answers are known: the whole answer is in `tests/suite/operations/`, its beginning in the file's head.
//!
//! `POSTMETER_BLESS=operations` writes both from what was answered: read them before you commit them.

pub(super) mod ground;

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::Stage;

use ground::ground;

/// Lines of an answer that a head shows.
const SHOWN: usize = 9;

/// Files whose answers are the server's own state, with a word that must be in them.
pub(super) const OF_THE_SERVER: [(&str, &str); 2] =
    [("biggest_tables", "request_status"), ("oldest_snapshot", "mira_holds")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(super) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("sql/operations")).expect("the directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn file(name: &str) -> PathBuf {
    root().join(format!("sql/operations/{name}.sql"))
}

/// What psql answers to a file, with the options that its head names first.
pub(super) fn answer(psql: &Path, url: &str, role: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let example = text.lines().find_map(|line| line.strip_prefix("--   psql ")).expect("an example");
    let options = example.split_whitespace().take_while(|word| *word != "-f");
    let output = Command::new(psql)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "--pset", "footer=off"])
        .args(options)
        .args(["-c", "set timezone = 'UTC'", "-c", &format!("set role {role}"), "-f"])
        .arg(file(name))
        .arg(url)
        .env("PGOPTIONS", "-c datestyle=ISO")
        .output()
        .unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let answer = plain(&String::from_utf8(output.stdout).unwrap());
    if name == "calls_under_way" { at_rest(&answer) } else { answer }
}

/// Ids are drawn: they are told apart by nothing.
fn plain(answer: &str) -> String {
    let mut kept = String::new();
    for line in answer.lines() {
        let mut line = line.to_owned();
        for at in (0..line.len().saturating_sub(35)).rev() {
            if line.get(at..at + 36).is_some_and(|part| uuid::Uuid::try_parse(part).is_ok()) {
                line.replace_range(at..at + 36, &format!("{:<36}", "…"));
            }
        }
        kept.push_str(line.trim_end());
        kept.push('\n');
    }
    format!("{}\n", kept.trim_end())
}

/// How long a call has been under way is real time.
fn at_rest(answer: &str) -> String {
    let is_age = |cell: &str| cell.trim().len() == 8 && cell.trim().split(':').all(|part| part.parse::<u8>().is_ok());
    let cell = |cell: &str| if is_age(cell) { cell.replace(cell.trim(), "00:00:02") } else { cell.to_owned() };
    answer.lines().map(|line| line.split('|').map(cell).collect::<Vec<_>>().join("|") + "\n").collect()
}

/// The beginning of an answer as a head shows it.
fn shown(answer: &str) -> Vec<String> {
    let clipped = |line: &str| {
        let head = format!("-- {}", line.chars().take(114).collect::<String>());
        if line.chars().count() > 114 { format!("{} …", head.trim_end()) } else { head.trim_end().to_owned() }
    };
    let mut lines: Vec<String> = answer.lines().take(SHOWN).map(clipped).collect();
    if answer.lines().count() > SHOWN {
        lines.push("--  …".to_owned());
    }
    lines
}

/// A file's head: what is said, and the example after the commands.
fn head(text: &str) -> (Vec<&str>, Vec<&str>) {
    let lines: Vec<&str> = text.lines().take_while(|line| line.starts_with("--")).collect();
    let last = lines.iter().rposition(|line| line.starts_with("--   psql ")).expect("a command");
    let example = lines[last + 1..].iter().filter(|line| **line != "--").copied();
    // the statement's own name follows where there are no parameters
    let example = example.take_while(|line| !is_name(line)).collect();
    (lines[..=last].to_vec(), example)
}

fn is_name(line: &str) -> bool {
    line.strip_prefix("-- ").is_some_and(|name| names().iter().any(|known| known == name))
}

#[test]
fn i2_every_operation_says_its_question_its_parameters_and_an_answer() {
    for name in names() {
        let text = std::fs::read_to_string(file(&name)).unwrap();
        let (said, example) = head(&text);
        assert!(said[0].ends_with('?') && said[1] == "--", "{name} begins with its question");
        assert!(said.iter().any(|line| line.starts_with("-- Parameters: ")), "{name} names its parameters");
        let run = format!(" -f sql/operations/{name}.sql");
        assert!(said.iter().any(|line| line.contains(&run)), "{name} says how it is run");
        assert!(!example.is_empty(), "{name} shows an answer");
        assert!(text.contains(&format!("\n-- {name}\n")), "{name}: its statement begins with its name");
        let code: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("--") && !line.trim().starts_with('\\')).collect();
        assert_eq!(code[0], "begin read only;", "{name} changes nothing, whatever it calls");
        assert!(
            code[1].starts_with("set local search_path = pg_catalog, pg_temp;"),
            "{name} knows whose functions it calls"
        );
        assert_eq!(code.last(), Some(&"commit;"), "{name} leaves no transaction open");
        // an answer is as wide as psql makes it
        let written = text.lines().filter(|line| !example.contains(line));
        let wide: Vec<_> = written.filter(|line| line.chars().count() > 120).collect();
        assert!(wide.is_empty(), "{name} has lines of more than 120 characters: {wide:#?}");
    }
}

#[tokio::test]
async fn i2_every_operation_answers_what_is_known() {
    let Ok(binaries) = postmeter::embedded::Binaries::find() else { panic!("server binaries") };
    let psql = binaries.program("psql");
    if !psql.exists() {
        println!("SKIPPED i2: no psql beside the server");
        return;
    }
    let stage = ground().await;
    let is_blessing = std::env::var("POSTMETER_BLESS").is_ok_and(|what| what == "operations");
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/operations");
    let mut wrong = Vec::new();
    for name in names() {
        if OF_THE_SERVER.iter().any(|(of, _)| *of == name) {
            continue;
        }
        let answer = answer(&psql, &stage.db.url(), "postmeter_reader", &name);
        let text = std::fs::read_to_string(file(&name)).unwrap();
        let known = answers.join(format!("{name}.txt"));
        if is_blessing {
            std::fs::write(&known, &answer).unwrap();
            let (said, _) = head(&text);
            let rest: Vec<&str> = text.lines().skip_while(|line| line.starts_with("--") && !is_name(line)).collect();
            let lines = said.iter().map(|line| (*line).to_owned()).chain(["--".to_owned()]).chain(shown(&answer));
            let whole: Vec<String> = lines.chain(rest.iter().map(|line| (*line).to_owned())).collect();
            std::fs::write(file(&name), whole.join("\n") + "\n").unwrap();
            continue;
        }
        let Ok(known) = std::fs::read_to_string(&known) else {
            wrong.push(format!("{name}: nobody knows its answer yet: POSTMETER_BLESS=operations"));
            continue;
        };
        if known != answer {
            wrong.push(format!("{name} answered\n{answer}\nbut known is\n{known}"));
        }
        if head(&text).1 != shown(&known) {
            wrong.push(format!("the head of {name} shows another answer"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn i2_the_servers_own_state_is_told() {
    let Ok(binaries) = postmeter::embedded::Binaries::find() else { panic!("server binaries") };
    let psql = binaries.program("psql");
    if !psql.exists() {
        println!("SKIPPED i2: no psql beside the server");
        return;
    }
    let stage = Stage::new().await;
    stage.sql("analyze").await;
    let holder = stage.db.connect().await;
    holder
        .batch_execute("set application_name = 'mira_holds'; begin isolation level repeatable read; select 1")
        .await
        .unwrap();
    let owner = stage.value("select current_user::text").await;
    for (name, word) in OF_THE_SERVER {
        let answer = answer(&psql, &stage.db.url(), &owner, name);
        assert!(answer.contains(word), "{name}: {answer}");
    }
    // a member of pg_monitor sees other people's sessions
    stage
        .sql("do $$ begin create role watcher in role pg_monitor; exception when duplicate_object then null; end $$")
        .await;
    let answer = answer(&psql, &stage.db.url(), "watcher", "oldest_snapshot");
    assert!(answer.contains("mira_holds") && answer.contains("idle in transaction"), "{answer}");
}
