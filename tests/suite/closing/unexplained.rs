//! What was changed behind the program's back does not add up, and says where.

use tests::{Stage, postmeter};

use super::recalculated;

const UNEXPLAINED: &str = "r.part = 'unexplained'";

/// Six and one core of acme, accepted; a core of globex besides.
async fn billed() -> Stage {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.at("2024-09-18T09:10:00Z").await;
    stage.use_cores("six", "6", "2024-09-18T09:05:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T09:06:00Z").await;
    stage.record("other", "globex", "cores", "1", "2024-09-18T09:06:00Z").await;
    stage.cut_at("2024-09-18T10:10:00Z").await;
    assert!(recalculated(&stage, UNEXPLAINED).await.is_empty());
    stage
}

/// Does what no role may do.
async fn tamper(stage: &Stage, sql: &str) {
    stage.sql(&format!("set session_replication_role = replica; {sql}; reset session_replication_role")).await;
}

#[tokio::test]
async fn e9_a_usage_that_was_removed_is_found_with_its_meter() {
    let stage = billed().await;
    tamper(&stage, "delete from postmeter.usage where event_id = 'six'").await;
    assert_eq!(
        recalculated(&stage, UNEXPLAINED).await,
        ["3333 unexplained the-bill -6", "3333 cores unexplained the-meter-counted-other-than-its-usage-says 6"]
    );
}

#[tokio::test]
async fn e9_an_allocation_that_was_removed_is_found_with_its_meter() {
    let stage = billed().await;
    tamper(&stage, "delete from postmeter.allocation where quantity = 6").await;
    assert_eq!(
        recalculated(&stage, UNEXPLAINED).await,
        [
            "3333 cores unexplained the-meter-counted-other-than-its-usage-says 6",
            "3333 cores unexplained usage-that-is-nowhere 6"
        ]
    );
}

#[tokio::test]
async fn e9_an_allocation_that_was_changed_is_found_with_its_meter() {
    let stage = billed().await;
    tamper(&stage, "update postmeter.allocation set quantity = 5 where quantity = 6").await;
    assert_eq!(
        recalculated(&stage, UNEXPLAINED).await,
        ["3333 cores unexplained an-allocation-says-another-quantity-than-its-usage -1"]
    );
}

#[tokio::test]
async fn e9_totals_and_cuts_that_were_changed_are_found_with_their_meter() {
    for sql in [
        "update postmeter.meter set carried = carried - 3 where buyer like '%3333'",
        "update postmeter.meter_metric set covered = covered + 3 where used = 7",
        "update postmeter.cut set to_bill = to_bill - 3 where to_bill = 7",
    ] {
        let stage = billed().await;
        tamper(&stage, sql).await;
        let found = recalculated(&stage, UNEXPLAINED).await;
        assert!(found.iter().any(|line| line.starts_with("3333 unexplained the-bill")), "{sql}: {found:?}");
        assert!(found.iter().all(|line| line.starts_with("3333")), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn e9_usage_in_two_places_is_found() {
    let stage = billed().await;
    tamper(&stage, "insert into postmeter.usage_written_off select id, 1 from postmeter.usage where event_id = 'one'")
        .await;
    let found = recalculated(&stage, UNEXPLAINED).await;
    assert!(found.contains(&"3333 cores unexplained usage-that-is-in-two-places 1".to_owned()), "{found:?}");
}

#[tokio::test]
async fn e9_the_command_says_it_in_words_in_json_and_by_its_exit_code() {
    let stage = billed().await;
    let url = stage.db.url();
    let run = |words: &[&str]| {
        let output = postmeter(&url).args(["recalculate", "aws", "2024-09"]).args(words).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text, _) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nothing is unexplained"), "{text}");
    tamper(&stage, "delete from postmeter.allocation where quantity = 6").await;
    let (code, text, _) = run(&[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("usage that is nowhere"), "{text}");
    let (code, text, _) = run(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(3));
    assert_eq!(json["unexplained"], 2);
    assert_eq!(json["lines"].as_array().unwrap().iter().filter(|line| line["part"] == "unexplained").count(), 2);
    let output = postmeter(&url).args(["recalculate", "nowhere", "2024-09"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = postmeter(&url).args(["recalculate", "aws", "September"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
