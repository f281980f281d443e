//! A service account's key, and the assertion it signs: a JWT by RFC 7519 and 7523, RS256.
//!
//! The crates made for it (gcp_auth 0.12, google-cloud-auth 1.18, yup-oauth2 12) bring an HTTP client of their own with
//! hidden retries, trust the system's certificates, or name their endpoints in constants. What is left to do is one
//! signature, by the library that TLS here already uses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

/// Google's token endpoint, where a key file names none.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/servicecontrol";
/// The most that Google grants.
const LIFE: Duration = Duration::from_secs(3_600);
/// Where a key file does not tell what it should.
const MALFORMED: &str = "credentials_malformed";

/// This machine's clock: an assertion is about the wall, not about what is due.
#[expect(
    clippy::disallowed_methods,
    reason = "an assertion is dated by the wall; no decision about a delivery reads it"
)]
pub(super) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A key file, as far as it matters here. Its Debug does not print the key.
#[derive(Debug, Deserialize)]
pub(super) struct KeyFile {
    client_email: String,
    private_key: SecretString,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl KeyFile {
    /// Reads a key file's text.
    ///
    /// # Errors
    /// `credentials_malformed`, and never a word of what is in it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        serde_json::from_slice(text).map_err(|_| MALFORMED)
    }

    /// Where the assertion is to be exchanged, by the file. Plain HTTP is refused: the answer carries a token.
    pub(super) fn token_uri(&self) -> Result<Url, &'static str> {
        let url = Url::parse(self.audience()).map_err(|_| MALFORMED)?;
        if url.scheme() == "https" && url.username().is_empty() { Ok(url) } else { Err(MALFORMED) }
    }

    /// The assertion that asks for a token, as of `now`.
    ///
    /// # Errors
    /// `credentials_malformed` when the key is none.
    pub(super) fn assertion(&self, now: SystemTime) -> Result<SecretString, &'static str> {
        let issued = now.duration_since(UNIX_EPOCH).map_err(|_| "clock")?.as_secs();
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.private_key_id {
            header["kid"] = json!(id);
        }
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.audience(),
            "iat": issued,
            "exp": issued + LIFE.as_secs(),
        });
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.private_key.expose_secret().as_bytes());
        let key = RsaKeyPair::from_pkcs8(der.map_err(|_| MALFORMED)?.secret_pkcs8_der()).map_err(|_| MALFORMED)?;
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| "signing")?;
        Ok(format!("{signed}.{}", encoded(signature)).into())
    }

    fn audience(&self) -> &str {
        self.token_uri.as_deref().unwrap_or(TOKEN_URI)
    }
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

#[cfg(test)]
mod tests {
    use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// Made for these tests; it opens nothing.
    const KEY: &str = include_str!("testdata/service_account_key.json");

    #[test]
    fn d9_an_assertion_says_who_asks_for_what_and_is_signed() {
        let key = KeyFile::parse(KEY.as_bytes()).expect("a key file");
        let assertion = key.assertion(UNIX_EPOCH + Duration::from_secs(1_726_696_800)).expect("signs");
        let parts: Vec<&str> = assertion.expose_secret().split('.').collect();
        let &[header, claims, signature] = parts.as_slice() else { panic!("three parts") };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
        let header: Value = serde_json::from_slice(&decoded(header)).expect("JSON");
        assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef" }));
        let said: Value = serde_json::from_slice(&decoded(claims)).expect("JSON");
        let expected = json!({
            "iss": "meter@seller.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/servicecontrol",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_726_696_800,
            "exp": 1_726_700_400,
        });
        assert_eq!(said, expected);
        let der = PrivatePkcs8KeyDer::from_pem_slice(key.private_key.expose_secret().as_bytes()).expect("PEM");
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
        let signed = format!("{}.{}", parts[0], parts[1]);
        public.verify(signed.as_bytes(), &decoded(signature)).expect("the key's own signature");
    }

    #[test]
    fn d10_a_key_file_that_is_none_has_a_code_and_tells_nothing() {
        for text in ["", "{}", "not json", r#"{"type":"authorized_user","client_id":"x"}"#] {
            assert_eq!(KeyFile::parse(text.as_bytes()).err(), Some(MALFORMED), "{text}");
        }
        let mut file: Value = serde_json::from_str(KEY).expect("JSON");
        file["private_key"] = json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let key = KeyFile::parse(file.to_string().as_bytes()).expect("a file");
        assert_eq!(key.assertion(UNIX_EPOCH).err(), Some(MALFORMED));
    }

    #[test]
    fn i6_a_key_file_does_not_print_its_key() {
        let printed = format!("{:?}", KeyFile::parse(KEY.as_bytes()).expect("a key file"));
        assert!(!printed.contains("BEGIN"), "{printed}");
    }

    #[test]
    fn i6_a_key_file_cannot_send_its_assertion_in_the_clear() {
        let mut file: Value = serde_json::from_str(KEY).expect("JSON");
        for uri in ["http://oauth2.googleapis.com/token", "https://user@example.com/token", "token"] {
            file["token_uri"] = json!(uri);
            let key = KeyFile::parse(file.to_string().as_bytes()).expect("a file");
            assert_eq!(key.token_uri().err(), Some(MALFORMED), "{uri}");
        }
    }
}
