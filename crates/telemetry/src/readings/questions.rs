//! The questions of a scrape, and which metric each answer is.

use std::time::Instant;

use futures_util::future::BoxFuture;
use outbox::health::{Backlog, Fellow, Isolated, NotCut, Partitions};
use outbox::measure;

use super::{Asking, funnel, precise};
use crate::names;

/// Workers with a series of their own at most.
const WORKERS_MAX: usize = 100;

/// Something that is asked beside all else, and kept apart.
pub(super) struct Topic {
    pub name: &'static str,
    /// It costs more the more waits.
    pub is_dear: bool,
    /// Consoles ask otherwise.
    only_workers: bool,
    pub ask: Ask,
}

/// The cheap ones first: they are asked first.
const TOPICS: &[Topic] = &[
    cheap("clock", |asking| Box::pin(clock(asking))),
    cheap("workers", |asking| Box::pin(workers(asking))),
    cheap("fleet", |asking| Box::pin(fleet(asking))),
    cheap("outbox", |asking| Box::pin(outbox(asking))),
    cheap("deliveries", |asking| Box::pin(deliveries(asking))),
    cheap("in_flight", |asking| Box::pin(in_flight(asking))),
    cheap("destinations", |asking| Box::pin(destinations(asking))),
    cheap("isolation", |asking| Box::pin(isolated(asking))),
    cheap("quotas", |asking| Box::pin(quotas(asking))),
    cheap("held", |asking| Box::pin(held(asking))),
    cheap("alerts", |asking| Box::pin(alerts(asking))),
    cheap("balance", |asking| Box::pin(balance(asking))),
    cheap("snapshots", |asking| Box::pin(snapshots(asking))),
    cheap("dead_tuples", |asking| Box::pin(dead_tuples(asking))),
    cheap("partitions", |asking| Box::pin(partitions(asking))),
    cheap("keys_stuck", |asking| Box::pin(keys_stuck(asking))),
    cheap("request_refusals", |asking| Box::pin(request_refusals(asking))),
    Topic { only_workers: true, ..cheap("requests_unfinished", |asking| Box::pin(requests_unfinished(asking))) },
    Topic { only_workers: true, ..cheap("services_silent", |asking| Box::pin(services_silent(asking))) },
    Topic { only_workers: true, ..dear("service_seconds", |asking| Box::pin(service_seconds(asking))) },
    dear("amounts", |asking| Box::pin(amounts(asking))),
    dear("forecast", |asking| Box::pin(forecast(asking))),
    dear("dead_letters", |asking| Box::pin(dead_letters(asking))),
    dear("funnel", |asking| Box::pin(funnel::ask(asking))),
];

type Ask = for<'a, 'b> fn(&'a mut Asking<'b>) -> BoxFuture<'a, ()>;

const fn cheap(name: &'static str, ask: Ask) -> Topic {
    Topic { name, is_dear: false, only_workers: false, ask }
}

const fn dear(name: &'static str, ask: Ask) -> Topic {
    Topic { is_dear: true, ..cheap(name, ask) }
}

/// What is asked by a console, which counts request statuses, or by a worker.
pub(super) fn topics(has_statuses: bool) -> impl Iterator<Item = &'static Topic> {
    TOPICS.iter().filter(move |topic| !(topic.only_workers && has_statuses))
}

async fn clock(asking: &mut Asking<'_>) {
    let before = (wall_clock(), Instant::now());
    for row in asking.ask::<measure::Clock>("clock").await.into_iter().flatten() {
        let between = before.0 + before.1.elapsed().as_secs_f64() / 2.0;
        asking.page.put(&names::CLOCK_SKEW, [], between - row.seconds);
    }
}

/// The machine's own time: how far it is off is what is measured, nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the wall clock itself is measured")]
fn wall_clock() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

async fn outbox(asking: &mut Asking<'_>) {
    for row in asking.ask::<Backlog>("outbox").await.into_iter().flatten() {
        asking.page.put(&names::OUTBOX_ENTRIES, [], precise(row.entries));
        asking.page.put(&names::OUTBOX_OLDEST_AGE, [], row.oldest_seconds.unwrap_or_default().max(0.0));
    }
}

async fn isolated(asking: &mut Asking<'_>) {
    for row in asking.ask::<Isolated>("isolation").await.into_iter().flatten() {
        let (name, count) = (row.name.as_str(), precise(row.count));
        match row.kind.as_str() {
            "step" => asking.page.put(&names::STEP_FAILURES_IN_A_ROW, [name], count),
            state => asking.page.put(&names::SETBACKS, [name, state], count),
        }
    }
    for row in asking.ask::<NotCut>("hours").await.into_iter().flatten() {
        asking.page.put(&names::HOURS_NOT_CUT, [row.destination.as_str()], precise(row.count));
    }
}

async fn deliveries(asking: &mut Asking<'_>) {
    let rows = asking.ask::<measure::Deliveries>("deliveries").await.unwrap_or_default();
    for row in &rows {
        let (destination, status) = (row.destination.as_str(), row.status.as_str());
        let is_stuck = !matches!(status, "open" | "due" | "later");
        if status == "later" {
            asking.page.put(&names::DELIVERIES_LATER, [destination], precise(row.count));
            continue;
        }
        let later =
            rows.iter().find(|other| status == "due" && other.destination == destination && other.status == "later");
        let count = row.count + later.map_or(0, |later| later.count);
        asking.page.put(&names::DELIVERIES, [destination, status], precise(count));
        asking.page.put_some(&names::DELIVERY_OLDEST_AGE, [destination, status], row.oldest_seconds);
        if is_stuck {
            asking.page.put(&names::DEAD_LETTERS, [destination, status], precise(count));
        }
        if status == "unknown" {
            asking.page.put_some(&names::UNKNOWN_OLDEST_AGE, [destination], row.oldest_seconds);
        }
    }
}

async fn in_flight(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::InFlight>("in_flight").await.into_iter().flatten() {
        let labels = [row.destination.as_str(), row.status.as_str()];
        asking.page.put(&names::DELIVERIES, labels, precise(row.count));
        asking.page.put_some(&names::DELIVERY_OLDEST_AGE, labels, row.oldest_seconds);
    }
}

async fn destinations(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Destinations>("destinations").await.into_iter().flatten() {
        let destination = [row.destination.as_str()];
        asking.page.put(&names::DESTINATION_PAUSED, destination, f64::from(u8::from(row.is_paused)));
        asking.page.put(&names::BREAKER_OPEN, destination, f64::from(u8::from(row.is_open)));
        asking.page.put(&names::MONTH_OPEN, destination, precise(row.months_open));
        asking.page.put_some(&names::NEXT_DEADLINE, destination, row.deadline_seconds);
    }
}

async fn quotas(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Quotas>("quotas").await.into_iter().flatten() {
        asking.page.put(&names::QUOTA_CALLS, [&row.quota], row.calls_per_second);
        asking.page.put(&names::QUOTA_WAIT, [&row.quota], row.wait_seconds);
    }
}

async fn held(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::HeldUsages>("held").await.into_iter().flatten() {
        asking.page.put(&names::HELD_USAGES, [&row.reason], precise(row.count));
        asking.page.put(&names::HELD_OLDEST_AGE, [&row.reason], row.oldest_seconds);
        asking.page.put_some(&names::HELD_NEXT_DEADLINE, [&row.reason], row.deadline_seconds);
    }
}

async fn workers(asking: &mut Asking<'_>) {
    let Some(fellows) = asking.ask::<Fellow>("workers").await else { return };
    for state in ["alive", "lost"] {
        let count = fellows.iter().filter(|fellow| fellow.state == state).count();
        asking.page.put(&names::WORKERS, [state], precise(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    let mut seen = std::collections::HashSet::new();
    for fellow in fellows.iter().filter(|fellow| fellow.state != "taken_over").take(WORKERS_MAX) {
        // two that share a name share a series: that of the younger
        if seen.insert(&fellow.name) {
            asking.page.put(&names::WORKER_HEARTBEAT_AGE, [&fellow.name], fellow.silent_seconds.max(0.0));
        }
    }
}

async fn fleet(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Fleet>("fleet").await.into_iter().flatten() {
        asking.page.put(&names::PROCESSES_MISSING, [&row.part], precise(row.missing));
        if row.part == "console" {
            asking.page.put(&names::CONSOLES, [], precise(row.alive));
        }
    }
}

async fn snapshots(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Snapshots>("snapshots").await.into_iter().flatten() {
        asking.page.put(&names::SNAPSHOT_OLDEST_AGE, [], row.seconds);
        asking.page.put(&names::SNAPSHOT_OLDEST_TRANSACTIONS, [], row.transactions);
        asking.page.put(&names::SNAPSHOT_VISIBLE, [], f64::from(u8::from(row.sees_sessions)));
    }
}

async fn dead_tuples(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::DeadTuples>("dead_tuples").await.into_iter().flatten() {
        asking.page.put(&names::DEAD_TUPLES, [&row.table], precise(row.count));
    }
}

async fn partitions(asking: &mut Asking<'_>) {
    for row in asking.ask::<Partitions>("partitions").await.into_iter().flatten() {
        asking.page.put(&names::PARTITION_AHEAD, [&row.parent], f64::from(u8::from(row.ahead)));
        asking.page.put(&names::PARTITION_DEFAULT_ROWS, [&row.parent], f64::from(u8::from(row.spilled)));
    }
}

async fn keys_stuck(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::KeysStuck>("keys_stuck").await.into_iter().flatten() {
        asking.page.put(&names::KEYS_STUCK, [], precise(row.count));
    }
}

async fn request_refusals(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Refusals>("request_refusals").await.into_iter().flatten() {
        asking.page.total(&names::REQUEST_REFUSALS, [&row.door, &row.reason], precise(row.count));
    }
}

async fn requests_unfinished(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Unfinished>("requests_unfinished").await.into_iter().flatten() {
        asking.page.put(&names::REQUESTS_UNFINISHED, [], precise(row.count));
    }
}

async fn services_silent(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Silent>("services_silent").await.into_iter().flatten() {
        asking.page.put(&names::REQUESTS_SILENT, [&row.service], precise(row.unfinished));
        asking.page.put(&names::SERVICE_SILENT, [&row.service], f64::from(u8::from(row.silent)));
    }
}

async fn service_seconds(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::ServiceSeconds>("service_seconds").await.into_iter().flatten() {
        asking.page.put(&names::SERVICE_SECONDS, [&row.service, "0.5"], row.median);
        asking.page.put(&names::SERVICE_SECONDS, [&row.service, "0.95"], row.p95);
    }
}

async fn alerts(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::OpenAlerts>("alerts").await.into_iter().flatten() {
        asking.page.put(&names::ALERTS_OPEN, [&row.name], precise(row.open));
        asking.page.put(&names::ALERTS_BLIND, [&row.name], precise(row.blind));
    }
}

async fn balance(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Balance>("balance").await.into_iter().flatten() {
        asking.page.put(&names::BALANCE_OPEN, [], precise(row.open));
        asking.page.put(&names::BALANCE_CHECKED, [], row.checked_at);
        if let Some(whole_from) = row.whole_from {
            asking.page.put(&names::BALANCE_READ, [], whole_from);
        }
    }
}

async fn amounts(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Amounts>("amounts").await.into_iter().flatten() {
        asking.page.put(&names::DELIVERY_AMOUNT, [&row.destination, &row.status, &row.currency], row.amount);
    }
}

async fn forecast(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::Forecast>("forecast").await.into_iter().flatten() {
        asking.page.put(&names::FORECAST_MISSED, [&row.destination], precise(row.misses));
    }
}

async fn dead_letters(asking: &mut Asking<'_>) {
    for row in asking.ask::<measure::DeadLetters>("dead_letters").await.into_iter().flatten() {
        asking.page.put(&names::DEAD_LETTERS, [&row.destination, &row.status], precise(row.count));
    }
}
