//! What an answer other than 200 means: one pure function, a test a row.
//!
//! Statuses: commercial-marketplace-openapi, `meteringapi.v1.json`, and Microsoft's "Marketplace metered billing APIs". What
//! is known not to have been taken is told apart from what may have been.

use std::time::Duration;

use remittance::Outcome;
use serde_json::Value;

use crate::evidence;

/// What a 400 is about, the most final first: what is too late stays so, whatever else is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Beyond the 24 hours.
    Expired,
    /// The resource is not to be billed now.
    NotEntitled,
    /// The request as a whole: it would be wrong with any event in it.
    Request,
    /// The event is wrong.
    Argument,
}

/// The outcome of an answer other than 200 (and of none that a single event's 409 is) for each event of a call of
/// `batch` events.
pub(super) fn outcome(status: u16, json: Option<&Value>, after: Option<Duration>, batch: usize) -> Outcome {
    let code = json.and_then(word).unwrap_or_else(|| format!("http_{status}"));
    match status {
        400 => match json.filter(|json| word(json).is_some()) {
            Some(json) => bad_request(json, batch),
            None => Outcome::Unrecognised { code, record_alone: false },
        },
        401 => Outcome::Unauthorised { code },
        // "Client is not authorized for this usage resource" is said of the whole call for one resource that is not the
        // offer's, and for a valid token that does not fit the offer's technical configuration.
        403 => Outcome::Doubtful { code },
        408 => Outcome::Unavailable { code: format!("http_{status}"), after },
        429 => Outcome::Throttled { after },
        500.. => Outcome::Unavailable { code, after },
        _ => Outcome::Unrecognised { code, record_alone: false },
    }
}

/// A 400 is read, never taken for anything by its number: beside wrong arguments it says expired and not subscribed.
fn bad_request(json: &Value, batch: usize) -> Outcome {
    let details = json.get("details").or_else(|| json.pointer("/error/details")).and_then(Value::as_array);
    let mut parts: Vec<&Value> = details.into_iter().flatten().filter(|detail| detail.is_object()).collect();
    if parts.is_empty() {
        parts.push(json);
    }
    let read = |part: &&Value| (class(part), word(part).unwrap_or_else(|| "BadArgument".to_owned()));
    let (class, code) = parts.iter().map(read).min_by_key(|(class, _)| *class).expect("at least one");
    let code = match class {
        // Under `BadArgument` their message says which; the ledger shall say it in one word.
        Class::Expired => "Expired".to_owned(),
        Class::NotEntitled if !code.starts_with("Resource") => "NotSubscribed".to_owned(),
        _ => code,
    };
    match class {
        Class::Request => Outcome::Unauthorised { code },
        _ if batch > 1 => Outcome::BatchRefused { code },
        Class::Expired => Outcome::TooOld { code },
        Class::NotEntitled => Outcome::NotEntitled { code },
        Class::Argument => Outcome::Rejected { code },
    }
}

/// By the code, and where that is general, by the message; their words are of 2018 and have stayed, but should they move,
/// the event is rejected and a person reads the excerpt.
fn class(part: &Value) -> Class {
    let text = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let (code, message) = (word(part).unwrap_or_default(), text("message"));
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    match code.as_str() {
        "Expired" => Class::Expired,
        "ResourceNotActive" | "ResourceNotFound" | "ResourceNotAuthorized" => Class::NotEntitled,
        code if code.contains("ApiVersion") => Class::Request,
        "InvalidDimension" | "InvalidQuantity" => Class::Argument,
        _ if says(&["expired", "24 hours", "too old"]) => Class::Expired,
        _ if says(&["subscribed", "not active", "suspended", "resource is not found", "resource was not found"]) => {
            Class::NotEntitled
        }
        _ => Class::Argument,
    }
}

/// The error's code: at the top, or in `error` as gateways write it.
pub(super) fn word(json: &Value) -> Option<String> {
    let code = json.get("code").or_else(|| json.pointer("/error/code")).and_then(Value::as_str)?;
    evidence::code(code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn detailed(details: &Value) -> Value {
        json!({ "code": "BadArgument", "message": "One or more errors have occurred.", "target": "usageEventRequest", "details": details })
    }

    fn bad_argument(target: &str, message: &str) -> Value {
        detailed(&json!([{ "code": "BadArgument", "target": target, "message": message }]))
    }

    /// What a 400 with this body means for a call of one event, with the proof that many are halved.
    fn of_400(body: &Value) -> Outcome {
        let one = outcome(400, Some(body), None, 1);
        let many = outcome(400, Some(body), None, 25);
        assert_eq!(many, Outcome::BatchRefused { code: one.code().unwrap_or_default().to_owned() }, "{body}");
        one
    }

    fn too_old() -> Outcome {
        Outcome::TooOld { code: "Expired".to_owned() }
    }

    fn not_entitled(code: &str) -> Outcome {
        Outcome::NotEntitled { code: code.to_owned() }
    }

    fn rejected(code: &str) -> Outcome {
        Outcome::Rejected { code: code.to_owned() }
    }

    #[test]
    fn d4_a_400_that_says_expired_is_too_old() {
        assert_eq!(of_400(&json!({ "code": "Expired", "message": "x" })), too_old());
        assert_eq!(of_400(&detailed(&json!([{ "code": "Expired" }]))), too_old());
        let time = "The effectiveStartTime is older than 24 hours.";
        assert_eq!(of_400(&bad_argument("effectiveStartTime", time)), too_old());
    }

    #[test]
    fn d4_a_400_that_says_not_subscribed_is_not_entitled() {
        let message = "The resource is not in Subscribed status.";
        assert_eq!(of_400(&bad_argument("ResourceId", message)), not_entitled("NotSubscribed"));
        for code in ["ResourceNotActive", "ResourceNotFound", "ResourceNotAuthorized"] {
            assert_eq!(of_400(&detailed(&json!([{ "code": code }]))), not_entitled(code));
            assert_eq!(of_400(&json!({ "code": code })), not_entitled(code));
        }
    }

    #[test]
    fn d4_any_other_400_with_a_code_is_rejected() {
        assert_eq!(of_400(&bad_argument("ResourceId", "The resourceId is required.")), rejected("BadArgument"));
        assert_eq!(of_400(&detailed(&json!([{ "code": "InvalidDimension" }]))), rejected("InvalidDimension"));
        assert_eq!(of_400(&json!({ "code": "InvalidQuantity" })), rejected("InvalidQuantity"));
        assert_eq!(of_400(&json!({ "code": "SomethingNew", "details": [] })), rejected("SomethingNew"));
        assert_eq!(of_400(&detailed(&json!([{}]))), rejected("BadArgument"));
    }

    #[test]
    fn d4_of_several_details_the_most_final_decides() {
        let three = json!([{ "code": "InvalidDimension" }, { "code": "ResourceNotActive" }, { "code": "Expired" }]);
        assert_eq!(of_400(&detailed(&three)), too_old());
        assert_eq!(of_400(&detailed(&json!([three[0], three[1]]))), not_entitled("ResourceNotActive"));
    }

    #[test]
    fn d4_a_400_about_the_request_itself_stops_the_destination() {
        let body = json!({ "code": "UnsupportedApiVersion", "message": "x" });
        for batch in [1, 25] {
            let expected = Outcome::Unauthorised { code: "UnsupportedApiVersion".to_owned() };
            assert_eq!(outcome(400, Some(&body), None, batch), expected);
        }
    }

    #[test]
    fn d8_a_400_without_a_code_is_unrecognised() {
        for body in [None, Some(json!({})), Some(json!({ "message": "no" })), Some(json!([1]))] {
            let expected = Outcome::Unrecognised { code: "http_400".to_owned(), record_alone: false };
            assert_eq!(outcome(400, body.as_ref(), None, 1), expected, "{body:?}");
        }
    }

    #[test]
    fn d4_401_and_403_are_unauthorised_for_the_call() {
        let body = json!({ "code": "Forbidden", "message": "not authorized for this resource" });
        assert_eq!(outcome(403, Some(&body), None, 25), Outcome::Doubtful { code: "Forbidden".to_owned() });
        assert_eq!(outcome(403, None, None, 1), Outcome::Doubtful { code: "http_403".to_owned() });
        let gateway = json!({ "error": { "code": "Unauthorized" } });
        assert_eq!(outcome(401, Some(&gateway), None, 1), Outcome::Unauthorised { code: "Unauthorized".to_owned() });
    }

    #[test]
    fn d12_a_429_carries_their_wait() {
        let after = Some(Duration::from_secs(9));
        assert_eq!(outcome(429, None, after, 25), Outcome::Throttled { after });
        assert_eq!(outcome(503, None, after, 25).after(), after, "j9: as that of a 429");
    }

    #[test]
    fn d8_trouble_at_microsoft_is_unavailable_and_may_have_arrived() {
        for (status, code) in [(408, "http_408"), (500, "http_500"), (502, "http_502"), (503, "http_503")] {
            let outcome = outcome(status, None, None, 25);
            assert_eq!(outcome, Outcome::Unavailable { code: code.to_owned(), after: None });
            assert!(outcome.may_have_arrived());
        }
    }

    #[test]
    fn d8_any_other_status_is_unrecognised() {
        for status in [201, 204, 302, 404, 405, 409, 413] {
            let expected = Outcome::Unrecognised { code: format!("http_{status}"), record_alone: false };
            assert_eq!(outcome(status, None, None, 25), expected);
        }
    }
}
