//! What may be billed, or is billed otherwise: a person says what the marketplace holds.

use remittance::Outcome;
use tests::{Stage, q};

use super::{advice, commands, cured, done, due_where_nothing_is_sent, people};

/// Nine cores of ten o'clock whose answer was this.
pub async fn answered(outcome: Outcome) -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.dimension set unit_price = 0.5, currency = 'USD'").await;
    stage.configure("tries_max = 1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, outcome).await;
    stage
}

/// Accepted and given up, of all meters.
async fn books(stage: &Stage) -> String {
    stage
        .value("select concat_ws(' ', trim_scale(sum(accepted)), trim_scale(sum(written_off))) from postmeter.balance")
        .await
}

async fn letters(stage: &Stage) -> Vec<String> {
    stage.column("select class from postmeter.dead_letter").await
}

#[tokio::test]
async fn k11_what_may_have_been_billed_is_looked_up_and_resolved() {
    let unknown = || answered(Outcome::Unknown { code: "timeout".to_owned() });
    let strange = || answered(Outcome::Unrecognised { code: "Maybe".to_owned(), record_alone: true });
    for (is_strange, now, billed) in [
        (false, "2024-09-18T11:20:00Z", true),
        (false, "2024-09-18T11:20:00Z", false),
        (true, "2024-09-18T11:20:00Z", false),
        (false, "2024-09-19T11:30:00Z", false),
    ] {
        let stage = if is_strange { strange().await } else { unknown().await };
        stage.at(now).await;
        assert_eq!(advice(&stage).await, "look it up at the marketplace, then resolve");
        let lines = people(&stage, "explain --delivery 1");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("--billed") && lines[0].contains("(or --not-billed)"), "{lines:?}");
        let command = commands(&lines[0]).remove(0);
        if billed {
            done(&stage, &command);
            assert_eq!((letters(&stage).await, books(&stage).await), (vec![], "9 0".to_owned()));
            continue;
        }
        done(&stage, &command.replace("--billed", "--not-billed"));
        if now.contains("-19T") {
            // its time has passed: what is advised then is tested by its own name
            assert!(advice(&stage).await.starts_with("release to another hour of its month"));
            done(&stage, "release --delivery 1 --why checked --apply");
        }
        cured(stage, "not billed", "9").await;
    }
}

#[tokio::test]
async fn k11_of_a_conflict_counts_what_they_hold_and_it_is_given_up_only_if_they_hold_nothing() {
    let what_to_do = "compare with what they hold: resolve as billed, and it counts as they hold it; write off only if \
                      they hold nothing of it any more";
    for shown in [Some("7"), None] {
        let stage = answered(Outcome::Conflict { shown: shown.map(q) }).await;
        assert_eq!(advice(&stage).await, what_to_do);
        let lines = people(&stage, "explain --delivery 1");
        assert_eq!(lines.len(), 2, "{lines:?}");
        done(&stage, &commands(&lines[0])[0].replace("HOW_MUCH_THEY_HOLD", "7"));
        assert_eq!((letters(&stage).await, books(&stage).await), (vec![], "7 0".to_owned()));
        let amount = "select trim_scale(amount)::text from postmeter.remittance where delivery_id = 1";
        assert_eq!(stage.value(amount).await, "3.5", "seven at half a dollar");
        super::later(&stage).await;
        assert_eq!(books(&stage).await, "9 0", "the rest is billed with another hour");
    }
    let stage = answered(Outcome::Conflict { shown: Some(q("7")) }).await;
    done(&stage, &commands(&people(&stage, "explain --delivery 1")[1])[0]);
    assert_eq!((letters(&stage).await, books(&stage).await), (vec![], "0 9".to_owned()));
    cured(stage, "written off", "0").await;
}

#[tokio::test]
async fn k11_what_they_do_not_hold_of_a_conflict_is_not_billed_once_it_is_corrected() {
    let stage = answered(Outcome::Conflict { shown: Some(q("7")) }).await;
    stage.correct("less", "nine", "-2", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    done(&stage, "resolve 1 --billed --why checked");
    super::later(&stage).await;
    assert_eq!((letters(&stage).await, books(&stage).await), (vec![], "7 0".to_owned()));
    assert_eq!(stage.accepted(), [""; 0], "nothing else is sent");
}

#[tokio::test]
async fn k11_a_conflict_of_a_closed_month_is_resolved_once_the_month_is_open_again() {
    let stage = answered(Outcome::Conflict { shown: Some(q("7")) }).await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    let advised = advice(&stage).await;
    assert!(advised.starts_with("reopen its month, then compare with what they hold"), "{advised}");
    let lines = people(&stage, "explain --delivery 1");
    for command in commands(&lines[0]) {
        done(&stage, &command);
    }
    assert_eq!((letters(&stage).await, books(&stage).await), (vec![], "7 0".to_owned()));
}

#[tokio::test]
async fn k11_what_waits_is_put_aside_resumed_and_probed() {
    let stage = due_where_nothing_is_sent().await;
    let lines = people(&stage, "explain --delivery 1");
    assert_eq!(lines.len(), 3, "{lines:?}");
    // put aside first: then it is the same advice as for all that is held
    done(&stage, &commands(&lines[2])[0]);
    assert_eq!(stage.remittances().await, ["18T10 held 3"]);
    done(&stage, "retry --delivery 1 --why checked --apply");
    for line in &lines[..2] {
        done(&stage, &commands(line)[0]);
    }
    stage.work_anew().await;
    cured(stage, "resumed and probed", "3").await;
}
