//! From a report's reply to one answer per operation. Pure: what it says depends on the reply and on what was sent
//! alone.
//!
//! Success is told by silence (no error, no receipt), so an answer counts only if it is Google's JSON without doubt,
//! and an error that names no record of the call makes those that are not named unknown.

use remittance::{Answer, Outcome};
use serde_json::Value;
use uuid::Uuid;

use super::evidence::Evidence;
use super::refusal;
use super::request::Operation;
use crate::transport::{BodyFault, Reply};

/// Reads a reply into one answer per operation sent, in the order sent.
pub(super) fn read(reply: &Reply, sent: &[&Operation], secrets: &[&str]) -> Vec<Answer> {
    let evidence = Evidence::of(reply, secrets);
    let all = |outcome: Outcome, excerpt: Option<String>| vec![evidence.answer(outcome, excerpt); sent.len()];
    let body = match &reply.body {
        Ok(body) => body,
        Err(fault) => return all(without_body(reply.status, *fault, reply, sent.len()), None),
    };
    if reply.status != 200 {
        let word = refusal::word_in(body);
        let outcome = refusal::of_report(reply.status, word.as_deref(), reply.retry_after(), sent.len());
        return all(outcome, evidence.excerpt(body));
    }
    let unrecognised = |code: &str| all(unrecognised(code), evidence.excerpt(body));
    let response = match evidence.json(body) {
        Some(Value::Object(response)) => response,
        Some(_) => return unrecognised("not_an_object"),
        None if body.trim_ascii().is_empty() => return unrecognised("empty_body"),
        None => return unrecognised("not_json"),
    };
    // An empty object is what success without any detail looks like.
    let known = ["reportErrors", "reportInfos", "serviceConfigId", "serviceRolloutId"];
    if !response.is_empty() && !response.keys().any(|name| known.contains(&name.as_str())) {
        return unrecognised("no_report");
    }
    match response.get("reportErrors") {
        None | Some(Value::Null) => all(Outcome::Accepted, None),
        Some(Value::Array(errors)) => by_operation(errors, sent, &evidence),
        Some(_) => unrecognised("report_errors"),
    }
}

/// One answer per operation, from the errors that name it.
fn by_operation(errors: &[Value], sent: &[&Operation], evidence: &Evidence<'_>) -> Vec<Answer> {
    let named = |error: &Value| -> Option<usize> {
        let id: Uuid = error.get("operationId")?.as_str()?.parse().ok()?;
        sent.iter().position(|operation| operation.id == id)
    };
    let names: Vec<Option<usize>> = errors.iter().map(named).collect();
    let of_nobody = names.iter().position(Option::is_none);
    let excerpt = |error: &Value| evidence.excerpt(error.to_string().as_bytes());
    (0..sent.len())
        .map(|at| {
            let mut own = errors.iter().zip(&names).filter(|(_, name)| **name == Some(at)).map(|(error, _)| error);
            match (own.next(), of_nobody) {
                (Some(error), _) => {
                    let outcome = of_error(error);
                    let agree = own.all(|other| of_error(other) == outcome);
                    let contradictory =
                        || Outcome::Unrecognised { code: "contradictory".to_owned(), record_alone: true };
                    evidence.answer(if agree { outcome } else { contradictory() }, excerpt(error))
                }
                (None, Some(nobody)) => {
                    let outcome = Outcome::Unknown { code: "error_of_nobody".to_owned() };
                    evidence.answer(outcome, errors.get(nobody).and_then(excerpt))
                }
                (None, None) => evidence.answer(Outcome::Accepted, None),
            }
        })
        .collect()
}

fn of_error(error: &Value) -> Outcome {
    match error.get("status").and_then(|status| status.get("code")).and_then(Value::as_i64) {
        Some(code) => refusal::of_operation(code),
        None => Outcome::Unrecognised { code: "no_code".to_owned(), record_alone: true },
    }
}

/// An answer whose body never became whole: its head alone proves nothing good.
fn without_body(status: u16, fault: BodyFault, reply: &Reply, count: usize) -> Outcome {
    match fault {
        BodyFault::Timeout => Outcome::Unknown { code: "timeout".to_owned() },
        BodyFault::TooLarge => unrecognised("body_too_large"),
        BodyFault::Truncated if status >= 500 => refusal::of_report(status, None, reply.retry_after(), count),
        BodyFault::Truncated => unrecognised("truncated"),
    }
}

fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::{CONTENT_TYPE, HeaderValue};
    use serde_json::json;

    use super::*;

    fn operation(number: u128) -> Operation {
        let (consumer, start_time) = ("project:acme".to_owned(), String::new());
        Operation { id: Uuid::from_u128(number), consumer, start_time }
    }

    fn reply(status: u16, media_type: &'static str, body: Result<&str, BodyFault>) -> Reply {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        Reply { status, headers, body: body.map(|body| Bytes::from(body.to_owned())) }
    }

    fn words(body: &Value, count: u128) -> Vec<String> {
        let sent: Vec<Operation> = (0..count).map(operation).collect();
        let reply = reply(200, "application/json; charset=UTF-8", Ok(&body.to_string()));
        let answers = read(&reply, &sent.iter().collect::<Vec<_>>(), &[]);
        answers.iter().map(|a| format!("{} {}", a.outcome.as_str(), a.outcome.code().unwrap_or("-"))).collect()
    }

    fn outcome(status: u16, body: Result<&str, BodyFault>) -> Outcome {
        read(&reply(status, "application/json", body), &[&operation(1)], &[]).remove(0).outcome
    }

    fn error(number: u128, code: i64) -> Value {
        json!({ "operationId": Uuid::from_u128(number), "status": { "code": code, "message": "no" } })
    }

    #[test]
    fn d6_no_errors_are_acceptance_for_all_without_a_receipt() {
        for body in [json!({}), json!({ "serviceConfigId": "2024r0" }), json!({ "reportErrors": [] })] {
            assert_eq!(words(&body, 2), ["accepted -", "accepted -"], "{body}");
        }
    }

    #[test]
    fn d6_errors_are_matched_by_operation_and_the_rest_is_accepted() {
        let body = json!({ "reportErrors": [error(2, 3), error(0, 14)], "serviceConfigId": "x" });
        assert_eq!(words(&body, 4), ["unknown UNAVAILABLE", "accepted -", "rejected INVALID_ARGUMENT", "accepted -"]);
    }

    #[test]
    fn d6_an_error_that_names_nobody_sent_leaves_the_unnamed_unknown() {
        for nobody in [error(9, 3), json!({ "status": { "code": 3 } }), json!({ "operationId": "x" }), json!(17)] {
            let body = json!({ "reportErrors": [error(0, 7), nobody] });
            assert_eq!(words(&body, 2), ["not_entitled PERMISSION_DENIED", "unknown error_of_nobody"], "{body}");
        }
    }

    #[test]
    fn d6_contradictions_decide_nothing() {
        let body = json!({ "reportErrors": [error(0, 3), error(0, 7), error(1, 3), error(1, 3)] });
        assert_eq!(words(&body, 2), ["unrecognised contradictory", "rejected INVALID_ARGUMENT"]);
        let body = json!({ "reportErrors": [{ "operationId": Uuid::from_u128(0) }] });
        assert_eq!(words(&body, 1), ["unrecognised no_code"]);
        let body = json!({ "reportErrors": [error(0, 0)] });
        assert_eq!(words(&body, 1), ["unrecognised OK"]);
    }

    #[test]
    fn d8_a_200_that_is_no_answer_is_unrecognised() {
        for (body, code) in [
            ("", "empty_body"),
            ("<html>welcome to the portal</html>", "not_json"),
            (r#"{"reportErrors":[{"#, "not_json"),
            ("[]", "not_an_object"),
            (r#"{"ok":true}"#, "no_report"),
            (r#"{"error":{"code":403,"status":"PERMISSION_DENIED"}}"#, "no_report"),
            (r#"{"reportErrors":"none"}"#, "report_errors"),
        ] {
            assert_eq!(outcome(200, Ok(body)), unrecognised(code), "{body}");
        }
        let portal = read(&reply(200, "text/html", Ok("{}")), &[&operation(1)], &[]).remove(0).outcome;
        assert_eq!(portal, unrecognised("not_json"), "an empty object from anybody else");
    }

    #[test]
    fn d8_a_body_that_never_became_whole_proves_nothing() {
        assert_eq!(outcome(200, Err(BodyFault::TooLarge)), unrecognised("body_too_large"));
        assert_eq!(outcome(200, Err(BodyFault::Truncated)), unrecognised("truncated"));
        assert_eq!(outcome(200, Err(BodyFault::Timeout)), Outcome::Unknown { code: "timeout".to_owned() });
        assert_eq!(
            outcome(502, Err(BodyFault::Truncated)),
            Outcome::Unavailable { code: "http_502".to_owned(), after: None }
        );
    }

    #[test]
    fn d6_a_failed_call_is_the_same_for_all() {
        let body = r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"later"}}"#;
        let answers = read(&reply(503, "application/json", Ok(body)), &[&operation(1), &operation(2)], &[]);
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0].outcome, Outcome::Unavailable { code: "UNAVAILABLE".to_owned(), after: None });
        assert_eq!((answers[0].http_status, answers[0].excerpt.as_deref()), (Some(503), Some(body)));
    }

    #[test]
    fn i6_a_token_that_is_quoted_is_not_kept() {
        let body = r#"{"error":{"code":401,"status":"UNAUTHENTICATED","message":"bad token ya29.short"}}"#;
        let answer = read(&reply(401, "application/json", Ok(body)), &[&operation(1)], &["ya29.short"]).remove(0);
        assert!(answer.excerpt.is_some_and(|text| !text.contains("ya29") && text.contains("[redacted]")));
    }
}
