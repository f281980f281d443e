//! Codes of answers as values of a label: plain words, and never more than a few.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Codes of one destination that have a series of their own at most.
const CODES_MAX: usize = 100;
/// Bytes of a code at most.
const LENGTH_MAX: usize = 64;

/// The codes of one destination that were seen.
#[derive(Debug, Default)]
pub struct Codes {
    seen: Mutex<HashSet<String>>,
}

impl Codes {
    /// The code as a label has it: itself, empty for none, or `other`. A marketplace decides what it answers; it must not
    /// decide how many series there are.
    #[must_use]
    pub fn label<'a>(&self, code: Option<&'a str>) -> &'a str {
        let Some(code) = code else { return "" };
        let is_plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if code.is_empty() || code.len() > LENGTH_MAX || !is_plain {
            return "other";
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(code) {
            return code;
        }
        if seen.len() == CODES_MAX {
            return "other";
        }
        seen.insert(code.to_owned());
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_whatever_a_marketplace_answers_the_series_are_few() {
        let codes = Codes::default();
        assert_eq!([codes.label(None), codes.label(Some("http_500"))], ["", "http_500"]);
        assert_eq!(codes.label(Some("it is \"down\"\n")), "other");
        let many: Vec<String> = (0..1000).map(|number| format!("code{number}")).collect();
        let labels: HashSet<&str> = many.iter().map(|code| codes.label(Some(code))).collect();
        assert_eq!(labels.len(), 100, "99 more, and other");
        assert_eq!(codes.label(Some("http_500")), "http_500", "what has a series keeps it");
    }
}
