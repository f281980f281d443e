//! J10's neighbour: a restore leaves many unknown remittances; a filter or the seller's report resolves them, dry run first.

use std::fmt::Write as _;

use super::*;
use crate::fleet::orgs;

/// So many remittances of a core each, all of them maybe billed.
async fn unknown(count: usize) -> Stage {
    let stage = orgs(count).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
        .sql(
            "delete from postmeter.due;
             update postmeter.delivery set status = 'unknown', maybe_billed = true, maybe_since = postmeter.clock() where status = 'due'",
        )
        .await;
    stage
}

async fn statuses(stage: &Stage) -> Vec<String> {
    stage.column("select status || ' ' || count(*) from postmeter.delivery group by status order by status").await
}

async fn key_of(stage: &Stage, org: usize) -> String {
    stage.value(&format!("select key from postmeter.delivery order by id offset {org} limit 1")).await
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn a_report_resolves_what_it_names_in_shares_and_each_row_has_its_verdict() {
    let stage = unknown(1010).await;
    let keys = stage.column("select key from postmeter.delivery order by id").await;
    // the marketplace holds all but the last three; of one of them another quantity
    let mut report = "Product,key,quantity\n".to_owned();
    for (n, key) in keys.iter().enumerate().take(1007) {
        writeln!(report, "db,{key},{}", if n == 7 { 2 } else { 1 }).unwrap();
    }
    writeln!(report, "db,{},0", keys[1007]).unwrap();
    report += "db,aws/nobody,1\ndb,,1\n";
    writeln!(report, "db,{},many\ndb,{},1", keys[1008], keys[0]).unwrap();
    let (report, verdicts) = (written(&report), tempfile::NamedTempFile::new().unwrap());
    let (path, list) = (report.path().to_string_lossy().into_owned(), verdicts.path().to_string_lossy().into_owned());
    let words = ["resolve", "--file", &path, "--why", "their report of today", "--verdicts", &list];
    let (code, said, error) = run(&stage, &words);
    assert_eq!(code, 0, "{said}{error}");
    assert!(said.contains("would resolve 1007 of 1012 rows. NOTHING WAS CHANGED"), "{said}");
    assert_eq!(statuses(&stage).await, ["unknown 1010"]);
    let (code, said, error) = run(&stage, &[&words[..], &["--apply"]].concat());
    assert_eq!(code, 3, "some rows need a person: {said}{error}");
    for line in ["billed: 1006", "not billed: 1", "other quantity: 1", "not found: 1", "malformed: 2", "repeated: 1"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(said.contains("they hold 2, this remittance is 1"), "{said}");
    assert_eq!(statuses(&stage).await, ["accepted 1006", "due 1", "unknown 3"]);
    assert_eq!(std::fs::read_to_string(verdicts.path()).unwrap().lines().count(), 1013, "a verdict for every row");
    let decisions =
        "select count(*) || ' ' || count(distinct xmin::text) from postmeter.decision where verb = 'resolve'";
    assert_eq!(stage.value(decisions).await, "1007 6", "in shares of 200");
    // once more, as JSON lines: what was said is so
    let mut lines = String::new();
    for key in &keys[..3] {
        writeln!(lines, "{}", serde_json::json!({"key": key, "quantity": 1, "state": "Accepted"})).unwrap();
    }
    let lines = written(&lines);
    let (code, said, error) =
        run(&stage, &["resolve", "--file", &lines.path().to_string_lossy(), "--why", "again", "--apply"]);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("agrees: 3") && said.contains("NOTHING WAS CHANGED"), "{said}");
}

#[tokio::test]
async fn a_filter_resolves_what_it_names_after_a_dry_run_and_a_locked_row_keeps_the_others_from_nothing() {
    let stage = unknown(3).await;
    let rest =
        ["resolve", "--status", "unknown", "--destination", "aws", "--not-billed", "--why", "not in their report"];
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select * from postmeter.delivery order by id limit 1 for update").await.unwrap();
    let (code, said, error) = run(&stage, &rest);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("would resolve 2 of 3 rows. NOTHING WAS CHANGED"), "{said}");
    assert_eq!(statuses(&stage).await, ["unknown 3"]);
    let (code, said, _) = run(&stage, &[&rest[..], &["--apply"]].concat());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("2 of 3 rows resolved") && said.contains("locked: 1"), "{said}");
    holder.batch_execute("rollback").await.unwrap();
    let (code, said, _) = run(&stage, &[&rest[..], &["--apply"]].concat());
    assert_eq!((code, statuses(&stage).await), (0, vec!["due 3".to_owned()]), "{said}");
    stage.work_at("2024-09-18T11:20:00Z").await;
    assert_eq!(statuses(&stage).await, ["accepted 3"]);
    stage.close().await;
}

#[tokio::test]
async fn a_receipt_names_a_remittance_and_what_cannot_be_meant_is_refused() {
    let stage = unknown(2).await;
    let key = key_of(&stage, 0).await;
    receipt(&stage, &key, "their-1").await;
    let report = written("receipt,quantity\ntheirs-2,1\ntheir-1,1.0\n");
    let path = report.path().to_string_lossy().into_owned();
    let (code, said, error) =
        run(&stage, &["resolve", "--file", &path, "--destination", "aws", "--why", "their report", "--apply"]);
    assert_eq!(code, 3, "{said}{error}");
    assert!(said.contains("no unresolved remittance has this receipt"), "{said}");
    assert_eq!(stage.value(&format!("select status from postmeter.delivery where key = '{key}'")).await, "accepted");
    for (words, sentence) in [
        (&["resolve", "--billed", "--why", "x"][..], "a filter is needed"),
        (&["resolve", "--status", "unknown", "--org", "nobody", "--billed", "--why", "x"], "nobody"),
        (&["resolve", "--file", &path, "--org", "org1", "--why", "x"], "only --destination"),
        (&["resolve", "--file", &path, "--billed", "--why", "x"], "cannot be used with"),
        (&["resolve", "1", "--org", "org1", "--billed", "--why", "x"], "not both"),
        (&["resolve", "--org", "org1", "--why", "x"], "--billed"),
    ] {
        let (code, said, error) = run(&stage, words);
        assert_eq!(code, 2, "{words:?}: {said}{error}");
        assert!(error.contains(sentence), "{words:?}: {error}");
    }
}

/// Gives a remittance a receipt, as an answer that came too late would have.
async fn receipt(stage: &Stage, key: &str, receipt: &str) {
    stage
        .sql(&format!(
            "with a as (insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
                        select id, destination_id, gen_random_uuid(), gen_random_uuid(), 1 from postmeter.delivery where key = '{key}' returning id)
             insert into postmeter.outcome (attempt_id, outcome, code, is_try, receipt) select id, 'unknown', 'timeout', true, '{receipt}' from a"
        ))
        .await;
}

#[tokio::test]
async fn j10_of_rows_that_contradict_each_other_none_is_carried_out_however_far_apart_they_stand() {
    let stage = unknown(450).await;
    let keys = stage.column("select key from postmeter.delivery order by id").await;
    receipt(&stage, &keys[1], "their-1").await;
    receipt(&stage, &keys[2], "their-2").await;
    // the first and the last row are of one remittance, two shares apart; so are the next two, by key and by receipt
    let mut report = "key,receipt,quantity\n".to_owned();
    for (n, key) in keys.iter().enumerate() {
        writeln!(report, "{key},{},1", if n == 2 { "their-2" } else { "" }).unwrap();
    }
    writeln!(report, "{},,0\n,their-1,7\n,their-2,1\n{},their-1,1", keys[0], keys[3]).unwrap();
    let (report, verdicts) = (written(&report), tempfile::NamedTempFile::new().unwrap());
    let (path, list) = (report.path().to_string_lossy().into_owned(), verdicts.path().to_string_lossy().into_owned());
    let words = ["resolve", "--file", &path, "--why", "their report", "--verdicts", &list];
    for apply in [&[][..], &["--apply"]] {
        let (_, said, error) = run(&stage, &[&words[..], apply].concat());
        for line in ["billed: 448", "contradictory: 4", "repeated: 1", "malformed: 1"] {
            assert!(said.lines().any(|said| said == line), "{line}: {said}{error}");
        }
        assert!(said.contains("lines 2, 452 say different things of it: none of them is carried out"), "{said}");
        assert!(said.contains("receipt is that of remittance"), "{said}");
    }
    assert_eq!(statuses(&stage).await, ["accepted 448", "unknown 2"]);
    let left = stage.column("select key from postmeter.delivery where status = 'unknown' order by id").await;
    assert_eq!(left, keys[..2], "nobody knows what they hold of these");
    let said = std::fs::read_to_string(verdicts.path()).unwrap();
    assert_eq!(said.lines().filter(|line| line.contains(",contradictory,")).count(), 4, "{said}");
}

#[tokio::test]
async fn j10_rows_of_sql_are_judged_together_and_each_fault_names_its_field() {
    let stage = unknown(5).await;
    let keys = stage.column("select key from postmeter.delivery order by id").await;
    let ids = stage.column("select id::text from postmeter.delivery order by id").await;
    receipt(&stage, &keys[1], "their-1").await;
    let rows = serde_json::json!([
        {"key": keys[0], "quantity": 1},
        {"delivery": ids[0], "billed": false},
        {"key": keys[1], "billed": true},
        {"receipt": "their-1", "quantity": 1},
        {"key": keys[2], "billed": false, "quantity": 5},
        {"delivery": ids[2], "key": keys[3], "billed": true},
        {"key": keys[2], "receipt": "their-1", "billed": true},
        {"key": keys[2], "quantity": "many"},
        {"key": keys[2], "quantity": "NaN"},
        {"key": keys[2], "billed": "perhaps"},
        {"key": keys[2]},
        {"quantity": 1},
        {"delivery": "x", "quantity": 1},
        [1],
        {"key": [keys[2]], "quantity": 1},
        {"key": keys[3], "billed": true},
        {"key": keys[3], "quantity": 7},
        {"key": keys[4], "quantity": "1.0"}
    ]);
    let asked = format!(
        "select verdict || ': ' || coalesce(note, '') from postmeter.resolve_rows($r${rows}$r$, 'mira', 'their report', false)"
    );
    let said = stage.column(&asked).await;
    for (row, expected) in [
        (0, "contradictory: rows 1, 2 say different things"),
        (1, "contradictory: rows 1, 2 say different things"),
        (2, "billed: "),
        (3, "repeated: "),
        (4, "malformed: billed is f and quantity is 5"),
        (5, "malformed: key must be "),
        (6, "malformed: receipt is that of remittance "),
        (7, "malformed: quantity must be a number from 0 upwards, not many"),
        (8, "malformed: quantity must be a number"),
        (9, "malformed: billed must be true or false"),
        (10, "malformed: says neither billed nor a quantity"),
        (11, "malformed: names no remittance"),
        (12, "malformed: delivery must be the number"),
        (13, "malformed: a row must be an object"),
        (14, "malformed: key must be a text"),
        (15, "other_quantity: they hold 7, this remittance is 1"),
        (16, "repeated: "),
        (17, "billed: "),
    ] {
        assert!(said[row].starts_with(expected), "row {row}: {}, not {expected}", said[row]);
    }
    assert_eq!(statuses(&stage).await, ["accepted 2", "unknown 3"]);
}

#[tokio::test]
async fn j10_the_list_of_verdicts_never_overwrites_the_report() {
    let stage = unknown(1).await;
    let key = key_of(&stage, 0).await;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let text = format!("key,quantity\n{key},1\n");
    std::fs::write(at("report.csv"), &text).unwrap();
    std::os::unix::fs::symlink(at("report.csv"), at("symbolic.csv")).unwrap();
    std::fs::hard_link(at("report.csv"), at("hard.csv")).unwrap();
    let (report, dotted) = (at("report.csv"), at("./report.csv"));
    for list in [&report, &dotted, &at("symbolic.csv"), &at("hard.csv")] {
        let (code, said, error) =
            run(&stage, &["resolve", "--file", &report, "--why", "x", "--verdicts", list, "--apply"]);
        assert_eq!(code, 2, "{said}{error}");
        assert!(error.contains("--verdicts") && error.contains("name another one"), "{error}");
        assert_eq!(std::fs::read_to_string(&report).unwrap(), text, "the report is as it was");
    }
    assert_eq!(statuses(&stage).await, ["unknown 1"]);
    // another file is emptied first, whatever stood in it
    std::fs::write(at("old.csv"), "much text of an earlier day\n".repeat(99)).unwrap();
    let (code, said, error) =
        run(&stage, &["resolve", "--file", &report, "--why", "x", "--verdicts", &at("old.csv"), "--apply"]);
    assert_eq!(code, 0, "{said}{error}");
    assert_eq!(std::fs::read_to_string(at("old.csv")).unwrap().lines().count(), 2);
}

/// A stage whose only remittance may be billed, and a directory with an old list of verdicts.
async fn with_an_old_list() -> (Stage, tempfile::TempDir) {
    let stage = unknown(1).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("old.csv"), "the verdicts of yesterday\n").unwrap();
    (stage, directory)
}

#[tokio::test]
async fn j10_a_report_that_cannot_be_read_leaves_the_old_list_of_verdicts() {
    let (stage, directory) = with_an_old_list().await;
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("nameless.csv"), "product,quantity\ndb,1\n").unwrap();
    std::fs::write(at("endless.csv"), format!("key,quantity\n\"a,1\n{}", "b,1\n".repeat(1 << 19))).unwrap();
    for (report, sentence) in [
        ("nameless.csv", "needs a column key or receipt"),
        ("endless.csv", "line 2 has more than 1048576 bytes"),
        (".", "is a directory"),
        ("missing.csv", "No such file"),
    ] {
        let words = ["resolve", "--file", &at(report), "--why", "x", "--verdicts", &at("old.csv"), "--apply"];
        let (code, said, error) = run(&stage, &words);
        assert!(code == 2 && error.contains(sentence), "{report}: {code} {said}{error}");
        let left = std::fs::read_to_string(at("old.csv")).unwrap();
        assert_eq!(left, "the verdicts of yesterday\n", "{report}");
        let words = ["resolve", "--file", &at(report), "--why", "x", "--verdicts", &at("new.csv"), "--apply"];
        assert_eq!(run(&stage, &words).0, 2);
        assert!(!directory.path().join("new.csv").exists(), "{report}: an empty list where there was none");
    }
    let words = ["resolve", "--org", "nobody", "--billed", "--why", "x", "--verdicts", &at("old.csv"), "--apply"];
    assert_eq!(run(&stage, &words).0, 2);
    assert_eq!(std::fs::read_to_string(at("old.csv")).unwrap(), "the verdicts of yesterday\n");
}

#[tokio::test]
async fn j10_the_list_of_verdicts_does_nothing_to_a_terminal_or_a_spreadsheet() {
    let (stage, directory) = with_an_old_list().await;
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("report.csv"), "key,quantity\n\u{1b}[2Kx,1\n=1+1,1\n+1,1\n-1,1\n@x,1\n").unwrap();
    run(&stage, &["resolve", "--file", &at("report.csv"), "--why", "x", "--verdicts", &at("old.csv")]);
    let list = std::fs::read_to_string(at("old.csv")).unwrap();
    let keys: Vec<_> = list.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(keys, ["\\u{1b}[2Kx", "'=1+1", "'+1", "'-1", "'@x"], "{list}");
    assert!(!list.contains('\u{1b}'), "{list}");
}

#[tokio::test]
async fn j10_a_dry_run_says_what_would_be_sent_again() {
    let (stage, directory) = with_an_old_list().await;
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let key = key_of(&stage, 0).await;
    // a decimal comma: half a unit under three names
    std::fs::write(at("comma.csv"), format!("key,quantity,note\n{key},0,5\n")).unwrap();
    let words = ["resolve", "--file", &at("comma.csv"), "--why", "x"];
    let (code, said, error) = run(&stage, &words);
    assert_eq!(code, 0, "{said}{error}");
    assert!(said.lines().any(|line| line == "not billed: 1 (1 WOULD BE SENT AGAIN)"), "{said}");
    let (_, said, _) = run(&stage, &[&words[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["sent_again"], 1, "{said}");
    assert_eq!(statuses(&stage).await, ["unknown 1"]);
}

#[tokio::test]
async fn j10_json_that_says_nothing_by_accident_changes_nothing() {
    let (stage, directory) = with_an_old_list().await;
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let key = key_of(&stage, 0).await;
    let fields =
        ["7, \"quantity\": 0", "1e-400", "-0", "-0.0", "1.0000000000000000001", "1e0", "\"-0\"", "0, \"key\": \"x\""];
    let lines: String = fields.map(|said| format!("{{\"key\": \"{key}\", \"quantity\": {said}}}\n")).concat();
    std::fs::write(at("report.json"), lines).unwrap();
    let (code, said, error) = run(&stage, &["resolve", "--file", &at("report.json"), "--why", "x", "--apply"]);
    assert_eq!(code, 3, "{said}{error}");
    assert!(said.lines().any(|line| line == format!("malformed: {}", fields.len())), "{said}");
    assert_eq!(statuses(&stage).await, ["unknown 1"]);
    // numbers of SQL are exact; what jsonb itself makes of -0 nobody sees any more
    let asked = |said: &str| {
        format!(
            "select verdict from postmeter.resolve_rows('[{{\"key\": \"{key}\", \"quantity\": {said}}}]', 'mira', 'x')"
        )
    };
    for (said, verdict) in [
        ("1e-400", "malformed"),
        ("\"-0\"", "malformed"),
        ("\"1e0\"", "malformed"),
        ("1.0000000000000000001", "other_quantity"),
        ("1e0", "billed"),
    ] {
        assert_eq!(stage.value(&asked(said)).await, verdict, "{said}");
    }
}

#[tokio::test]
async fn j10_one_record_of_theirs_never_counts_as_two_of_ours() {
    let stage = unknown(4).await;
    let keys = stage.column("select key from postmeter.delivery order by id").await;
    receipt(&stage, &keys[0], "their-1").await;
    receipt(&stage, &keys[1], "their-1").await;
    let report = written("receipt,quantity\ntheir-1,1\n");
    let path = report.path().to_string_lossy().into_owned();
    let words = ["resolve", "--file", &path, "--destination", "aws", "--why", "their report", "--apply"];
    let ambiguous = |said: &str| said.contains("ambiguous: 1") && said.contains("name the key, or resolve each");
    let (_, said, _) = run(&stage, &words);
    assert!(ambiguous(&said), "{said}");
    let first = stage.value("select id::text from postmeter.delivery order by id limit 1").await;
    assert_eq!(run(&stage, &["resolve", &first, "--billed", "--why", "by hand"]).0, 0);
    let (_, said, _) = run(&stage, &words);
    assert!(ambiguous(&said), "one of them is resolved, and it is still one record: {said}");
    assert_eq!(statuses(&stage).await, ["accepted 1", "unknown 3"]);
    // a key says which is meant, and a receipt beside it must be its own
    receipt(&stage, &keys[2], "their-3").await;
    let both = written(&format!(
        "key,receipt,quantity\n{},their-1,1\n{},their-9,1\n{},their-1,1\n",
        keys[1], keys[2], keys[3]
    ));
    let path = both.path().to_string_lossy().into_owned();
    let (_, said, error) = run(&stage, &["resolve", "--file", &path, "--why", "their report", "--apply"]);
    assert!(said.contains("billed: 1") && said.contains("malformed: 2"), "{said}{error}");
    assert!(said.contains("receipt must be their-3") && said.contains("receipt is that of remittance"), "{said}");
    assert_eq!(statuses(&stage).await, ["accepted 2", "unknown 2"]);
}

#[tokio::test]
async fn j10_a_receipt_of_an_accepted_remittance_beside_it_is_not_that_of_another() {
    let stage = unknown(3).await;
    let keys = stage.column("select key from postmeter.delivery order by id").await;
    receipt(&stage, &keys[0], "their-1").await;
    receipt(&stage, &keys[1], "their-1").await;
    receipt(&stage, &keys[2], "their-3").await;
    // one call: the first was accepted in it, as a worker would have said
    stage
        .sql(
            "set session_replication_role = replica;
             update postmeter.attempt set call_id = '00000000-0000-7000-8000-000000000001', worker_id = '00000000-0000-7000-8000-000000000002';
             update postmeter.outcome set receipt = null where receipt = 'their-3';
             set session_replication_role = origin;
             update postmeter.delivery set status = 'accepted', maybe_billed = false, maybe_since = null where id = (select min(id) from postmeter.delivery)",
        )
        .await;
    let report = written(&format!("key,receipt,quantity\n,their-1,1\n{},their-1,1\n", keys[2]));
    let path = report.path().to_string_lossy().into_owned();
    let (_, said, error) = run(&stage, &["resolve", "--file", &path, "--why", "their report", "--apply"]);
    assert!(said.contains("ambiguous: 1") && said.contains("malformed: 1"), "{said}{error}");
    assert!(said.contains("receipt is that of remittance"), "{said}");
    assert_eq!(statuses(&stage).await, ["accepted 1", "unknown 2"]);
}
