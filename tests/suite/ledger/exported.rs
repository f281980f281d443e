//! The export and its verification: one changed byte is found, and the line is named.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

use tests::Stage;

use super::{finished, run};

/// September and October exported; the folder.
async fn exported(stage: &Stage) -> tempfile::TempDir {
    stage.sql("select * from postmeter.close_month('aws', '2024-10-01', 'ada', 'books', false)").await;
    stage.at("2026-01-01T00:00:00Z").await;
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = run(stage, &["ledger", "export", "--all-finished", "--to", text(&folder), "--why", "retention"]);
    assert_eq!(code, 0, "{said}");
    folder
}

fn text(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn write(path: &Path, lines: &[String]) {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    lines.iter().for_each(|line| writeln!(gzip, "{line}").unwrap());
    std::fs::write(path, gzip.finish().unwrap()).unwrap();
}

#[tokio::test]
async fn i4_an_export_is_verified_offline_and_the_same_again_is_the_same_bytes() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    let months = ["2024-09", "2024-10"];
    let expected: BTreeSet<String> = months
        .iter()
        .flat_map(|m| {
            let tables = ["usage", "allocation", "attempt", "outcome", "exempted", "usage_written_off"]
                .map(|t| format!("{m}-{t}.ndjson.gz"));
            tables.into_iter().chain([format!("{m}.manifest.json")])
        })
        .collect();
    let with_remittances = ["2024-09-aws-3", "2024-10-aws-4"].into_iter().flat_map(|m| {
        let tables = ["delivery", "cut", "part", "meter", "meter_metric"].map(|t| format!("{m}-{t}.ndjson.gz"));
        tables.into_iter().chain([format!("{m}.manifest.json")])
    });
    assert_eq!(names(folder.path()), expected.iter().cloned().chain(with_remittances).collect());
    // without any database
    let offline =
        tests::postmeter("postgres://nobody@127.0.0.1:1/none").args(["ledger", "verify", text(&folder)]).output();
    let offline = offline.unwrap();
    assert_eq!(String::from_utf8(offline.stdout).unwrap(), "4 months, 20 rows: every byte is as it was exported\n");
    assert_eq!(run(&stage, &["ledger", "verify", text(&folder), "--against-database"]).0, 0);
    let other = tempfile::tempdir().unwrap();
    for month in months {
        let again = ["ledger", "export", "--month", month, "--to", text(&other), "--why", "a second copy"];
        assert_eq!(run(&stage, &again).0, 0);
    }
    for name in expected {
        let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(&name)).unwrap();
        assert_eq!(read(&folder), read(&other), "{name}");
    }
    let usage = lines(&folder.path().join("2024-09-usage.ndjson.gz"));
    assert!(usage.iter().any(|line| line.contains(r#""quantity" : "1.5""#)), "to the letter: {usage:?}");
    let manifest = std::fs::read_to_string(folder.path().join("2024-09.manifest.json")).unwrap();
    assert!(manifest.contains(r#""quantity": "11.5""#), "{manifest}");
}

#[tokio::test]
async fn i4_every_column_of_the_ledger_is_exported() {
    let stage = finished().await;
    stage.sql("insert into postmeter.part (delivery_id, meter_id) values (1, 99)").await;
    stage.sql("insert into postmeter.usage_written_off (usage_id, decision_id) values (gen_random_uuid(), 1)").await;
    for table in [
        "usage",
        "allocation",
        "attempt",
        "outcome",
        "exempted",
        "usage_written_off",
        "delivery",
        "cut",
        "part",
        "meter",
        "meter_metric",
    ] {
        let astray = format!(
            "with said as (select json_object_keys(postmeter.ledger_line(r)::json) as name from (select * from postmeter.{table} limit 1) x, postmeter.{table} r)
             select coalesce(s.name, a.attname) from (select distinct name from said) s
             full join (select attname from pg_attribute where attrelid = 'postmeter.{table}'::regclass and attnum > 0 and not attisdropped) a on a.attname = s.name
             where s.name is null or a.attname is null"
        );
        // what a correction corrects stands in the export by source and event id
        let astray = stage.column(&astray).await;
        assert!(astray.iter().all(|column| column == "corrected_id"), "{table}: {astray:?}");
    }
}

#[tokio::test]
async fn i4_one_changed_byte_is_found_wherever_it_is() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    for name in names(folder.path()) {
        let path = folder.path().join(&name);
        let whole = std::fs::read(&path).unwrap();
        // spread over head, middle and end
        for at in (0..whole.len()).step_by(whole.len() / 16) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let (code, said) = run(&stage, &["ledger", "verify", text(&folder)]);
            assert!(code == 3 && said.contains("DIFFERS"), "byte {at} of {name}: {code} {said}");
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(run(&stage, &["ledger", "verify", text(&folder)]).0, 3, "{name} cut off");
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(run(&stage, &["ledger", "verify", text(&folder)]).0, 0);
}

#[tokio::test]
async fn i4_verify_names_the_line_that_was_changed_removed_or_moved_and_the_month_that_is_gone() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    let path = folder.path().join("2024-09-usage.ndjson.gz");
    let (whole, all) = (std::fs::read(&path).unwrap(), lines(&path));
    assert_eq!(all.len(), 3);
    let mut changed = all.clone();
    changed[1] = changed[1].replace("2024-09-18T10:", "2024-09-18T11:");
    let mut swapped = all.clone();
    swapped.swap(1, 2);
    let mut without = all.clone();
    without.remove(1);
    for (what, lines, line) in [
        ("changed", changed, "line 2: "),
        ("swapped", swapped, "line 2: "),
        ("removed", without, "line 2: "),
        ("cut", all[..2].to_vec(), "line 3: 2 rows, and the manifest says 3"),
    ] {
        write(&path, &lines);
        let (code, said) = run(&stage, &["ledger", "verify", text(&folder)]);
        assert!(code == 3 && said.contains(&format!("2024-09-usage.ndjson.gz: {line}")), "{what}: {said}");
    }
    std::fs::write(&path, whole).unwrap();
    let manifest = folder.path().join("2024-09.manifest.json");
    let kept = std::fs::read(&manifest).unwrap();
    for name in names(folder.path()).into_iter().filter(|name| name.starts_with("2024-09")) {
        std::fs::rename(folder.path().join(&name), folder.path().join(format!(".{name}"))).unwrap();
    }
    let (code, said) = run(&stage, &["ledger", "verify", text(&folder)]);
    assert!(code == 3 && said.contains("export 1 is missing"), "{said}");
    std::fs::write(&manifest, kept).unwrap();
    std::fs::remove_file(folder.path().join("2024-10.manifest.json")).unwrap();
    let (code, said) = run(&stage, &["ledger", "verify", text(&folder), "--against-database"]);
    assert!(code == 3 && said.contains("2024-10: the database recorded its export, and it is not here"), "{said}");
}

#[tokio::test]
async fn i4_an_export_overwrites_nothing_and_goes_on_where_it_was_interrupted() {
    let stage = finished().await;
    let folder = tempfile::tempdir().unwrap();
    let words = ["ledger", "export", "--month", "2024-09", "--to", text(&folder), "--why", "retention"];
    let usage = folder.path().join("2024-09-usage.ndjson.gz");
    std::fs::write(&usage, "somebody else's").unwrap();
    let (code, said) = run(&stage, &words);
    assert!(code == 2 && said.contains("nothing is overwritten"), "{said}");
    assert_eq!(std::fs::read(&usage).unwrap(), b"somebody else's");
    std::fs::remove_file(&usage).unwrap();
    std::fs::write(folder.path().join(".2024-09-usage.ndjson.gz.part"), "half a file").unwrap();
    assert_eq!(run(&stage, &words).0, 0);
    std::fs::remove_file(folder.path().join("2024-09.manifest.json")).unwrap();
    assert_eq!(run(&stage, &words).0, 0, "its files are there, its manifest is not");
    assert_eq!(stage.value("select count(*)::text from postmeter.decision where verb = 'export'").await, "2");
    let (code, said) = run(&stage, &["ledger", "export", "--month", "2024-10", "--to", text(&folder), "--why", "x"]);
    assert!(code == 2 && said.contains("2024-10 is not exported: it is kept until 2025-12-06"), "{said}");
    let forged = "select postmeter.record_ledger_export('2024-09-01', '{}', 'x', 'y')";
    assert_eq!(stage.refusal(forged).await, "PM042 manifest ledger_exported_once");
}

#[tokio::test]
async fn i4_doctor_names_the_months_that_wait() {
    let stage = finished().await;
    assert!(run(&stage, &["doctor"]).1.contains("2024-09 is finished and waits for its export"));
    let folder = exported(&stage).await;
    let (_, said) = run(&stage, &["doctor"]);
    assert!(said.contains("2 exported months may be dropped") && !said.contains("the remittances of"), "{said}");
    for month in ["2024-09", "2024-10"] {
        assert_eq!(
            run(&stage, &["ledger", "drop", month, "--why", "retention", "--apply", "--verified", text(&folder)]).0,
            0
        );
    }
    let (_, said) = run(&stage, &["doctor"]);
    assert!(said.contains("no month waits"), "{said}");
    let (code, said) = run(&stage, &["ledger", "verify", text(&folder), "--against-database"]);
    assert_eq!((code, said.as_str()), (0, "4 months, 20 rows: every byte is as it was exported\n"));
}

#[tokio::test]
async fn i4_every_command_and_statement_of_the_page_answers_as_it_says() {
    let stage = finished().await;
    stage.sql("select postmeter.set_ledger_retention(null, 'ada', 'the page begins anew')").await;
    let place = tempfile::tempdir().unwrap();
    let page = include_str!("../../../docs/operate/ledger.md");
    let mut commands = 0;
    for block in page.split("```").skip(1).step_by(2) {
        if let Some(sql) = block.strip_prefix("sql\n") {
            stage.sql(&format!("set role postmeter_reader; {sql}; reset role")).await;
        }
        let lines: Vec<&str> = block.lines().skip(1).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(command) = line.strip_prefix("$ postmeter ") else { continue };
            let words = command
                .split('"')
                .enumerate()
                .flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
            let mut program = tests::postmeter(&stage.db.url());
            let output = program.env("USER", "ada").args(words).current_dir(place.path()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(0), "{command}: {said}");
            for told in lines[at + 1..].iter().take_while(|line| !line.starts_with("$ ")) {
                // the digest is drawn, and so many rows are the example's
                let told = told.trim_end_matches('…').trim_start_matches("1 month, 11 rows: ");
                assert!(said.contains(told), "{command}: expected {told:?}\n{said}");
            }
            commands += 1;
        }
    }
    assert_eq!(commands, 7);
}
