//! Spans over OTLP/HTTP: folds and calls, linked to the traces under which services recorded usage.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

use super::Lines;

/// A collector that does not answer by then loses the spans, and nothing else waits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Steps that are spans; the loops around them never end, and are none.
const STEPS: [&str; 2] = ["fold", "call"];

/// Spans on their way to the collector.
#[derive(Debug)]
pub(super) struct Spans {
    provider: SdkTracerProvider,
}

impl Spans {
    /// Where a worker's traces go; calls carry theirs to the marketplace only if told to.
    pub(super) fn traces(&self, carried: bool) -> Arc<dyn worker::Traces> {
        Arc::new(Traces { carried })
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        // whatever is not sent by then is lost, and that is no reason to stay
        let _ = self.provider.shutdown_with_timeout(TIMEOUT);
    }
}

/// Makes the layer that turns steps into spans.
///
/// # Errors
/// The address is none.
pub(super) fn open(url: &str) -> anyhow::Result<(Lines, Spans)> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new()?)
        .with_endpoint(url)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(TIMEOUT)
        .build()
        .with_context(|| format!("otlp_url in section [telemetry]: {url}"))?;
    let resource = Resource::builder().with_service_name("postmeter").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let steps = filter_fn(|metadata| metadata.is_span() && STEPS.contains(&metadata.name()));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("postmeter")).with_filter(steps);
    Ok((layer.boxed(), Spans { provider }))
}

/// Sends what is exported, from the thread that exports: it has no runtime of its own.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Mutex<Runtime>,
}

impl Client {
    fn new() -> anyhow::Result<Self> {
        // the second to install one finds the first
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).build()?;
        Ok(Self { client, runtime: Mutex::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?) })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.block_on(async {
            let response = self.client.execute(request).await?;
            let mut answer = Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.clone_from(response.headers());
            }
            Ok(answer.body(response.bytes().await?)?)
        })
    }
}

/// Links steps to traces, by the text of `traceparent`.
#[derive(Debug)]
struct Traces {
    carried: bool,
}

impl worker::Traces for Traces {
    fn link(&self, step: &Span, traceparents: &[String]) {
        for context in traceparents.iter().filter_map(|text| read(text)) {
            step.add_link(context);
        }
    }

    fn carry(&self, call: &Span, traceparent: &str) -> Option<String> {
        let context = read(traceparent)?;
        // the call goes on in the very trace of the usage; should its span have begun already, it is linked
        if call.set_parent(Context::new().with_remote_span_context(context.clone())).is_err() {
            call.add_link(context);
        }
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(&call.context(), &mut headers);
        headers.remove("traceparent").filter(|_| self.carried)
    }
}

/// What a `traceparent` means, if it is one.
fn read(traceparent: &str) -> Option<SpanContext> {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&headers);
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}
