//! The HTTP of the vendor's credential chain (token service, container, instance), carried by our own transport.
//!
//! The vendor's client trusts the system's certificate store, and in a debug build panics where there is none. Ours
//! brings its authorities along, ends in time, and uses no proxy that is not configured: the same rules for all that
//! goes out.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use remittance::Outcome;
use tokio::time::Instant;

use crate::transport::Transport;

/// How long one request of the chain may take where the chain does not say.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client for the chain.
#[derive(Debug)]
pub(super) struct ChainHttp(pub(super) Arc<Transport>);

impl HttpClient for ChainHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The instance's metadata service is given a second to connect and one to answer: where there is none, nobody
        // ever says no.
        let patience = match (settings.connect_timeout(), settings.read_timeout()) {
            (Some(connect), Some(read)) => connect + read,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => PATIENCE,
        };
        SharedHttpConnector::new(Connector { transport: Arc::clone(&self.0), patience })
    }
}

#[derive(Debug)]
struct Connector {
    transport: Arc<Transport>,
    patience: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (transport, patience) = (Arc::clone(&self.transport), self.patience);
        HttpConnectorFuture::new(async move {
            let reply = transport.send(ours(&request)?, Instant::now() + patience).await.map_err(|o| failed(&o))?;
            let body = reply.body.map_err(|fault| ConnectorError::io(format!("the body: {fault:?}").into()))?;
            let status = reply.status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            let mut response = HttpResponse::new(status, body.to_vec().into());
            for (name, value) in &reply.headers {
                // A header that is no text is none that the chain reads.
                if let Ok(value) = value.to_str() {
                    let _ = response.headers_mut().try_append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

/// The chain's request as ours. The chain sends no streams, so the body is at hand.
fn ours(request: &HttpRequest) -> Result<http::Request<Vec<u8>>, ConnectorError> {
    let body = request.body().bytes().ok_or_else(|| ConnectorError::user("a body that streams".into()))?;
    let mut builder = http::Request::builder().method(request.method()).uri(request.uri());
    for (name, value) in request.headers() {
        builder = builder.header(name, value);
    }
    builder.body(body.to_vec()).map_err(|error| ConnectorError::user(Box::new(error)))
}

fn failed(outcome: &Outcome) -> ConnectorError {
    let code = outcome.code().unwrap_or_default().to_owned();
    if code.contains("timeout") { ConnectorError::timeout(code.into()) } else { ConnectorError::io(code.into()) }
}
