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
    stage
        .sql(&format!(
            "with a as (insert into postmeter.attempt (delivery_id, destination_id, call_id, worker_id, number)
                        select id, destination_id, gen_random_uuid(), gen_random_uuid(), 1 from postmeter.delivery where key = '{key}' returning id)
             insert into postmeter.outcome (attempt_id, outcome, code, is_try, receipt) select id, 'unknown', 'timeout', true, 'their-1' from a"
        ))
        .await;
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
