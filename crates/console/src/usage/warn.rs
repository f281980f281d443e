//! A warning in the answer: usage that was recorded and is held or late, or will be. It is asked for after the commit,
//! apart from it, and never kept with an idempotency key: what the catalogue says may change, and nothing that is locked
//! or slow over there may keep usage from being recorded.

use std::collections::HashMap;

use outbox::intake::Answer;
use outbox::outlook::Outlook;
use serde_json::Value;
use uuid::Uuid;

use super::shape::UsageOutlook;
use crate::app::App;

/// Usages of one request at most of which an answer warns.
const WARNED_MAX: usize = 1000;

/// The answer with what is known of its usages.
pub(super) async fn add(app: &App, answer: Answer) -> Answer {
    let Ok(mut body) = serde_json::from_str::<Value>(&answer.body) else { return answer };
    let usages: Vec<Uuid> = items(&mut body).iter().filter_map(|item| id(item)).collect();
    // who records much at once has other places to look: nobody else waits for it
    if usages.is_empty() || usages.len() > WARNED_MAX {
        return answer;
    }
    let Some(_place) = app.limits.warning().await else { return answer };
    let warnings: HashMap<Uuid, Outlook> = match outbox::outlook::warnings(&app.database, &usages).await {
        Ok(warnings) if warnings.is_empty() => return answer,
        Ok(warnings) => warnings.into_iter().collect(),
        Err(error) => {
            tracing::warn!(%error, "usage was recorded, and answered without a word about whether it is held or late");
            return answer;
        }
    };
    for item in items(&mut body) {
        let found = id(item).and_then(|usage| warnings.get(&usage));
        if let (Some(outlook), Some(members)) = (found, item.as_object_mut()) {
            let outlook = serde_json::to_value(UsageOutlook::from(outlook.clone())).expect("plain data");
            members.insert("outlook".to_owned(), outlook);
        }
    }
    Answer { body: body.to_string(), ..answer }
}

/// The items of an answer: of many, or the one that it is.
fn items(body: &mut Value) -> Vec<&mut Value> {
    match body.get("items") {
        Some(_) => body["items"].as_array_mut().map(|items| items.iter_mut().collect()).unwrap_or_default(),
        None => vec![body],
    }
}

fn id(item: &Value) -> Option<Uuid> {
    item.get("usage_id")?.as_str()?.parse().ok()
}
