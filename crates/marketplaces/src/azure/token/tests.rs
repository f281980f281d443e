use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::transport::BodyFault;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, headers: HeaderMap::new(), body: Ok(Bytes::from(body.to_owned())) }
}

fn token(body: &str) -> Result<Duration, Outcome> {
    let asked = Instant::now();
    read(&reply(200, body), asked).map(|token| token.ends_at - asked)
}

fn unauthorised(code: &str) -> Outcome {
    Outcome::Unauthorised { code: code.to_owned() }
}

fn client() -> ClientCredentials {
    ClientCredentials {
        tenant_id: "contoso.example".to_owned(),
        client_id: "client".to_owned(),
        client_secret: "a&b=c +~".to_owned().into(),
    }
}

#[test]
fn d9_the_life_of_a_token_is_a_number_or_a_text() {
    for (life, seconds) in [("3599", 3599), ("\"3599\"", 3599), ("\"soon\"", 300), ("null", 300), ("99999999", 86_400)]
    {
        let body = format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"abc.def"}}"#);
        assert_eq!(token(&body), Ok(Duration::from_secs(seconds)), "{life}");
    }
}

#[test]
fn d9_a_token_is_renewed_before_its_end_and_a_short_one_at_its_half() {
    let asked = Instant::now();
    for (life, fresh) in [(3600, 3480), (180, 90), (0, 0)] {
        let body = json!({ "access_token": "a", "expires_in": life }).to_string();
        let token = read(&reply(200, &body), asked).expect("a token");
        assert_eq!(token.refresh_at - asked, Duration::from_secs(fresh), "{life}");
    }
}

#[test]
fn d8_an_answer_without_a_token_is_none() {
    for (body, code) in [
        ("", "token_not_json"),
        ("<html>sign in</html>", "token_not_json"),
        ("{}", "token_missing"),
        (r#"{"access_token":""}"#, "token_missing"),
        (r#"{"access_token":"a\nb"}"#, "token_missing"),
    ] {
        assert_eq!(token(body), Err(none(code)), "{body}");
    }
    let cut = Reply { status: 200, headers: HeaderMap::new(), body: Err(BodyFault::Truncated) };
    assert_eq!(read(&cut, Instant::now()).err(), Some(none("token_body_truncated")));
}

#[test]
fn d9_refused_credentials_are_unauthorised_and_trouble_is_not() {
    let invalid = r#"{"error":"invalid_client","error_description":"AADSTS7000222: …","error_codes":[7000222]}"#;
    for (status, body, expected) in [
        (401, invalid, unauthorised("invalid_client.AADSTS7000222")),
        (400, r#"{"error":"unauthorized_client"}"#, unauthorised("unauthorized_client")),
        (400, r#"{"error":"temporarily_unavailable"}"#, none("token_temporarily_unavailable")),
        (401, "no", unauthorised("token_http_401")),
        (400, "what?", none("token_http_400")),
        (404, r#"{"error":"a sentence is no word"}"#, none("token_http_404")),
        (429, invalid, none("token_http_429")),
        (503, invalid, none("token_http_503")),
        (302, "", none("token_http_302")),
    ] {
        assert_eq!(read(&reply(status, body), Instant::now()).err(), Some(expected), "{status} {body}");
    }
}

#[test]
fn d9_both_forms_of_the_grant() {
    let endpoint = Url::parse("https://login.microsoftonline.com").expect("a URL");
    let sent = |version| {
        let request = grant(&endpoint, version, &client()).expect("a request");
        (request.uri().to_string(), String::from_utf8(request.into_body()).expect("text"))
    };
    let begins = "grant_type=client_credentials&client_id=client&client_secret=a%26b%3Dc+%2B%7E&";
    let v1 = ("https://login.microsoftonline.com/contoso.example/oauth2/token", format!("{begins}resource={RESOURCE}"));
    assert_eq!(sent(TokenVersion::V1), (v1.0.to_owned(), v1.1));
    let v2 = format!("{begins}scope={RESOURCE}%2F.default");
    assert_eq!(
        sent(TokenVersion::V2),
        ("https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token".to_owned(), v2)
    );
}

#[test]
fn d9_the_machines_own_identity_is_asked_for_with_its_header() {
    let endpoint = Url::parse("http://169.254.169.254").expect("a URL");
    let request = own_identity(&endpoint, Some("abc")).expect("a request");
    let expected = format!(
        "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={RESOURCE}&client_id=abc"
    );
    assert_eq!(request.uri().to_string(), expected);
    assert_eq!(request.headers().get("metadata").and_then(|value| value.to_str().ok()), Some("true"));
}

#[test]
fn i6_a_token_does_not_print() {
    let token = read(&reply(200, r#"{"access_token":"hunter2"}"#), Instant::now()).expect("a token");
    assert!(!format!("{token:?}").contains("hunter2"));
}
