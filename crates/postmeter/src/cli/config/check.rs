//! What a value alone does not show: files that are named, and settings that must fit each other. It is looked at before
//! anything starts, not when it is first needed: that may be the night on which an alert is to be posted.

use std::net::SocketAddr;

use super::{Config, TrackerAccess};
use crate::cli::output::Wrong;

impl Config {
    /// Everything: what `postmeter config` refuses.
    ///
    /// # Errors
    /// The setting, and what to do.
    pub fn check(&self) -> Result<(), Wrong> {
        self.check_database()?;
        self.check_webhook()?;
        self.check_console(None)?;
        self.telling.sentry_dsn.iter().try_for_each(|dsn| dsn.read().map(drop))
    }

    /// How the database is reached: what every process needs.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_database(&self) -> Result<(), Wrong> {
        for url in [&self.url, &self.direct_url].into_iter().flatten() {
            url.read()?;
        }
        self.check_authority()
    }

    pub(super) fn check_authority(&self) -> Result<(), Wrong> {
        let Some(path) = &self.tls_authority else { return Ok(()) };
        let needs = "it must be a PEM file with the certificate of the authority that signed the server's";
        outbox::Tls::Authority(path.clone())
            .check()
            .map_err(|error| Wrong(format!("database.tls_authority: {error}; {needs}")))
    }

    /// Where alerts are posted: what a worker needs.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_webhook(&self) -> Result<(), Wrong> {
        self.webhook.check()
    }

    /// What a console needs that listens there, or where the configuration says.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn check_console(&self, listen: Option<&str>) -> Result<(), Wrong> {
        if let Some(directory) = self.console.static_dir.as_ref().filter(|directory| !directory.is_dir()) {
            return Err(Wrong(format!("console.static_dir: {} is no directory", directory.display())));
        }
        let listen = listen.unwrap_or(&self.listen);
        let is_public = listen.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback());
        if is_public && self.console.tracker_access == TrackerAccess::Open.into() {
            return Err(Wrong(format!(
                "console.tracker_access is open, and {listen} is no loopback address: anybody could read every \
                 org. Listen on loopback, or set tracker_access to token or trusted-proxy"
            )));
        }
        Ok(())
    }
}
