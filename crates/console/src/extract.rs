//! What handlers take from a request; what is wrong with it is answered as a problem document.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::gzip;
use crate::problem::Problem;

/// Parameters of the query string.
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
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        content_type(request.headers(), &["application/json"])?;
        let bytes = whole_body(request, app).await?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::malformed(format!("the body cannot be read: {error}")))
    }
}

/// Refuses a body of another type.
pub(crate) fn content_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if wanted.iter().any(|wanted| given.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let detail = format!("send the body as {}, and say so in the header Content-Type", wanted.join(" or "));
    Err(Problem::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail))
}

/// The whole body, within the limit.
pub(crate) struct RawBody(pub Bytes);

impl FromRequest<Arc<App>> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        whole_body(request, app).await.map(Self)
    }
}

/// A body is in memory while it comes in, before anything is known of it: so only some come in at a time, and none may
/// take as long as it likes.
async fn whole_body(request: Request, app: &Arc<App>) -> Result<Bytes, Problem> {
    let _place = app.limits.body()?;
    let headers = request.headers().clone();
    let read = tokio::time::timeout(app.options.body_within, Bytes::from_request(request, app));
    let read = read.await.map_err(|_| {
        let detail = format!("the body did not arrive within {:?}; send the request again", app.options.body_within);
        Problem::plain(StatusCode::REQUEST_TIMEOUT, "slow-body", detail)
    })?;
    let body = read.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            gzip::too_large()
        } else {
            Problem::malformed(format!("the body cannot be read: {}", rejection.body_text()))
        }
    })?;
    gzip::inflated(&headers, body, app.options.body_bytes_max)
}
