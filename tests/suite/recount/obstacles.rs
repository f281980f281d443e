//! What stands in the way of an hour is named, and it is then offered as late usage.

use remittance::Outcome;
use serde_json::json;
use tests::Stage;

use super::{balanced, identify, mistyped, only, product, recount, recount_late, refused};

/// Another org of the right buyer, whose cores of ten o'clock are sent in that hour.
async fn neighbour(stage: &Stage) {
    stage.subscribe("globex", "111122223333").await;
    stage.record("hers", "globex", "cores", "5", "2024-09-18T10:06:00Z").await;
}

#[tokio::test]
async fn k5_an_hour_that_the_right_buyer_has_sent_is_named_and_it_is_counted_as_late_usage() {
    let stage = Stage::new().await;
    only(&stage, &["prod-db"], &["111122223333"]);
    identify(&stage, "acme", &product("prod-bd", "111122223333")).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
    neighbour(&stage).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    let done = recount(&stage, json!({"org": "acme"})).await;
    let sent = stage.value("select id::text from postmeter.delivery where status = 'accepted'").await;
    assert_eq!(
        refused(&done),
        [format!(
            "its own hour cannot take it, for remittance {sent} is accepted: settle that first, or let it count as late usage (--late)"
        )]
    );
    let done = recount_late(&stage, json!({"org": "acme"})).await;
    assert!(done[0].note.as_deref().unwrap().contains("as late usage"), "{done:?}");
    stage.cut_at("2024-09-18T11:40:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 3", "18T10 5"], "in an hour that was never sent");
    assert_eq!(stage.value("select is_late::text from postmeter.recounted").await, "true");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_while_the_right_buyers_hour_may_have_been_billed_or_is_in_flight_it_stays() {
    let stage = mistyped().await;
    neighbour(&stage).await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    stage.fold().await;
    let hers = stage.value("select delivery_id::text from postmeter.open_hour").await;
    stage.cut_only("2024-09-18T11:40:00Z").await;
    let names = async |state: &str| {
        let done = recount(&stage, json!({"org": "acme"})).await;
        assert!(refused(&done)[0].contains(&format!("remittance {hers} is {state}")), "{done:?}");
    };
    names("due").await;
    let worker = stage.worker.id();
    let claims = stage.claim_as(worker).await;
    names("in flight").await;
    stage.settle_as(worker, &claims, Outcome::Unknown { code: "timeout".to_owned() }).await;
    names("due and may have been billed").await;
    stage.close().await;
}

#[tokio::test]
async fn k5_what_may_have_been_billed_itself_or_is_contradicted_stays() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    stage.sql("update postmeter.delivery set status = 'unknown', maybe_billed = true, maybe_since = '2024-09-18T11:10:00Z'").await;
    let done = recount_late(&stage, json!({"org": "acme"})).await;
    assert_eq!(refused(&done), ["may have been billed: resolve it first"]);
    let unknown = stage.value("select id::text from postmeter.delivery").await;
    stage.sql(&format!("select postmeter.resolve_unknown({unknown}, false, 'ada', 'their report')")).await;
    stage.sql("delete from postmeter.due; update postmeter.delivery set status = 'rejected'").await;
    // proof that they hold it comes late, and nobody has read it
    let worker = stage.worker.id();
    stage
        .sql(&format!(
            "insert into postmeter.late_evidence (attempt_id, delivery_id, worker_id, outcome)
         select a.id, a.delivery_id, '{worker}', 'accepted' from postmeter.attempt a limit 1"
        ))
        .await;
    let done = recount_late(&stage, json!({"org": "acme"})).await;
    assert!(refused(&done)[0].contains("an answer to it came late"), "{done:?}");
    stage.worker.maintain().await.unwrap();
    let done = recount_late(&stage, json!({"org": "acme"})).await;
    assert!(refused(&done)[0].contains("the marketplace says otherwise: judge contradiction"), "{done:?}");
    stage.close().await;
}

#[tokio::test]
async fn k5_never_two_forms_of_one_buyer_in_an_hour_in_any_dimension() {
    let stage = Stage::new().await;
    stage.dimension(tests::Dimension { metric: "gigabytes", name: "gigabytes", ..tests::Dimension::default() }).await;
    stage.worker.reload().await.unwrap();
    super::rules(&stage, |aws| aws.dimensions = Some(["cores".to_owned()].into()));
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("cores", "3", "2024-09-18T10:05:00Z").await;
    stage.record("gigabytes", "acme", "gigabytes", "4", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    super::rules(&stage, |aws| aws.dimensions = None);
    let licence =
        json!({ "license_arn": "arn:aws:license-manager::1:license:l-1", "customer_aws_account_id": "111122223333" });
    // entered as if the schema had let it
    stage
        .sql(&format!(
            "alter table postmeter.subscription disable trigger check_subscription;
             update postmeter.subscription set identity = '{licence}', buyer = null, buyer_account = null, identity_form = null;
             alter table postmeter.subscription enable trigger check_subscription"
        ))
        .await;
    stage.worker.reload().await.unwrap();
    let done = recount(&stage, json!({"metric": "gigabytes", "org": "acme"})).await;
    assert!(refused(&done)[0].contains(" is accepted"), "{done:?}");
    stage.close().await;
}

#[tokio::test]
async fn k5_a_second_mistake_does_not_hide_the_first() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-dc", "111122223333")).await;
    recount(&stage, json!({"org": "acme"})).await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 released 3", "18T10 rejected 3"]);
    // back to the first one, which they know by now
    only(&stage, &["prod-bd"], &["111122223333"]);
    identify(&stage, "acme", &product("prod-bd", "111122223333")).await;
    recount(&stage, json!({"org": "acme"})).await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    assert_eq!(stage.remittances().await, ["18T10 accepted 3", "18T10 released 3"]);
    assert_eq!(stage.value("select trim_scale(sum(accepted))::text from postmeter.balance").await, "3");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_a_closed_month_stays_closed() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    stage.at("2024-10-05T00:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    let done = recount(&stage, json!({"org": "acme"})).await;
    assert!(
        refused(&done)[0].contains("month_closed") || refused(&done)[0].contains("its month is closed"),
        "{done:?}"
    );
    stage.close().await;
}

#[tokio::test]
async fn k5_when_its_month_is_over_it_goes_as_a_part_under_the_key_of_todays_catalogue() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    stage.at("2024-10-01T10:30:00Z").await;
    let filter = json!({"org": "acme"});
    assert!(refused(&recount(&stage, filter.clone()).await)[0].contains("the hour cannot be sent any more"));
    let done = recount_late(&stage, filter.clone()).await;
    assert_eq!(
        refused(&done),
        ["no hour of its month can take it any more: write it off, or set the destination's late_policy to part"]
    );
    stage.configure("late_policy = 'part'").await;
    let done = recount_late(&stage, filter).await;
    assert_eq!(done[0].after, "released", "{done:?}");
    stage.cut_at("2024-10-01T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["01T10 3"]);
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_a_form_begins_where_nothing_was_sent_under_the_other_and_the_refusal_says_when() {
    let stage = Stage::new().await;
    super::rules(&stage, |aws| aws.dimensions = Some(["cores".to_owned()].into()));
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("ten", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    // what is refused is no obstacle
    super::rules(&stage, |aws| aws.dimensions = Some(["other".to_owned()].into()));
    stage.use_cores("eleven", "3", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 3", "18T11 rejected 3"]);
    super::rules(&stage, |aws| aws.dimensions = None);
    let licence =
        r#"{"license_arn": "arn:aws:license-manager::1:license:l-1", "customer_aws_account_id": "111122223333"}"#;
    let refusal = stage.refusal(&format!("update postmeter.subscription set identity = '{licence}'")).await;
    assert_eq!(refusal, "PM012 valid_from subscription_form_begins");
    let entered = async |from: &str| {
        stage
            .db
            .client
            .batch_execute(&format!(
                "begin; update postmeter.subscription set valid_until = '{from}' where valid_until is null or valid_until <> '{from}';
                 insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account, identity_form, valid_from)
                 select 'acme', 'db', destination_id, '{licence}', 'aws/us-east-1/arn:aws:license-manager::1:license:l-1/111122223333', '111122223333', 'licence_account', '{from}'
                 from postmeter.subscription; commit"
            ))
            .await
    };
    let error = entered("2024-09-18T10:00:00Z").await.unwrap_err();
    let hint = error.as_db_error().unwrap().hint().unwrap().to_owned();
    assert!(hint.contains("at 2024-09-18T11:00Z or later"), "{hint}");
    stage.sql("rollback").await;
    entered("2024-09-18T11:00:00Z").await.unwrap();
    stage.worker.reload().await.unwrap();
    let done = recount(&stage, json!({"destination": "aws"})).await;
    assert_eq!(done[0].after, "released", "{done:?}");
    stage.cut_at("2024-09-18T12:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3", "18T11 3"]);
    assert!(stage.their_keys().iter().any(|key| key.contains("license")), "{:?}", stage.their_keys());
    balanced(&stage).await;
    stage.close().await;
}
