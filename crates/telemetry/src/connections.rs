//! Connections to our own HTTP servers. The head of a request has a time limit: a client that opens connections and
//! says nothing, or half a head, keeps none of them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// How long to wait when no connection can be accepted: mostly because too many files are open.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves a router on HTTP/1.1 and HTTP/2 until `stop`, then finishes what has begun. Handlers may take
/// `ConnectInfo<SocketAddr>`.
///
/// A connection is closed if a request's head has not arrived within `head_within`, counted from the connection's
/// start, and for HTTP/1.1 also from the answer before.
pub async fn serve_connections(
    listener: TcpListener,
    router: Router,
    head_within: Duration,
    stop: impl Future<Output = ()> + Send,
) {
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => begin(&open, stream, peer, router.clone(), head_within),
            // a client that is gone already is no failure of ours
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    open.shutdown().await;
}

fn is_of_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn begin(open: &GracefulShutdown, stream: TcpStream, peer: SocketAddr, router: Router, head_within: Duration) {
    // answers are small: none waits for a fuller packet
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = has_asked.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_within);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(head_within);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = open.watch(connection);
    tokio::spawn(async move {
        let mut connection = pin!(connection);
        // Which version a client speaks is read before the limit of HTTP/1.1 begins.
        let first = tokio::time::timeout(head_within, connection.as_mut()).await;
        let ended = match first {
            Ok(ended) => ended,
            Err(_) if has_asked.load(Ordering::Relaxed) => connection.await,
            Err(_) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "a connection ended");
        }
    });
}
