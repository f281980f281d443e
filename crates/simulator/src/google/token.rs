//! Tokens: an assertion is checked, a token is issued, and every call must bear one that was issued here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;
use uuid::Uuid;

use super::refusal::{Refusal, UNAUTHENTICATED};
use super::settings::GoogleSettings;
use crate::clock::Clock;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/servicecontrol", "https://www.googleapis.com/auth/cloud-platform"];
/// The account behind tokens of the metadata server.
pub(crate) const DEFAULT_ACCOUNT: &str = "default@metadata";
/// Google grants an hour.
const LIFE_SECONDS_MAX: i64 = 3600;
/// Clocks may differ by so much.
const SKEW_SECONDS: i64 = 300;

/// The tokens that were issued, with their accounts. Bounded.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: HashMap<String, (String, Instant)>,
}

impl Tokens {
    const KEPT: usize = 10_000;

    /// A new token for an account.
    pub(crate) fn issue(&mut self, account: &str, life: Duration) -> String {
        if self.issued.len() >= Self::KEPT {
            self.issued.clear();
        }
        let token = format!("ya29.simulated-{}", Uuid::new_v4().simple());
        self.issued.insert(token.clone(), (account.to_owned(), Instant::now() + life));
        token
    }

    /// The account that a call's token was issued to.
    pub(crate) fn account(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let known = value.strip_prefix("Bearer ").and_then(|token| self.issued.get(token));
        let good = known.filter(|(_, ends)| Instant::now() < *ends);
        good.map(|(account, _)| account.clone()).ok_or_else(|| {
            Refusal::new(
                UNAUTHENTICATED,
                "Request had invalid authentication credentials. Expected a token issued here.",
            )
        })
    }
}

/// The service account whose assertion stands in a form (RFC 7523).
pub(crate) fn account_in(form: &[u8], settings: &GoogleSettings) -> Result<String, Refusal> {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let field =
        |name: &str| form.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    if field("grant_type").replace("%3A", ":").replace("%3a", ":") != GRANT {
        return Err(Refusal::of_token("unsupported_grant_type", "Expected the grant type of JWT bearers."));
    }
    let invalid = |message: &str| Refusal::of_token("invalid_grant", message);
    let assertion = field("assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else {
        return Err(invalid("The assertion has not three parts."));
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("A part is not base64url."));
    let json = |part: &str| -> Result<Value, Refusal> {
        serde_json::from_slice(&bytes(part)?).map_err(|_| invalid("A part is not JSON."))
    };
    if json(header)?["alg"] != "RS256" {
        return Err(invalid("The algorithm must be RS256."));
    }
    let signature = bytes(signature)?;
    if let Some(pem) = &settings.public_key {
        let der = der_in(pem).ok_or_else(|| invalid("The simulator's public_key is no PEM of an RSA key."))?;
        let signed = assertion.rsplit_once('.').map_or("", |(signed, _)| signed);
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
        key.verify(signed.as_bytes(), &signature).map_err(|_| invalid("Invalid JWT Signature."))?;
    } else if signature.is_empty() {
        return Err(invalid("Invalid JWT Signature."));
    }
    let claims = json(claims)?;
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let (issued, expires) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    // Assertions are dated by the wall, whatever the simulator's clock shows.
    let now = Clock::real().now().as_second();
    if issued > now + SKEW_SECONDS || expires < now - SKEW_SECONDS || expires - issued > LIFE_SECONDS_MAX {
        return Err(invalid("Invalid JWT: iat and exp must be within the hour."));
    }
    if text("aud") != AUDIENCE {
        return Err(invalid("Invalid JWT: aud must be the token endpoint's own address."));
    }
    if !text("scope").split(' ').any(|scope| SCOPES.contains(&scope)) {
        return Err(Refusal::of_token("invalid_scope", "The scope does not cover Service Control."));
    }
    let account = text("iss");
    if account.is_empty() || settings.service_accounts.as_ref().is_some_and(|known| !known.contains(&account)) {
        return Err(invalid("Invalid grant: account not found"));
    }
    Ok(account)
}

/// The RSA key (PKCS#1) inside a PEM of a `SubjectPublicKeyInfo`.
fn der_in(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (text, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(text.split_whitespace().collect::<String>()).ok()?;
    let (information, _) = value(0x30, &der)?;
    let (_algorithm, after) = value(0x30, information)?;
    let (bits, _) = value(0x03, after)?;
    // The first byte of a bit string counts unused bits.
    Some(bits.strip_prefix(&[0])?.to_vec())
}

/// The value of a DER element with this tag, and what follows it.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = after;
    }
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}
