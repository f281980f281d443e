//! K7: what a marketplace says otherwise than it was settled is a row with both sides, an alert and a number, until a
//! person has judged it.

use outbox::claim::Claim;
use remittance::Outcome;
use tests::{Stage, q};

fn run(stage: &Stage, words: &str) -> (i32, String) {
    let mut command = tests::postmeter(&stage.db.url());
    let output = command.env("USER", "ada").args(words.split(' ')).args(["--why", "checked"]).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

/// Nine cores of 10:00 were sent once, and nobody knows what became of them.
async fn unknown() -> (Stage, Vec<Claim>) {
    let stage = Stage::new().await;
    stage.configure("tries_max = 1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Unknown { code: "timeout".to_owned() }).await;
    assert_eq!(stage.remittances().await, ["18T10 unknown 9"]);
    (stage, claims)
}

/// A person has said that it was not billed, after its deadline.
async fn expired() -> (Stage, Vec<Claim>) {
    let (stage, claims) = unknown().await;
    stage.at("2024-09-19T12:00:00Z").await;
    assert_eq!(run(&stage, "resolve 1 --not-billed").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 expired 9"]);
    (stage, claims)
}

async fn late(stage: &Stage, claims: &[Claim], outcome: Outcome) {
    stage.settle_as(stage.worker.id(), claims, outcome).await;
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1);
}

/// Both sides of what is open.
async fn open(stage: &Stage) -> Vec<String> {
    let sql = "select concat_ws(' ', says, their_quantity, 'not', settled_as, our_quantity, settled_verb, settled_by)
               from postmeter.contradiction_list where is_open order by id";
    stage.column(sql).await
}

async fn alerts(stage: &Stage) -> Vec<String> {
    stage.worker.look(true).await.unwrap();
    stage
        .column("select name || ' ' || subject || ' ' || count from postmeter.alert where cleared_at is null and name = 'contradiction'")
        .await
}

async fn balance(stage: &Stage) -> String {
    let sql = "select concat_ws(' ', trim_scale(sum(accepted)), trim_scale(sum(conflict)), trim_scale(sum(expired)), trim_scale(sum(carried)),
               trim_scale(sum(recorded - accepted - conflict - expired - rejected - held - written_off - covered - carried - due - unknown - open)))
               from postmeter.balance";
    stage.value(sql).await
}

#[tokio::test]
async fn k7_proof_of_acceptance_after_not_billed_and_release_is_shown_until_it_is_judged_and_then_credited() {
    let (stage, claims) = expired().await;
    assert_eq!(run(&stage, "release --delivery 1 --apply").0, 0);
    stage.work_at("2024-09-19T12:20:00Z").await;
    assert_eq!(stage.accepted(), ["19T11 9"], "billed with another hour");
    late(&stage, &claims, Outcome::Accepted).await;
    assert_eq!(open(&stage).await, ["held 9 not released 9 release ada"]);
    assert_eq!(alerts(&stage).await, ["contradiction aws 1"]);
    let attempt = stage.value("select attempt_id::text from postmeter.contradiction_list").await;
    assert_eq!(attempt, claims[0].attempt.to_string(), "the very call");
    assert_eq!(
        stage.value("select class || ' ' || code || ' ' || item from postmeter.dead_letter").await,
        "contradiction held contradiction 1"
    );
    let (_, status) = run_plain(&stage, &["status"]);
    assert!(
        status.contains(
            "contradiction 1, remittance 1 at aws: they hold 9, here it was released 9 (release by ada: checked)"
        ),
        "{status}"
    );
    let (_, told) = run_plain(&stage, &["explain", "--delivery", "1"]);
    assert!(
        told.contains("they hold 9, here it was released 9") && told.contains("postmeter judge 1 --theirs"),
        "{told}"
    );
    assert_eq!(balance(&stage).await, "9 0 0 0 0");

    let (code, said) = run(&stage, "judge 1 --theirs");
    assert!(code == 0 && said.contains("its remittance is now accepted"), "{said}");
    assert!(run(&stage, "judge 1 --theirs").1.contains("was judged so before"), "the same again changes nothing");
    assert_eq!(run(&stage, "judge 1 --ours").0, 2, "judged otherwise before");
    assert_eq!(open(&stage).await, [""; 0]);
    assert_eq!(alerts(&stage).await, [""; 0]);
    assert_eq!(balance(&stage).await, "18 0 0 -9 0", "billed twice: credit, for what is used later");
    stage.at("2024-09-19T12:40:00Z").await;
    stage.use_cores("later", "9", "2024-09-19T12:30:00Z").await;
    stage.cut_at("2024-09-19T13:10:00Z").await;
    assert_eq!(balance(&stage).await, "18 0 0 0 0", "the credit is spent");
    assert_eq!(stage.accepted(), ["19T11 9"], "the simulator was told of one only");
}

fn run_plain(stage: &Stage, words: &[&str]) -> (i32, String) {
    let output = tests::postmeter(&stage.db.url()).args(words).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn k7_what_is_contradicted_is_not_given_back_before_it_is_judged() {
    let (stage, claims) = expired().await;
    stage.sql("update postmeter.destination set expired_policy = 'roll_forward'; update postmeter.stuck set again_at = postmeter.clock()").await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Accepted).await;
    let (_, said) = run(&stage, "release --delivery 1 --apply");
    assert!(said.contains("an answer to it came late"), "unread, it is in the way too: {said}");
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1);
    assert_eq!(open(&stage).await, ["held 9 not expired 9 resolve ada"]);
    let (code, said) = run(&stage, "release --delivery 1 --apply");
    assert!(code == 3 && said.contains("judge contradiction 1 first"), "{said}");
    stage.work().await;
    stage.work_at("2024-09-19T14:00:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 expired 9"], "nor by itself");
    assert_eq!(run(&stage, "judge 1 --ours").0, 0);
    assert_eq!(run(&stage, "release --delivery 1 --apply").0, 0, "a person has decided");
    let told = "select string_agg(verb || coalesce(' ' || (detail ->> 'counts'), ''), ', ' order by id) from postmeter.decision";
    assert_eq!(stage.value(told).await, "resolve, judge ours, release");
}

#[tokio::test]
async fn k7_what_was_written_off_and_they_hold_is_counted_as_they_say() {
    let (stage, claims) = expired().await;
    assert_eq!(run(&stage, "write-off --delivery 1 --apply").0, 0);
    late(&stage, &claims, Outcome::Duplicate { shown: None }).await;
    assert_eq!(open(&stage).await, ["held 9 not written_off 9 write_off ada"]);
    assert_eq!(run(&stage, "judge 1 --theirs").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
    assert_eq!(balance(&stage).await, "9 0 0 0 0");
}

#[tokio::test]
async fn k7_another_quantity_than_was_accepted_is_a_contradiction_and_judged_a_conflict() {
    let (stage, claims) = unknown().await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    late(&stage, &claims, Outcome::Conflict { shown: Some(q("7")) }).await;
    late(&stage, &claims, Outcome::Conflict { shown: Some(q("7")) }).await;
    assert_eq!(open(&stage).await, ["other_quantity 7 not accepted 9 resolve ada"], "said twice, it is one");
    assert_eq!(balance(&stage).await, "9 0 0 0 0", "nothing moves by itself");
    assert_eq!(run(&stage, "judge 1 --theirs").0, 0);
    assert_eq!(balance(&stage).await, "7 2 0 0 0");
    // and what agrees is none
    late(&stage, &claims, Outcome::Conflict { shown: Some(q("7")) }).await;
    assert_eq!(open(&stage).await, [""; 0]);
}

#[tokio::test]
async fn k7_a_refusal_of_what_a_person_called_billed_is_a_contradiction() {
    let (stage, claims) = unknown().await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    late(&stage, &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    assert_eq!(open(&stage).await, ["not_held 0 not accepted 9 resolve ada"]);
    assert_eq!(run(&stage, "judge 1 --theirs").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 rejected 9"]);
}

#[tokio::test]
async fn k7_a_late_acceptance_of_what_waits_to_be_sent_again_settles_it_and_contradicts_who_said_not_billed() {
    let (stage, claims) = unknown().await;
    assert_eq!(run(&stage, "resolve 1 --not-billed").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 due 9"]);
    late(&stage, &claims, Outcome::Accepted).await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
    assert_eq!(stage.worker.send().await.unwrap(), 0, "it is not sent again");
    assert_eq!(open(&stage).await, ["held 9 not due 9 resolve ada"]);
    assert_eq!(run(&stage, "judge 1 --ours").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
    assert_eq!(stage.aws.record().len(), 0);
}

#[tokio::test]
async fn k7_a_report_that_says_otherwise_than_what_was_settled_is_a_contradiction() {
    let (stage, _) = expired().await;
    assert_eq!(run(&stage, "write-off --delivery 1 --apply").0, 0);
    let key = stage.value("select key from postmeter.delivery").await;
    let report = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(report.path(), format!("key,quantity\n{key},9\n")).unwrap();
    let words = format!("resolve --file {}", report.path().display());
    run(&stage, &words);
    assert_eq!(open(&stage).await, [""; 0], "a dry run notes nothing");
    let (code, said) = run(&stage, &format!("{words} --apply"));
    assert!(code == 3 && said.contains("contradiction 1 for postmeter judge"), "{said}");
    run(&stage, &format!("{words} --apply"));
    assert_eq!(open(&stage).await, ["held 9 not written_off 9 write_off ada"]);
    assert_eq!(stage.value("select source || ' ' || said_by from postmeter.contradiction").await, "person ada");
}

#[tokio::test]
async fn k7_a_day_of_which_they_hold_another_sum_is_a_contradiction_until_they_agree() {
    let (stage, _) = unknown().await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    stage.at("2024-09-19T12:00:00Z").await;
    let aws = stage.value("select id::text from postmeter.destination").await.parse().unwrap();
    let buyer = stage.value("select buyer from postmeter.meter").await;
    let held = async |quantity: &str| {
        let reported = outbox::reconcile::Reported {
            buyer: buyer.clone(),
            dimension: "cores".to_owned(),
            state: "Accepted".to_owned(),
            quantity: q(quantity),
            records: 1,
        };
        outbox::reconcile::reconcile(
            &stage.db.database,
            (aws, "aws"),
            "2024-09-18".parse().unwrap(),
            "ada",
            &[reported],
        )
        .await
        .unwrap();
    };
    held("7").await;
    held("7").await;
    assert_eq!(open(&stage).await, ["other_quantity 7 not accepted 9"]);
    assert_eq!(alerts(&stage).await, ["contradiction aws 1"]);
    assert_eq!(run(&stage, "judge 1 --theirs").0, 2, "a sum counts nothing");
    held("9").await;
    assert_eq!(open(&stage).await, [""; 0], "asked again, they agree");
    assert_eq!(alerts(&stage).await, [""; 0]);
}

#[tokio::test]
async fn k7_one_contradiction_that_cannot_be_noted_keeps_no_other_late_answer() {
    let (stage, first) = unknown().await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    stage.at("2024-09-18T11:30:00Z").await;
    stage.use_cores("four", "4", "2024-09-18T11:20:00Z").await;
    stage.cut_only("2024-09-18T12:10:00Z").await;
    let second = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &second, Outcome::Unknown { code: "timeout".to_owned() }).await;
    stage.sql("alter table postmeter.contradiction add constraint sick check (delivery_id <> 1)").await;
    stage.settle_as(stage.worker.id(), &first, Outcome::Conflict { shown: Some(q("7")) }).await;
    stage.settle_as(stage.worker.id(), &second, Outcome::Accepted).await;
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1);
    assert_eq!(stage.remittances().await, ["18T10 accepted 9", "18T11 accepted 4"]);
    stage.sql("alter table postmeter.contradiction drop constraint sick; delete from postmeter.setback").await;
    assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 1, "it was not read");
    assert_eq!(open(&stage).await, ["other_quantity 7 not accepted 9 resolve ada"]);
}

#[tokio::test]
async fn k7_a_contradiction_is_evidence_and_is_not_edited() {
    let (stage, claims) = expired().await;
    late(&stage, &claims, Outcome::Accepted).await;
    for sql in [
        "update postmeter.contradiction set their_quantity = 0",
        "delete from postmeter.contradiction",
        "truncate postmeter.contradiction",
    ] {
        assert!(stage.refusal(sql).await.starts_with("PM020"), "{sql}");
    }
}

#[tokio::test]
async fn k7_what_to_do_about_a_contradiction_is_run() {
    for side in ["theirs", "ours"] {
        let (stage, claims) = expired().await;
        late(&stage, &claims, Outcome::Accepted).await;
        let advised = stage.value("select what_to_do from postmeter.dead_letter where class = 'contradiction'").await;
        assert_eq!(advised, "compare with what they hold, then judge contradiction 1 as theirs or ours");
        let (_, told) = run_plain(&stage, &["explain", "--delivery", "1"]);
        let command = format!("postmeter judge 1 --{side}");
        assert!(told.contains(&command), "{told}");
        assert_eq!(run(&stage, &command["postmeter ".len()..]).0, 0);
        let left = "select coalesce(string_agg(class, ' '), 'none') from postmeter.dead_letter";
        assert_eq!(stage.value(left).await, if side == "theirs" { "none" } else { "expired" });
    }
}
