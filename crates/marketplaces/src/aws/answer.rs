//! From an HTTP reply to one answer per record. Pure: what it says depends on the reply and on what was sent alone.

use remittance::{Answer, Outcome};
use serde_json::Value;

use super::record::UsageRecord;
use super::{refusal, results};
use crate::evidence;
use crate::transport::{BodyFault, Reply};

/// Reads a reply into one answer per record sent, in the order sent. `secrets` are texts that must not be kept.
pub(super) fn read(reply: &Reply, sent: &[UsageRecord], secrets: &[&str]) -> Vec<Answer> {
    let evidence = Evidence { reply, secrets };
    let all = |outcome: Outcome, excerpt: Option<String>| vec![evidence.answer(outcome, None, excerpt); sent.len()];
    let body = match &reply.body {
        Ok(body) => body,
        Err(fault) => return all(without_body(reply, *fault), None),
    };
    let json = serde_json::from_slice::<Value>(body);
    if reply.status != 200 {
        let kind = kind(reply, json.as_ref().ok(), body);
        let outcome = refusal::outcome(reply.status, kind.as_deref(), reply.retry_after(), sent.len());
        return all(outcome, evidence.excerpt(body));
    }
    let unrecognised =
        |code: &str| all(Outcome::Unrecognised { code: code.to_owned(), record_alone: false }, evidence.excerpt(body));
    match json {
        Err(_) if body.trim_ascii().is_empty() => unrecognised("empty_body"),
        Err(_) => unrecognised("not_json"),
        Ok(json) => match results::read(&json, sent) {
            Err(code) => unrecognised(code),
            Ok(verdicts) => verdicts
                .into_iter()
                .map(|v| evidence.answer(v.outcome, v.receipt, v.entry.and_then(|e| evidence.excerpt(e.as_bytes()))))
                .collect(),
        },
    }
}

/// An answer whose body never became whole: its head alone proves nothing good.
fn without_body(reply: &Reply, fault: BodyFault) -> Outcome {
    let status = reply.status;
    match fault {
        BodyFault::Timeout => Outcome::Unknown { code: "timeout".to_owned() },
        BodyFault::TooLarge => Outcome::Unrecognised { code: "body_too_large".to_owned(), record_alone: false },
        BodyFault::Truncated if status >= 500 => {
            Outcome::Unavailable { code: format!("http_{status}"), after: reply.retry_after() }
        }
        BodyFault::Truncated => Outcome::Unrecognised { code: "truncated".to_owned(), record_alone: false },
    }
}

/// The error's type: in the header, in the body's `__type`, or (front doors answer in XML) in its `<Code>`.
fn kind(reply: &Reply, json: Option<&Value>, body: &[u8]) -> Option<String> {
    let header = reply.header("x-amzn-errortype");
    let member = json.and_then(|json| json.get("__type")).and_then(Value::as_str);
    let element = || {
        let text = std::str::from_utf8(body).ok()?;
        let (_, from) = text.split_once("<Code>")?;
        from.split_once("</Code>").map(|(code, _)| code)
    };
    header
        .and_then(refusal::kind)
        .or_else(|| member.and_then(refusal::kind))
        .or_else(|| element().and_then(refusal::kind))
}

/// What is kept of a call beside its outcome.
struct Evidence<'a> {
    reply: &'a Reply,
    secrets: &'a [&'a str],
}

impl Evidence<'_> {
    fn answer(&self, outcome: Outcome, receipt: Option<String>, excerpt: Option<String>) -> Answer {
        let request_id = self.reply.header("x-amzn-requestid").or_else(|| self.reply.header("x-amz-request-id"));
        Answer {
            outcome,
            receipt,
            http_status: Some(self.reply.status),
            request_id: request_id.and_then(evidence::word),
            excerpt,
        }
    }

    fn excerpt(&self, text: &[u8]) -> Option<String> {
        evidence::excerpt(text, self.secrets)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const RECORD: &str = r#"{"Timestamp":1726696800,"CustomerAWSAccountId":"1","Dimension":"d","Quantity":7}"#;

    fn sent(count: usize) -> Vec<UsageRecord> {
        let record = serde_json::from_str(RECORD).expect("JSON");
        vec![UsageRecord::read(&record).expect("a record"); count]
    }

    fn reply(status: u16, headers: &[(&'static str, &'static str)], body: Result<&str, BodyFault>) -> Reply {
        let header =
            |&(name, value): &(&'static str, _)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = headers.iter().map(header).collect();
        Reply { status, headers, body: body.map(|body| Bytes::from(body.to_owned())) }
    }

    fn outcome(status: u16, body: Result<&str, BodyFault>) -> Outcome {
        read(&reply(status, &[], body), &sent(1), &[]).remove(0).outcome
    }

    fn unrecognised(code: &str) -> Outcome {
        Outcome::Unrecognised { code: code.to_owned(), record_alone: false }
    }

    #[test]
    fn d8_a_200_that_is_no_answer_is_unrecognised() {
        assert_eq!(outcome(200, Ok("")), unrecognised("empty_body"));
        assert_eq!(outcome(200, Ok("<html>welcome to the portal</html>")), unrecognised("not_json"));
        assert_eq!(outcome(200, Ok(r#"{"Results":[{"#)), unrecognised("not_json"));
        assert_eq!(outcome(200, Ok("{}")), unrecognised("no_results"));
        assert_eq!(outcome(200, Ok(r#"{"__type":"ThrottlingException"}"#)), unrecognised("no_results"));
        assert_eq!(outcome(204, Ok("")), unrecognised("http_204"));
        assert_eq!(outcome(307, Ok("")), unrecognised("http_307"));
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
    fn d8_an_html_500_is_unavailable() {
        let html = "<!doctype html><title>500 Internal Server Error</title>";
        assert_eq!(outcome(500, Ok(html)), Outcome::Unavailable { code: "http_500".to_owned(), after: None });
    }

    #[test]
    fn d9_an_xml_403_names_its_code() {
        let xml = "<?xml version='1.0'?><ErrorResponse><Errors><Error><Code>SignatureDoesNotMatch</Code></Error></Errors></ErrorResponse>";
        assert_eq!(outcome(403, Ok(xml)), Outcome::Unauthorised { code: "SignatureDoesNotMatch".to_owned() });
    }

    #[test]
    fn d2_every_record_of_a_refused_call_has_the_same_answer() {
        let body = r#"{"__type":"com.amazonaws#InvalidUsageDimensionException","message":"no such dimension"}"#;
        let headers = [("x-amzn-requestid", "11-22")];
        let answers = read(&reply(400, &headers, Ok(body)), &sent(3), &[]);
        let expected = Answer {
            outcome: Outcome::BatchRefused { code: "InvalidUsageDimensionException".to_owned() },
            receipt: None,
            http_status: Some(400),
            request_id: Some("11-22".to_owned()),
            excerpt: Some(body.to_owned()),
        };
        assert_eq!(answers, vec![expected; 3]);
    }

    #[test]
    fn d12_retry_after_is_taken_from_the_header() {
        let headers = [("retry-after", "30"), ("x-amzn-errortype", "ThrottlingException:")];
        let answer = read(&reply(400, &headers, Ok("")), &sent(1), &[]).remove(0);
        assert_eq!(answer.outcome, Outcome::Throttled { after: Some(std::time::Duration::from_secs(30)) });
    }

    #[test]
    fn d1_an_accepted_record_keeps_its_receipt_and_no_excerpt() {
        let body = format!(r#"{{"Results":[{{"UsageRecord":{RECORD},"MeteringRecordId":"r-1","Status":"Success"}}]}}"#);
        let answer = read(&reply(200, &[], Ok(&body)), &sent(1), &[]).remove(0);
        assert_eq!((answer.outcome, answer.receipt.as_deref()), (Outcome::Accepted, Some("r-1")));
        assert_eq!((answer.http_status, answer.excerpt), (Some(200), None));
    }

    #[test]
    fn i6_a_refused_signature_does_not_leak_what_was_signed() {
        let token = "FwoGZXIvYXdzEXAMPLE//token";
        let body = format!(r#"{{"__type":"InvalidSignatureException","message":"x-amz-security-token:{token}"}}"#);
        let answer = read(&reply(403, &[], Ok(&body)), &sent(1), &[token]).remove(0);
        assert!(answer.excerpt.is_some_and(|excerpt| !excerpt.contains("EXAMPLE") && excerpt.contains("[redacted]")));
    }
}
