//! Who is told beside the log: a collector of spans, Sentry. Each is a feature of its own, left out of the usual build:
//! most operators have neither, and their crates are many.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "sentry")]
mod sentry;

use std::sync::Arc;

use tracing_subscriber::{Layer, Registry};

use super::secret::Secret;

/// A layer of the log, whatever it is made of.
pub(super) type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// What is sent to which sink.
#[derive(Debug)]
pub(super) struct Telling {
    /// Calls carry the trace of their usage.
    pub traces: bool,
    /// Where spans are sent.
    pub otlp_url: Option<String>,
    /// Where errors are sent.
    pub sentry_dsn: Option<Secret>,
}

/// The running sinks. Dropping them sends what is still buffered.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    #[cfg(feature = "otlp")]
    otlp: Option<otlp::Spans>,
    #[cfg(feature = "sentry")]
    sentry: Option<sentry::Errors>,
}

impl Sinks {
    /// Opens what is to be told, and adds what tells it to the log's layers.
    ///
    /// # Errors
    /// The program was built without it, or an address or secret cannot be read.
    pub fn open(telling: &Telling, layers: &mut Vec<Lines>) -> anyhow::Result<Self> {
        let mut sinks = Self::default();
        if let Some(url) = &telling.otlp_url {
            sinks.tell_spans(url, layers)?;
        }
        if let Some(dsn) = &telling.sentry_dsn {
            sinks.tell_errors(dsn, layers)?;
        }
        Ok(sinks)
    }

    #[cfg(feature = "otlp")]
    fn tell_spans(&mut self, url: &str, layers: &mut Vec<Lines>) -> anyhow::Result<()> {
        let (layer, spans) = otlp::open(url)?;
        layers.push(layer);
        self.otlp = Some(spans);
        Ok(())
    }

    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn tell_spans(&mut self, _: &str, _: &mut Vec<Lines>) -> anyhow::Result<()> {
        Err(without("otlp_url", "otlp"))
    }

    #[cfg(feature = "sentry")]
    fn tell_errors(&mut self, dsn: &Secret, layers: &mut Vec<Lines>) -> anyhow::Result<()> {
        let (layer, errors) = sentry::open(dsn)?;
        layers.push(layer);
        self.sentry = Some(errors);
        Ok(())
    }

    #[cfg(not(feature = "sentry"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn tell_errors(&mut self, _: &Secret, _: &mut Vec<Lines>) -> anyhow::Result<()> {
        Err(without("sentry_dsn", "sentry"))
    }

    /// Where a worker's traces go.
    pub fn traces(&self, telling: &Telling) -> Option<Arc<dyn worker::Traces>> {
        #[cfg(feature = "otlp")]
        if let Some(spans) = &self.otlp {
            return Some(spans.traces(telling.traces));
        }
        telling.traces.then(|| Arc::new(worker::PassOn) as _)
    }
}

/// A setting that this program cannot follow.
#[cfg(not(all(feature = "otlp", feature = "sentry")))]
fn without(setting: &str, feature: &str) -> anyhow::Error {
    let advice = format!("build it with `cargo build --release --locked -p postmeter --features {feature}`");
    crate::cli::output::Wrong(format!("{setting} in section [telemetry]: this program has no {feature}; {advice}"))
        .into()
}
