//! Retry, release, recount, write off, hold, and resolve.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use outbox::corrections::{self, Decider, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{who, yes};
use crate::app::App;
use crate::auth::{Caller, Operate};
use crate::extract::{Body, InPath};
use crate::problem::Problem;
use crate::refusals::Deciding;

/// Changes that an answer lists.
const LISTED: usize = 1000;

/// A correction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    /// What it concerns. A filter that names nothing is refused.
    #[schema(value_type = CorrectionFilter)]
    filter: Map<String, Value>,
    /// Why, in a sentence.
    #[schema(min_length = 1)]
    reason: String,
    /// The person it is done for.
    #[schema(min_length = 1, max_length = 200)]
    on_behalf_of: Option<String>,
    /// Only say what would be done.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Act on held usage instead of remittances; retry and write-off only.
    #[serde(default)]
    held_usage: bool,
    /// Where something stands in the way of its own hour, count it as late usage; recount only.
    #[serde(default)]
    late: bool,
}

/// What a correction concerns: all that fits every field that is given.
#[derive(ToSchema)]
#[schema(example = json!({"org": "acme", "reason": "invalid_subscription"}))]
#[expect(dead_code, reason = "the document's shape; the rules are the schema's")]
struct CorrectionFilter {
    /// Everything there is; stands alone.
    all: Option<bool>,
    /// The customer.
    org: Option<String>,
    /// The customer's account.
    account: Option<String>,
    /// The product, by stable tag.
    product: Option<String>,
    /// What was metered, by stable tag.
    metric: Option<String>,
    /// The destination's name.
    destination: Option<String>,
    /// The remittance's status.
    status: Option<String>,
    /// Why it is stuck or held.
    reason: Option<String>,
    /// Hours from this one on.
    from: Option<jiff::Timestamp>,
    /// Hours before this one.
    until: Option<jiff::Timestamp>,
    /// The remittance with this number.
    delivery: Option<i64>,
    /// Of held usage: the usage with this id.
    usage: Option<Uuid>,
}

/// What a correction did, or would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct Corrected {
    /// Nothing was changed.
    dry_run: bool,
    /// How many change.
    changed: u64,
    /// How many stay as they are; the note of each says why.
    unchanged: u64,
    /// The same in words.
    says: String,
    /// The first thousand of them.
    changes: Vec<Corrects>,
}

/// One of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Corrects {
    /// The remittance.
    delivery_id: Option<i64>,
    /// The usage, of held usage.
    usage_id: Option<Uuid>,
    /// The remittance's key.
    key: Option<String>,
    /// Status before.
    status_before: String,
    /// Status after; the same if it stays as it is.
    status_after: String,
    /// Billing units; of held usage units of the metric.
    quantity: Option<String>,
    /// Why it stays as it is, or where its quantity goes; of held usage why it was held.
    note: Option<String>,
}

impl Corrected {
    fn new(dry_run: bool) -> Self {
        Self { dry_run, changed: 0, unchanged: 0, says: String::new(), changes: Vec::new() }
    }

    fn take(&mut self, one: Corrects) {
        if one.status_before == one.status_after {
            self.unchanged += 1;
        } else {
            self.changed += 1;
        }
        if self.changes.len() < LISTED {
            self.changes.push(one);
        }
    }

    fn done(mut self) -> Json<Self> {
        self.says = match (self.changed, self.unchanged, self.dry_run) {
            (0, 0, _) => "nothing is left to do".to_owned(),
            (0, stay, _) => format!("nothing can be done: {stay} stay as they are"),
            (changed, _, true) => format!("{changed} would change; send dry_run: false to do it"),
            (changed, _, false) => format!("{changed} changed"),
        };
        Json(self)
    }
}

async fn correct(
    app: &App,
    caller: &Caller<Operate>,
    verb: Verb,
    asked: Correction,
) -> Result<Json<Corrected>, Problem> {
    let verb = match verb {
        Verb::Recount { .. } => Verb::Recount { late: asked.late },
        _ if asked.late => return Err(Problem::parameter("late", "only a recount counts as late usage")),
        other => other,
    };
    let who = who(caller, asked.on_behalf_of.as_deref())?;
    let decider = Decider { who: &who, why: &asked.reason };
    let filter = Value::Object(asked.filter);
    let mut corrected = Corrected::new(asked.dry_run);
    if !asked.held_usage {
        corrections::correct_each(&app.database, verb, &filter, decider, asked.dry_run, |change| {
            corrected.take(Corrects {
                delivery_id: Some(change.delivery),
                usage_id: None,
                key: Some(change.key),
                status_before: change.before,
                status_after: change.after,
                quantity: change.quantity,
                note: change.note,
            });
        })
        .await?;
        return Ok(corrected.done());
    }
    let after = match verb {
        Verb::Retry => "waiting",
        Verb::WriteOff => "written_off",
        Verb::Hold => return Err(Problem::parameter("held_usage", "held usage is held already")),
        Verb::Recount { .. } => {
            let detail = "held usage was never counted: mend the catalogue and it goes on by itself";
            return Err(Problem::parameter("held_usage", detail));
        }
        Verb::Release => {
            let detail = "held usage was never counted, so there is nothing to release: retry it or write it off";
            return Err(Problem::parameter("held_usage", detail));
        }
    };
    for (usage, reason, quantity) in
        corrections::correct_held(&app.database, verb, &filter, decider, asked.dry_run).await?
    {
        corrected.take(Corrects {
            delivery_id: None,
            usage_id: Some(usage),
            key: None,
            status_before: "held".to_owned(),
            status_after: after.to_owned(),
            quantity: Some(quantity),
            note: Some(reason),
        });
    }
    Ok(corrected.done())
}

/// Sends dead letters again, with the same bytes and key; held usage goes back to the outbox.
#[utoipa::path(
    post, path = "/v1/corrections/retry", tag = "decisions", security(("token" = ["operate"])),
    request_body = Correction, responses((status = 200, description = "What changed, or would", body = Corrected), Deciding)
)]
pub(crate) async fn retry(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Body(asked): Body<Correction>,
) -> Result<Json<Corrected>, Problem> {
    correct(&app, &caller, Verb::Retry, asked).await
}

/// Gives the quantity of dead letters back to their meters.
#[utoipa::path(
    post, path = "/v1/corrections/release", tag = "decisions", security(("token" = ["operate"])),
    request_body = Correction, responses((status = 200, description = "What changed, or would", body = Corrected), Deciding)
)]
pub(crate) async fn release(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Body(asked): Body<Correction>,
) -> Result<Json<Corrected>, Problem> {
    correct(&app, &caller, Verb::Release, asked).await
}

/// Counts the usage of dead letters again, by today's catalogue and in its own hour.
#[utoipa::path(
    post, path = "/v1/corrections/recount", tag = "decisions", security(("token" = ["operate"])),
    request_body = Correction, responses((status = 200, description = "What changed, or would", body = Corrected), Deciding)
)]
pub(crate) async fn recount(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Body(asked): Body<Correction>,
) -> Result<Json<Corrected>, Problem> {
    correct(&app, &caller, Verb::Recount { late: false }, asked).await
}

/// Gives dead letters up, or held usage.
#[utoipa::path(
    post, path = "/v1/corrections/write-off", tag = "decisions", security(("token" = ["operate"])),
    request_body = Correction, responses((status = 200, description = "What changed, or would", body = Corrected), Deciding)
)]
pub(crate) async fn write_off(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Body(asked): Body<Correction>,
) -> Result<Json<Corrected>, Problem> {
    correct(&app, &caller, Verb::WriteOff, asked).await
}

/// Puts aside what waits to be sent, until somebody retries it.
#[utoipa::path(
    post, path = "/v1/corrections/hold", tag = "decisions", security(("token" = ["operate"])),
    request_body = Correction, responses((status = 200, description = "What changed, or would", body = Corrected), Deciding)
)]
pub(crate) async fn hold(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    Body(asked): Body<Correction>,
) -> Result<Json<Corrected>, Problem> {
    correct(&app, &caller, Verb::Hold, asked).await
}

/// What a person found out about an unknown remittance, or a conflict.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolution {
    /// The marketplace holds it: it becomes accepted. Else it is sent again while its deadline allows, or expires.
    billed: bool,
    /// With `billed`: how much they hold, where it is not our very quantity. That counts; of a conflict of which they did not
    /// say how much they hold it must be said.
    #[schema(example = "7.5")]
    quantity: Option<String>,
    /// How they know, in a sentence.
    #[schema(min_length = 1)]
    reason: String,
    /// The person it is done for.
    #[schema(min_length = 1, max_length = 200)]
    on_behalf_of: Option<String>,
}

/// Where a remittance stands now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Resolved {
    /// The remittance.
    delivery_id: i64,
    /// Its status.
    status: String,
    /// False: it was decided so before, and nothing more was changed.
    changed: bool,
}

/// Says whether a remittance that may have been billed was.
#[utoipa::path(
    post, path = "/v1/remittances/{delivery_id}/resolve", tag = "decisions", security(("token" = ["operate"])),
    params(("delivery_id" = i64, Path, description = "Number of the remittance")),
    request_body = Resolution, responses((status = 200, description = "Where it stands now", body = Resolved), Deciding)
)]
pub(crate) async fn resolve(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath(delivery): InPath<String>,
    Body(asked): Body<Resolution>,
) -> Result<Json<Resolved>, Problem> {
    let unknown = |_| Problem::not_found("there is no remittance with this number");
    let delivery: i64 = delivery.parse().map_err(unknown)?;
    let who = who(&caller, asked.on_behalf_of.as_deref())?;
    let decider = Decider { who: &who, why: &asked.reason };
    let quantity = asked.quantity.filter(|_| asked.billed).map(|text| text.parse::<remittance::Quantity>());
    let quantity = quantity.transpose().map_err(|error| Problem::parameter("quantity", error.to_string()))?;
    let decided = match quantity {
        Some(quantity) => corrections::resolve_quantity(&app.database, delivery, &quantity, decider).await?,
        None => corrections::resolve(&app.database, delivery, asked.billed, decider).await?,
    };
    Ok(Json(Resolved { delivery_id: delivery, status: decided.now, changed: decided.changed }))
}
