//! JSON as Postgres keeps it: what `jsonb` would refuse for the whole of a document, or drop without a word, found
//! before it is sent, so that one usage of many can be refused by itself.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Far above what a person writes and below what `jsonb` takes.
const DEPTH_MAX: usize = 500;
/// Digits and exponents beyond these are no evidence of anything, and `numeric` ends not far above.
const DIGITS_MAX: usize = 1000;
const EXPONENT_MAX: u32 = 300;

/// Why a text cannot become `jsonb` as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The SQLSTATE that Postgres has for it.
    pub code: &'static str,
    /// What is wrong, to go after a field's name.
    pub reason: String,
}

impl Flaw {
    fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// A key that stands twice: Postgres keeps the last one and drops the others.
    #[must_use]
    pub fn twice(key: &str) -> Self {
        Self::new("22030", format!("has the key {key:?} twice"))
    }
}

/// The members of an object, in order, each as often as it stands there.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl Members<'_> {
    /// A key that stands twice.
    #[must_use]
    pub fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        self.0.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

/// The first thing in a JSON value that Postgres could not keep as it is.
#[must_use]
pub fn flaw(json: &RawValue) -> Option<Flaw> {
    let text = json.get();
    let mut walk = Walk { open: Vec::new(), is_key: false };
    let mut at = 0;
    while at < text.len() {
        let length = token(&text[at..]);
        if let Some(flaw) = walk.step(&text[at..at + length]) {
            return Some(flaw);
        }
        at += length;
    }
    None
}

/// Length of the token that a valid text begins with: a string, a number, or one byte of anything else.
fn token(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes[0] {
        b'"' => {
            let mut end = 1;
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        }
        b'-' | b'0'..=b'9' => {
            let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
            bytes.iter().take_while(|byte| is_part(byte)).count()
        }
        _ => 1,
    }
}

/// Where a walk through a value is.
struct Walk {
    /// What is open: an object with the keys it had so far, or an array.
    open: Vec<Option<HashSet<String>>>,
    /// The next string is a key.
    is_key: bool,
}

impl Walk {
    fn step(&mut self, token: &str) -> Option<Flaw> {
        match token.as_bytes()[0] {
            b'{' => self.enter(Some(HashSet::new())),
            b'[' => self.enter(None),
            b'}' | b']' => {
                self.open.pop();
                self.is_key = false;
                None
            }
            b',' => {
                self.is_key = matches!(self.open.last(), Some(Some(_)));
                None
            }
            b'"' => self.string(token),
            b'-' | b'0'..=b'9' => number(token),
            _ => None,
        }
    }

    fn enter(&mut self, keys: Option<HashSet<String>>) -> Option<Flaw> {
        self.is_key = keys.is_some();
        self.open.push(keys);
        (self.open.len() > DEPTH_MAX)
            .then(|| Flaw::new("54001", format!("is nested more than {DEPTH_MAX} levels deep")))
    }

    fn string(&mut self, token: &str) -> Option<Flaw> {
        let text: Cow<'_, str> = if token.contains('\\') {
            match serde_json::from_str::<String>(token) {
                Ok(text) => text.into(),
                Err(_) => return Some(Flaw::new("22P02", "has half of a surrogate pair, which is no character")),
            }
        } else {
            token[1..token.len() - 1].into()
        };
        if text.contains('\0') {
            return Some(Flaw::new("22P05", "must not contain the character U+0000"));
        }
        let was_key = std::mem::take(&mut self.is_key);
        match self.open.last_mut() {
            Some(Some(keys)) if was_key && keys.contains(text.as_ref()) => Some(Flaw::twice(&text)),
            Some(Some(keys)) if was_key => {
                keys.insert(text.into_owned());
                None
            }
            _ => None,
        }
    }
}

fn number(token: &str) -> Option<Flaw> {
    let exponent = token.split_once(['e', 'E']).map_or("0", |(_, exponent)| exponent);
    let size = exponent.trim_start_matches(['+', '-']).parse::<u32>();
    let fits = token.len() <= DIGITS_MAX && size.is_ok_and(|size| size <= EXPONENT_MAX);
    (!fits).then(|| Flaw::new("22003", format!("has a number beyond 10^{EXPONENT_MAX} or of over {DIGITS_MAX} digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(json: &str) -> &'static str {
        let raw: &RawValue = serde_json::from_str(json).expect(json);
        flaw(raw).map_or("-", |flaw| flaw.code)
    }

    #[test]
    fn l4_what_jsonb_would_drop_or_refuse_is_found() {
        for (json, expected) in [
            (r#"{"a": {"b": 1, "c": [1, "a", {"b": "b"}]}, "b": "\u00e4\\\"", "d": -1.5e-3, "e": "a"}"#, "-"),
            (r#"[{"a": 1}, {"a": 1}, "a", "a", null, true]"#, "-"),
            (r#""plain""#, "-"),
            (r#"{"a": 1, "a": 1}"#, "22030"),
            (r#"{"x": [{"a": 1, "b": {"a": 2}, "\u0061": 1}]}"#, "22030"),
            (r#"{"a": {"b\u0000": 1}}"#, "22P05"),
            (r#"["\\\u0000"]"#, "22P05"),
            (r#"["\\u0000"]"#, "-"),
            (r#"["\ud83d\ude00"]"#, "-"),
            (r#"["\ud83d"]"#, "22P02"),
            (r#"{"a": 1e300}"#, "-"),
            (r#"{"a": 1e301}"#, "22003"),
            (r#"{"a": -1E-20000}"#, "22003"),
            (r#"{"a": 1e99999999999}"#, "22003"),
        ] {
            assert_eq!(code(json), expected, "{json}");
        }
        assert_eq!(code(&format!("1{}", "0".repeat(DIGITS_MAX))), "22003");
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!((code(&nested(DEPTH_MAX)), code(&nested(DEPTH_MAX + 1))), ("-", "54001"));
    }

    #[test]
    fn l4_members_stand_as_often_as_they_are_written() {
        let members: Members<'_> = serde_json::from_str(r#"{"a": 1, "b": 2, "\u0061": 3}"#).expect("an object");
        assert_eq!((members.0.len(), members.twice()), (3, Some("a")));
        assert!(serde_json::from_str::<Members<'_>>("[1]").is_err());
    }
}
