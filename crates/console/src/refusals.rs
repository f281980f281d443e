//! The problems that operations may be answered with, said once for the OpenAPI document.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, Object, Ref, RefOr, Type};

/// Statuses and what they mean; `docs/api.md` says more.
const ALL: [(u16, &str); 12] = [
    (400, "The request cannot be understood"),
    (401, "No token, or one that nobody knows"),
    (403, "The token does not allow this"),
    (404, "There is no such thing"),
    (408, "The body did not arrive in time"),
    (409, "The same request is being worked on"),
    (413, "Too large"),
    (415, "Another content type is needed"),
    (422, "A rule refuses this"),
    (429, "Too many requests"),
    (500, "A defect of ours; nothing was acknowledged"),
    (503, "The database cannot be reached, or is busy; nothing was acknowledged"),
];

fn of(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let chosen = ALL.into_iter().filter(|(status, _)| statuses.contains(status));
    chosen.map(|(status, says)| (status.to_string(), response(status, says).into())).collect()
}

fn response(status: u16, says: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response = ResponseBuilder::new().description(says).content("application/problem+json", content);
    if [409, 429, 503].contains(&status) {
        let seconds = HeaderBuilder::new().schema(Some(Object::with_type(Type::Integer)));
        let seconds = seconds.description(Some("Seconds until the same request may succeed")).build();
        response = response.header("Retry-After", seconds);
    }
    response.build()
}

/// Of what reads many.
pub(crate) struct Listing;
/// Of what reads one.
pub(crate) struct Reading;
/// Of what records.
pub(crate) struct Recording;
/// Of what decides.
pub(crate) struct Deciding;

impl IntoResponses for Listing {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        of(&[400, 401, 403, 429, 500, 503])
    }
}

impl IntoResponses for Reading {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        of(&[400, 401, 403, 404, 429, 500, 503])
    }
}

impl IntoResponses for Recording {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        of(&[400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503])
    }
}

impl IntoResponses for Deciding {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        of(&[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503])
    }
}
