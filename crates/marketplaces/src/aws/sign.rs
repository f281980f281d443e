//! Signing, by the vendor's own signer: SigV4 with the service name `aws-marketplace` (not the host's prefix).
//!
//! Headers and names: botocore 1.44.5 and a call captured from boto3: content-type, host, x-amz-date and x-amz-target
//! are signed, x-amz-security-token too where there is one; no x-amz-content-sha256.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign as sigv4};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{CONTENT_TYPE, HeaderValue};
use reqwest::Url;

const SIGNING_NAME: &str = "aws-marketplace";
const TARGET: &str = "AWSMPMeteringService.BatchMeterUsage";
const AWS_JSON: &str = "application/x-amz-json-1.1";

/// This machine's clock. AWS refuses signatures more than five minutes off, and credentials expire by it: both are
/// about the wall, not about what is due.
#[expect(clippy::disallowed_methods, reason = "SigV4 signs the wall's time; no decision about a delivery reads it")]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Could not be signed: an address or a header the signer does not take. Nothing was sent.
#[derive(Debug)]
pub(super) struct Unsignable;

/// Builds the signed request that carries `body`.
pub(super) fn sign(
    endpoint: &Url,
    region: &str,
    credentials: &Credentials,
    body: Vec<u8>,
    time: SystemTime,
) -> Result<http::Request<Vec<u8>>, Unsignable> {
    let identity: Identity = credentials.clone().into();
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SIGNING_NAME)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| Unsignable)?
        .into();
    let headers = [(CONTENT_TYPE.as_str(), AWS_JSON), ("x-amz-target", TARGET)];
    let signable = SignableRequest::new("POST", endpoint.as_str(), headers.into_iter(), SignableBody::Bytes(&body))
        .map_err(|_| Unsignable)?;
    let (instructions, _signature) = sigv4(signable, &params).map_err(|_| Unsignable)?.into_parts();
    let mut request = http::Request::post(endpoint.as_str());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    // Not by the signer's own `apply`, which panics at a key with a line end in it.
    let (signed, _) = instructions.into_parts();
    for header in signed {
        let mut value = HeaderValue::from_str(header.value()).map_err(|_| Unsignable)?;
        value.set_sensitive(header.sensitive());
        request = request.header(header.name(), value);
    }
    request.body(body).map_err(|_| Unsignable)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn signed(token: Option<&str>) -> http::Request<Vec<u8>> {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", token.map(str::to_owned), None, "test");
        let endpoint = Url::parse("https://metering.marketplace.us-east-1.amazonaws.com").expect("a URL");
        let time = UNIX_EPOCH + Duration::from_secs(1_726_696_800);
        sign(&endpoint, "us-east-1", &credentials, b"{}".to_vec(), time).expect("signable")
    }

    fn header<'a>(request: &'a http::Request<Vec<u8>>, name: &str) -> Option<&'a str> {
        request.headers().get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn d1_signs_what_boto3_signs() {
        let request = signed(None);
        let authorization = header(&request, "authorization").expect("signed");
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20240918/us-east-1/aws-marketplace/aws4_request, ";
        assert!(authorization.starts_with(scope), "{authorization}");
        assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target,"), "{authorization}");
        assert_eq!(header(&request, "content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(header(&request, "x-amz-target"), Some("AWSMPMeteringService.BatchMeterUsage"));
        assert_eq!(header(&request, "x-amz-date"), Some("20240918T220000Z"));
        assert_eq!(header(&request, "x-amz-content-sha256"), None);
    }

    #[test]
    fn d9_a_session_token_is_sent_and_signed() {
        let request = signed(Some("token"));
        assert_eq!(header(&request, "x-amz-security-token"), Some("token"));
        assert!(header(&request, "authorization").is_some_and(|text| text.contains("x-amz-security-token")));
    }

    #[test]
    fn d9_keys_that_fit_no_header_are_no_panic() {
        let endpoint = Url::parse("https://metering.marketplace.us-east-1.amazonaws.com").expect("a URL");
        for (key, token) in [("AKIDEXAMPLE\n", None), ("AKIDEXAMPLE", Some("token\r\nx: y".to_owned()))] {
            let credentials = Credentials::new(key, "secret", token, None, "test");
            assert!(sign(&endpoint, "us-east-1", &credentials, Vec::new(), UNIX_EPOCH).is_err(), "{key:?}");
        }
    }

    #[test]
    fn e1_the_body_is_sent_as_it_was_given() {
        assert_eq!(signed(None).body(), b"{}");
    }
}
