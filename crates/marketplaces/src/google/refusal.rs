//! What a failed call means. Sources: Service Control v1, revision 20261015; google.rpc.Code.

use std::time::Duration;

use remittance::Outcome;
use serde_json::Value;

use crate::evidence;

/// google.rpc.Code by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The word for a number of google.rpc.Code.
pub(super) fn word(code: i64) -> String {
    let known = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    known.map_or_else(|| format!("code_{code}"), |word| (*word).to_owned())
}

/// The word in an error's body: `{"error":{"status":"PERMISSION_DENIED"}}`.
pub(super) fn word_in(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    evidence::code(json.get("error")?.get("status")?.as_str()?)
}

/// A report that failed as a whole, for each of its `count` operations. Nobody knows which were taken, unless the
/// refusal proves that none was even looked at (who calls, what the request looks like).
pub(super) fn of_report(status: u16, word: Option<&str>, after: Option<Duration>, count: usize) -> Outcome {
    let code = || code(status, word);
    match (status, word) {
        (401, _) => Outcome::Unauthorised { code: code() },
        // 403: the service account lacks the role, or one consumer is not ours to bill. 404: there is no such service, a
        // setting is wrong; or no such consumer.
        (403 | 404, _) => Outcome::Doubtful { code: code() },
        (429, _) => Outcome::Throttled { after },
        (400, Some("FAILED_PRECONDITION")) if count == 1 => Outcome::NotEntitled { code: code() },
        (400, Some("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE")) | (413, _) => {
            Outcome::BatchRefused { code: code() }
        }
        (409, Some("ALREADY_EXISTS")) if count == 1 => Outcome::Duplicate { shown: None },
        (409 | 499, _) => Outcome::Unknown { code: code() },
        (408 | 500..=599, _) => Outcome::Unavailable { code: code(), after },
        _ => Outcome::Unrecognised { code: format!("http_{status}"), record_alone: false },
    }
}

/// A check that failed as a whole. It has no side effect, so whatever happened, nothing of the record was sent: none
/// of these says that it may have arrived.
pub(super) fn of_check(status: u16, word: Option<&str>, after: Option<Duration>) -> Outcome {
    match status {
        401 => Outcome::Unauthorised { code: code(status, word) },
        403 | 404 => Outcome::Doubtful { code: code(status, word) },
        429 => Outcome::Throttled { after },
        // Nothing of the record was sent, so a wait of theirs is only that.
        408 | 500..=599 if after.is_some() => Outcome::Throttled { after },
        // A check is about one consumer: it alone is refused.
        400 if word.is_some() => Outcome::Rejected { code: code(status, word) },
        _ => Outcome::NotSent { code: format!("check_http_{status}") },
    }
}

fn code(status: u16, word: Option<&str>) -> String {
    word.map_or_else(|| format!("http_{status}"), str::to_owned)
}

/// One operation's error in a report that did not fail as a whole.
pub(super) fn of_operation(code: i64) -> Outcome {
    let code = (code, word(code));
    match code {
        (2 | 4 | 8 | 10 | 13 | 14, code) => Outcome::Unknown { code },
        (3, code) => Outcome::Rejected { code },
        (5 | 7 | 9, code) => Outcome::NotEntitled { code },
        (6, _) => Outcome::Duplicate { shown: None },
        (16, code) => Outcome::Unauthorised { code },
        // OK among errors contradicts itself; the others are documented for no report.
        (_, code) => Outcome::Unrecognised { code, record_alone: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: u16, word: &str, count: usize) -> String {
        let outcome = of_report(status, Some(word).filter(|word| !word.is_empty()), None, count);
        format!("{} {}", outcome.as_str(), outcome.code().unwrap_or("-"))
    }

    #[test]
    fn d6_a_failed_report_row_by_row() {
        for (status, word, count, expected) in [
            (500, "INTERNAL", 2, "unavailable INTERNAL"),
            (503, "UNAVAILABLE", 1, "unavailable UNAVAILABLE"),
            (504, "", 1, "unavailable http_504"),
            (408, "", 1, "unavailable http_408"),
            (429, "RESOURCE_EXHAUSTED", 1, "throttled -"),
            (401, "UNAUTHENTICATED", 1, "unauthorised UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED", 2, "batch_refused PERMISSION_DENIED"),
            (404, "NOT_FOUND", 1, "batch_refused NOT_FOUND"),
            (404, "", 1, "batch_refused http_404"),
            (400, "INVALID_ARGUMENT", 2, "batch_refused INVALID_ARGUMENT"),
            (400, "OUT_OF_RANGE", 1, "batch_refused OUT_OF_RANGE"),
            (400, "FAILED_PRECONDITION", 1, "not_entitled FAILED_PRECONDITION"),
            (400, "FAILED_PRECONDITION", 2, "batch_refused FAILED_PRECONDITION"),
            (400, "", 1, "unrecognised http_400"),
            (413, "", 9, "batch_refused http_413"),
            (409, "ALREADY_EXISTS", 1, "duplicate -"),
            (409, "ALREADY_EXISTS", 2, "unknown ALREADY_EXISTS"),
            (409, "ABORTED", 1, "unknown ABORTED"),
            (499, "CANCELLED", 1, "unknown CANCELLED"),
            (204, "", 1, "unrecognised http_204"),
            (307, "", 1, "unrecognised http_307"),
            (418, "", 1, "unrecognised http_418"),
        ] {
            assert_eq!(report(status, word, count), expected, "{status} {word} for {count}");
        }
        let after = Some(Duration::from_secs(7));
        assert_eq!(of_report(429, None, after, 1), Outcome::Throttled { after });
        assert_eq!(of_report(503, None, after, 1).after(), after, "j9: it is the wait, as that of a 429");
        assert_eq!(of_check(503, None, after).after(), after);
    }

    #[test]
    fn d6_an_operations_error_row_by_row() {
        for (code, expected) in [
            (0, "unrecognised OK"),
            (1, "unrecognised CANCELLED"),
            (2, "unknown UNKNOWN"),
            (3, "rejected INVALID_ARGUMENT"),
            (4, "unknown DEADLINE_EXCEEDED"),
            (5, "not_entitled NOT_FOUND"),
            (6, "duplicate -"),
            (7, "not_entitled PERMISSION_DENIED"),
            (8, "unknown RESOURCE_EXHAUSTED"),
            (9, "not_entitled FAILED_PRECONDITION"),
            (10, "unknown ABORTED"),
            (11, "unrecognised OUT_OF_RANGE"),
            (12, "unrecognised UNIMPLEMENTED"),
            (13, "unknown INTERNAL"),
            (14, "unknown UNAVAILABLE"),
            (15, "unrecognised DATA_LOSS"),
            (16, "unauthorised UNAUTHENTICATED"),
            (17, "unrecognised code_17"),
            (-1, "unrecognised code_-1"),
        ] {
            let outcome = of_operation(code);
            assert_eq!(format!("{} {}", outcome.as_str(), outcome.code().unwrap_or("-")), expected, "{code}");
            let alone = matches!(outcome, Outcome::Unrecognised { record_alone, .. } if !record_alone);
            assert!(!alone, "an answer about one record concerns it alone");
        }
    }

    #[test]
    fn d6_a_failed_check_never_says_that_something_arrived() {
        for status in 100..=599 {
            for word in [None, Some("INTERNAL"), Some("INVALID_ARGUMENT")] {
                let outcome = of_check(status, word, None);
                assert!(!outcome.may_have_arrived() && outcome != Outcome::Accepted, "{status}: {outcome:?}");
            }
        }
        assert_eq!(of_check(503, None, None), Outcome::NotSent { code: "check_http_503".to_owned() });
        assert_eq!(of_check(403, None, None), Outcome::Doubtful { code: "http_403".to_owned() });
        let code = "INVALID_ARGUMENT".to_owned();
        assert_eq!(of_check(400, Some("INVALID_ARGUMENT"), None), Outcome::Rejected { code });
    }

    #[test]
    fn a_word_is_read_from_an_errors_body() {
        let body = br#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(word_in(body).as_deref(), Some("PERMISSION_DENIED"));
        for body in ["", "<html>", "{}", r#"{"error":"x"}"#, r#"{"error":{"status":"no such word"}}"#] {
            assert_eq!(word_in(body.as_bytes()), None, "{body}");
        }
    }
}
