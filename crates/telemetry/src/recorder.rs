//! The recorder of this process's counters and histograms; there is one, however many servers a process starts.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;

use crate::metric::{Kind, Source};
use crate::names::{self, TABLE};

/// Observations wait in memory until a scrape or this loop counts them: without it memory grows while no scrape
/// comes.
const KEPT_EVERY: Duration = Duration::from_secs(5);

/// Counts observations while it is held.
#[derive(Debug)]
pub struct Keeping(JoinHandle<()>);

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Installs the recorder; until then metrics are no-ops.
#[must_use]
pub fn start(version: &str) -> Keeping {
    let handle = handle();
    names::BUILD_INFO.set([version], 1.0);
    Keeping(tokio::spawn(async move {
        let mut every = tokio::time::interval(KEPT_EVERY);
        loop {
            every.tick().await;
            handle.run_upkeep();
        }
    }))
}

/// The process's recorder.
pub(crate) fn handle() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new();
    for described in TABLE.iter().filter(|described| !described.bounds.is_empty()) {
        let of = Matcher::Full(described.name.to_owned());
        builder = builder.set_buckets_for_metric(of, described.bounds).expect("there are buckets");
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder of metrics was there first: /metrics lacks what this process counts");
    }
    for described in TABLE.iter().filter(|described| described.source == Source::Process) {
        match described.kind {
            Kind::Counter => describe_counter!(described.name, described.help),
            Kind::Gauge => describe_gauge!(described.name, described.help),
            Kind::Histogram => describe_histogram!(described.name, described.help),
        }
    }
    handle
}
