//! The client against Service Control's rules, with the simulator's own record as the judge.

use serde_json::json;
use simulator::{FaultKind, FaultRule, Filter};

use super::*;

#[tokio::test]
async fn d6_a_report_is_checked_first_taken_once_and_recorded_exactly() {
    let metrics = json!({ "cores": "int64", "gb": "double" });
    let running = simulator(json!({ "metrics": metrics, "services": [SERVICE] })).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme"), parcel(&google, "project:acme", "gb", "0.000001", 6)];
    assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted, Outcome::Accepted]);
    assert_eq!(asked(&running), ["metadata_token", "check", "report"]);
    let record = running.record();
    let lines: Vec<String> = record.iter().map(|a| format!("{} {}", a.key.dimension, a.quantity)).collect();
    assert_eq!(lines, ["cores 7", "gb 0.000001"]);
    let key = &record[0].key;
    assert_eq!((key.customer.as_str(), key.product.as_str()), ("project:acme", SERVICE));
    assert_eq!(
        (key.hour, key.region.as_str()),
        (t("2024-09-18T22:00:00Z"), parcels[0].idempotency_key.to_string().as_str())
    );
}

#[tokio::test]
async fn d6_a_repeated_operation_is_billed_once_whatever_they_call_it() {
    for (word, expected) in [("success", Outcome::Accepted), ("already_exists", Outcome::Duplicate { shown: None })] {
        let running = simulator(json!({ "identical_resend": word })).await;
        let google = google(&running.url());
        let parcels = [cores(&google, "project:acme")];
        let lost = FaultRule::new(FaultKind::LoseResponse).matching(reports()).times(1);
        running.add_fault(lost).expect("a fault");
        assert_eq!(submit(&google, &parcels).await, [unknown("reset")]);
        assert_eq!(submit(&google, &parcels).await, [expected]);
        let totals = running.totals(&Filter::default());
        assert_eq!((totals.records, totals.identical_resends, totals.hours_under_several_keys), (1, 1, 0));
    }
}

#[tokio::test]
async fn d6_errors_are_told_apart_by_operation() {
    let running = simulator(json!({ "metrics": { "cores": "int64", "gb": "double" } })).await;
    running
        .add_fault(FaultRule::new(FaultKind::Unprocessed).matching(Match { dimension: Some("gb".into()), ..reports() }))
        .expect("a fault");
    let google = google(&running.url());
    let parcels = [
        cores(&google, "project:a"),
        parcel(&google, "project:b", "cores", "1.5", 2),
        parcel(&google, "project:c", "gb", "1.5", 2),
        parcel(&google, "project:d", "typo", "1", 0),
        cores(&google, "project:e"),
    ];
    let rejected = Outcome::Rejected { code: "INVALID_ARGUMENT".to_owned() };
    let expected = [Outcome::Accepted, rejected.clone(), unknown("UNAVAILABLE"), rejected, Outcome::Accepted];
    assert_eq!(submit(&google, &parcels).await, expected);
    assert_eq!(running.totals(&Filter::default()).records, 2);
}

#[tokio::test]
async fn d6_a_failed_call_is_unknown_for_all_of_it() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:a"), cores(&google, "project:b")];
    for (fault, expected) in [
        (FaultRule::new(FaultKind::LoseResponse), unknown("reset")),
        (
            FaultRule::new(FaultKind::Status).status(503).when(simulator::When::After),
            Outcome::Unavailable { code: "http_503".to_owned(), after: None },
        ),
        (
            FaultRule::new(FaultKind::Html).when(simulator::When::After),
            Outcome::Unrecognised { code: "not_json".to_owned(), record_alone: false },
        ),
    ] {
        running.add_fault(fault.matching(reports()).times(1)).expect("a fault");
        let outcomes = submit(&google, &parcels).await;
        assert!(outcomes.iter().all(|outcome| *outcome == expected && outcome.may_have_arrived()), "{outcomes:?}");
    }
    assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted, Outcome::Accepted]);
    let totals = running.totals(&Filter::default());
    assert_eq!((totals.records, totals.hours_under_several_keys), (2, 0));
}

#[tokio::test]
async fn d6_who_may_not_be_billed_is_held_without_a_report_and_the_others_go() {
    let consumers = json!({ "project:acme": "ACTIVE", "project:poor": "BILLING_DISABLED" });
    let running = simulator(json!({ "consumers": consumers })).await;
    let google = google(&running.url());
    let [poor, stranger] = ["project:poor", "project:nobody"].map(|consumer| cores(&google, consumer));
    let refused = submit(&google, &[poor.clone(), stranger]).await;
    assert_eq!(refused, [not_entitled("BILLING_DISABLED"), not_entitled("CONSUMER_INVALID")]);
    assert_eq!(asked(&running), ["metadata_token", "check", "check"]);
    let mixed = submit(&google, &[poor, cores(&google, "project:acme")]).await;
    assert_eq!(mixed, [not_entitled("BILLING_DISABLED"), Outcome::Accepted]);
    assert_eq!(asked(&running)[3..], ["check", "report"], "the verdict of a minute ago stands");
    assert_eq!(running.totals(&Filter::default()).records, 1);
}

#[tokio::test]
async fn d6_a_consumer_is_checked_once_in_a_minute_and_again_when_a_report_contradicts() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme"), parcel(&google, "project:acme", "gb", "1", 0)];
    for _ in 0..3 {
        assert_eq!(submit(&google, &parcels).await, [Outcome::Accepted, Outcome::Accepted]);
    }
    assert_eq!(asked(&running), ["metadata_token", "check", "report", "report", "report"]);
    let mut settings = running.settings();
    settings.google.consumers = Some([("project:acme".to_owned(), "PROJECT_DELETED".to_owned())].into());
    running.set_settings(settings);
    let more = [parcel(&google, "project:acme", "users", "1", 0)];
    assert_eq!(submit(&google, &more).await, [not_entitled("PERMISSION_DENIED")]);
    assert_eq!(submit(&google, &more).await, [not_entitled("PROJECT_DELETED")]);
    assert_eq!(asked(&running)[5..], ["report", "check"]);
}

#[tokio::test]
async fn d6_what_cannot_be_checked_now_was_not_sent_and_who_was_checked_goes_on() {
    let running =
        simulator(json!({ "consumers": { "project:a": "ACTIVE", "project:b": "BILLING_STATUS_UNAVAILABLE" } }));
    let running = running.await;
    let google = google(&running.url());
    let [a, b] = ["project:a", "project:b"].map(|consumer| cores(&google, consumer));
    assert_eq!(submit(&google, std::slice::from_ref(&a)).await, [Outcome::Accepted]);
    let outcomes = submit(&google, &[b, a]).await;
    assert_eq!(outcomes, [not_sent("check_billing_status_unavailable"), Outcome::Accepted]);
}

#[tokio::test]
async fn d12_throttling_and_a_wrong_service_stop_the_destination_and_no_record() {
    let running = simulator(json!({})).await;
    let google = google(&running.url());
    let parcels = [cores(&google, "project:acme")];
    running.add_fault(FaultRule::new(FaultKind::Throttle).matching(reports()).times(1)).expect("a fault");
    assert_eq!(submit(&google, &parcels).await, [Outcome::Throttled { after: None }]);
    let mut settings = running.settings();
    settings.google.services = Some(["other.example.com".to_owned()].into());
    running.set_settings(settings);
    assert_eq!(submit(&google, &parcels).await, [doubtful("NOT_FOUND")]);
    assert_eq!(running.totals(&Filter::default()).records, 0);
}

#[tokio::test]
async fn d2_a_request_that_is_refused_as_a_whole_is_halved() {
    let running = simulator(json!({})).await;
    let bad = Match { customer: Some("project:bad".into()), ..reports() };
    running
        .add_fault(FaultRule::new(FaultKind::RefuseRecord).error("INVALID_ARGUMENT").matching(bad))
        .expect("a fault");
    let google = google(&running.url());
    let parcels = [cores(&google, "project:good"), cores(&google, "project:bad")];
    let refused = Outcome::BatchRefused { code: "INVALID_ARGUMENT".to_owned() };
    assert_eq!(submit(&google, &parcels).await, [refused.clone(), refused.clone()]);
    assert_eq!(submit(&google, &parcels[..1]).await, [Outcome::Accepted]);
    assert_eq!(submit(&google, &parcels[1..]).await, [refused]);
}
