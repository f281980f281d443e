//! Links into an archive and into Kibana. They are made from configured addresses; nothing is called from here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::Visitor;
use super::asked::{Asked, Id};
use super::refusal::Refusal;
use crate::app::App;
use crate::usage::escape;

/// `GET {base}/payloads/{request_id}/archiveLink`.
pub(super) async fn archive(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Id(request_id): Id,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    check_role(&app, &visitor, &headers)?;
    check_uuid(&request_id)?;
    let template = app.options.archive_url.as_ref().ok_or_else(|| not_configured("archive_url"))?;
    Ok(Json(json!({"url": template.replace("{request_id}", &escape(&request_id))})))
}

/// `GET {base}/roles/archiveLink`.
pub(super) async fn may_archive(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    check_role(&app, &visitor, &headers)?;
    Ok(Json(json!({"allowed": true})))
}

/// `GET {base}/payloads/{request_id}/kibanaLink?service=`.
pub(super) async fn kibana(
    State(app): State<Arc<App>>,
    _visitor: Visitor,
    Id(request_id): Id,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    check_uuid(&request_id)?;
    let template = app.options.kibana_url.as_ref().ok_or_else(|| not_configured("kibana_url"))?;
    let mut query = format!("request_id:{request_id}");
    if let Some(service) = asked.get("service") {
        query.push_str(&format!(" AND app:{}", quoted(service)));
    }
    Ok(Json(json!({"url": template.replace("{query}", &escape(&query))})))
}

/// A phrase of Lucene's query language: what is inside cannot end it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn check_uuid(text: &str) -> Result<(), Refusal> {
    // dashed or 32 digits; the other forms that the library reads are none of the contract
    let is_uuid = matches!(text.len(), 32 | 36) && Uuid::try_parse(text).is_ok();
    if is_uuid { Ok(()) } else { Err(Refusal::bad(format!("{text} is not a valid UUID"))) }
}

fn not_configured(setting: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("no link: the setting {setting} is not given"))
}

/// The role in `x-rh-identity`, which counts only where a trusted proxy wrote it.
fn check_role(app: &App, visitor: &Visitor, headers: &HeaderMap) -> Result<(), Refusal> {
    let missing = || Refusal::new(StatusCode::UNAUTHORIZED, "Missing Identity Header");
    let header = headers.get("x-rh-identity").filter(|_| visitor.is_vouched_for).ok_or_else(missing)?;
    let identity: Value = STANDARD
        .decode(header.as_bytes())
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "the identity header is not base64 of JSON"))?;
    let roles = identity.pointer("/identity/associate/Role").and_then(Value::as_array);
    let needed = &app.options.archive_role;
    if roles.is_some_and(|roles| roles.iter().any(|role| role.as_str() == Some(needed))) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, format!("the role {needed} is needed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_a_service_cannot_break_out_of_the_kibana_query() {
        assert_eq!(quoted(r#"a" OR x:\"#), r#""a\" OR x:\\""#);
        assert!(check_uuid("0af7651916cd43dd8448eb211c80319c").is_ok());
        assert!(check_uuid("0af76519-16cd-43dd-8448-eb211c80319c").is_ok());
        assert!(check_uuid("{0af7651916cd43dd8448eb211c80319c}").is_err());
    }
}
