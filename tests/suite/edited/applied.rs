//! What `catalog apply` says before it applies, and what happens afterwards.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// The catalogue of the stage as a file, changed so.
fn file(stage: &Stage, change: impl FnOnce(String) -> String) -> PathBuf {
    let shown = tests::postmeter(&stage.db.url()).args(["catalog", "show"]).output().unwrap();
    let text = change(String::from_utf8(shown.stdout).unwrap());
    let path = std::env::temp_dir().join(format!("{}.toml", uuid::Uuid::now_v7()));
    std::fs::write(&path, text).unwrap();
    path
}

/// Since when acme is subscribed, in the file.
const FROM: &str = "valid_from = \"2024-01-01T00:00:00Z\"";

/// The file with a line more behind another one.
fn with(text: &str, behind: &str, line: &str) -> String {
    assert_eq!(text.matches(behind).count(), 1, "{text}");
    text.replace(behind, &format!("{behind}\n{line}"))
}

/// Applies a file and returns the exit code and what it said.
fn apply(stage: &Stage, path: &std::path::Path, more: &[&str]) -> (Option<i32>, String) {
    let output = tests::postmeter(&stage.db.url())
        .args(["catalog", "apply", path.to_str().unwrap()])
        .args(more)
        .output()
        .unwrap();
    (
        output.status.code(),
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
    )
}

/// The lines about open hours.
fn moves(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("open hours: ")).collect()
}

#[tokio::test]
async fn k2_apply_says_what_moves_and_that_is_what_happens() {
    let stage = folded().await;
    stage.use_cores("more", "2.5", "2024-09-18T10:06:00Z").await;
    stage.correct("less", "more", "-1", "2024-09-18T10:06:00Z").await;
    stage.fold().await;
    let path = file(&stage, |text| text.replace("111122223333", "444455556666"));
    let from = "aws aws/us-east-1/prod-db/111122223333 cores";
    let to = "aws aws/us-east-1/prod-db/444455556666 cores";
    let line = format!("2024-09-18T10:00:00Z acme db cores: 11.5 in 3 usages, from {from} to {to}");
    let (code, said) = apply(&stage, &path, &["--dry-run"]);
    assert_eq!((code, moves(&said)), (Some(3), vec![line.as_str()]), "{said}");
    assert_eq!(stage.value(MARKS).await, "0", "nothing is kept of a dry run");
    let (code, said) = apply(&stage, &path, &[]);
    assert_eq!((code, moves(&said)), (Some(0), vec![line.as_str()]), "{said}");
    stage.worker.reload().await.unwrap();
    stage.work().await;
    assert_eq!(places(&stage).await, ["counted aws/us-east-1/prod-db/444455556666 cores 11.5"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 12"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_apply_says_what_becomes_exempt_held_or_covered_and_what_is_folded_anew() {
    let stage = folded().await;
    stage.use_cores("after", "3", "2024-09-18T10:25:00Z").await;
    stage.record("unknown", "acme", "disks", "7", "2024-09-18T10:26:00Z").await;
    stage.work().await;
    let disks = "[[dimension]]\ndestination = \"aws\"\nproduct = \"db\"\nmetric = \"disks\"\nname = \"disks\"\n";
    let ended = file(&stage, |text| format!("{}\n{disks}", with(&text, FROM, "valid_until = 2024-09-18T10:20:00Z")));
    let (_, said) = apply(&stage, &ended, &["--dry-run", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let told: Vec<String> = said["moves"]["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one["metric"].as_str().unwrap(),
                one["becomes"].as_str().unwrap(),
                one["quantity"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(told, ["cores held: no_subscription 3", "disks resolved anew 7"]);
    let covered = file(&stage, |text| {
        text.replace("covers = {}", "covers = { cores = \"4\" }").replace("covers = {  }", "covers = { cores = \"4\" }")
    });
    let (_, said) = apply(&stage, &covered, &["--dry-run"]);
    assert!(moves(&said)[0].contains("13 in 2 usages, is counted for aws"), "{said}");
    let exempt = file(&stage, |text| {
        format!("{text}\n[[exempt]]\norg = \"acme\"\nreason = \"free\"\nvalid_from = 2024-09-18T10:00:00Z\n")
    });
    let (code, said) = apply(&stage, &exempt, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(moves(&said)[0].contains("13 in 2 usages"), "{said}");
    assert!(moves(&said)[0].ends_with("is exempt"), "{said}");
    stage.worker.reload().await.unwrap();
    stage.work().await;
    assert_eq!(places(&stage).await, ["exempt 20"]);
    // and back, as far as the hour is open and the catalogue can count it
    let counted =
        file(&stage, |text| with(&text, "valid_from = \"2024-09-18T10:00:00Z\"", "valid_until = 2024-09-18T11:00:00Z"));
    let (_, said) = apply(&stage, &counted, &["--dry-run"]);
    assert!(moves(&said).is_empty(), "all of it is of the hour that stays exempt: {said}");
    stage
        .sql("update postmeter.exemption set valid_from = '2024-09-18T09:00Z', valid_until = '2024-09-18T10:00Z'")
        .await;
    stage.work().await;
    assert_eq!(places(&stage).await, ["counted aws/us-east-1/prod-db/111122223333 cores 13", "exempt 7"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 111122223333 13"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_what_an_exemption_exempted_stays_so_once_its_hour_is_over() {
    let stage = Stage::new().await;
    stage
        .sql("insert into postmeter.exemption (org, reason, valid_from) values ('acme', 'free', '2024-09-18T10:00Z')")
        .await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.use_cores("before", "1", "2024-09-18T10:05:00Z").await;
    stage.use_cores("in it", "2", "2024-09-18T11:05:00Z").await;
    stage.correct("less", "in it", "-0.5", "2024-09-18T11:06:00Z").await;
    stage.work().await;
    assert_eq!(places(&stage).await, ["exempt 2.5"]);
    stage
        .sql("update postmeter.exemption set valid_from = '2024-09-18T09:00Z', valid_until = '2024-09-18T10:00Z'")
        .await;
    stage.work().await;
    assert_eq!(places(&stage).await, ["counted aws/us-east-1/prod-db/111122223333 cores 1.5", "exempt 1"]);
    stage.close().await;
}
