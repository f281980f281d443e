//! K6: after commits were lost, what was settled before may have been reopened meanwhile: it is asked about, and nothing of
//! that time is cut before somebody has looked.

use remittance::Outcome;
use tests::Stage;

use crate::copies::Copy;

/// Seven cores of 10:00 that were refused; the database was dumped then, and they were retried and accepted after that.
async fn accepted_in_lost_time(has_lost_before: bool) -> (Stage, Copy) {
    let stage = Stage::new().await;
    if has_lost_before {
        stage.sql("select postmeter.timeline_went_back('ada', 'another loss')").await;
        stage.sql("select postmeter.resume('aws', 'ada', 'compared')").await;
        stage.worker.reload().await.unwrap();
    }
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("seven", "7", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    let copy = Copy::of(&stage).await;
    stage.sql("select postmeter.retry('{\"delivery\": 1}', 'ada', 'the product code was mended', false)").await;
    assert_eq!(stage.worker.send().await.unwrap(), 1);
    assert_eq!(stage.accepted(), ["18T10 7"]);
    assert_eq!(copy.run("declare original").0, 0);
    assert_eq!(copy.run("resume aws").0, 0);
    (stage, copy)
}

const STATUS: &str = "select string_agg(status || ' ' || maybe_billed, ', ' order by id) from postmeter.delivery";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_what_was_rejected_at_the_backup_and_accepted_in_the_lost_time_is_billed_once() {
    let (stage, copy) = accepted_in_lost_time(false).await;
    billed_once(&stage, &copy).await;
}

/// The dump brings the loss of before along, which this server has noted since it started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_a_dump_that_is_restored_on_a_server_that_has_noted_a_loss_is_a_loss_of_its_own() {
    let (stage, copy) = accepted_in_lost_time(true).await;
    assert_eq!(copy.value("select count(*)::text from postmeter.timeline_break").await, "2");
    billed_once(&stage, &copy).await;
}

async fn billed_once(stage: &Stage, copy: &Copy) {
    for verb in ["release", "retry"] {
        let (code, said) = copy.run(&format!("{verb} --delivery 1 --apply"));
        assert!(code == 3 && said.contains("may have been sent in the time that was lost"), "{verb}: {said}");
    }
    assert_eq!(copy.value(STATUS).await, "rejected false", "status and balance stay");
    let advice = "select what_to_do from postmeter.dead_letter";
    assert!(copy.value(advice).await.starts_with("may have been sent in the time that was lost: look it up"));
    let (_, told) = copy.run("explain --delivery 1");
    assert!(told.contains("in doubt") && told.contains("postmeter resolve 1 --billed"), "{told}");
    assert_eq!(copy.run("resolve 1 --billed").0, 0);
    assert_eq!(copy.value(STATUS).await, "accepted false");
    assert_eq!(copy.value("select trim_scale(accepted)::text from postmeter.balance").await, "7");
    assert_eq!(stage.accepted(), ["18T10 7"], "the marketplace never holds 14");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_what_was_not_sent_in_the_lost_time_may_be_corrected_once_a_person_has_said_so() {
    let (_stage, copy) = accepted_in_lost_time(false).await;
    // a report of many is resolved as one is
    let rows = "select string_agg(verdict, ' ') from postmeter.resolve_rows('[{\"delivery\": 1, \"quantity\": 0}]', 'ada', 'their report', false)";
    assert_eq!(copy.value(rows).await, "not_billed");
    assert_eq!(copy.value(STATUS).await, "rejected false");
    assert_eq!(copy.value("select count(*)::text from postmeter.doubt where decision_id is null").await, "0");
    let (code, said) = copy.run("retry --delivery 1 --apply");
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_what_was_released_before_and_they_hold_is_a_contradiction() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("seven", "7", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    stage.settle_as(stage.worker.id(), &claims, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
    stage.sql("select postmeter.release('{\"delivery\": 1}', 'ada', 'another hour', false)").await;
    stage.sql("select postmeter.timeline_went_back('ada', 'restored')").await;
    assert_eq!(
        stage.value("select string_agg(delivery_id || ' ' || status, ', ') from postmeter.doubt").await,
        "1 released"
    );
    assert_eq!(
        stage.value("select status from postmeter.resolve_unknown(1, true, 'ada', 'their report')").await,
        "released"
    );
    let said = "select says || ' ' || settled_verb || ' ' || is_open from postmeter.contradiction_list";
    assert_eq!(stage.value(said).await, "held release true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k6_nothing_whose_hour_was_over_is_cut_before_somebody_has_looked() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("seven", "7", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    let copy = Copy::of(&stage).await;
    stage.at("2024-09-18T11:10:00Z").await;
    copy.client.batch_execute("update postmeter.setting set clock_frozen = '2024-09-18T11:10:00Z'").await.unwrap();
    let worker = copy.worker().await;
    assert_eq!(worker.cut().await.unwrap().cut, 0, "nobody has said what it is");
    assert_eq!(copy.run("declare original").0, 0);
    worker.reload().await.unwrap();
    assert_eq!(worker.cut().await.unwrap().cut, 0, "nor compared");
    assert_eq!(copy.run("resume aws").0, 0);
    worker.reload().await.unwrap();
    assert_eq!(worker.cut().await.unwrap().cut, 1);
    assert_eq!(copy.value(STATUS).await, "due true", "it may have been sent under this very key");
}
