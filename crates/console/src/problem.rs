//! Errors as problem documents (RFC 9457). `docs/api.md` lists the types.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use telemetry::names::DATABASE_ERRORS;
use utoipa::ToSchema;

use crate::catalogue::Wrong;

/// Why a request was not done, for programs and people.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem: `urn:postmeter:problem:` and a stable word.
    #[serde(rename = "type", serialize_with = "urn")]
    #[schema(value_type = String, example = "urn:postmeter:problem:invalid")]
    pub kind: &'static str,
    /// The kind in words, the same for every problem of it.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: String,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub field: Option<Box<str>>,
    /// A stable code: the SQLSTATE where a rule of the schema refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Everything that is wrong with a catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Wrong>>)]
    pub problems: Option<Box<Vec<Wrong>>>,
    /// Seconds until the same request may succeed; also in the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u32>,
}

fn urn<S: serde::Serializer>(word: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:postmeter:problem:{word}"))
}

/// Every kind of problem and its HTTP status.
pub const KINDS: [(&str, u16); 15] = [
    ("malformed", 400),
    ("unauthenticated", 401),
    ("forbidden", 403),
    ("not-found", 404),
    ("method", 405),
    ("slow-body", 408),
    ("in-progress", 409),
    ("too-large", 413),
    ("content-type", 415),
    ("invalid", 422),
    ("key-reused", 422),
    ("catalogue", 422),
    ("too-many", 429),
    ("defect", 500),
    ("away", 503),
];

impl Problem {
    fn new(status: StatusCode, word: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(KINDS.contains(&(word, status.as_u16())), "{word} is no kind of problem");
        Self {
            kind: word,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            code: None,
            problems: None,
            retry_after: None,
        }
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be understood", detail)
    }

    /// A parameter or field is wrong: as [`Self::malformed`], with its name.
    #[must_use]
    pub fn parameter(field: &str, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::malformed(detail) }
    }

    /// A rule refuses the data.
    #[must_use]
    pub fn invalid(field: Option<String>, code: &str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A rule refuses this", detail);
        Self { field: field.map(String::into_boxed_str), code: Some(code.to_owned()), ..problem }
    }

    /// The catalogue cannot be as it says.
    #[must_use]
    pub fn catalogue(problems: Vec<Wrong>) -> Self {
        let detail = format!("{} problems; nothing was changed", problems.len());
        let problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "catalogue", "The catalogue cannot be like this", detail);
        Self { problems: Some(Box::new(problems)), ..problem }
    }

    /// No token, or one that nobody knows.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "A token is needed", detail)
    }

    /// The token may not do this.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "The token does not allow this", detail)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// A request with this idempotency key is being worked on.
    #[must_use]
    pub fn in_progress(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::CONFLICT, "in-progress", "The same request is being worked on", detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// The idempotency key belongs to another request.
    #[must_use]
    pub fn key_reused(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The key belongs to another request", detail)
    }

    /// Too much at once, or too often.
    #[must_use]
    pub fn too_many(seconds: u32, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail);
        Self { retry_after: Some(seconds.max(1)), ..problem }
    }

    /// The database is away: nothing was done, or nobody knows whether it was.
    #[must_use]
    pub fn away(seconds: u32, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "away", "The database cannot be reached", detail);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// A problem known by its HTTP status alone.
    #[must_use]
    pub fn plain(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Self {
        Self::new(status, word, status.canonical_reason().unwrap_or("Problem"), detail)
    }

    /// A defect of ours. The caller gets a sentence, the log the cause.
    #[must_use]
    pub fn defect(cause: &str) -> Self {
        tracing::error!(cause, "a request met a defect");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", "Postmeter failed", "the server's log says why")
    }
}

impl Problem {
    /// An error of the database while usage or request statuses were to be recorded.
    #[must_use]
    pub fn unrecorded(error: outbox::Error) -> Self {
        let problem = Self::from(error);
        if problem.status < 500 {
            return problem;
        }
        Self { detail: format!("nothing was acknowledged: {}; use the same ids", problem.detail), ..problem }
    }
}

/// Every error of the database has its answer here, so that none of them can look like an empty result (H4).
impl From<outbox::Error> for Problem {
    fn from(error: outbox::Error) -> Self {
        DATABASE_ERRORS.add([error.kind()], 1);
        match error {
            outbox::Error::Refused(refused) if refused.code == "PM033" => Self {
                field: refused.field.map(String::into_boxed_str),
                code: Some(refused.code),
                ..Self::not_found(refused.message)
            },
            outbox::Error::Refused(refused) => {
                Self::invalid(refused.field.clone(), &refused.code.clone(), refused.to_string())
            }
            outbox::Error::Retryable { code, message } => {
                tracing::warn!(code, message, "a request met another transaction");
                let detail = "the database was busy with something that excludes this; send the same request again";
                Self { code: Some(code), ..Self::away(1, detail) }
            }
            outbox::Error::Shut(cause) => {
                tracing::warn!(cause, "a request came to a gate that another session keeps shut");
                let detail = "the database was busy with something that excludes this; send the same request again";
                Self::away(1, detail)
            }
            outbox::Error::Unavailable(cause) => {
                tracing::warn!(cause, "the database cannot be reached");
                Self::away(5, "the database does not answer; send the same request again")
            }
            outbox::Error::Unable(cause) => {
                tracing::error!(cause, "the database can do nothing now");
                Self::away(5, "the database does not answer; send the same request again")
            }
            outbox::Error::Unwelcome(cause) => {
                tracing::error!(cause, "the database does not let us in");
                Self::away(30, "the database does not answer; send the same request again")
            }
            outbox::Error::Untrusted(cause) => {
                tracing::error!(cause, "the connection to the database is not safe, so there is none");
                Self::away(30, "the database does not answer; send the same request again")
            }
            outbox::Error::Schema(cause) => Self::defect(&cause),
            outbox::Error::Unexpected { code, message } => Self::defect(&format!("{message} ({code})")),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"postmeter\""));
        }
        response
    }
}
