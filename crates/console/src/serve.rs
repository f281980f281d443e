//! A console on a listener, until it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use outbox::Database;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::app::{App, router};
use crate::catalogue::Catalogue;
use crate::options::Options;
use crate::tracker;

/// Serves until `stop` is ready, then finishes what it has begun.
///
/// # Errors
/// The tracker would be open to others than this machine, or the listener has no address.
pub async fn serve(
    listener: TcpListener,
    database: Database,
    catalogue: Arc<dyn Catalogue>,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    tracker::check(&options, listener.local_addr()?)?;
    let app = Arc::new(App::new(database, catalogue, options));
    let _forgetting = forget_answers(app.database.clone());
    // what it says and watches does not wait behind what it serves
    let beside = app.database.apart(1);
    let (id, name) = (Uuid::new_v4(), app.options.name.clone());
    let watching = watch(beside.clone(), id, name.clone());
    let refused = app.refused.clone();
    let counting = refused.keep(beside.clone());
    let stopping = app.stopping.clone();
    // streams without an end of their own must see that the console stops
    let stop = async move {
        stop.await;
        stopping.cancel();
    };
    let head_within = app.options.head_within;
    telemetry::serve_connections(listener, router(app), head_within, stop).await;
    drop((watching, counting));
    if tokio::time::timeout(FAREWELL, refused.count(&beside)).await.is_err() {
        tracing::warn!("the last refusals of request statuses are not counted");
    }
    let farewell = outbox::fleet::console_seen(&beside, id, &name, true);
    if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        tracing::warn!("the database did not hear that this console stops: it is missed until another starts");
    }
    Ok(())
}

/// How long a console that stops tries to say so.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it says that it lives, and looks for others.
const SIGN: Duration = Duration::from_secs(10);
/// Alerts that workers cannot open when it is they who are missing.
const WATCHED: [&str; 2] = ["no_worker_alive", "fleet_incomplete"];

/// Forgets answers to idempotency keys that are older than a day: at once, and every minute while this is held.
fn forget_answers(database: Database) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(60));
        loop {
            every.tick().await;
            // some at a time: until there are none
            loop {
                match outbox::intake::forget_answers(&database).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "answers to idempotency keys are not forgotten yet");
                        break;
                    }
                }
            }
        }
    }))
}

/// Says that this console lives, and looks whether workers do: they cannot say that there is none. The rules' own rhythm
/// decides when.
fn watch(database: Database, id: Uuid, name: String) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut every = tokio::time::interval(SIGN);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = outbox::fleet::console_seen(&database, id, &name, false).await {
                tracing::debug!(%error, "this console could not say that it lives");
            }
            match outbox::alerts::look(&database, &WATCHED, false).await {
                Ok(changes) => {
                    for change in changes.iter().filter(|change| change.opened) {
                        tracing::error!(alert = change.name, "alert: {}", change.summary);
                    }
                }
                Err(error) => tracing::debug!(%error, "nobody could look whether a worker lives"),
            }
        }
    }))
}
