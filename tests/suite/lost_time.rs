//! K6: what was recorded before commits were lost and would go to another hour waits for a person, who says whether it was
//! billed with one in that time; and of a conflict counts what they hold.

use outbox::NewUsage;
use remittance::Outcome;
use simulator::Clock;
use tests::{Dimension, GoogleStage, Stage, q, t};

use crate::copies::Copy;

async fn lose(stage: &Stage) {
    assert_eq!(stage.value("select postmeter.timeline_went_back('ada', 'restored')::text").await, "true");
}

async fn resume(stage: &Stage) {
    assert_eq!(run(stage, "resume aws").0, 0);
    stage.worker.reload().await.unwrap();
}

fn run(stage: &Stage, words: &str) -> (i32, String) {
    let mut command = tests::postmeter(&stage.db.url());
    let plain = ["status", "explain", "doctor"].iter().any(|plain| words.starts_with(plain));
    let output = command
        .env("USER", "ada")
        .args(words.split(' '))
        .args(if plain { &[][..] } else { &["--why", "looked"] })
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Accepted, conflict, held and carried of all meters; and what the balance does not explain.
async fn balance(stage: &Stage) -> String {
    let sql = "select concat_ws(' ', trim_scale(sum(accepted)), trim_scale(sum(conflict)), trim_scale(sum(held)), trim_scale(sum(carried)),
               trim_scale(sum(abs(difference)))) from postmeter.balance";
    stage.value(sql).await
}

async fn explained(stage: &Stage) {
    let sql = "select count(*)::text from postmeter.recalculate('aws', '2024-09-01') where part = 'unexplained'";
    assert_eq!(stage.value(sql).await, "0");
}

/// Nine cores of 10:00 were accepted; three more of that hour came later, and stand in the outbox of the dump; two came after
/// it, and are recorded again. In the lost time all five were billed with the hour before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_late_usage_of_before_a_restore_and_of_the_lost_time_is_billed_once() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:20:00Z").await;
    let mut copy = Copy::of(&stage).await;
    stage.use_cores("two", "2", "2024-09-18T10:25:00Z").await;
    stage.work_at("2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T11:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 5", "18T10 9"], "in the lost time");
    let (code, said) = copy.run("declare original");
    assert!(code == 0 && said.contains("the last change of the catalogue that survived"), "{said}");
    let two = NewUsage::new("billing", "two", "acme", "db", "cores", q("2"), t("2024-09-18T10:25:00Z"));
    copy.client.batch_execute("update postmeter.setting set clock_frozen = '2024-09-18T11:40:00Z'").await.unwrap();
    record(&mut copy.client, &two).await;
    assert_eq!(copy.run("resume aws").0, 0);
    stage.aws.set_clock(Clock::frozen_at(t("2024-09-18T11:40:00Z")));
    let worker = copy.worker().await;
    for _ in 0..3 {
        worker.work().await.unwrap();
    }
    let held =
        "select coalesce(string_agg(reason || ' ' || quantity, ', ' order by quantity), 'nothing') from postmeter.held";
    assert_eq!(copy.value(held).await, "lost_time 2, lost_time 3");
    let (_, told) = copy.run("status");
    assert!(told.contains("2 late usages may have been billed with another hour"), "{told}");
    let todo = "select min(what_to_do) from postmeter.dead_letter where code = 'lost_time'";
    assert!(copy.value(todo).await.starts_with("see whether they hold it with another hour"));
    // given up, or corrected by what they hold and counted
    let three = copy.value("select usage_id::text from postmeter.held where quantity = 3").await;
    assert_eq!(copy.run(&format!("write-off --held-usage --usage {three} --apply")).0, 0);
    let less = NewUsage { event_id: "less".to_owned(), corrects: Some("two".to_owned()), quantity: q("-2"), ..two };
    record(&mut copy.client, &less).await;
    assert_eq!(copy.run("retry --held-usage --reason lost_time --apply").0, 0);
    for _ in 0..3 {
        worker.work().await.unwrap();
    }
    assert_eq!(copy.value(held).await, "nothing");
    copy.client.batch_execute("update postmeter.setting set clock_frozen = '2024-09-18T12:10:00Z'").await.unwrap();
    stage.aws.set_clock(Clock::frozen_at(t("2024-09-18T12:10:00Z")));
    worker.work().await.unwrap();
    assert_eq!(stage.accepted(), ["18T09 5", "18T10 9"], "never under a second hour");
}

async fn record(client: &mut tokio_postgres::Client, usage: &NewUsage) {
    let transaction = client.transaction().await.unwrap();
    outbox::record_usage(&transaction, usage).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn k6_late_usage_that_was_not_billed_in_the_lost_time_is_counted_once_a_person_has_said_so() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:20:00Z").await;
    stage.correct("less", "three", "-1", "2024-09-18T10:20:00Z").await;
    lose(&stage).await;
    resume(&stage).await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.use_cores("two", "2", "2024-09-18T10:40:00Z").await;
    stage.fold().await;
    let held = "select string_agg(event_id || ' ' || h.reason, ', ' order by event_id) from postmeter.held h join postmeter.usage u on u.id = h.usage_id";
    assert_eq!(
        stage.value(held).await,
        "less lost_time, three lost_time, two lost_time",
        "what came after the loss may be recorded again"
    );
    stage.sql("select postmeter.return_cured(100)").await;
    stage.fold().await;
    assert_eq!(stage.value(held).await, "less lost_time, three lost_time, two lost_time", "nothing cures it");
    assert_eq!(run(&stage, "retry --held-usage --reason lost_time --apply").0, 0);
    stage.work_anew().await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 9", "18T11 4"], "to an hour of after the loss");
    assert_eq!(balance(&stage).await, "13 0 0 0 0");
    stage.use_cores("one", "1", "2024-09-18T11:30:00Z").await;
    stage.fold().await;
    assert_eq!(stage.value(held).await, "", "late usage of an hour of after the loss is ordinary");
    explained(&stage).await;
    stage.close().await;
}

/// Nine cores of 10:00 were refused and released, and what it had to bill stood in no hour when commits were lost.
async fn released() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    stage.at("2024-09-18T11:30:00Z").await;
    stage.use_cores("four", "4", "2024-09-18T11:20:00Z").await;
    stage.fold().await;
    stage.sql("select postmeter.release('{\"delivery\": 1}', 'ada', 'the product code was mended', false)").await;
    stage.at("2024-09-18T12:10:00Z").await;
    lose(&stage).await;
    resume(&stage).await;
    stage
}

const WITHHELD: &str = "select string_agg(d.id || ' ' || d.status || ' ' || trim_scale(d.quantity), ', ')
                        from postmeter.withheld w join postmeter.delivery d on d.id = w.delivery_id";

async fn withheld(stage: &Stage) -> String {
    stage.value("select delivery_id::text from postmeter.withheld").await
}

#[tokio::test]
async fn k6_released_quantity_of_before_a_restore_waits_for_a_person_and_goes_with_an_hour_of_after_it() {
    let stage = released().await;
    let id = withheld(&stage).await;
    stage.work_at("2024-09-18T12:20:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 4"], "without what may have been billed elsewhere");
    assert_eq!(stage.value(WITHHELD).await, format!("{id} held 9"));
    let advice = "select what_to_do from postmeter.dead_letter";
    assert!(stage.value(advice).await.ends_with("then resolve as billed or not billed"));
    assert_eq!(balance(&stage).await, "4 0 9 0 0");
    explained(&stage).await;
    for verb in ["retry", "release", "write-off"] {
        let (code, said) = run(&stage, &format!("{verb} --delivery {id} --apply"));
        assert!(code == 3 && said.to_lowercase().contains("resolve it"), "{verb}: {said}");
    }
    let (_, told) = run(&stage, &format!("explain --delivery {id}"));
    assert!(told.contains("may have been billed with another hour"), "{told}");
    assert_eq!(run(&stage, &format!("resolve {id} --not-billed")).0, 0);
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 4", "18T12 9"]);
    assert_eq!(balance(&stage).await, "13 0 0 0 0");
    explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k6_released_quantity_that_was_billed_in_the_lost_time_counts_where_a_person_says_so() {
    let stage = released().await;
    let id = withheld(&stage).await;
    stage.work_at("2024-09-18T12:20:00Z").await;
    assert_eq!(run(&stage, &format!("resolve {id} --billed")).0, 0);
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 4"], "it is not sent again");
    assert_eq!(balance(&stage).await, "13 0 0 0 0");
    explained(&stage).await;
}

/// In the lost time they were sent with the hour that is cut without them now: a conflict.
#[tokio::test]
async fn k6_what_was_withheld_and_they_hold_with_another_hour_is_counted_once_in_any_order() {
    for first in ["conflict", "withheld"] {
        let stage = released().await;
        let id = withheld(&stage).await;
        stage.cut_only("2024-09-18T12:20:00Z").await;
        let claims = stage.claim_as(stage.worker.id()).await;
        stage.settle_as(stage.worker.id(), &claims, Outcome::Conflict { shown: Some(q("13")) }).await;
        let hour = claims[0].delivery.to_string();
        let (code, said) = run(&stage, &format!("resolve {id} --not-billed"));
        assert!(code != 0 && said.contains(&format!("Settle {hour} first")), "{said}");
        let (conflict, it) = (format!("resolve {hour} --billed"), format!("resolve {id} --billed"));
        let order = if first == "conflict" { vec![&conflict] } else { vec![&it, &conflict] };
        for words in order {
            let (code, said) = run(&stage, words);
            assert_eq!(code, 0, "{said}");
        }
        assert_eq!(balance(&stage).await, "13 0 0 0 0", "{first} first");
        assert_eq!(stage.value(WITHHELD).await, format!("{id} released 0"));
        explained(&stage).await;
        stage.cut_at("2024-09-18T13:10:00Z").await;
        assert_eq!(stage.accepted(), [""; 0], "the rest is the marketplace's");
    }
}

#[tokio::test]
async fn k6_a_remainder_whose_own_hour_was_sent_waits_for_a_person() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("much", "9.5", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // it turns out to have ended with that hour, which was sent: what remains goes with another one
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T11:00:00Z'").await;
    lose(&stage).await;
    resume(&stage).await;
    stage.work_at("2024-09-18T11:12:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 9"]);
    assert_eq!(
        stage.value("select trim_scale(quantity)::text from postmeter.delivery where reason = 'lost_time'").await,
        "1"
    );
    assert_eq!(stage.value("select trim_scale(sum(held))::text from postmeter.balance").await, "1");
    explained(&stage).await;
    // nobody is subscribed any more
    let id = withheld(&stage).await;
    stage.at("2024-09-19T12:00:00Z").await;
    let (code, said) = run(&stage, &format!("resolve {id} --not-billed"));
    assert!(code == 0 && said.contains("no hour of its month can take it"), "{said}");
    let advice = format!("select what_to_do from postmeter.dead_letter where delivery_id = {id}");
    assert!(stage.value(&advice).await.ends_with("write it off"));
    assert_eq!(run(&stage, &format!("write-off --delivery {id} --apply")).0, 0);
    assert_eq!(balance(&stage).await, "9 0 0 -0.5 0");
    explained(&stage).await;
}

#[tokio::test]
async fn k6_an_hour_of_before_a_loss_that_missed_its_time_carries_nothing_to_another_hour() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:10:00Z").await;
    lose(&stage).await;
    stage.at("2024-09-19T12:00:00Z").await;
    resume(&stage).await;
    stage.cut_at("2024-09-19T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 unknown 9"], "it may have been sent under its own key");
    assert_eq!(stage.accepted(), [""; 0]);
}

#[tokio::test]
async fn k6_what_google_may_hold_under_another_operation_is_left_to_a_person() {
    let stage = GoogleStage::at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:06:00Z").await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage.use_cores("two", "2", "2024-09-18T11:05:00Z").await;
    stage.fold().await;
    lose(&stage).await;
    let (_, told) = run(&stage, "status");
    assert!(told.contains("1 remittance is due and left to you as unknown: they cannot be asked"), "{told}");
    resume(&stage).await;
    stage.cut_at("2024-09-18T11:12:00Z").await;
    assert_eq!(stage.asked(), [""; 0], "not while they would know its own operation again, either");
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(
        stage.asked().iter().filter(|operation| *operation == "report").count(),
        1,
        "only the hour of after the loss"
    );
    assert_eq!(stage.accepted(), ["18T11 2"]);
    assert_eq!(stage.remittances().await, ["18T10 unknown 1", "18T11 accepted 2"]);
    // the lost time's own operation is theirs already
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    assert_eq!(stage.remittances().await, ["18T10 accepted 1", "18T11 accepted 2"]);
}

const UNCONFIRMED: &str = "select coalesce(string_agg(delivery_id::text, ' '), 'none') from postmeter.unconfirmed";

/// Nine cores of 10:00 were due when commits were lost.
async fn due_and_lost() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    lose(&stage).await;
    resume(&stage).await;
    stage
}

/// AWS calls them a duplicate.
async fn duplicate() -> Stage {
    let stage = due_and_lost().await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Duplicate { shown: None }).await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
    stage
}

#[tokio::test]
async fn k6_a_duplicate_without_a_quantity_is_unconfirmed_until_somebody_has_looked_it_up() {
    let stage = duplicate().await;
    assert_eq!(stage.value(UNCONFIRMED).await, "1");
    let (_, told) = run(&stage, "status");
    assert!(told.contains("1 duplicate may be of another quantity"), "{told}");
    assert_eq!(balance(&stage).await, "9 0 0 0 0", "status and balance stay");
    let key = stage.value("select key from postmeter.delivery").await;
    let report = |quantity: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("key,quantity\n{key},{quantity}\n")).unwrap();
        run(&stage, &format!("resolve --file {} --apply", file.path().display()))
    };
    let (code, said) = report("7");
    assert!(code == 3 && said.contains("for postmeter judge"), "{said}");
    assert_eq!(stage.value(UNCONFIRMED).await, "1");
    assert_eq!(run(&stage, "judge 1 --theirs").0, 0);
    assert_eq!(stage.value(UNCONFIRMED).await, "none");
    assert_eq!(balance(&stage).await, "7 2 0 0 0");

    let stage = duplicate().await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    assert_eq!(stage.value(UNCONFIRMED).await, "none");

    let stage = duplicate().await;
    stage.at("2024-09-19T12:00:00Z").await;
    let aws = stage.value("select id::text from postmeter.destination").await.parse().unwrap();
    let reported = outbox::reconcile::Reported {
        buyer: stage.value("select buyer from postmeter.meter").await,
        dimension: "cores".to_owned(),
        state: "Accepted".to_owned(),
        quantity: q("9"),
        records: 1,
    };
    let day = "2024-09-18".parse().unwrap();
    outbox::reconcile::reconcile(&stage.db.database, (aws, "aws"), day, "ada", &[reported]).await.unwrap();
    assert_eq!(stage.value(UNCONFIRMED).await, "none", "their sum of the day agrees");
}

/// The same, but the answer comes after its worker was given up, when somebody has put the remittance aside or nobody has.
#[tokio::test]
async fn k6_a_late_duplicate_without_a_quantity_is_unconfirmed_too() {
    for put_aside in [false, true] {
        let stage = due_and_lost().await;
        let frozen = stage.another_worker().await;
        let claims = stage.claim_as(frozen.id()).await;
        stage.end_lease_of(frozen.id()).await;
        assert_eq!(stage.worker.reap().await.unwrap(), 1);
        if put_aside {
            assert_eq!(run(&stage, "hold --delivery 1 --apply").0, 0);
        }
        stage.settle_as(frozen.id(), &claims, Outcome::Duplicate { shown: None }).await;
        outbox::maintain::review(&stage.db.database).await.unwrap();
        assert_eq!(stage.remittances().await, ["18T10 accepted 9"]);
        assert_eq!(stage.value(UNCONFIRMED).await, "1", "{put_aside}");
        assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
        assert_eq!(stage.value(UNCONFIRMED).await, "none");
    }
}

/// Nine cores of 10:00, of which they hold another quantity.
async fn conflict(shown: Option<&str>) -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Conflict { shown: shown.map(q) }).await;
    assert_eq!(stage.remittances().await, ["18T10 conflict 9"]);
    stage
}

#[tokio::test]
async fn k6_a_conflict_that_is_billed_counts_what_they_hold_and_the_rest_goes_with_another_hour() {
    let stage = conflict(Some("7")).await;
    assert_eq!(run(&stage, "resolve 1 --billed --quantity 8").0, 2, "they have said otherwise");
    let (code, said) = run(&stage, "resolve 1 --billed");
    assert_eq!(code, 0, "{said}");
    assert_eq!(balance(&stage).await, "7 0 0 2 0");
    explained(&stage).await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(balance(&stage).await, "9 0 0 0 0");
    assert_eq!(stage.aws.record().len(), 1, "the rest, with another hour");

    // more than ours is credit
    let stage = conflict(None).await;
    let (code, said) = run(&stage, "resolve 1 --billed");
    assert!(code == 2 && said.contains("did not say how much") && said.contains("--quantity"), "{said}");
    assert_eq!(run(&stage, "resolve 1 --billed --quantity 12").0, 0);
    assert_eq!(balance(&stage).await, "12 0 0 -3 0");
    stage.at("2024-09-18T11:30:00Z").await;
    stage.use_cores("five", "5", "2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2"]);
    explained(&stage).await;

    // a report says the quantity of each
    let stage = conflict(None).await;
    let rows = "select string_agg(verdict || coalesce(': ' || note, ''), ' ') from postmeter.resolve_rows('[{\"delivery\": 1, \"quantity\": 7}]', 'ada', 'their report', false)";
    assert_eq!(stage.value(rows).await, "billed: counts as 7, as they hold it");
    assert_eq!(balance(&stage).await, "7 0 0 2 0");
}

#[tokio::test]
async fn k6_what_they_do_not_hold_of_an_hour_of_before_a_loss_is_asked_about_too() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    lose(&stage).await;
    resume(&stage).await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Conflict { shown: Some(q("7")) }).await;
    assert_eq!(run(&stage, "resolve 1 --billed").0, 0);
    assert_eq!(balance(&stage).await, "7 0 2 0 0");
    let id = withheld(&stage).await;
    assert_eq!(
        stage.value(WITHHELD).await,
        format!("{id} held 2"),
        "two may have been late, and billed with another hour"
    );
    assert_eq!(run(&stage, &format!("resolve {id} --not-billed")).0, 0);
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2"]);
    assert_eq!(balance(&stage).await, "9 0 0 0 0");
    explained(&stage).await;
}

/// Released, and its hour open again for other usage: then an answer to the earlier cut comes.
#[tokio::test]
async fn k7_proof_of_an_earlier_cut_that_comes_while_the_hour_is_open_again_stops_the_next_one() {
    for judged in [false, true] {
        let stage = Stage::new().await;
        stage.at("2024-09-18T10:30:00Z").await;
        stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
        stage.cut_only("2024-09-18T11:10:00Z").await;
        let claims = stage.claim_as(stage.worker.id()).await;
        // what makes an hour open again is that nothing of it was sent
        stage
            .sql("update postmeter.delivery set status = 'open', attempt_id = null, quantity = null, body = null, cut_at = now();
                  insert into postmeter.open_hour (delivery_id, destination_id, hour) select id, destination_id, hour from postmeter.delivery")
            .await;
        stage.settle_as(stage.worker.id(), &claims, Outcome::Accepted).await;
        outbox::maintain::review(&stage.db.database).await.unwrap();
        assert_eq!(outbox::maintain::review(&stage.db.database).await.unwrap(), 0, "once is enough");
        assert_eq!(stage.value("select count(*)::text from postmeter.contradiction").await, "1");
        let advice = "select what_to_do from postmeter.dead_letter";
        assert_eq!(stage.value(advice).await, "compare with what they hold, then judge contradiction 1 as ours");
        let (_, told) = run(&stage, "explain --delivery 1");
        assert!(told.contains("judge 1 --ours") && !told.contains("--theirs"), "{told}");
        if judged {
            assert_eq!(run(&stage, "judge 1 --ours").0, 0);
        }
        stage.use_cores("more", "2", "2024-09-18T10:20:00Z").await;
        stage.cut_at("2024-09-18T11:30:00Z").await;
        let status = stage.value("select status from postmeter.delivery").await;
        assert_eq!(status, if judged { "accepted" } else { "conflict" });
        assert_eq!(stage.aws.record().len(), usize::from(judged));
    }
}

#[tokio::test]
async fn k7_what_was_written_off_corrected_is_counted_whole_if_they_hold_it() {
    let stage = Stage::new().await;
    stage.configure("tries_max = 1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    stage.correct("less", "nine", "-3", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    assert_eq!(run(&stage, "write-off --delivery 1 --apply").0, 0);
    assert_eq!(balance(&stage).await, "0 0 0 0 0");
    stage.settle_as(stage.worker.id(), &claims, Outcome::Accepted).await;
    outbox::maintain::review(&stage.db.database).await.unwrap();
    assert_eq!(run(&stage, "judge 1 --theirs").0, 0);
    assert_eq!(balance(&stage).await, "9 0 0 -3 0", "they hold nine of six");
    explained(&stage).await;
}

#[tokio::test]
async fn k6_doctor_says_what_is_open() {
    let stage = duplicate().await;
    let (_, told) = run(&stage, "doctor");
    assert!(told.contains("lost time") && told.contains("1 duplicate may be of another quantity"), "{told}");
    assert!(told.contains("contradictions"), "{told}");
}
