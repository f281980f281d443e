//! `GET {base}/payloads`: the list of requests.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use outbox::requests::{RequestFilter, RequestSort, requests};
use serde_json::{Value, json};

use super::access::Visitor;
use super::asked::Asked;
use super::refusal::Refusal;
use super::words::id;
use crate::app::App;

const SORTS: [(&str, RequestSort); 6] = [
    ("account", RequestSort::Account),
    ("org_id", RequestSort::Org),
    ("inventory_id", RequestSort::InventoryId),
    ("system_id", RequestSort::SystemId),
    ("created_at", RequestSort::CreatedAt),
    ("request_id", RequestSort::RequestId),
];

pub(super) async fn list(State(app): State<Arc<App>>, visitor: Visitor, asked: Asked) -> Result<Json<Value>, Refusal> {
    let began = Instant::now();
    let page = asked.page(&SORTS, RequestSort::CreatedAt)?;
    let mut filter = RequestFilter {
        account: asked.text("account"),
        org: asked.text("org_id"),
        inventory_id: asked.text("inventory_id"),
        system_id: asked.text("system_id"),
        created: asked.recent(&app, "created_at").await?,
        ..RequestFilter::default()
    };
    if let Some(org) = visitor.org {
        if filter.org.as_ref().is_some_and(|asked| *asked != org) {
            return Ok(Json(json!({"count": 0, "elapsed": began.elapsed().as_secs_f64(), "data": []})));
        }
        filter.org = Some(org);
    }
    let listed = requests(&app.database, &filter, &page).await?;
    let rows: Vec<Value> = listed
        .rows
        .iter()
        .map(|request| {
            json!({
                "id": request.id,
                "request_id": id(&request.request_id),
                "account": request.account,
                "inventory_id": request.inventory_id,
                "system_id": request.system_id,
                "created_at": request.created_at,
                "org_id": request.org,
            })
        })
        .collect();
    Ok(Json(json!({"count": listed.count, "elapsed": began.elapsed().as_secs_f64(), "data": rows})))
}
