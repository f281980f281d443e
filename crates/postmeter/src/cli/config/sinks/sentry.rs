//! Errors to Sentry: each line of level error, with its fields; lines before it as breadcrumbs.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sentry::integrations::tracing::{BreadcrumbLayer, ErrorLayer, SpanLayer};
use sentry::{ClientInitGuard, ClientOptions};
use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, filter_fn};

use super::Lines;
use crate::cli::config::secret::Secret;

/// Errors on their way.
pub(super) struct Errors(#[expect(dead_code, reason = "sends what is left when it is dropped")] ClientInitGuard);

impl std::fmt::Debug for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Errors")
    }
}

/// Makes the layer that sends errors.
///
/// # Errors
/// The secret cannot be read, or is no DSN.
pub(super) fn open(dsn: &Secret) -> anyhow::Result<(Lines, Errors)> {
    // the second to install one finds the first
    let _ = rustls::crypto::ring::default_provider().install_default();
    // the parser's message may quote what it read
    let dsn = dsn.read()?.expose_secret().parse().ok().context("sentry_dsn in section [telemetry] is no DSN")?;
    let mut options = ClientOptions::new().release(env!("CARGO_PKG_VERSION"));
    options.dsn = Some(dsn);
    let guard = sentry::init(options);
    // spans are looked at for their fields; none is sent: nothing is sampled
    let spans = SpanLayer::new().with_filter(LevelFilter::INFO);
    let is_breadcrumb = |line: &Metadata<'_>| line.is_span() || matches!(*line.level(), Level::WARN | Level::INFO);
    let breadcrumbs = BreadcrumbLayer::new().enable_span_attributes().with_filter(filter_fn(is_breadcrumb));
    let is_error = |line: &Metadata<'_>| line.is_span() || *line.level() == Level::ERROR;
    let errors = ErrorLayer::new().enable_span_attributes().with_filter(filter_fn(is_error));
    Ok((spans.and_then(breadcrumbs).and_then(errors).boxed(), Errors(guard)))
}
