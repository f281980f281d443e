//! A console on a listener, until it is told to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use outbox::Database;
use tokio::net::TcpListener;

use crate::app::{App, router};
use crate::options::Options;

/// Serves until `stop` is ready, then finishes what it has begun.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    database: Database,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Arc::new(App::new(database, options));
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}
