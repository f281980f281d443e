//! A console on a listener, until it is told to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outbox::Database;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::app::{App, router};
use crate::catalogue::Catalogue;
use crate::options::Options;
use crate::tracker;

/// Serves until `stop` is ready, then finishes what it has begun.
///
/// # Errors
/// The listener fails, or the tracker would be open to others than this machine.
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
    let _watching = watch_workers(app.database.clone());
    let stopping = app.stopping.clone();
    // streams without an end of their own must see that the console stops
    let stop = async move {
        stop.await;
        stopping.cancel();
    };
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

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

/// Looks whether any worker lives: they cannot say that there is none. The rule's own rhythm decides when.
fn watch_workers(database: Database) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(10));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            match outbox::alerts::look(&database, &["no_worker_alive"], false).await {
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
