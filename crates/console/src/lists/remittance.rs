//! `GET /v1/remittances/{id}`: one remittance, what was tried, and what people decided about it.

use std::sync::Arc;

use axum::extract::State;
use http::HeaderName;
use outbox::listing::{self, Ask, Filter, List, Row, Test};
use outbox::report;

use super::{JSON, ask, write};
use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// Attempts and decisions that are shown; the lists have all.
const SHOWN: usize = 1000;

/// What a caller for one org is not shown of an attempt: an answer may speak of others in the same call.
const OF_ALL_ORGS: [&str; 3] = ["excerpt", "receipt", "their_request_id"];

/// One remittance, its attempts and the decisions about it (the first thousand of each, newest first).
#[utoipa::path(
    get, path = "/v1/remittances/{delivery_id}", tag = "lists", security(("token" = ["read"])),
    params(("delivery_id" = i64, Path, description = "Number of the remittance")),
    responses((status = 200, description = "The remittance", body = inline(super::document::RemittanceDocument)),
              Reading)
)]
pub(crate) async fn remittance(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath(delivery): InPath<String>,
) -> Result<([(HeaderName, &'static str); 1], Vec<u8>), Problem> {
    let unknown = || Problem::not_found("there is no remittance with this number");
    let delivery: i64 = delivery.parse().map_err(|_| unknown())?;
    let one = rows(&app, "remittances", delivery, caller.org()).await?;
    if one.1.is_empty() {
        let told = if caller.org().is_none() { report::told_dropped(&app.database, delivery).await? } else { None };
        return Err(told.map_or_else(unknown, |told| Problem::not_found(format!("this remittance {told}"))));
    }
    let mut attempts = rows(&app, "attempts", delivery, None).await?;
    if caller.org().is_some() {
        hide(&mut attempts);
    }
    let decisions = rows(&app, "decisions", delivery, None).await?;
    let mut out = b"{\"remittance\":".to_vec();
    write::objects(&mut out, one.0.columns, &one.1);
    // one row: the object without its array
    out.remove(b"{\"remittance\":".len());
    out.pop();
    out.extend(b",\"attempts\":");
    write::objects(&mut out, attempts.0.columns, &attempts.1);
    out.extend(b",\"decisions\":");
    write::objects(&mut out, decisions.0.columns, &decisions.1);
    out.push(b'}');
    Ok((JSON, out))
}

async fn rows(app: &App, list: &str, delivery: i64, org: Option<&str>) -> Result<(&'static List, Vec<Row>), Problem> {
    let list = listing::find(list).expect("a list of ours");
    let filter = |name: &str, value: String| {
        let column = list.column(name).expect("a column of its own");
        Filter { column, test: Test::AnyOf, values: vec![value] }
    };
    let mut filters = vec![filter("delivery_id", delivery.to_string())];
    filters.extend(org.map(|org| filter(list.org.expect("it has orgs"), org.to_owned())));
    let order = ask::order(list, list.sort).expect("a column of its own");
    let ask = Ask { list, filters, order, after: None };
    Ok((list, listing::page(&app.database, &ask, SHOWN, None).await?.rows))
}

fn hide((list, rows): &mut (&'static List, Vec<Row>)) {
    let hidden: Vec<usize> =
        (0..list.columns.len()).filter(|at| OF_ALL_ORGS.contains(&list.columns[*at].name)).collect();
    for row in rows {
        for at in &hidden {
            row[*at] = None;
        }
    }
}
