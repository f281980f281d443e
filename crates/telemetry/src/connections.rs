//! Connections to our own HTTP servers. The head of a request has a time limit: a client that opens connections and
//! says nothing, or half a head, keeps none of them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// How long to wait when no connection can be accepted: mostly because too many files are open.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a client may take nothing of what is sent to it (RFC 5482; Linux counts windows that stay shut, too).
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// How long requests that have begun may take when we stop.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// Serves a router on HTTP/1.1 until `stop`, then finishes what has begun, for half a minute at most. Handlers may take
/// `ConnectInfo<SocketAddr>`.
///
/// A connection is closed if a request's head has not arrived within `head_within`, counted from the connection's start or
/// from the answer before. HTTP/2 has no such limits for streams that are answered and not read, and proxies that end TLS
/// speak HTTP/1.1 to what is behind them.
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
    if tokio::time::timeout(STOPPED_WITHIN, open.shutdown()).await.is_err() {
        tracing::warn!("requests that had begun were left unanswered: they took too long to end");
    }
}

fn is_of_the_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn begin(open: &GracefulShutdown, stream: TcpStream, peer: SocketAddr, router: Router, head_within: Duration) {
    prepare(&stream);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_within);
    let connection = open.watch(builder.serve_connection(TokioIo::new(stream), service));
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, %peer, "a connection ended");
        }
    });
}

/// Answers are small, so none waits for a fuller packet; and who takes nothing of his answer is left.
fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let mut prepared = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        prepared = prepared.and(socket.set_tcp_user_timeout(Some(TAKEN_WITHIN)));
    }
    if let Err(error) = prepared {
        tracing::debug!(%error, "a connection without its options");
    }
}
