//! `GET /v1/requests/{request_id}/events`: a request's way as it happens.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::way::{Known, known};
use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// How often a stream asks for news.
const POLL: Duration = Duration::from_secs(1);
/// A stream that has nothing to say shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A request's statuses so far, then each new one within about a second, as server-sent events.
///
/// Each `status` event is one status as in the request's way. When reading fails, a `problem` event says why and the
/// stream ends; it also ends when the token is revoked and when the console stops. A client that connects again is told
/// everything again.
#[utoipa::path(
    get, path = "/v1/requests/{request_id}/events", tag = "requests", security(("token" = ["read"])),
    params(("request_id" = String, Path, description = "The request's id; a UUID in any form")),
    responses((status = 200, description = "Statuses as they come", body = String, content_type = "text/event-stream"),
              Reading)
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    InPath(id): InPath<String>,
    parts: Parts,
) -> Result<impl IntoResponse, Problem> {
    let place = app.limits.events()?;
    let org = caller.org().map(str::to_owned);
    let first = known(&app, org.as_deref(), &id).await?;
    let mut watch = Watch { app, parts, id, org, told: HashSet::new(), failed: false, _place: place };
    let waiting = watch.news(first);
    Ok(Sse::new(tell(watch, waiting)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One client that watches one request.
struct Watch {
    app: Arc<App>,
    parts: Parts,
    id: String,
    org: Option<String>,
    told: HashSet<String>,
    failed: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// What was not told yet, the next one last.
    fn news(&mut self, known: Known) -> Vec<Event> {
        let texts = known.entries.iter().map(|entry| serde_json::to_string(entry).expect("plain data"));
        let mut news: Vec<Event> = texts
            .filter(|text| self.told.insert(text.clone()))
            .map(|text| Event::default().event("status").data(text))
            .collect();
        news.reverse();
        news
    }

    /// Waits until there is news; `None`: the console stops, or asking has failed.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.failed {
            return None;
        }
        let stopping = self.app.stopping.clone();
        loop {
            stopping.run_until_cancelled(tokio::time::sleep(POLL)).await?;
            let allowed = self.app.tokens.of(&self.parts, &self.app).await;
            let known = match allowed {
                Ok(_) => known(&self.app, self.org.as_deref(), &self.id).await,
                Err(problem) => Err(problem),
            };
            match known {
                Ok(known) => {
                    let news = self.news(known);
                    if !news.is_empty() {
                        return Some(news);
                    }
                }
                Err(problem) => {
                    self.failed = true;
                    let text = serde_json::to_string(&problem).expect("plain data");
                    return Some(vec![Event::default().event("problem").data(text)]);
                }
            }
        }
    }
}

fn tell(watch: Watch, waiting: Vec<Event>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((watch, waiting), |(mut watch, mut waiting)| async move {
        if waiting.is_empty() {
            waiting = watch.next().await?;
        }
        let event = waiting.pop()?;
        Some((Ok(event), (watch, waiting)))
    })
}
