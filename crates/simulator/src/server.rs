//! The HTTP server: connections, and which part of the simulator a request is for.
//!
//! The accept loop is our own because a marketplace that loses an answer closes the connection without a byte, and a
//! handler behind a ready-made server cannot.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::aws;
use crate::azure;
use crate::calls::{Call, Counters, Delivery};
use crate::clock::Clock;
use crate::deliver::Cut;
use crate::exchange;
use crate::faults::{FaultError, FaultKind, FaultRule};
use crate::google;
use crate::record::{Accepted, Filter, Totals};
use crate::settings::Settings;
use crate::socket::{Ending, Socket};
use crate::state::Shared;

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener is open to the network, and the settings do not allow it.
    #[error("{0} is not a loopback address: the admin API knows no credentials (setting allow_remote permits it)")]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener has no address")]
    Listener(#[from] io::Error),
}

impl Simulator {
    /// Serves on a listener until [`Running::shutdown`], or until the returned value is dropped. Needs a running tokio
    /// runtime. Refuses a listener beyond loopback unless `settings.allow_remote`.
    pub fn start(listener: TcpListener, settings: Settings) -> Result<Running, StartError> {
        let address = listener.local_addr()?;
        permitted(address, &settings)?;
        let (shared, stop, tasks) = (Arc::new(Shared::new(settings)), CancellationToken::new(), TaskTracker::new());
        let door = Door { admin: admin::router(Arc::clone(&shared)), shared: Arc::clone(&shared) };
        tasks.spawn(accept(listener, door, stop.clone(), tasks.clone()));
        Ok(Running { address, shared, stop, tasks })
    }
}

/// Loopback, or what the settings open on purpose.
fn permitted(address: SocketAddr, settings: &Settings) -> Result<(), StartError> {
    let loopback = address.ip().to_canonical().is_loopback();
    if loopback || settings.allow_remote { Ok(()) } else { Err(StartError::NotLoopback(address)) }
}

/// A simulator at work, with its own record in reach. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address: the endpoint for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, cuts open connections and waits until they are gone. The record stays readable.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Everything accepted so far, in the order of acceptance.
    pub fn record(&self) -> Vec<Accepted> {
        self.record_of(&Filter::default())
    }

    /// What was accepted and passes the filter, in the order of acceptance.
    pub fn record_of(&self, filter: &Filter) -> Vec<Accepted> {
        self.shared.lock().record.list(filter, 0).cloned().collect()
    }

    /// Sums over what was accepted and passes the filter.
    pub fn totals(&self, filter: &Filter) -> Totals {
        self.shared.lock().record.totals(filter)
    }

    /// The last calls, oldest first; `Settings::call_log_capacity` bounds them.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.list(0).cloned().collect()
    }

    /// Counts over all calls.
    pub fn counters(&self) -> Counters {
        self.shared.lock().calls.counters().clone()
    }

    /// What it takes for the present.
    pub fn clock(&self) -> Clock {
        self.shared.lock().clock
    }

    /// Moves or freezes the clock.
    pub fn set_clock(&self, clock: Clock) {
        self.shared.lock().clock = clock;
    }

    /// Adds a fault after those in force. Errors when the rule makes no sense.
    pub fn add_fault(&self, rule: FaultRule) -> Result<(), FaultError> {
        self.shared.lock().faults.add(rule)
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.shared.lock().settings.clone()
    }

    /// Puts other settings in force from the next call on.
    pub fn set_settings(&self, settings: Settings) {
        self.shared.lock().set(settings);
    }

    /// Forgets record, calls and faults and returns to the settings and the clock of the start.
    pub fn reset(&self) {
        self.shared.reset();
    }
}

/// What a connection needs to find its way.
#[derive(Clone)]
struct Door {
    shared: Arc<Shared>,
    admin: Router,
}

async fn accept(listener: TcpListener, door: Door, stop: CancellationToken, tasks: TaskTracker) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tasks.spawn(serve(stream, door.clone(), stop.clone()))),
                Err(error) => {
                    // Out of descriptors, most likely: some will be free in a moment.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

async fn serve(stream: TcpStream, door: Door, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let ending = Ending::default();
    let socket = TokioIo::new(Socket::new(stream, ending.clone()));
    let service = service_fn(move |request| route(door.clone(), ending.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(socket, service);
    if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// An error makes hyper give up the connection at once, which is how a fault cuts it.
async fn route(door: Door, ending: Ending, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    if request.uri().path().starts_with(admin::PREFIX) {
        let answered = TowerToHyperService::new(door.admin).call(request.map(Body::new)).await;
        return answered.map_err(|never| match never {});
    }
    let outcome = marketplace_call(door.shared, request).await;
    if outcome.as_ref().is_err_and(|&cut| cut == Cut::Reset) {
        ending.reset();
    }
    outcome
}

/// Other marketplaces have paths of their own and branch off here; everything else is AWS Marketplace Metering.
async fn marketplace_call(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    if azure::serves(request.uri().path()) {
        return azure::serve(shared, request).await;
    }
    let marketplace = match request.uri().path() {
        path if google::is_at(path) => google::MARKETPLACE,
        _ => aws::MARKETPLACE,
    };
    let mut call = exchange::received(&shared, marketplace);
    if shared.lock().faults.draw_before_reading() {
        (call.delivery, call.faults) = (Delivery::Reset, vec![FaultKind::Reset]);
        exchange::log_lost(&shared, call);
        return Err(Cut::Reset);
    }
    let (head, body) = request.into_parts();
    let body = read(Body::new(body), aws::MAX_BODY_BYTES).await?;
    if marketplace == google::MARKETPLACE {
        return google::serve(shared, call, &head, body.as_deref()).await;
    }
    let metering = {
        // Copied out of the lock: parsing 1 MB under it would hold up every other connection.
        let credentials = shared.lock().settings.aws.access_keys.clone();
        aws::MeteringCall::read(call, &head.method, &head.headers, body.as_deref(), &credentials)
    };
    exchange::run(shared, metering).await
}

/// The body, or none when it has `limit` bytes or more. A client that breaks off in the middle sent no request.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Option<Vec<u8>>, Cut> {
    let mut pieces = body.into_data_stream();
    let (mut whole, mut length) = (Vec::new(), 0_usize);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Cut::Close)?;
        length += piece.len();
        if length < limit {
            whole.extend_from_slice(&piece);
        } else if length > limit.saturating_mul(16) {
            break;
        }
        // In between it is read and thrown away: a client that is still sending does not see the refusal.
    }
    Ok((length < limit).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_beyond_loopback_needs_permission() {
        let closed = Settings::default();
        let open = Settings { allow_remote: true, ..Settings::default() };
        for address in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(permitted(address.parse().unwrap(), &closed).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.7:1"] {
            let address = address.parse().unwrap();
            assert!(permitted(address, &closed).is_err() && permitted(address, &open).is_ok(), "{address}");
        }
    }
}
