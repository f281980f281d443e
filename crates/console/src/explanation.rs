//! `GET …/explanation`: why a usage or a remittance is billed or not, in plain words, with the arithmetic.

use std::sync::Arc;

use axum::extract::State;
use explain::Story;
use http::{HeaderName, header};
use outbox::report::{self, RemittanceReport, Wanted};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// Why something is billed or not.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's shape")]
pub(crate) struct Explanation {
    /// The answer in a sentence or two.
    in_short: String,
    /// How it came about, part by part.
    sections: Vec<ExplanationSection>,
    /// The facts behind it, exact: what `postmeter explain --json` has as `report`.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    report: Value,
}

/// A part of an explanation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationSection {
    /// What it is about.
    title: String,
    /// Lines for people.
    lines: Vec<String>,
}

/// The answer. The report is written as it is: its evidence may be nested deeper than a parser likes.
#[derive(Serialize)]
struct Told<'a, T> {
    in_short: String,
    sections: Vec<ExplanationSection>,
    report: &'a T,
}

fn told<T: Serialize>(story: Story, report: &T, is_limited: bool) -> Written {
    let section = |section: explain::Section| ExplanationSection { title: section.title, lines: section.lines };
    let mut sections: Vec<_> = story.sections.into_iter().map(section).collect();
    if is_limited {
        let left_out = "usage of other orgs that share a remittance, and what the marketplace answered about them all; \
                        the arithmetic is that of the whole remittance";
        sections.push(ExplanationSection {
            title: "What is not shown to a token for one org".to_owned(),
            lines: vec![left_out.to_owned()],
        });
    }
    let body = serde_json::to_vec(&Told { in_short: story.in_short, sections, report }).expect("plain data");
    ([(header::CONTENT_TYPE, "application/json")], body)
}

/// A body that is JSON already.
type Written = ([(HeaderName, &'static str); 1], Vec<u8>);

/// Explains a usage: where it is, which remittance counted it, its share there, the arithmetic, what happens next.
#[utoipa::path(
    get, path = "/v1/usage/{source}/{event_id}/explanation", tag = "usage", operation_id = "explain_usage",
    security(("token" = ["read"])),
    params(("source" = String, Path, description = "The service that recorded it"),
           ("event_id" = String, Path, description = "The service's id of it")),
    responses((status = 200, description = "Why it is billed or not", body = Explanation), Reading)
)]
pub(crate) async fn usage(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath((source, event_id)): InPath<(String, String)>,
) -> Result<Written, Problem> {
    if source.contains('\0') || event_id.contains('\0') {
        return Err(crate::usage::unknown());
    }
    let wanted = Wanted::Event { source: &source, event_id: &event_id };
    let found = report::usage(&app.database, wanted).await?;
    // another org's usage is not there for this caller
    let Some(mut found) = found.filter(|found| caller.org().is_none_or(|org| org == found.usage.org)) else {
        return Err(crate::usage::missing(&app, &caller, wanted).await?);
    };
    if let Some(org) = caller.org() {
        found.remittances.iter_mut().for_each(|remittance| limit(remittance, org));
    }
    Ok(told(explain::of_usage(&found), &found, caller.org().is_some()))
}

/// Explains a remittance: what it counts, its arithmetic, what was tried, what happens next, what a person can do.
#[utoipa::path(
    get, path = "/v1/remittances/{delivery_id}/explanation", tag = "lists", operation_id = "explain_remittance",
    security(("token" = ["read"])),
    params(("delivery_id" = i64, Path, description = "Number of the remittance")),
    responses((status = 200, description = "Why it is as it is", body = Explanation), Reading)
)]
pub(crate) async fn remittance(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath(delivery): InPath<String>,
) -> Result<Written, Problem> {
    let unknown = || Problem::not_found("there is no remittance with this number");
    let delivery: i64 = delivery.parse().map_err(|_| unknown())?;
    let found = report::remittance(&app.database, delivery).await?;
    let is_theirs =
        |found: &RemittanceReport| caller.org().is_none_or(|org| found.members.iter().any(|member| member.org == org));
    let Some(mut found) = found.filter(is_theirs) else {
        let told = if caller.org().is_none() { report::told_dropped(&app.database, delivery).await? } else { None };
        return Err(told.map_or_else(unknown, |told| Problem::not_found(format!("this remittance {told}"))));
    };
    if let Some(org) = caller.org() {
        limit(&mut found, org);
    }
    Ok(told(explain::of_remittance(&found), &found, caller.org().is_some()))
}

/// Leaves out what a caller for one org must not see: other orgs, and answers that may speak of them.
fn limit(found: &mut RemittanceReport, org: &str) {
    found.members.retain(|member| member.org == org);
    found.biggest.retain(|usage| usage.org == org);
    found.remittance.body = None;
    for attempt in &mut found.attempts {
        (attempt.receipt, attempt.their_request_id, attempt.excerpt) = (None, None, None);
    }
    for evidence in &mut found.late_evidence {
        (evidence.receipt, evidence.their_request_id, evidence.excerpt) = (None, None, None);
    }
}
