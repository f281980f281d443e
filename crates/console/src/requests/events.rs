//! `GET /v1/requests/{request_id}/events`: a request's way as it happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use http::request::Parts;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::watched::{Line, Watcher};
use super::way::unknown;
use crate::app::App;
use crate::auth::{Caller, Read};
use crate::extract::InPath;
use crate::problem::Problem;
use crate::refusals::Reading;

/// How long a token is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(1);
/// A stream that has nothing to say shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A request's statuses so far, then each new one within about a second, as server-sent events.
///
/// Each `status` event is one status as in the request's way. When reading fails, a `problem` event says why and the
/// stream ends; it also ends when the token is revoked and when the console stops. A client that connects again with
/// `Last-Event-ID`, as browsers do, is told what is newer, and once more what was recorded in the five minutes before; without it,
/// everything again.
#[utoipa::path(
    get, path = "/v1/requests/{request_id}/events", tag = "requests", security(("token" = ["read"])),
    params(("request_id" = String, Path, description = "The request's id; a UUID in any form"),
           ("Last-Event-ID" = Option<String>, Header, description = "The last id of the stream before")),
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
    if id.contains('\0') {
        return Err(unknown());
    }
    let told_until = last_event(&parts)?;
    let mut watcher = app.watched.join(&id, caller.org().map(str::to_owned), told_until);
    let waiting = told(watcher.news().await?, &watcher);
    let watch = Watch { app, parts, watcher, failed: false, _place: place };
    Ok(Sse::new(tell(watch, waiting)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One client that watches one request.
struct Watch {
    app: Arc<App>,
    parts: Parts,
    watcher: Watcher,
    failed: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// Waits until there is news, the next one last; `None`: the console stops, or asking has failed.
    async fn next(&mut self) -> Option<Vec<Told>> {
        if self.failed {
            return None;
        }
        let stopping = self.app.stopping.clone();
        loop {
            let waited = tokio::time::timeout(BELIEVED, self.watcher.news());
            let news = match stopping.run_until_cancelled(waited).await? {
                Ok(news) => news.map(|news| told(news, &self.watcher)),
                // nothing new: is it still somebody who may know?
                Err(_) => self.app.tokens.of(&self.parts, &self.app).await.map(|_| Vec::new()),
            };
            match news {
                Ok(news) if news.is_empty() => {}
                // news is for who may still know
                Ok(news) => match self.app.tokens.of(&self.parts, &self.app).await {
                    Ok(_) => return Some(news),
                    Err(problem) => return Some(self.fail(problem)),
                },
                Err(problem) => return Some(self.fail(problem)),
            }
        }
    }

    fn fail(&mut self, problem: Problem) -> Vec<Told> {
        self.failed = true;
        vec![Told::Problem(problem)]
    }
}

/// What is told next.
enum Told {
    /// A status; after the last one of a look, up to when all was told.
    Status(Arc<Line>, Option<Timestamp>),
    Problem(Problem),
}

impl Told {
    fn event(self) -> Event {
        match self {
            Self::Status(line, None) => Event::default().event("status").data(&line.text),
            Self::Status(line, Some(until)) => {
                Event::default().event("status").data(&line.text).id(until.as_microsecond().to_string())
            }
            Self::Problem(problem) => {
                Event::default().event("problem").data(serde_json::to_string(&problem).expect("plain data"))
            }
        }
    }
}

/// News in the order in which it is taken from the end.
fn told(news: Vec<Arc<Line>>, watcher: &Watcher) -> Vec<Told> {
    let until = std::iter::once(watcher.told_until()).chain(std::iter::repeat(None));
    news.into_iter().rev().zip(until).map(|(line, until)| Told::Status(line, until)).collect()
}

/// Up to when a client that connects again was told everything.
fn last_event(parts: &Parts) -> Result<Option<Timestamp>, Problem> {
    let Some(value) = parts.headers.get("last-event-id") else { return Ok(None) };
    let micros = value.to_str().ok().and_then(|text| text.parse().ok());
    let moment = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    let is_kept = |moment: &Timestamp| moment.checked_sub(jiff::SignedDuration::from_hours(1)).is_ok();
    match moment.filter(is_kept) {
        Some(moment) => Ok(Some(moment)),
        None => Err(Problem::parameter(
            "Last-Event-ID",
            "Last-Event-ID must be an id that this stream gave; or leave it out",
        )),
    }
}

fn tell(watch: Watch, waiting: Vec<Told>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((watch, waiting), |(mut watch, mut waiting)| async move {
        if waiting.is_empty() {
            waiting = watch.next().await?;
        }
        let told = waiting.pop()?;
        Some((Ok(told.event()), (watch, waiting)))
    })
}
