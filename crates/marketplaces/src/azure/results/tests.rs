use serde_json::json;

use super::*;

fn event(number: u32, quantity: &str) -> Value {
    let guid = format!("11112222-3333-4444-5555-{number:012}");
    let quantity: Value = serde_json::from_str(quantity).expect("a number");
    json!({ "resourceId": guid, "quantity": quantity, "dimension": "d", "effectiveStartTime": "2024-09-18T22:00:00Z", "planId": "p" })
}

fn sent(events: &[Value]) -> Vec<UsageEvent> {
    events.iter().map(UsageEvent::read).collect()
}

fn entry(event: &Value, status: &str) -> Value {
    let mut entry = event.clone();
    entry["status"] = json!(status);
    entry["messageTime"] = json!("0001-01-01T00:00:00");
    entry["usageEventId"] = json!(format!("id-{status}"));
    entry
}

fn verdicts(entries: &[Value], events: &[Value]) -> Vec<Verdict> {
    read(&json!({ "count": entries.len(), "result": entries }), &sent(events)).expect("an answer")
}

fn of(status: &str) -> Verdict {
    let one = event(1, "7");
    verdicts(&[entry(&one, status)], &[one]).remove(0)
}

/// A duplicate whose accepted message shows this quantity.
fn duplicate_showing(ours: &str, held: &Value) -> Verdict {
    let ours = event(1, ours);
    let mut entry = entry(&ours, "Duplicate");
    entry["error"] = json!({ "code": "Conflict", "additionalInfo": { "acceptedMessage": held } });
    verdicts(&[entry], &[ours]).remove(0)
}

fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: true }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown { code: code.to_owned() }
}

#[test]
fn d4_accepted_keeps_its_receipt_and_no_excerpt() {
    let expected = Verdict { outcome: Outcome::Accepted, receipt: Some("id-Accepted".to_owned()), entry: None };
    assert_eq!(of("Accepted"), expected);
}

#[test]
fn d4_expired_is_too_old() {
    assert_eq!(of("Expired").outcome, Outcome::TooOld { code: "Expired".to_owned() });
}

#[test]
fn d4_a_resource_that_is_not_to_be_billed_is_not_entitled() {
    for status in ["ResourceNotActive", "ResourceNotFound", "ResourceNotAuthorized"] {
        let verdict = of(status);
        assert_eq!(verdict.outcome, Outcome::NotEntitled { code: status.to_owned() });
        assert_eq!(verdict.receipt, None, "an id of something that was not taken is no receipt");
    }
}

#[test]
fn d4_a_wrong_event_is_rejected() {
    for status in ["InvalidDimension", "InvalidQuantity", "BadArgument"] {
        assert_eq!(of(status).outcome, Outcome::Rejected { code: status.to_owned() });
    }
}

#[test]
fn d4_error_is_unknown() {
    assert_eq!(of("Error").outcome, unknown("Error"));
}

#[test]
fn d4_a_status_nobody_knows_is_unrecognised_that_record_alone() {
    for (status, code) in [("Pending", "Pending"), ("accepted", "accepted"), ("so so", "status"), ("", "status")] {
        let (one, other) = (event(1, "7"), event(2, "7"));
        let found = verdicts(&[entry(&one, status), entry(&other, "Accepted")], &[one, other]);
        assert_eq!((&found[0].outcome, &found[1].outcome), (&unrecognised(code), &Outcome::Accepted));
    }
}

#[test]
fn d4_a_duplicate_of_the_same_quantity_shows_it() {
    for held in ["7.5", "7.50", "75e-1"] {
        let held: Value = serde_json::from_str(held).expect("a number");
        let verdict =
            duplicate_showing("7.5", &json!({ "status": "Duplicate", "quantity": held, "usageEventId": "first" }));
        assert_eq!(verdict.outcome, Outcome::Duplicate { shown: "7.5".parse().ok() });
        assert_eq!(verdict.receipt.as_deref(), Some("first"), "theirs, not that of the refused message");
    }
}

#[test]
fn d4_a_duplicate_of_another_quantity_is_a_conflict() {
    for held in ["7", "8.0"] {
        let number: Value = serde_json::from_str(held).expect("a number");
        let verdict = duplicate_showing("7.5", &json!({ "quantity": number }));
        let shown = held.trim_end_matches(".0").parse().ok();
        assert_eq!(verdict.outcome, Outcome::Conflict { shown });
    }
}

#[test]
fn d4_a_duplicate_that_shows_nothing_readable_shows_nothing() {
    let nothing = Outcome::Duplicate { shown: None };
    for held in [
        json!({}),
        json!(null),
        json!("7.5"),
        json!({ "quantity": null }),
        json!({ "quantity": "many" }),
        // About another hour: not what we asked about.
        json!({ "quantity": 9, "effectiveStartTime": "2024-09-18T23:00:00Z" }),
    ] {
        assert_eq!(duplicate_showing("7.5", &held).outcome, nothing, "{held}");
    }
    assert_eq!(of("Duplicate").outcome, nothing, "the echo of ours is no evidence of theirs");
    assert_eq!(of("Duplicate").receipt, None);
}

#[test]
fn d4_a_duplicate_of_what_they_do_not_bill_is_unrecognised() {
    for status in ["Expired", "NotProcessed"] {
        let verdict = duplicate_showing("7.5", &json!({ "status": status, "quantity": 7.5 }));
        assert_eq!(verdict.outcome, unrecognised(status));
    }
}

#[test]
fn d4_the_409_of_a_single_event_is_compared_alike() {
    let ours = UsageEvent::read(&event(1, "7.5"));
    let of = |body: &Value| read_conflict(body, &ours).map(|verdict| verdict.outcome);
    let body =
        |held: Value| json!({ "code": "Conflict", "message": "exists", "additionalInfo": { "acceptedMessage": held } });
    assert_eq!(of(&body(json!({ "quantity": 7.5 }))), Some(Outcome::Duplicate { shown: "7.5".parse().ok() }));
    assert_eq!(of(&body(json!({ "quantity": 8 }))), Some(Outcome::Conflict { shown: "8".parse().ok() }));
    assert_eq!(
        of(&json!({ "additionalInfo": { "quantity": 8 } })),
        Some(Outcome::Conflict { shown: "8".parse().ok() })
    );
    assert_eq!(of(&json!({ "code": "Conflict" })), Some(Outcome::Duplicate { shown: None }));
    assert_eq!(of(&json!({ "message": "a proxy's" })), None);
}

#[test]
fn d4_answers_are_matched_by_content_not_by_position() {
    let (a, b, c) = (event(1, "7"), event(2, "7"), event(3, "7"));
    let found = verdicts(&[entry(&c, "Expired"), entry(&a, "Accepted")], &[a, b, c]);
    let outcomes: Vec<_> = found.into_iter().map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Accepted, unknown("not_mentioned"), Outcome::TooOld { code: "Expired".to_owned() }]);
}

#[test]
fn d4_an_accepted_event_shows_our_quantity_by_value() {
    let ours = event(1, "17");
    let with = |quantity: Value| {
        let mut entry = entry(&ours, "Accepted");
        entry["quantity"] = quantity;
        verdicts(&[entry], std::slice::from_ref(&ours)).remove(0).outcome
    };
    assert_eq!(with(json!(17.0)), Outcome::Accepted);
    assert_eq!(with(Value::Null), Outcome::Accepted);
    assert_eq!(with(json!(16)), Outcome::Conflict { shown: Some(Quantity::from(16)) });
    assert_eq!(with(json!("many")), unrecognised("echoed_quantity"));
}

#[test]
fn d4_alone_an_entry_may_leave_out_what_it_is_about_but_not_deny_it() {
    let ours = event(1, "7");
    let bare = json!({ "status": "BadArgument" });
    let alone = verdicts(std::slice::from_ref(&bare), std::slice::from_ref(&ours)).remove(0).outcome;
    assert_eq!(alone, Outcome::Rejected { code: "BadArgument".to_owned() });
    let among = verdicts(&[bare, entry(&event(2, "7"), "Accepted")], &[ours.clone(), event(2, "7")]).remove(0).outcome;
    assert_eq!(among, unknown("not_mentioned"));
    let other = verdicts(&[entry(&event(2, "7"), "Accepted")], std::slice::from_ref(&ours)).remove(0).outcome;
    assert_eq!(other, unknown("not_mentioned"));
    assert_eq!(verdicts(&[json!(7)], &[ours]).remove(0).outcome, unknown("not_mentioned"));
}

#[test]
fn d4_contradictions_decide_nothing() {
    let a = event(1, "7");
    let of = |one: &str, other: &str| {
        verdicts(&[entry(&a, one), entry(&a, other)], std::slice::from_ref(&a)).remove(0).outcome
    };
    assert_eq!(of("Accepted", "Accepted"), Outcome::Accepted);
    assert_eq!(of("Accepted", "Expired"), unrecognised("contradictory"));
}

#[test]
fn d4_a_single_answer_has_a_status_and_is_about_ours() {
    let ours = UsageEvent::read(&event(1, "7"));
    let of = |body: &Value| read_single(body, &ours).map(|verdict| verdict.outcome);
    assert_eq!(of(&entry(&event(1, "7"), "Accepted")), Ok(Outcome::Accepted));
    assert_eq!(of(&json!({ "status": "Accepted" })), Ok(Outcome::Accepted));
    assert_eq!(of(&json!({ "status": "Expired" })), Ok(Outcome::TooOld { code: "Expired".to_owned() }));
    assert_eq!(of(&json!({ "status": "Odd" })), Ok(unrecognised("Odd")));
    assert_eq!(of(&entry(&event(2, "7"), "Accepted")), Err("another_event"));
    assert_eq!(of(&json!({ "ok": true })), Err("no_status"));
}

#[test]
fn d8_a_body_without_a_result_is_no_answer() {
    for body in [json!({}), json!([]), json!(null), json!({ "result": "all" }), json!({ "count": 1 })] {
        assert_eq!(read(&body, &sent(&[event(1, "7")])), Err("no_result"), "{body}");
    }
}
