//! Errors to Sentry: each line of level error, with its fields; lines before it as breadcrumbs.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sentry::{ClientInitGuard, ClientOptions};
use tracing_subscriber::Layer as _;

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
    let layer = sentry::integrations::tracing::layer().span_filter(|_| false).enable_span_attributes();
    let ours = tracing_subscriber::filter::LevelFilter::INFO;
    Ok((layer.with_filter(ours).boxed(), Errors(guard)))
}
