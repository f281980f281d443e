//! The questions of a scrape, and which metric each answer is.

use std::time::Instant;

use outbox::health::{Backlog, Fellow, Isolated, Partitions};
use outbox::{Error, measure};

use super::{Asking, funnel, precise};
use crate::names;

/// Workers with a series of their own at most.
const WORKERS_MAX: usize = 100;

/// What costs a look at small tables.
pub(super) async fn cheap(asking: &mut Asking<'_>) -> Result<(), Error> {
    clock(asking).await?;
    outbox(asking).await?;
    deliveries(asking).await?;
    destinations(asking).await?;
    isolated(asking).await?;
    held(asking).await?;
    workers(asking).await?;
    server(asking).await?;
    if !asking.has_statuses {
        for row in asking.ask::<measure::Unfinished>("requests_unfinished").await?.into_iter().flatten() {
            asking.page.put(&names::REQUESTS_UNFINISHED, [], precise(row.count));
        }
    }
    for row in asking.ask::<measure::OpenAlerts>("alerts").await?.into_iter().flatten() {
        asking.page.put(&names::ALERTS_OPEN, [&row.name], precise(row.open));
        asking.page.put(&names::ALERTS_BLIND, [&row.name], precise(row.blind));
    }
    for row in asking.ask::<measure::Balance>("balance").await?.into_iter().flatten() {
        asking.page.put(&names::BALANCE_OPEN, [], precise(row.open));
        asking.page.put(&names::BALANCE_CHECKED, [], row.checked_at);
    }
    Ok(())
}

/// What costs more the more waits.
pub(super) async fn dear(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<measure::Amounts>("amounts").await?.into_iter().flatten() {
        asking.page.put(&names::DELIVERY_AMOUNT, [&row.destination, &row.status, &row.currency], row.amount);
    }
    for row in asking.ask::<measure::Forecast>("forecast").await?.into_iter().flatten() {
        asking.page.put(&names::FORECAST_MISSED, [&row.destination], precise(row.misses));
    }
    for row in asking.ask::<measure::DeadLetters>("dead_letters").await?.into_iter().flatten() {
        asking.page.put(&names::DEAD_LETTERS, [&row.destination, &row.status], precise(row.count));
    }
    funnel::ask(asking).await
}

async fn clock(asking: &mut Asking<'_>) -> Result<(), Error> {
    let before = (wall_clock(), Instant::now());
    for row in asking.ask::<measure::Clock>("clock").await?.into_iter().flatten() {
        let between = before.0 + before.1.elapsed().as_secs_f64() / 2.0;
        asking.page.put(&names::CLOCK_SKEW, [], between - row.seconds);
    }
    Ok(())
}

/// The machine's own time: how far it is off is what is measured, nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the wall clock itself is measured")]
fn wall_clock() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

async fn outbox(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<Backlog>("outbox").await?.into_iter().flatten() {
        asking.page.put(&names::OUTBOX_ENTRIES, [], precise(row.entries));
        asking.page.put(&names::OUTBOX_OLDEST_AGE, [], row.oldest_seconds.unwrap_or_default().max(0.0));
    }
    Ok(())
}

async fn isolated(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<Isolated>("isolation").await?.into_iter().flatten() {
        let (name, count) = (row.name.as_str(), precise(row.count));
        match row.kind.as_str() {
            "step" => asking.page.put(&names::STEP_FAILURES_IN_A_ROW, [name], count),
            "hour" => asking.page.put(&names::HOURS_NOT_CUT, [name], count),
            state => asking.page.put(&names::SETBACKS, [name, state], count),
        }
    }
    Ok(())
}

async fn deliveries(asking: &mut Asking<'_>) -> Result<(), Error> {
    let rows = asking.ask::<measure::Deliveries>("deliveries").await?.unwrap_or_default();
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
    for row in asking.ask::<measure::InFlight>("in_flight").await?.into_iter().flatten() {
        let labels = [row.destination.as_str(), row.status.as_str()];
        asking.page.put(&names::DELIVERIES, labels, precise(row.count));
        asking.page.put_some(&names::DELIVERY_OLDEST_AGE, labels, row.oldest_seconds);
    }
    Ok(())
}

async fn destinations(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<measure::Destinations>("destinations").await?.into_iter().flatten() {
        let destination = [row.destination.as_str()];
        asking.page.put(&names::DESTINATION_PAUSED, destination, f64::from(u8::from(row.is_paused)));
        asking.page.put(&names::BREAKER_OPEN, destination, f64::from(u8::from(row.is_open)));
        asking.page.put(&names::MONTH_OPEN, destination, precise(row.months_open));
        asking.page.put_some(&names::NEXT_DEADLINE, destination, row.deadline_seconds);
    }
    for row in asking.ask::<measure::Quotas>("quotas").await?.into_iter().flatten() {
        asking.page.put(&names::QUOTA_CALLS, [&row.quota], row.calls_per_second);
        asking.page.put(&names::QUOTA_WAIT, [&row.quota], row.wait_seconds);
    }
    Ok(())
}

async fn held(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<measure::HeldUsages>("held").await?.into_iter().flatten() {
        asking.page.put(&names::HELD_USAGES, [&row.reason], precise(row.count));
        asking.page.put(&names::HELD_OLDEST_AGE, [&row.reason], row.oldest_seconds);
        asking.page.put_some(&names::HELD_NEXT_DEADLINE, [&row.reason], row.deadline_seconds);
    }
    Ok(())
}

async fn workers(asking: &mut Asking<'_>) -> Result<(), Error> {
    let Some(fellows) = asking.ask::<Fellow>("workers").await? else { return Ok(()) };
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
    Ok(())
}

async fn server(asking: &mut Asking<'_>) -> Result<(), Error> {
    for row in asking.ask::<measure::Snapshots>("snapshots").await?.into_iter().flatten() {
        asking.page.put(&names::SNAPSHOT_OLDEST_AGE, [], row.seconds);
        asking.page.put(&names::SNAPSHOT_OLDEST_TRANSACTIONS, [], row.transactions);
        asking.page.put(&names::SNAPSHOT_VISIBLE, [], f64::from(u8::from(row.sees_sessions)));
    }
    for row in asking.ask::<measure::DeadTuples>("dead_tuples").await?.into_iter().flatten() {
        asking.page.put(&names::DEAD_TUPLES, [&row.table], precise(row.count));
    }
    for row in asking.ask::<Partitions>("partitions").await?.into_iter().flatten() {
        asking.page.put(&names::PARTITION_AHEAD, [&row.parent], f64::from(u8::from(row.ahead)));
        asking.page.put(&names::PARTITION_DEFAULT_ROWS, [&row.parent], f64::from(u8::from(row.spilled)));
    }
    for row in asking.ask::<measure::KeysStuck>("keys_stuck").await?.into_iter().flatten() {
        asking.page.put(&names::KEYS_STUCK, [], precise(row.count));
    }
    Ok(())
}
