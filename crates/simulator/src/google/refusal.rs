//! What Google answers when it refuses: words and numbers of google.rpc.Code.

use bytes::Bytes;
use serde_json::json;

/// A word of google.rpc.Code with its number and its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) word: &'static str,
    pub(crate) number: u8,
    pub(crate) status: u16,
}

impl Code {
    const fn of(word: &'static str, number: u8, status: u16) -> Code {
        Code { word, number, status }
    }
}

pub(crate) const INVALID_ARGUMENT: Code = Code::of("INVALID_ARGUMENT", 3, 400);
pub(crate) const NOT_FOUND: Code = Code::of("NOT_FOUND", 5, 404);
pub(crate) const ALREADY_EXISTS: Code = Code::of("ALREADY_EXISTS", 6, 409);
pub(crate) const PERMISSION_DENIED: Code = Code::of("PERMISSION_DENIED", 7, 403);
pub(crate) const RESOURCE_EXHAUSTED: Code = Code::of("RESOURCE_EXHAUSTED", 8, 429);
pub(crate) const UNAVAILABLE: Code = Code::of("UNAVAILABLE", 14, 503);
pub(crate) const UNAUTHENTICATED: Code = Code::of("UNAUTHENTICATED", 16, 401);

/// The whole call is refused; nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: String,
    pub(crate) message: String,
    /// The token endpoint has a form of its own (RFC 6749).
    pub(crate) of_token: bool,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { status: code.status, error: code.word.to_owned(), message: message.into(), of_token: false }
    }

    pub(crate) fn of_token(error: impl Into<String>, message: &str) -> Refusal {
        Refusal { status: 400, error: error.into(), message: message.to_owned(), of_token: true }
    }

    pub(crate) fn to_json(&self) -> Bytes {
        let body = if self.of_token {
            json!({ "error": self.error, "error_description": self.message })
        } else {
            json!({ "error": { "code": self.status, "message": self.message, "status": self.error } })
        };
        body.to_string().into()
    }
}
