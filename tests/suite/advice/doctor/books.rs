//! Remittances and held usage that need a person, and destinations that nothing is sent to.

use remittance::Outcome;
use tests::{Stage, q};

use super::super::{commands, cured, done, due_where_nothing_is_sent, later, people, run};
use super::{advice, carry_out, explained, is_well, look};

/// The command of the only line with these words.
fn command_of(lines: &[String], words: &str) -> String {
    let line = lines.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {lines:?}"));
    commands(line).remove(0)
}

#[tokio::test]
async fn k11_doctor_sends_what_is_stuck_to_what_helps_it() {
    let stage = Stage::new().await;
    stage.configure("tries_max = 1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for hour in ["06", "07", "08", "09"] {
        stage.use_cores(hour, "3", &format!("2024-09-18T{hour}:10:00Z")).await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let mut claims = stage.claim_as(stage.worker.id()).await;
    claims.sort_by_key(|claim| claim.delivery);
    for (claim, outcome) in claims.iter().zip([
        Outcome::Rejected { code: "InvalidProductCode".to_owned() },
        Outcome::Unknown { code: "timeout".to_owned() },
        Outcome::Conflict { shown: Some(q("7")) },
        Outcome::NotEntitled { code: "CustomerNotEntitled".to_owned() },
    ]) {
        stage.settle_as(stage.worker.id(), std::slice::from_ref(claim), outcome).await;
    }
    let named = look(&stage.db.url());
    for (status, of_command) in
        [("rejected", "retry"), ("unknown", "resolve"), ("conflict", "write-off"), ("held", "retry")]
    {
        let lines = explained(&stage, &advice(&named, "remittances", &format!("1 {status}")));
        // they hold none of it
        let command = command_of(&lines, &format!("postmeter {of_command} "));
        done(&stage, &command.replace("--billed", "--not-billed"));
    }
    is_well(&stage.db.url(), &["remittances"]);
    stage.let_leases_end().await;
    stage.work_anew().await;
    is_well(&stage.db.url(), &["remittances", "balance", "usage"]);
    cured(stage, "stuck", "9").await;
}

#[tokio::test]
async fn k11_doctor_sends_held_usage_to_what_helps_it() {
    let stage = Stage::new().await;
    stage.configure("late_policy = 'hold'").await;
    stage.at("2024-10-01T10:30:00Z").await;
    let reasons = ["too_late", "poison", "by_operator", "lost_time", "implausible"];
    for reason in reasons {
        stage.use_cores(reason, "3", "2024-09-30T23:30:00Z").await;
    }
    stage.work().await;
    // what leads to the others is played elsewhere: real rows of other reasons
    stage.sql("update postmeter.held h set reason = u.event_id from postmeter.usage u where u.id = h.usage_id").await;
    done(&stage, "month close aws 2024-09 --forced --why books --apply");
    stage.use_cores("month_closed", "3", "2024-09-30T23:30:00Z").await;
    stage.work().await;
    let named = look(&stage.db.url());
    let lines = explained(&stage, &advice(&named, "held", "1 of 1 orgs: month_closed"));
    assert!(lines[0].contains("set late_policy to part and reopen the month"), "{lines:?}");
    stage.configure("late_policy = 'part'").await;
    done(&stage, "month reopen aws 2024-09 --why checked --apply");
    for reason in reasons {
        let lines = explained(&stage, &advice(&named, "held", &format!("1 of 1 orgs: {reason}")));
        done(&stage, &command_of(&lines, "postmeter retry "));
    }
    is_well(&stage.db.url(), &["held"]);
    later(&stage).await;
    is_well(&stage.db.url(), &["held", "balance", "usage"]);
    cured(stage, "held", "18").await;
}

#[tokio::test]
async fn k11_doctor_names_what_nothing_is_sent_to_and_what_is_past_its_deadline() {
    let stage = due_where_nothing_is_sent().await;
    let named = look(&stage.db.url());
    assert!(advice(&named, "forecast", "aws: 1 will miss").starts_with("resume it, if it is paused; mend it"));
    carry_out(&stage.db, &advice(&named, "destinations", "aws is paused"), "");
    let down = advice(&named, "breakers", "aws is down");
    assert!(run(&stage, "status").1.contains("aws is down since"), "{down}");
    carry_out(&stage.db, &down, "");
    stage.work_anew().await;
    is_well(&stage.db.url(), &["destinations", "breakers", "forecast"]);
    assert_eq!(stage.accepted(), ["18T10 3"]);

    stage.at("2024-09-18T12:30:00Z").await;
    stage.use_cores("two", "2", "2024-09-18T12:10:00Z").await;
    stage.cut_only("2024-09-18T13:10:00Z").await;
    stage.at("2024-09-19T13:30:00Z").await;
    let overdue = advice(&look(&stage.db.url()), "deadlines", "1 are due and past their deadline");
    assert!(overdue.starts_with("a running worker settles them as expired"), "{overdue}");
    stage.work_anew().await;
    let named = look(&stage.db.url());
    assert!(named.iter().all(|one| one.check != "deadlines"));
    let lines = explained(&stage, &advice(&named, "remittances", "1 expired"));
    done(&stage, &command_of(&lines, "postmeter release "));
    is_well(&stage.db.url(), &["remittances"]);
    cured(stage, "past its deadline", "5").await;
}

/// Released and billed with another hour, and then they say that they hold it under its own: an open contradiction.
#[tokio::test]
async fn k11_doctor_says_as_whose_a_contradiction_can_be_judged() {
    for is_earlier in [false, true] {
        let stage = super::super::unclear::answered(Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
        stage
            .sql(&format!(
                "insert into postmeter.contradiction (destination_id, delivery_id, source, says, their_quantity,
                     settled_as, our_quantity, is_earlier)
                 select destination_id, id, 'person', 'held', 9, 'rejected', 9, {is_earlier} from postmeter.delivery"
            ))
            .await;
        let told = advice(&look(&stage.db.url()), "contradictions", "1 open, the first is 1");
        let lines = people(&stage, "explain --delivery 1");
        assert_eq!(told.ends_with("(or --theirs)"), !is_earlier, "{told}");
        assert_eq!(lines.iter().any(|line| line.contains("--theirs")), !is_earlier, "explain says the same: {lines:?}");
        let (code, said) = run(&stage, "judge 1 --theirs --why checked");
        if is_earlier {
            assert_eq!(code, 2, "{said}");
            carry_out(&stage.db, &told, "");
        } else {
            assert_eq!(code, 0, "{said}");
        }
        is_well(&stage.db.url(), &["contradictions", "balance"]);
    }
}
