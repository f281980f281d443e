//! `postmeter worker`.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use outbox::Database;
use telemetry::HealthEndpoints;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::{Options, Worker, WorkerError};

use super::Context;
use super::output::Wrong;

/// How long a worker waits for its database at the start before it gives up and lets its supervisor decide.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name, for people; the default is host and process.
    #[arg(long)]
    name: Option<String>,
    /// Serve HTTP too, as `postmeter console` does; its database user then needs both roles.
    #[arg(long)]
    console: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let mut options = context.config.worker.clone();
    options.name = args.name.unwrap_or(options.name);
    let database = context.config.database()?;
    // before anything waits: what is wrong here is not mended by waiting
    context.config.check_database()?;
    context.config.check_webhook()?;
    if args.console {
        context.config.check_console(None)?;
    }
    let stop = stop_at_signal()?;
    let _counting = telemetry::start(env!("CARGO_PKG_VERSION"));
    // before it waits for the database: that it waits is what can be asked then
    let _telling = tell(listen(context).await?, &database, &options)?;
    // told to stop while it still waits, it has nothing in hand
    let Some(purpose) = stop.run_until_cancelled(purpose(&database)).await else { return Ok(ExitCode::SUCCESS) };
    let purpose = purpose?;
    if purpose != "production" {
        options.lease = test_lease()?.unwrap_or(options.lease);
    }
    options.webhook = context.config.webhook.open(&purpose)?;
    tracing::info!(name = options.name, version = env!("CARGO_PKG_VERSION"), "the worker starts");
    let serving =
        async { if args.console { super::console::serve(context, None, stop.clone()).await } else { Ok(()) } };
    // neither goes on alone: whoever supervises the process sees that it ended
    let serving = async { serving.await.inspect_err(|_| stop.cancel()) };
    let working = async { work(&database, &options, &stop).await.inspect_err(|_| stop.cancel()) };
    let (worked, served) = tokio::join!(working, serving);
    worked.and(served)?;
    tracing::info!(name = options.name, "the worker has stopped");
    Ok(ExitCode::SUCCESS)
}

/// Waits for the database, and for a schema that this program knows; says what the database is for.
async fn purpose(database: &Database) -> Result<String, outbox::Error> {
    loop {
        wait(database).await?;
        let asked = async {
            outbox::migrate::check(database).await?;
            outbox::catalogue::purpose(database).await
        };
        match asked.await {
            // it went away again
            Err(error) if error.is_transient() => {
                tracing::warn!("{error}; asking again");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answered => return answered,
        }
    }
}

/// A lease shorter than a call may take, for tests that let workers die.
fn test_lease() -> anyhow::Result<Option<Duration>> {
    const NAME: &str = "POSTMETER_TEST_LEASE_SECONDS";
    let Ok(said) = std::env::var(NAME) else { return Ok(None) };
    let seconds = said.parse().map_err(|error| Wrong(format!("environment: {NAME}: {error}")))?;
    Ok(Some(Duration::from_secs(seconds)))
}

/// The ports of a machine's first workers. Not 9187, which is the usual one of the exporter that stands beside a Postgres.
const PORTS: std::ops::RangeInclusive<u16> = 9470..=9485;

/// Listens where the configuration says; else at the first free port, so that two workers of one machine do not clash. A
/// worker without a free port works all the same: it is seen in the database.
async fn listen(context: &Context) -> anyhow::Result<Option<TcpListener>> {
    match context.config.worker_listen.as_deref() {
        Some("off") => Ok(None),
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            let wrong = |error| Wrong(format!("cannot listen at {address}: {error}; set listen in section [worker]"));
            Ok(Some(bound.map_err(wrong)?))
        }
        None => {
            for port in PORTS {
                if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    return Ok(Some(listener));
                }
            }
            tracing::warn!(
                "no port from {} to {} is free: nobody can ask this worker how it is",
                PORTS.start(),
                PORTS.end()
            );
            Ok(None)
        }
    }
}

/// Serves `/live`, `/ready` and `/metrics` until what it returns is dropped: also while the worker stops.
fn tell(
    listener: Option<TcpListener>,
    database: &Database,
    options: &Options,
) -> anyhow::Result<Option<AbortOnDropHandle<()>>> {
    let Some(listener) = listener else { return Ok(None) };
    tracing::info!(at = %listener.local_addr()?, "serving /live, /ready and /metrics");
    let vital = Arc::new(HealthEndpoints::of_worker(database.clone(), Arc::clone(&options.pulse)));
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(telemetry::serve(listener, vital, std::future::pending())))))
}

/// Runs workers until `stop`: one that was taken for dead is followed by a new one, which takes nothing over.
async fn work(database: &Database, options: &Options, stop: &CancellationToken) -> anyhow::Result<()> {
    loop {
        let started = match stop.run_until_cancelled(Worker::start(database.clone(), options.clone())).await {
            None => return Ok(()),
            Some(started) => started,
        };
        let worker = match started {
            // the database went away between two workers: as at the start, wait for it
            Err(WorkerError::Database(error)) if error.is_transient() => {
                tracing::warn!("cannot start: {error}");
                match stop.run_until_cancelled(wait(database)).await {
                    None => return Ok(()),
                    Some(waited) => waited?,
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            other => other?,
        };
        tracing::info!(worker = %worker.id(), "registered");
        if worker.run(stop.clone()).await? {
            return Ok(());
        }
        tracing::warn!(worker = %worker.id(), "was taken for dead; a new one starts in its place");
    }
}

pub(super) async fn wait(database: &Database) -> Result<(), outbox::Error> {
    match database.wait(Duration::ZERO).await {
        Err(error) if error.is_transient() => {
            tracing::warn!("{error}; waiting up to {} s", PATIENCE.as_secs());
            database.wait(PATIENCE).await
        }
        // ours to mend, or nothing to wait for
        answered => answered,
    }
}

/// Cancelled at the first SIGTERM or SIGINT. A second one ends the process as if it had crashed: what is in hand is
/// taken over when the lease is over.
pub(super) fn stop_at_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                tracing::error!("told to stop twice: leaving at once");
                std::process::exit(130);
            }
            tracing::info!("told to stop");
            told.cancel();
        }
    });
    Ok(stop)
}
