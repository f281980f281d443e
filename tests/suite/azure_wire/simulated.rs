//! The client against the simulator's rules.

use jiff::civil::date;
use marketplaces::Reported;
use simulator::{AzureResource, AzureStatus, FaultKind, FaultRule, Match, ReconStatus, When};

use super::*;

/// A destination on a simulator.
async fn pair(more: &Value) -> (Running, Azure) {
    let running = simulator().await;
    let azure = azure(&running.url(), &running.url(), more);
    (running, azure)
}

fn set(running: &Running, change: impl FnOnce(&mut simulator::AzureSettings)) {
    let mut settings = running.settings();
    change(&mut settings.azure);
    running.set_settings(settings);
}

fn held(running: &Running) -> Vec<String> {
    running.record().iter().map(|held| format!("{} {}", held.key.customer, held.quantity)).collect()
}

/// A resource that may be billed.
fn subscribed(number: u64) -> AzureResource {
    AzureResource { resource: resource(number), ..AzureResource::default() }
}

#[tokio::test]
async fn d4_a_batch_of_25_is_accepted_each_with_its_own_receipt() {
    let (running, azure) = pair(&json!({})).await;
    let parcels = parcels(&azure, 25);
    let answers = azure.submit(&parcels, AMPLE).await;
    let record = running.record();
    assert_eq!((record.len(), running.calls().len()), (25, 1));
    for (at, answer) in answers.iter().enumerate() {
        let own = record.iter().find(|held| held.key.customer == resource(at as u64 + 1)).unwrap();
        assert_eq!((&answer.outcome, own.quantity.to_string().as_str()), (&Outcome::Accepted, "7.5"));
        assert_eq!(answer.receipt, Some(own.receipt.to_string()), "by content: they answer last first");
        assert_eq!((answer.http_status, answer.excerpt.as_ref()), (Some(200), None));
        let ids = answer.request_id.as_deref().unwrap();
        assert!(ids.starts_with(&running.calls()[0].request_id.to_string()), "{ids}");
    }
    assert_eq!(running.calls()[0].operation, "batchUsageEvent");
}

#[tokio::test]
async fn d4_one_event_goes_alone_where_that_is_chosen_and_both_resource_forms_pass() {
    let (running, azure) = pair(&json!({ "single": true, "token_version": "v2" })).await;
    let uri = "/subscriptions/11112222-3333-4444-5555-666677778888/resourceGroups/RG/providers/Microsoft.Solutions/applications/App";
    for identity in
        [json!({ "resource_id": resource(1), "plan_id": "gold" }), json!({ "resource_uri": uri, "plan_id": "gold" })]
    {
        let parcel = parcel_of(&azure, &identity, "cores", HOUR, "7.5");
        let answer = azure.submit(std::slice::from_ref(&parcel), AMPLE).await.remove(0);
        assert_eq!(
            (answer.outcome, answer.receipt),
            (Outcome::Accepted, running.record().last().map(|held| held.receipt.to_string()))
        );
        let ids = answer.request_id.unwrap();
        assert!(ids.ends_with(&format!("/{}", parcel.idempotency_key)), "{ids}");
        assert_eq!(azure.buyer(&identity).unwrap().account, running.record().last().unwrap().key.customer);
    }
    assert!(running.calls().iter().all(|call| call.operation == "usageEvent"));
    assert_eq!(submit(&azure, &parcels(&azure, 2)[1..]).await, [Outcome::Accepted]);
    assert_eq!(submit(&azure, &parcels(&azure, 4)[2..]).await, [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(running.calls().last().unwrap().operation, "batchUsageEvent", "two go together");
}

#[tokio::test]
async fn d4_a_duplicate_of_our_quantity_shows_it_and_of_another_is_a_conflict() {
    for single in [false, true] {
        let (running, azure) = pair(&json!({ "single": single })).await;
        let identity = json!({ "resource_id": resource(1), "plan_id": "gold" });
        let of = |quantity: &str| [parcel_of(&azure, &identity, "cores", HOUR, quantity)];
        running.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1)).unwrap();
        assert_eq!(submit(&azure, &of("7.5")).await, [unknown("reset")]);
        let again = azure.submit(&of("7.5"), AMPLE).await.remove(0);
        assert_eq!(again.outcome, Outcome::Duplicate { shown: Some(q("7.5")) });
        assert_eq!(again.receipt, Some(running.record()[0].receipt.to_string()), "a free read-back");
        assert_eq!(again.http_status, Some(if single { 409 } else { 200 }));
        let other = azure.submit(&of("8"), AMPLE).await.remove(0);
        assert_eq!(other.outcome, Outcome::Conflict { shown: Some(q("7.5")) });
        assert!(other.excerpt.unwrap().contains("acceptedMessage"));
        // Another plan is no other key.
        let silver = json!({ "resource_id": resource(1).to_uppercase(), "plan_id": "silver" });
        let changed = [parcel_of(&azure, &silver, "cores", HOUR, "7.5")];
        assert_eq!(submit(&azure, &changed).await, [Outcome::Duplicate { shown: Some(q("7.5")) }]);
        assert_eq!(held(&running), [format!("{} 7.5", resource(1))]);
    }
}

#[tokio::test]
async fn d4_the_accepted_quantity_is_what_was_frozen_to_the_last_digit() {
    let (running, azure) = pair(&json!({})).await;
    let quantities = ["0.000001", "0.1", "123456.789012", "999999999.999999", "1000000000000"];
    let parcels: Vec<OutgoingRecord> = (1..)
        .zip(quantities)
        .map(|(number, quantity)| {
            let identity = json!({ "resource_id": resource(number), "plan_id": "gold" });
            parcel_of(&azure, &identity, "cores", HOUR, quantity)
        })
        .collect();
    assert_eq!(submit(&azure, &parcels).await, vec![Outcome::Accepted; 5]);
    let held: Vec<String> = running.record().iter().map(|held| held.quantity.to_string()).collect();
    assert_eq!(held, quantities);
    let again: Vec<Outcome> =
        quantities.iter().map(|quantity| Outcome::Duplicate { shown: Some(q(quantity)) }).collect();
    assert_eq!(submit(&azure, &parcels).await, again);
}

#[tokio::test]
async fn d4_each_event_of_a_batch_has_its_own_outcome() {
    let (running, azure) = pair(&json!({})).await;
    let of_another = AzureResource { client: Some("another-app".to_owned()), ..subscribed(2) };
    let suspended = AzureResource { status: AzureStatus::Suspended, ..subscribed(3) };
    let ended =
        AzureResource { status: AzureStatus::Unsubscribed, until: Some(t("2024-09-18T10:30:00Z")), ..subscribed(4) };
    set(&running, |azure| {
        azure.resources = Some(vec![subscribed(1), of_another, suspended, ended, subscribed(6)]);
        azure.dimensions = Some(["cores".to_owned()].into());
    });
    let mut parcels = parcels(&azure, 5);
    let known = json!({ "resource_id": resource(6), "plan_id": "gold" });
    parcels.push(parcel_of(&azure, &known, "typo", HOUR, "1"));
    parcels.push(parcel_of(&azure, &known, "cores", "2024-09-17T11:00:00Z", "1"));
    let not_entitled = |code: &str| Outcome::NotEntitled { code: code.to_owned() };
    let expected = [
        Outcome::Accepted,
        not_entitled("ResourceNotAuthorized"),
        not_entitled("ResourceNotActive"),
        Outcome::Accepted,
        not_entitled("ResourceNotFound"),
        Outcome::Rejected { code: "InvalidDimension".to_owned() },
        Outcome::TooOld { code: "Expired".to_owned() },
    ];
    assert_eq!(submit(&azure, &parcels).await, expected);
    assert_eq!(running.record().len(), 2);
}

#[tokio::test]
async fn d4_the_400_of_a_single_event_is_read_and_never_accepted() {
    let (running, azure) = pair(&json!({ "single": true })).await;
    set(&running, |azure| {
        azure.resources = Some(vec![subscribed(1), AzureResource { status: AzureStatus::Suspended, ..subscribed(2) }]);
        azure.dimensions = Some(["cores".to_owned()].into());
    });
    let of = |number, dimension, hour| {
        let identity = json!({ "resource_id": resource(number), "plan_id": "gold" });
        [parcel_of(&azure, &identity, dimension, hour, "1")]
    };
    let not_subscribed = Outcome::NotEntitled { code: "NotSubscribed".to_owned() };
    for (parcel, expected) in [
        (of(2, "cores", HOUR), not_subscribed.clone()),
        (of(3, "cores", HOUR), not_subscribed),
        (of(1, "typo", HOUR), Outcome::Rejected { code: "BadArgument".to_owned() }),
        (of(1, "cores", "2024-09-17T11:00:00Z"), Outcome::TooOld { code: "Expired".to_owned() }),
    ] {
        let answer = azure.submit(&parcel, AMPLE).await.remove(0);
        // "The resource is not found." is a word of its own only in a batch.
        assert_eq!((answer.outcome, answer.http_status), (expected, Some(400)));
        assert!(answer.excerpt.unwrap().contains("details"));
    }
    assert!(running.record().is_empty());
}

#[tokio::test]
async fn d4_a_call_refused_for_one_event_is_refused_as_a_batch() {
    let (running, azure) = pair(&json!({})).await;
    let bad = Match { customer: Some(resource(2)), ..Match::default() };
    running.add_fault(FaultRule::new(FaultKind::RefuseRecord).matching(bad).error("Expired")).unwrap();
    let parcels = parcels(&azure, 3);
    assert_eq!(submit(&azure, &parcels).await, vec![Outcome::BatchRefused { code: "Expired".to_owned() }; 3]);
    assert_eq!(submit(&azure, &parcels[..1]).await, [Outcome::Accepted]);
    assert_eq!(submit(&azure, &parcels[1..2]).await, [Outcome::TooOld { code: "Expired".to_owned() }]);
}

#[tokio::test]
async fn d4_an_error_of_one_event_is_unknown_and_the_others_are_accepted() {
    let (running, azure) = pair(&json!({})).await;
    let slow = Match { customer: Some(resource(2)), ..Match::default() };
    running.add_fault(FaultRule::new(FaultKind::Unprocessed).matching(slow).times(1)).unwrap();
    let parcels = parcels(&azure, 2);
    assert_eq!(submit(&azure, &parcels).await, [Outcome::Accepted, unknown("Error")]);
    assert_eq!(submit(&azure, &parcels[1..]).await, [Outcome::Accepted]);
}

#[tokio::test]
async fn d12_a_429_is_throttled_with_their_wait() {
    let (running, azure) = pair(&json!({})).await;
    set(&running, |azure| azure.retry_after_seconds = Some(17));
    running.add_fault(FaultRule::new(FaultKind::Throttle).times(1)).unwrap();
    let after = Some(Duration::from_secs(17));
    assert_eq!(submit(&azure, &parcels(&azure, 1)).await, [Outcome::Throttled { after }]);
}

#[tokio::test]
async fn d8_disturbed_answers_about_accepted_events_are_never_accepted_and_the_repetition_settles_them() {
    for (kind, expected) in [
        (FaultKind::Garbage, unrecognised("not_json")),
        (FaultKind::Html, unrecognised("not_json")),
        (FaultKind::Empty, unrecognised("empty_body")),
        (FaultKind::Truncated, unrecognised("truncated")),
        (FaultKind::Oversized, unrecognised("body_too_large")),
        (FaultKind::LoseResponse, unknown("reset")),
        (FaultKind::Reset, unknown("reset")),
    ] {
        let (running, azure) = pair(&json!({})).await;
        running.add_fault(FaultRule::new(kind).when(When::After).times(1)).unwrap();
        let parcels = parcels(&azure, 2);
        let outcomes = submit(&azure, &parcels).await;
        assert_eq!(outcomes, [expected.clone(), expected], "{kind:?}");
        assert!(outcomes[0].may_have_arrived());
        let shown = Some(q("7.5"));
        assert_eq!(submit(&azure, &parcels).await, vec![Outcome::Duplicate { shown }; 2], "{kind:?}");
    }
}

#[tokio::test]
async fn d5_what_they_hold_of_a_day_is_read_back() {
    let (running, azure) = pair(&json!({})).await;
    let identity = json!({ "resource_id": resource(1).to_uppercase(), "plan_id": "gold" });
    let hours = [("2024-09-17T23:00:00Z", "1"), ("2024-09-18T00:00:00Z", "2.5"), ("2024-09-18T10:00:00Z", "4")];
    let parcels: Vec<OutgoingRecord> =
        hours.iter().map(|(hour, quantity)| parcel_of(&azure, &identity, "cores", hour, quantity)).collect();
    assert_eq!(submit(&azure, &parcels).await, vec![Outcome::Accepted; 3]);
    assert!(azure.capabilities().can_be_asked);
    let day = date(2024, 9, 18);
    let expected = |state: &str| Reported {
        buyer: azure.buyer(&identity).unwrap().key,
        dimension: "cores".to_owned(),
        day,
        quantity: q("6.5"),
        count: 2,
        state: state.to_owned(),
    };
    assert_eq!(azure.reported(day, AMPLE).await, Ok(vec![expected("Accepted")]));
    set(&running, |azure| azure.recon_status = ReconStatus::Submitted);
    assert_eq!(azure.reported(day, AMPLE).await, Ok(vec![expected("Submitted")]), "not processed yet");
    assert_eq!(azure.reported(date(2024, 9, 16), AMPLE).await, Ok(vec![]));
    // What somebody else reported stands there too, and what they forgot does not.
    running.reset();
    assert_eq!(
        azure.reported(day, AMPLE).await.unwrap_err().outcome,
        unauthorised("Unauthorized"),
        "the token was forgotten too"
    );
    assert_eq!(azure.reported(day, AMPLE).await, Ok(vec![]));
}

#[tokio::test]
async fn d5_a_question_that_fails_is_an_answer_and_no_empty_day() {
    let (running, azure) = pair(&json!({})).await;
    for (kind, expected) in [
        (FaultKind::Html, unrecognised("not_a_list")),
        (FaultKind::Empty, unrecognised("not_a_list")),
        (FaultKind::LoseResponse, unknown("reset")),
        (FaultKind::Throttle, Outcome::Throttled { after: None }),
    ] {
        running.add_fault(FaultRule::new(kind).times(1)).unwrap();
        assert_eq!(azure.reported(date(2024, 9, 18), AMPLE).await.unwrap_err().outcome, expected, "{kind:?}");
    }
}
