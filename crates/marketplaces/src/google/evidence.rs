//! What is kept of an answer beside its outcome, and whether it is Google's JSON at all.

use http::header::CONTENT_TYPE;
use remittance::{Answer, Outcome};
use serde_json::Value;

use crate::evidence;
use crate::transport::Reply;

/// One reply and the texts of its call that must not be kept.
pub(super) struct Evidence<'a> {
    reply: &'a Reply,
    secrets: &'a [&'a str],
}

impl<'a> Evidence<'a> {
    pub(super) const fn of(reply: &'a Reply, secrets: &'a [&'a str]) -> Self {
        Self { reply, secrets }
    }

    /// An answer with the reply's evidence. Google gives no receipts.
    pub(super) fn answer(&self, outcome: Outcome, excerpt: Option<String>) -> Answer {
        Answer {
            outcome,
            receipt: None,
            http_status: Some(self.reply.status),
            request_id: self.reply.header("x-request-id").and_then(evidence::word),
            excerpt,
        }
    }

    pub(super) fn excerpt(&self, text: &[u8]) -> Option<String> {
        evidence::excerpt(text, self.secrets)
    }

    /// The body as JSON, if it is said to be. Success is an almost empty object with no receipt in it, so what any
    /// other server says must not pass for it.
    pub(super) fn json(&self, body: &[u8]) -> Option<Value> {
        let said = self.reply.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
        let media_type = said.split(';').next().unwrap_or_default().trim();
        (media_type == "application/json").then(|| serde_json::from_slice(body).ok()).flatten()
    }
}
