//! Corrections: what is said and by which exit code, when a filter is wrong and when nothing is left to do.

use std::collections::BTreeSet;

use simulator::{FaultKind, FaultRule};
use tests::Stage;

use super::run;

#[tokio::test]
async fn e8_a_wrong_filter_fails_and_a_second_run_says_that_nothing_is_left_to_do() {
    let stage = Stage::new().await;
    let mut settings = stage.aws.settings();
    settings.aws.dimensions = Some(BTreeSet::new());
    stage.aws.set_settings(settings);
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for (words, said) in [
        (vec!["retry", "--org", "acmee"], "there is no org 'acmee' (Did you mean 'acme'?)"),
        (vec!["write-off", "--destination", "aws", "--status", "expired"], "no remittance fits this filter now"),
        (vec!["release", "--org", " "], "filter field 'org' is empty"),
        (vec!["retry", "--held-usage", "--reason", "no_subscription"], "no held usage fits this filter now"),
        (vec!["hold", "--product", "dc"], "there is no product 'dc'"),
        (vec!["retry"], "a filter is needed"),
    ] {
        let words = [words, vec!["--why", "to see"]].concat();
        let (code, text, error) = run(&stage, &words);
        assert!(code == 2 && error.contains(said), "{words:?}: {code} {text}{error}");
    }
    let write_off = ["write-off", "--org", "acme", "--why", "given up", "--apply"];
    let (code, text, _) = run(&stage, &write_off);
    assert!(code == 0 && text.contains("1 of 1 remittance written off"), "{text}");
    let (code, text, _) = run(&stage, &write_off);
    assert_eq!(code, 0);
    assert!(text.contains("nothing is left to do for what this filter fits: it is 1 written off now"), "{text}");
    let (_, text, _) = run(&stage, &[&["--json"][..], &write_off].concat());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["found"], &json["changed"]), (&0.into(), &0.into()));
    stage.close().await;
}

#[tokio::test]
async fn e8_pause_and_resume_twice_are_one_decision_each() {
    let stage = Stage::new().await;
    stage.let_leases_end().await;
    for (words, said) in [
        (["resume", "aws"], "was not paused: nothing was changed"),
        (["pause", "aws"], "is paused: nothing more is sent"),
        (["pause", "aws"], "was paused already: nothing was changed"),
        (["resume", "aws"], "is sent to again"),
    ] {
        let (code, text, _) = run(&stage, &[&words[..], &["--why", "their maintenance"]].concat());
        assert!(code == 0 && text.contains(said), "{words:?}: {text}");
    }
    assert_eq!(stage.column("select verb from postmeter.decision order by id").await, ["pause", "resume"]);
    let (code, _, error) = run(&stage, &["pause", "asw", "--why", "their maintenance"]);
    assert!(code == 2 && error.contains("there is no destination 'asw' (Did you mean 'aws'?)"), "{error}");
}

#[tokio::test]
async fn d9_an_operator_ends_the_pause_of_a_breaker_and_it_is_a_decision() {
    let stage = Stage::new().await;
    let probe = ["probe", "aws", "--why", "they say they are back"];
    let (code, text, _) = run(&stage, &probe);
    assert!(code == 0 && text.contains("has no fault"), "{text}");
    stage.configure("records_max = 1").await;
    // ten calls without an answer about a record are an outage
    for n in 0..12 {
        let (org, account) = (format!("org{n}"), format!("4444555566{n:02}"));
        stage.subscribe(&org, &account).await;
        stage.record(&org, &org, "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503)).unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.worker.send().await.unwrap();
    // as after a long outage: nobody waits for it in a test
    stage.sql("update postmeter.breaker set open_until = clock_timestamp() + interval '1 hour'").await;
    stage.aws.clear_faults();
    stage.at("2024-09-18T11:30:00Z").await;
    stage.another_worker().await.send().await.unwrap();
    let accepted = "select (count(*) = 12)::text from postmeter.remittance where status = 'accepted'";
    assert_eq!(stage.value(accepted).await, "false", "its pause is kept");
    let (code, text, _) = run(&stage, &probe);
    assert!(code == 0 && text.contains("the breaker's pause is over"), "{text}");
    let (code, text, _) = run(&stage, &probe);
    assert!(code == 0 && text.contains("nothing was changed"), "{text}");
    assert_eq!(
        stage.column("select format('%s %s %s, %s -> %s', verb, destination, who, status_before, status_after) from postmeter.decision_log").await,
        ["probe aws ada, open -> half_open"]
    );
    let worker = stage.another_worker().await;
    tests::wait_until("it is accepted", async || {
        worker.work().await.unwrap();
        stage.value(accepted).await != "false"
    })
    .await;
    let (code, _, error) = run(&stage, &["probe", "asw", "--why", "they are back"]);
    assert!(code == 2 && error.contains("Did you mean 'aws'?"), "{error}");
    stage.close().await;
}
