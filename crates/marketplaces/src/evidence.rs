//! What may be kept of an answer: bounded, printable, without secrets.
//!
//! The ledger is read by people who may not read credentials, and a marketplace is free to quote what we sent: a
//! refused signature comes back with the canonical request in its message, session token included.

/// Characters of an answer that are kept.
const EXCERPT_CHARS: usize = 2_000;
/// Characters a code or a receipt may have.
const WORD_CHARS: usize = 100;
/// Stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// What is kept of a body: at most 2,000 characters, no secrets, no control characters; `None` if it says nothing.
/// `secrets` are the texts this very call knows to be secret; whatever looks like a key, a token or a signature goes
/// as well.
pub(crate) fn excerpt(body: &[u8], secrets: &[&str]) -> Option<String> {
    // JSON may escape a slash; unescaped it means the same, and no token is torn apart by it.
    let mut text = String::from_utf8_lossy(body).replace("\\/", "/");
    for secret in secrets.iter().filter(|secret| secret.len() >= 8 && body.len() >= secret.len()) {
        text = text.replace(secret, REDACTED);
    }
    // Redact the whole before cutting: half a token at the cut would no longer look like one.
    let kept: String = redact(&text).chars().map(printable).take(EXCERPT_CHARS).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// A word that stands as a code in the ledger: letters, digits, `.`, `_`, `-`, at most 100; `None` for anything else.
pub(crate) fn code(text: &str) -> Option<String> {
    let fits = (1..=WORD_CHARS).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    (fits && plain).then(|| text.to_owned())
}

/// A receipt or a call's id as it may be stored: printable ASCII, cut at 100; `None` if nothing is left.
pub(crate) fn word(text: &str) -> Option<String> {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(WORD_CHARS).collect();
    (!word.is_empty()).then_some(word)
}

/// Postgres takes no NUL in a text, and a terminal no escape sequences.
fn printable(c: char) -> char {
    if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }
}

/// Replaces every run of characters that looks like a secret.
fn redact(text: &str) -> String {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '%' | '-');
    let mut kept = String::with_capacity(text.len().min(4 * EXCERPT_CHARS));
    let mut rest = text;
    while let Some(start) = rest.find(is_token) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_token(c)).unwrap_or(from.len());
        let (token, after) = from.split_at(end);
        kept.push_str(before);
        kept.push_str(if looks_secret(token) { REDACTED } else { token });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Access key ids, session tokens (hundreds of characters of base64) and signatures (64 hex digits).
fn looks_secret(token: &str) -> bool {
    let key_id = |part: &str| {
        (part.starts_with("AKIA") || part.starts_with("ASIA"))
            && part.len() >= 16
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let signature = |part: &str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
    // A credential scope is a key id, a slash and more; of an escaped line end its `n` sticks to what follows.
    let parts =
        || token.split(['/', '%', '-', '_', '+']).flat_map(|part| [Some(part), part.strip_prefix('n')]).flatten();
    token.len() >= 100 || parts().any(|part| key_id(part) || signature(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        excerpt(text.as_bytes(), &[]).unwrap_or_default()
    }

    #[test]
    fn i6_what_looks_like_a_secret_is_not_kept() {
        let token = "IQoJb3JpZ2luX2Vj".repeat(12);
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let text = format!(
            r#"{{"message":"Credential=AKIDEXAMPLE/x AKIAIOSFODNN7EXAMPLE/20260101, Signature={signature}\n\nx-amz-security-token:{token}\nPOST\n{signature}"}}"#
        );
        let kept = kept(&text);
        for secret in ["AKIAIOSFODNN7EXAMPLE", signature, "IQoJb3JpZ2luX2Vj"] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
        assert!(kept.contains("x-amz-security-token"), "{kept}");
    }

    #[test]
    fn i6_the_calls_own_secrets_are_not_kept_however_short() {
        let kept = excerpt(br#"they say "abc\/defgh" and "abc/defgh""#, &["abc/defgh"]).expect("text");
        assert_eq!(kept, r#"they say "[redacted]" and "[redacted]""#);
    }

    #[test]
    fn an_excerpt_is_bounded_in_characters() {
        let long = "ü ".repeat(5_000);
        assert_eq!(kept(&long).chars().count(), 1_999, "2,000 without the blank at the end");
    }

    #[test]
    fn an_excerpt_can_be_stored_as_text() {
        assert_eq!(kept("a\0b\u{1b}[31mc\n"), "a b [31mc");
        assert_eq!(excerpt(b" \n\0", &[]), None);
        assert_eq!(excerpt(&[0xff, b'x'], &[]).as_deref(), Some("\u{fffd}x"));
    }

    #[test]
    fn ordinary_answers_are_kept_to_the_letter() {
        let text = r#"{"__type":"InvalidLicenseException","LicenseArn":"arn:aws:license-manager::294406891311:license:l-be33b7fb09c84e5b8d4a6ed0d9a4bb2f"}"#;
        assert_eq!(kept(text), text);
    }

    #[test]
    fn codes_are_words() {
        assert_eq!(code("ThrottlingException").as_deref(), Some("ThrottlingException"));
        assert!(code("no such thing").is_none() && code("").is_none() && code(&"x".repeat(101)).is_none());
        assert_eq!(word(" id\r\n 1 ").as_deref(), Some("id1"));
    }
}
