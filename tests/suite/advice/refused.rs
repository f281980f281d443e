//! A remittance that was refused or came too late: each way of `what_to_do` and `explain`, in a state of its own.

use tests::Stage;

use super::{advice, commands, cured, done, people, prepare};
use crate::recount::{identify, mistyped, only, product, rules};

/// How a state is mended over there and in the catalogue.
struct Mend {
    there: fn(&Stage),
    catalogue: (&'static str, &'static str),
}

const MISTYPED: Mend =
    Mend { there: |stage| only(stage, &["prod-bd"], &["111122223333"]), catalogue: ("prod-db", "111122223333") };

/// All that can be advised about what was refused or expired.
const KNOWN: &[&str] = &["retry", "recount", "release", "correct", "write-off"];

/// Three cores of ten o'clock are stuck as remittance 1, and `what_to_do` says this. These lines of `explain` are run.
async fn each(state: impl AsyncFn() -> Stage, mend: Mend, what_to_do: &str, ways: &[&str]) {
    for &way in ways {
        let stage = state().await;
        assert_eq!(advice(&stage).await, what_to_do);
        let lines = people(&stage, "explain --delivery 1");
        let is_of = |line: &&String, way: &str| match way {
            "correct" => line.contains("record a correction"),
            _ => line.contains(&format!("postmeter {way} ")),
        };
        let strange: Vec<_> = lines.iter().filter(|line| !KNOWN.iter().any(|way| is_of(line, way))).collect();
        assert!(strange.is_empty(), "no test carries them out: {strange:?}");
        let line = lines.iter().find(|line| is_of(line, way)).unwrap_or_else(|| panic!("{way}: {lines:?}"));
        let release = lines.iter().find(|line| is_of(line, "release"));
        if let (Some(release), "release") = (release, way) {
            for first in ["late_policy to part", "renew the subscription", "reopen"] {
                assert_eq!(what_to_do.contains(first), release.contains(first), "{what_to_do}\n{release}");
            }
        }
        let acts = if way == "correct" { release.unwrap() } else { line };
        let mut todo = commands(acts);
        if todo[0].starts_with("month reopen") {
            done(&stage, &todo.remove(0));
        }
        prepare(&stage, acts).await;
        match way {
            "recount" => identify(&stage, "acme", &product(mend.catalogue.0, mend.catalogue.1)).await,
            "write-off" => {}
            _ => (mend.there)(&stage),
        }
        if way == "correct" {
            stage.correct("less", "three", "-1", "2024-09-18T10:05:00Z").await;
            stage.work().await;
        }
        for command in &todo {
            done(&stage, command);
        }
        if let Some(then) = acts.split("then ").nth(1).filter(|_| todo.is_empty()) {
            assert!(then.contains("release it"), "{acts}");
            done(&stage, "release --delivery 1 --why checked --apply");
        }
        let billed = match way {
            "correct" => "2",
            "write-off" => "0",
            _ => "3",
        };
        cured(stage, &format!("{what_to_do}: {way}"), billed).await;
    }
}

/// What may differ in all that is late: giving up and correcting do the same everywhere.
const LATE: &[&str] = &["recount", "release"];

#[tokio::test]
async fn k11_refused_in_time() {
    let what_to_do = "mend the cause, then retry; if it was the catalogue, mend that, then recount";
    each(mistyped, MISTYPED, what_to_do, KNOWN).await;
}

#[tokio::test]
async fn k11_not_entitled_in_time_and_asked_again_by_itself() {
    let state = async || {
        let stage = Stage::new().await;
        only(&stage, &["prod-db"], &["999988887777"]);
        stage.at("2024-09-18T10:10:00Z").await;
        stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(stage.remittances().await, ["18T10 held 3"]);
        stage
    };
    let what_to_do =
        "asked again by itself until its deadline; mend the subscription there, or the catalogue and recount";
    let there = |stage: &Stage| only(stage, &["prod-db"], &["111122223333"]);
    each(state, Mend { there, catalogue: ("prod-db", "999988887777") }, what_to_do, &["recount"]).await;
    let stage = state().await;
    there(&stage);
    cured(stage, "by itself", "3").await;
}

#[tokio::test]
async fn k11_past_its_deadline() {
    let state = async || {
        let stage = mistyped().await;
        stage.at("2024-09-19T11:30:00Z").await;
        stage
    };
    let what_to_do =
        "release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off";
    each(state, MISTYPED, what_to_do, LATE).await;
}

#[tokio::test]
async fn k11_called_too_old_before_its_deadline() {
    let state = async || {
        let stage = Stage::new().await;
        stage.at("2024-09-18T10:10:00Z").await;
        stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
        rules(&stage, |aws| aws.max_age_hours = 1);
        stage.cut_only("2024-09-18T11:10:00Z").await;
        stage.work().await;
        assert_eq!(stage.remittances().await, ["18T10 expired 3"]);
        rules(&stage, |aws| aws.max_age_hours = 24);
        stage
    };
    let what_to_do =
        "release to another hour of its month (recount as late usage, if the catalogue was mistaken), or write off";
    each(state, Mend { there: |_| {}, catalogue: ("prod-d2", "111122223333") }, what_to_do, &["release"]).await;
}

#[tokio::test]
async fn k11_past_its_month() {
    let state = async || {
        let stage = mistyped().await;
        stage.at("2024-10-01T10:30:00Z").await;
        stage
    };
    let what_to_do =
        "write off, or set late_policy to part and release (recount as late usage, if the catalogue was mistaken)";
    each(state, MISTYPED, what_to_do, LATE).await;
}

#[tokio::test]
async fn k11_of_a_closed_month() {
    let state = async || {
        let stage = mistyped().await;
        stage.at("2024-10-05T00:00:00Z").await;
        stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
        stage
    };
    let what_to_do = "write off, or reopen its month and set late_policy to part and release (recount as late usage, \
                      if the catalogue was mistaken)";
    each(state, MISTYPED, what_to_do, &["release"]).await;
    // closed early: its own hour can be sent still
    let state = async || {
        let stage = mistyped().await;
        stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
        stage
    };
    let what_to_do = "mend the cause, then retry; if it was the catalogue, mend that, reopen its month, then recount";
    each(state, MISTYPED, what_to_do, &["recount"]).await;
}

#[tokio::test]
async fn k11_of_a_subscription_that_has_ended() {
    let state = async || {
        let stage = mistyped().await;
        stage.sql("update postmeter.subscription set valid_until = '2024-09-18T11:00:00Z'").await;
        stage.work_at("2024-09-18T12:30:00Z").await;
        stage
    };
    let what_to_do =
        "write off, or renew the subscription and release (recount as late usage, if the catalogue was mistaken)";
    each(state, MISTYPED, what_to_do, &["release"]).await;
}

#[tokio::test]
async fn k11_out_of_range_it_is_corrected_and_released() {
    for way in ["correct", "write-off"] {
        let stage = Stage::new().await;
        stage.at("2024-09-18T10:30:00Z").await;
        stage.use_cores("huge", "2147483648", "2024-09-18T10:10:00Z").await;
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(advice(&stage).await, "correct its usage, then release; or write off");
        let lines = people(&stage, "explain --delivery 1");
        assert_eq!(lines.len(), 2, "{lines:?}");
        if way == "correct" {
            assert!(lines[0].contains("record a correction of its usage"), "{lines:?}");
            stage.correct("less", "huge", "-2147483645", "2024-09-18T10:10:00Z").await;
            stage.work().await;
            done(&stage, &commands(&lines[0])[0]);
        } else {
            done(&stage, &commands(&lines[1])[0]);
        }
        cured(stage, way, if way == "correct" { "3" } else { "0" }).await;
    }
}

/// The silent hour of ten is reported as zero, and refused.
async fn zero() -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.dimension set zero = 'send'").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    rules(&stage, |aws| aws.dimensions = Some(std::collections::BTreeSet::new()));
    stage.work_at("2024-09-19T09:20:00Z").await;
    rules(&stage, |aws| aws.dimensions = None);
    stage
}

#[tokio::test]
async fn k11_a_zero_that_was_refused() {
    for way in ["retry", "write-off"] {
        let stage = zero().await;
        assert_eq!(advice(&stage).await, "mend the cause, then retry; or write off: nothing was used in that hour");
        let number = stage.value("select delivery_id::text from postmeter.dead_letter").await;
        let lines = people(&stage, &format!("explain --delivery {number}"));
        assert_eq!(lines.len(), 2, "{lines:?}");
        let line = lines.iter().find(|line| line.contains(&format!("postmeter {way}"))).unwrap();
        done(&stage, &commands(line)[0]);
        stage.work_at("2024-09-19T09:21:00Z").await;
        assert_eq!(stage.accepted().contains(&"18T10 0".to_owned()), way == "retry");
        assert_eq!(stage.column("select item from postmeter.dead_letter").await, [""; 0]);
        stage.close().await;
    }
    let stage = zero().await;
    stage.at("2024-09-19T10:00:00Z").await;
    assert_eq!(advice(&stage).await, "write off: nothing was used in that hour");
    let number = stage.value("select delivery_id::text from postmeter.dead_letter").await;
    let lines = people(&stage, &format!("explain --delivery {number}"));
    assert_eq!(lines.len(), 1, "{lines:?}");
    done(&stage, &commands(&lines[0])[0]);
    assert_eq!(stage.column("select item from postmeter.dead_letter").await, [""; 0]);
    stage.close().await;
}
