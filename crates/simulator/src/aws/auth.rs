//! Who calls and for which region: read from the credential scope of the Authorization header.
//!
//! The signature itself is not verified, since that would take the caller's secret. Everything around it is.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};

use super::answer::Refusal;

/// SigV4's name of the service, which is not the first part of its host name (botocore 1.44.5 service model).
const SIGNING_NAME: &str = "aws-marketplace";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key: String,
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Caller {
    /// Reads `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/aws-marketplace/aws4_request, SignedHeaders=…,
    /// Signature=…`. Status 403 as AWS's common errors document for credentials that do not pass.
    pub(crate) fn from_headers(headers: &HeaderMap, access_keys: &BTreeMap<String, String>) -> Result<Caller, Refusal> {
        let refused = |error: &'static str, message: &str| Err(Refusal::new(error, message).with_status(403));
        let Some(authorization) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            return refused("MissingAuthenticationTokenException", "Missing Authentication Token");
        };
        let incomplete = || refused("IncompleteSignatureException", "Authorization is not a complete SigV4 header");
        let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else { return incomplete() };
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
        };
        let signature = field("Signature");
        let scope: Vec<&str> = field("Credential").split('/').collect();
        let &[access_key, date, region, service, "aws4_request"] = scope.as_slice() else { return incomplete() };
        if access_key.is_empty()
            || region.is_empty()
            || date.len() != 8
            || signature.len() != 64
            || !signature.bytes().all(|byte| byte.is_ascii_hexdigit())
            || !field("SignedHeaders").split(';').any(|signed| signed == "host")
        {
            return incomplete();
        }
        if service != SIGNING_NAME {
            let message = "Credential should be scoped to correct service: 'aws-marketplace'.";
            return refused("InvalidSignatureException", message);
        }
        let account = match access_keys.get(access_key) {
            Some(account) => account.clone(),
            None if access_keys.is_empty() => access_key.to_owned(),
            None => {
                let message = "The security token included in the request is invalid.";
                return refused("UnrecognizedClientException", message);
            }
        };
        Ok(Caller { access_key: access_key.to_owned(), account, region: region.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(authorization: &str, keys: &BTreeMap<String, String>) -> Result<Caller, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        Caller::from_headers(&headers, keys).map_err(|refusal| refusal.error.into_owned())
    }

    fn signed(scope: &str) -> String {
        let signature = "0".repeat(64);
        format!(
            "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
        )
    }

    #[test]
    fn region_and_account_come_from_the_credential_scope() {
        let mut keys = BTreeMap::new();
        let header = signed("AKIDEXAMPLE/20260722/eu-west-1/aws-marketplace/aws4_request");
        let found = caller(&header, &keys).unwrap();
        assert_eq!((found.region.as_str(), found.account.as_str()), ("eu-west-1", "AKIDEXAMPLE"));
        keys.insert("AKIDOTHER".to_owned(), "999988887777".to_owned());
        assert_eq!(caller(&header, &keys).unwrap_err(), "UnrecognizedClientException");
        keys.insert("AKIDEXAMPLE".to_owned(), "999988887777".to_owned());
        assert_eq!(caller(&header, &keys).unwrap().account, "999988887777");
    }

    #[test]
    fn a_header_that_aws_would_not_take_is_refused() {
        let keys = BTreeMap::new();
        let error = |header: &str| caller(header, &keys).unwrap_err();
        assert_eq!(error("Bearer abc"), "IncompleteSignatureException");
        assert_eq!(error(&signed("AKID/20260722/us-east-1")), "IncompleteSignatureException");
        assert_eq!(
            error("AWS4-HMAC-SHA256 Credential=a/20260722/b/aws-marketplace/aws4_request"),
            "IncompleteSignatureException"
        );
        let scope = "AKID/20260722/us-east-1/metering.marketplace/aws4_request";
        assert_eq!(error(&signed(scope)), "InvalidSignatureException");
    }
}
