//! Closing a month, opening it again, and what it leaves open.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use outbox::corrections::Decider;
use outbox::month::{self as ledger, How, Item, Returned};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{who, yes};
use crate::app::App;
use crate::auth::{Caller, Operate, Read};
use crate::extract::{Body, InPath};
use crate::problem::Problem;
use crate::refusals::{Deciding, Reading};

/// A month at a destination.
#[derive(Serialize, ToSchema)]
pub(crate) struct Month {
    /// The destination.
    destination: String,
    /// The month.
    #[schema(example = "2026-11")]
    month: String,
    /// A person closed it.
    closed: bool,
    /// What it leaves open.
    items: Vec<OpenItem>,
}

/// Something that a month leaves open.
#[derive(Serialize, ToSchema)]
pub(crate) struct OpenItem {
    /// A status of remittances, or `held_usage`, waiting, released, remainder, `over_billed`.
    class: String,
    /// Why it is held.
    reason: Option<String>,
    /// The meter.
    meter_id: Option<i64>,
    /// Its buyer.
    buyer: Option<String>,
    /// The org, of usage.
    org: Option<String>,
    /// The product.
    product: Option<String>,
    /// The metric, of usage.
    metric: Option<String>,
    /// The dimension.
    dimension: Option<String>,
    /// How many.
    items: i64,
    /// How much.
    quantity: String,
    /// billing or metric: what the quantity counts.
    unit: String,
    /// Quantity times unit price; null: unpriced.
    amount: Option<String>,
    /// Its currency.
    currency: Option<String>,
    /// What to do about it.
    to_do: Option<String>,
}

impl From<Item> for OpenItem {
    fn from(item: Item) -> Self {
        Self {
            class: item.class,
            reason: item.reason,
            meter_id: item.meter_id,
            buyer: item.buyer,
            org: item.org,
            product: item.product,
            metric: item.metric,
            dimension: item.dimension,
            items: item.items,
            quantity: item.quantity,
            unit: item.unit,
            amount: item.amount,
            currency: item.currency,
            to_do: item.to_do,
        }
    }
}

/// A month that is opened again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reopened {
    /// The destination.
    destination: String,
    /// The month.
    #[schema(example = "2026-11")]
    month: String,
    /// Nothing was changed.
    dry_run: bool,
    /// What goes back to the outbox.
    returned: Vec<ReturnedUsage>,
}

/// Usage that was held because its month was closed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReturnedUsage {
    /// The customer.
    org: String,
    /// Our product.
    product: String,
    /// Our metric.
    metric: String,
    /// How many usages.
    usages: i64,
    /// How much, in units of the metric.
    quantity: String,
}

impl From<Returned> for ReturnedUsage {
    fn from(returned: Returned) -> Self {
        let Returned { usages, org, product, metric, quantity } = returned;
        Self { org, product, metric, usages, quantity }
    }
}

/// A decision about a month.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AboutMonth {
    /// Why, in a sentence.
    #[schema(min_length = 1)]
    reason: String,
    /// The person it is done for.
    #[schema(min_length = 1, max_length = 200)]
    on_behalf_of: Option<String>,
    /// Only say what would be done.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Close it although hours of it can still be sent; of closing only.
    #[serde(default)]
    forced: bool,
}

fn month(text: &str) -> Result<Date, Problem> {
    let date: Option<Date> = (text.len() == 7).then(|| format!("{text}-01").parse().ok()).flatten();
    date.filter(|date| date.year() > 0)
        .ok_or_else(|| Problem::parameter("month", "month must be a year and a month, such as 2026-11"))
}

/// What a month leaves open at a destination, closed or not.
#[utoipa::path(
    get, path = "/v1/months/{destination}/{month}", tag = "decisions", security(("token" = ["read"])),
    params(("destination" = String, Path, description = "The destination's name"),
           ("month" = String, Path, description = "Such as 2026-11", pattern = "^[0-9]{4}-[0-9]{2}$")),
    responses((status = 200, description = "The month", body = Month), Reading)
)]
pub(crate) async fn report_month(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath((destination, text)): InPath<(String, String)>,
) -> Result<Json<Month>, Problem> {
    if let Some(org) = caller.org() {
        return Err(Problem::forbidden(format!("a month is everybody's, and this token is for {org:?} only")));
    }
    let date = month(&text)?;
    let items = ledger::report(&app.database, &destination, date).await?;
    let closed = ledger::closed_at(&app.database, &destination, date).await?.is_some();
    Ok(Json(Month { destination, month: text, closed, items: items.into_iter().map(OpenItem::from).collect() }))
}

/// Closes a month at a destination: what comes for it later is held.
#[utoipa::path(
    post, path = "/v1/months/{destination}/{month}/close", tag = "decisions", security(("token" = ["operate"])),
    params(("destination" = String, Path, description = "The destination's name"),
           ("month" = String, Path, description = "Such as 2026-11", pattern = "^[0-9]{4}-[0-9]{2}$")),
    request_body = AboutMonth, responses((status = 200, description = "The month, and what it leaves open", body = Month), Deciding)
)]
pub(crate) async fn close_month(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath((destination, text)): InPath<(String, String)>,
    Body(asked): Body<AboutMonth>,
) -> Result<Json<Month>, Problem> {
    let (date, who) = (month(&text)?, who(&caller, asked.on_behalf_of.as_deref())?);
    let decider = Decider { who: &who, why: &asked.reason };
    let how = How { dry_run: asked.dry_run, forced: asked.forced };
    let items = ledger::close(&app.database, &destination, date, decider, how).await?;
    let closed = ledger::closed_at(&app.database, &destination, date).await?.is_some();
    Ok(Json(Month { destination, month: text, closed, items: items.into_iter().map(OpenItem::from).collect() }))
}

/// Opens a closed month again: what was held for it goes back to the outbox.
#[utoipa::path(
    post, path = "/v1/months/{destination}/{month}/reopen", tag = "decisions", security(("token" = ["operate"])),
    params(("destination" = String, Path, description = "The destination's name"),
           ("month" = String, Path, description = "Such as 2026-11", pattern = "^[0-9]{4}-[0-9]{2}$")),
    request_body = AboutMonth, responses((status = 200, description = "What goes back, or would", body = Reopened), Deciding)
)]
pub(crate) async fn reopen_month(
    State(app): State<Arc<App>>,
    caller: Caller<Operate>,
    InPath((destination, text)): InPath<(String, String)>,
    Body(asked): Body<AboutMonth>,
) -> Result<Json<Reopened>, Problem> {
    if asked.forced {
        return Err(Problem::parameter("forced", "forced is for closing: a closed month can always be opened again"));
    }
    let (date, who) = (month(&text)?, who(&caller, asked.on_behalf_of.as_deref())?);
    let decider = Decider { who: &who, why: &asked.reason };
    let returned = ledger::reopen(&app.database, &destination, date, decider, asked.dry_run).await?;
    let returned = returned.into_iter().map(ReturnedUsage::from).collect();
    Ok(Json(Reopened { destination, month: text, dry_run: asked.dry_run, returned }))
}
