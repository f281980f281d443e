//! What handlers take from a request; what is wrong with it is answered as a problem document.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Parameters of the query string.
#[allow(dead_code, reason = "for lists")]
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(params) = Query::from_request_parts(parts, state).await.map_err(|rejection| {
            Problem::malformed(format!("the query string cannot be read: {}", rejection.body_text()))
        })?;
        Ok(Self(params))
    }
}

/// Parts of the path.
pub(crate) struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(path) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::not_found(format!("the path cannot be read: {}", rejection.body_text())))?;
        Ok(Self(path))
    }
}

/// A JSON body.
#[allow(dead_code, reason = "for decisions")]
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = whole_body(request, state).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::malformed(format!("the body cannot be read: {error}")))
    }
}

/// The whole body, within the limit.
pub(crate) struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        whole_body(request, state).await.map(Self)
    }
}

async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = "the body is larger than this console takes; send fewer usages in one request";
            Problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
        } else {
            Problem::malformed(format!("the body cannot be read: {}", rejection.body_text()))
        }
    })
}
