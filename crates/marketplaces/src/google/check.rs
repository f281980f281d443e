//! The check before a report: may this consumer be billed now? Pure: the request, and what its answer means.
//!
//! A check changes nothing over there. Whatever becomes of it, nothing of a record was sent yet.

use remittance::{Answer, Outcome};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::evidence::Evidence;
use super::freeze::operation_name;
use super::refusal;
use super::request::Operation;
use super::verdicts::Verdict;
use crate::evidence as texts;
use crate::transport::{BodyFault, Reply};

/// The request's body: the operation without its value. Labels are not allowed in a check, and the end of the window
/// is required in a report only.
pub(super) fn body(operation: &Operation, service: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct CheckRequest<'a> {
        operation: Checked<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Checked<'a> {
        operation_id: Uuid,
        operation_name: String,
        consumer_id: &'a str,
        start_time: &'a str,
    }
    let operation = Checked {
        operation_id: operation.id,
        operation_name: operation_name(service),
        consumer_id: &operation.consumer,
        start_time: &operation.start_time,
    };
    serde_json::to_vec(&CheckRequest { operation }).expect("texts are always JSON")
}

/// What an answer says of the consumer.
///
/// # Errors
/// The answer for its records where it says nothing, should no earlier verdict help.
pub(super) fn read(reply: &Reply, evidence: &Evidence<'_>) -> Result<Verdict, Answer> {
    let fails = |outcome: Outcome, body: &[u8]| Err(evidence.answer(outcome, evidence.excerpt(body)));
    let not_sent = |code: &str| Outcome::NotSent { code: code.to_owned() };
    let body = match &reply.body {
        Ok(body) => body,
        Err(BodyFault::Timeout) => return fails(not_sent("check_timeout"), b""),
        Err(_) => return fails(not_sent("check_no_answer"), b""),
    };
    if reply.status != 200 {
        let word = refusal::word_in(body);
        return fails(refusal::of_check(reply.status, word.as_deref(), reply.retry_after()), body);
    }
    let Some(Value::Object(response)) = evidence.json(body) else {
        return fails(not_sent("check_no_answer"), body);
    };
    if response.contains_key("error") {
        return fails(not_sent("check_no_answer"), body);
    }
    let errors = match response.get("checkErrors") {
        None | Some(Value::Null) => return Ok(Verdict::Entitled),
        Some(Value::Array(errors)) => errors,
        Some(_) => return fails(not_sent("check_no_answer"), body),
    };
    let codes = || errors.iter().map(|error| error.get("code").and_then(Value::as_str).unwrap_or_default());
    // A word about the customer outweighs that some other question could not be answered.
    match (codes().find(|code| !is_transient(code)), codes().next()) {
        (Some(code), _) => Ok(Verdict::NotEntitled(texts::code(code).unwrap_or_else(|| "check_error".to_owned()))),
        (None, Some(code)) => fails(not_sent(&format!("check_{}", code.to_ascii_lowercase())), body),
        (None, None) => Ok(Verdict::Entitled),
    }
}

/// Errors that say nothing about the customer: a backend of Google's could not be asked, or the load is too much now.
fn is_transient(code: &str) -> bool {
    texts::code(code).is_some()
        && (code.ends_with("_UNAVAILABLE")
            || code.starts_with("INJECTED_") && code.ends_with("ERROR")
            || matches!(code, "RESOURCE_EXHAUSTED" | "LOAD_SHEDDING"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http::header::{CONTENT_TYPE, HeaderValue};
    use serde_json::json;

    use super::*;

    fn said(status: u16, body: &str) -> Result<Verdict, Outcome> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let reply = Reply { status, headers, body: Ok(Bytes::from(body.to_owned())) };
        read(&reply, &Evidence::of(&reply, &[])).map_err(|answer| answer.outcome)
    }

    fn errors(codes: &[&str]) -> Result<Verdict, Outcome> {
        let errors: Vec<Value> = codes.iter().map(|code| json!({ "code": code, "subject": "project:acme" })).collect();
        said(200, &json!({ "operationId": "x", "checkErrors": errors }).to_string())
    }

    #[test]
    fn d6_no_errors_are_a_yes() {
        assert_eq!(said(200, r#"{"operationId":"x","serviceConfigId":"2024-09-18r0"}"#), Ok(Verdict::Entitled));
        assert_eq!(said(200, r#"{"checkErrors":[]}"#), Ok(Verdict::Entitled));
    }

    #[test]
    fn d6_a_word_about_the_customer_is_a_no() {
        for code in [
            "BILLING_DISABLED",
            "SERVICE_NOT_ACTIVATED",
            "PROJECT_DELETED",
            "PROJECT_INVALID",
            "CONSUMER_INVALID",
            "NOT_FOUND",
            "PERMISSION_DENIED",
            "A_WORD_OF_NEXT_YEAR",
        ] {
            assert_eq!(errors(&[code]), Ok(Verdict::NotEntitled(code.to_owned())));
        }
        let both = errors(&["QUOTA_CHECK_UNAVAILABLE", "BILLING_DISABLED"]);
        assert_eq!(both, Ok(Verdict::NotEntitled("BILLING_DISABLED".to_owned())));
        assert_eq!(errors(&["so so"]), Ok(Verdict::NotEntitled("check_error".to_owned())));
    }

    #[test]
    fn d6_what_google_cannot_tell_now_is_no_verdict() {
        for code in [
            "BILLING_STATUS_UNAVAILABLE",
            "SERVICE_STATUS_UNAVAILABLE",
            "QUOTA_CHECK_UNAVAILABLE",
            "NAMESPACE_LOOKUP_UNAVAILABLE",
            "INJECTED_ERROR",
            "INJECTED_BILLING_ERROR",
            "LOAD_SHEDDING",
        ] {
            let expected = Outcome::NotSent { code: format!("check_{}", code.to_ascii_lowercase()) };
            assert_eq!(errors(&[code]), Err(expected));
        }
    }

    #[test]
    fn d8_a_check_without_an_answer_sent_nothing() {
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "[]"),
            (200, r#"{"checkErrors":"none"}"#),
            (200, r#"{"error":{"code":403}}"#),
        ] {
            let expected = Outcome::NotSent { code: "check_no_answer".to_owned() };
            assert_eq!(said(status, body), Err(expected), "{body:?}");
        }
        for fault in [BodyFault::TooLarge, BodyFault::Truncated, BodyFault::Timeout] {
            let reply = Reply { status: 200, headers: HeaderMap::new(), body: Err(fault) };
            let answer = read(&reply, &Evidence::of(&reply, &[])).expect_err("no verdict");
            assert!(matches!(answer.outcome, Outcome::NotSent { .. }), "{answer:?}");
        }
    }

    #[test]
    fn d6_a_check_has_the_operations_id_and_neither_labels_nor_values() {
        let operation = Operation {
            id: Uuid::from_u128(7),
            consumer: "project:acme".to_owned(),
            start_time: "2024-09-18T22:00:00Z".to_owned(),
        };
        let expected = concat!(
            r#"{"operation":{"operationId":"00000000-0000-0000-0000-000000000007","operationName":"db/report","#,
            r#""consumerId":"project:acme","startTime":"2024-09-18T22:00:00Z"}}"#
        );
        assert_eq!(String::from_utf8_lossy(&body(&operation, "db")), expected);
    }
}
