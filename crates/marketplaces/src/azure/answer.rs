//! From an HTTP reply to one answer per event. Pure: what it says depends on the reply and on what was sent alone.

use remittance::{Answer, Outcome};
use serde_json::Value;

use super::request::{Call, Operation};
use super::results::Verdict;
use super::{refusal, results};
use crate::evidence;
use crate::transport::{BodyFault, Reply};

/// Reads a reply into one answer per event sent, in the order sent. `secrets` are texts that must not be kept.
pub(super) fn read(reply: &Reply, call: &Call, secrets: &[&str]) -> Vec<Answer> {
    let evidence = Evidence { reply, secrets };
    let all =
        |outcome: Outcome, excerpt: Option<String>| vec![evidence.answer(outcome, None, excerpt); call.sent.len()];
    let body = match &reply.body {
        Ok(body) => body,
        Err(fault) => return all(without_body(reply, *fault), None),
    };
    let json = serde_json::from_slice::<Value>(body).ok();
    let verdicts = match (reply.status, &json) {
        (200, None) if body.trim_ascii().is_empty() => Err("empty_body"),
        (200, None) => Err("not_json"),
        (200, Some(json)) => read_200(json, call),
        (409, Some(json)) => conflict(json, call).ok_or("http_409"),
        (status, json) => {
            let outcome = refusal::outcome(status, json.as_ref(), reply.retry_after(), call.sent.len());
            return all(outcome, evidence.excerpt(body));
        }
    };
    match verdicts {
        Err(code) => all(unrecognised(code), evidence.excerpt(body)),
        Ok(verdicts) => verdicts
            .into_iter()
            .map(|v| evidence.answer(v.outcome, v.receipt, v.entry.and_then(|e| evidence.excerpt(e.as_bytes()))))
            .collect(),
    }
}

fn read_200(json: &Value, call: &Call) -> Result<Vec<Verdict>, &'static str> {
    match (call.operation, call.sent.as_slice()) {
        (Operation::Single, [one]) => results::read_single(json, one).map(|verdict| vec![verdict]),
        _ => results::read(json, &call.sent),
    }
}

/// A 409 speaks of one event; where several were sent it is not one we know.
fn conflict(json: &Value, call: &Call) -> Option<Vec<Verdict>> {
    match call.sent.as_slice() {
        [one] => results::read_conflict(json, one).map(|verdict| vec![verdict]),
        _ => None,
    }
}

/// An answer whose body never became whole: its head alone proves nothing good.
pub(super) fn without_body(reply: &Reply, fault: BodyFault) -> Outcome {
    let status = reply.status;
    match fault {
        BodyFault::Timeout => Outcome::Unknown { code: "timeout".to_owned() },
        BodyFault::TooLarge => unrecognised("body_too_large"),
        BodyFault::Truncated if status >= 500 => {
            Outcome::Unavailable { code: format!("http_{status}"), after: reply.retry_after() }
        }
        BodyFault::Truncated => unrecognised("truncated"),
    }
}

pub(super) fn unrecognised(code: &str) -> Outcome {
    Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
}

/// What is kept of a call beside its outcome.
pub(super) struct Evidence<'a> {
    pub(super) reply: &'a Reply,
    pub(super) secrets: &'a [&'a str],
}

impl Evidence<'_> {
    pub(super) fn answer(&self, outcome: Outcome, receipt: Option<String>, excerpt: Option<String>) -> Answer {
        Answer { outcome, receipt, http_status: Some(self.reply.status), request_id: self.request_id(), excerpt }
    }

    /// The ids that Microsoft's support asks for, as answered: request and, behind a slash, correlation.
    fn request_id(&self) -> Option<String> {
        let ids = ["x-ms-requestid", "x-ms-correlationid"].map(|name| self.reply.header(name).and_then(evidence::word));
        let ids: Vec<String> = ids.into_iter().flatten().collect();
        evidence::word(&ids.join("/"))
    }

    pub(super) fn excerpt(&self, text: &[u8]) -> Option<String> {
        evidence::excerpt(text, self.secrets)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use remittance::Quantity;
    use uuid::Uuid;

    use super::super::event::UsageEvent;
    use super::*;

    const EVENT: &str = r#"{"resourceId":"11112222-3333-4444-5555-666677778888","quantity":7,"dimension":"d","effectiveStartTime":"2024-09-18T22:00:00Z","planId":"p"}"#;

    fn call(operation: Operation, count: usize) -> Call {
        let event = UsageEvent::read(&serde_json::from_str(EVENT).expect("JSON"));
        let (request_id, correlation_id) = (Uuid::nil(), Uuid::nil());
        Call { operation, body: Vec::new(), sent: vec![event; count], request_id, correlation_id }
    }

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: Result<&str, BodyFault>) -> Reply {
        let header =
            |&(name, value): &(&'static str, _)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = headers.iter().map(header).collect();
        Reply { status, headers, body: body.map(|body| Bytes::from(body.to_owned())) }
    }

    fn outcome(operation: Operation, status: u16, body: Result<&str, BodyFault>) -> Outcome {
        read(&reply(status, &[], body), &call(operation, 1), &[]).remove(0).outcome
    }

    #[test]
    fn d8_a_200_that_is_no_answer_is_unrecognised() {
        for (operation, missing) in [(Operation::Batch, "no_result"), (Operation::Single, "no_status")] {
            assert_eq!(outcome(operation, 200, Ok("")), unrecognised("empty_body"));
            assert_eq!(outcome(operation, 200, Ok("<html>sign in</html>")), unrecognised("not_json"));
            assert_eq!(outcome(operation, 200, Ok(r#"{"result":[{"#)), unrecognised("not_json"));
            assert_eq!(outcome(operation, 200, Ok(r#"{"ok":true}"#)), unrecognised(missing));
            assert_eq!(outcome(operation, 202, Ok("")), unrecognised("http_202"));
            assert_eq!(outcome(operation, 307, Ok("")), unrecognised("http_307"));
        }
        let single = EVENT.replace("\"quantity\"", "\"status\":\"Accepted\",\"quantity\"");
        assert_eq!(outcome(Operation::Single, 200, Ok(&single)), Outcome::Accepted);
        assert_eq!(outcome(Operation::Batch, 200, Ok(&single)), unrecognised("no_result"));
    }

    #[test]
    fn d8_a_body_that_never_became_whole_proves_nothing() {
        let of = |status, fault| outcome(Operation::Batch, status, Err(fault));
        assert_eq!(of(200, BodyFault::TooLarge), unrecognised("body_too_large"));
        assert_eq!(of(200, BodyFault::Truncated), unrecognised("truncated"));
        assert_eq!(of(200, BodyFault::Timeout), Outcome::Unknown { code: "timeout".to_owned() });
        assert_eq!(of(502, BodyFault::Truncated), Outcome::Unavailable { code: "http_502".to_owned(), after: None });
    }

    #[test]
    fn d4_a_409_is_read_for_one_event_and_unrecognised_for_several() {
        let body =
            r#"{"code":"Conflict","additionalInfo":{"acceptedMessage":{"quantity":8.0,"usageEventId":"first"}}}"#;
        for operation in [Operation::Single, Operation::Batch] {
            let answer = read(&reply(409, &[], Ok(body)), &call(operation, 1), &[]).remove(0);
            assert_eq!(answer.outcome, Outcome::Conflict { shown: Some(Quantity::from(8)) });
            assert_eq!((answer.receipt.as_deref(), answer.excerpt.as_deref()), (Some("first"), Some(body)));
        }
        let answers = read(&reply(409, &[], Ok(body)), &call(Operation::Batch, 2), &[]);
        assert!(answers.iter().all(|answer| answer.outcome == unrecognised("http_409")), "{answers:?}");
        assert_eq!(outcome(Operation::Single, 409, Ok("no")), unrecognised("http_409"));
    }

    #[test]
    fn d4_the_ids_answered_are_kept() {
        for (headers, kept) in [
            (vec![("x-ms-requestid", "r-1"), ("x-ms-correlationid", "c-1")], Some("r-1/c-1")),
            (vec![("x-ms-correlationid", "c-1")], Some("c-1")),
            (vec![], None),
        ] {
            let answer = read(&reply(500, &headers, Ok("")), &call(Operation::Batch, 1), &[]).remove(0);
            assert_eq!(answer.request_id.as_deref(), kept);
        }
    }

    #[test]
    fn i6_a_refusal_does_not_leak_the_token() {
        let body = r#"{"code":"Forbidden","message":"the token eyJ0eXAi.secret-token.x is not yours"}"#;
        let answer =
            read(&reply(403, &[], Ok(body)), &call(Operation::Batch, 1), &["eyJ0eXAi.secret-token.x"]).remove(0);
        assert_eq!(answer.outcome, Outcome::Doubtful { code: "Forbidden".to_owned() });
        assert!(answer.excerpt.is_some_and(|kept| !kept.contains("secret-token") && kept.contains("[redacted]")));
    }
}
