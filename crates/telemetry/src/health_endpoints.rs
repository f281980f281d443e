//! Whether a process lives and can work, and its metrics; the same of a worker and of a console.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{HeaderName, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use outbox::health::{self, Limits, Part, Told};
use outbox::{Database, Error};
use tokio::net::TcpListener;

use crate::connections::serve_connections;
use crate::loop_health::LoopHealth;
use crate::names;
use crate::page::Page;
use crate::readings::Readings;
use crate::{process, recorder};

/// How long it may take to say whether a process can work; who asks gives up soon after.
const PATIENCE: Duration = Duration::from_millis(2200);
/// How long a lock on a table may be in the way of the main statements: those wait for five seconds.
const LOCK: Duration = Duration::from_secs(1);
/// Connections with which it is asked how a process is, beside those with which it works.
const ASKING: usize = 3;

/// The answers about a process: alive, ready, metrics.
pub struct HealthEndpoints {
    /// Where questions are asked.
    database: Database,
    /// Whose connections are counted.
    counted: Database,
    pulse: Option<Arc<LoopHealth>>,
    recorder: PrometheusHandle,
    readings: Readings,
}

/// Why a process cannot work now.
#[derive(Debug)]
pub enum Unready {
    /// The database.
    Database(Error),
    /// The main statements cannot pass: why, and where a table is locked, by whom.
    Blocked(String),
    /// This worker has no lease: it has not registered yet, or no heartbeat was heard for longer than one lasts.
    NoLease,
}

impl std::fmt::Display for Unready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Blocked(why) => f.write_str(why),
            Self::NoLease => f.write_str("the worker has no lease: no heartbeat of it was heard"),
        }
    }
}

impl HealthEndpoints {
    /// Of a worker that works with these connections. Questions are answered through other connections, also while all
    /// of these are busy.
    #[must_use]
    pub fn of_worker(counted: Database, pulse: Arc<LoopHealth>) -> Self {
        Self::of(counted, Some(pulse))
    }

    /// Of a console that serves with these connections.
    #[must_use]
    pub fn of_console(counted: Database) -> Self {
        Self::of(counted, None)
    }

    fn of(counted: Database, pulse: Option<Arc<LoopHealth>>) -> Self {
        let database = counted.apart(ASKING);
        let readings = Readings::new(database.clone(), pulse.is_none());
        Self { database, counted, pulse, recorder: recorder::handle(), readings }
    }

    /// Its loops turn. Says nothing about the database: a restart would not bring that back.
    ///
    /// # Errors
    /// A sentence that names the loops that do not.
    pub fn live(&self) -> Result<(), String> {
        let stalled = self.pulse.as_ref().map(|pulse| pulse.stalled()).unwrap_or_default();
        if stalled.is_empty() {
            return Ok(());
        }
        let said = stalled.iter().map(|(name, age)| format!("{name} has not turned for {} s", age.as_secs()));
        Err(said.collect::<Vec<_>>().join(", "))
    }

    /// It can work: the database answers, has the schema that this program knows, and lets its main statements pass; a
    /// worker's lease holds.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn ready(&self) -> Result<(), Unready> {
        let until = Instant::now() + PATIENCE;
        let limits = Limits { until, statement: PATIENCE, lock: LOCK };
        let part = if self.pulse.is_some() { Part::Worker } else { Part::Console };
        match health::ready(&self.database, part, limits).await.map_err(Unready::Database)? {
            Told::Answer(()) => {}
            Told::Silent => return Err(Unready::Database(Error::Unavailable("it did not answer in time".to_owned()))),
            Told::Late => return Err(Unready::Blocked("the main statements take too long to begin".to_owned())),
            Told::Locked => {
                let who = health::who_locks(&self.database, limits).await;
                let why = "a table that the main statements need is locked";
                return Err(Unready::Blocked(if who.is_empty() { why.to_owned() } else { format!("{why}: {who}") }));
            }
        }
        match &self.pulse {
            Some(pulse) if !pulse.is_leased() => Err(Unready::NoLease),
            _ => Ok(()),
        }
    }

    /// Metrics in Prometheus' text format. While the database is away they say so by `postmeter_database_up 0`.
    pub async fn metrics(&self) -> String {
        let readings = self.readings.text().await;
        let mut page = Page::default();
        process::put(&mut page);
        let connections = self.counted.connections();
        let states = [("in_use", connections.in_use), ("idle", connections.idle), ("waiting", connections.waiting)];
        for (state, count) in states {
            names::POOL_CONNECTIONS.set([state], u32::try_from(count).unwrap_or(u32::MAX).into());
        }
        for (name, age) in self.pulse.iter().flat_map(|pulse| pulse.ages()) {
            names::LOOP_AGE.set([&name], age.as_secs_f64());
        }
        let mut text = self.recorder.render();
        text.push_str(&page.text());
        text.push_str(&readings);
        text
    }
}

/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Serves `/live`, `/ready` and `/metrics` until `stop`.
pub async fn serve(
    listener: TcpListener,
    vital: Arc<HealthEndpoints>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n"))
        .with_state(vital);
    serve_connections(listener, router, HEAD_WITHIN, stop).await;
}

async fn live(State(vital): State<Arc<HealthEndpoints>>) -> (StatusCode, String) {
    match vital.live() {
        Ok(()) => (StatusCode::OK, "OK".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn ready(State(vital): State<Arc<HealthEndpoints>>) -> (StatusCode, String) {
    match vital.ready().await {
        Ok(()) => (StatusCode::OK, "OK".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(vital): State<Arc<HealthEndpoints>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], vital.metrics().await)
}
