//! Alerts: looking when their time has come, and saying what opened and cleared.

use std::sync::Arc;
use std::time::Duration;

use outbox::alerts::{self, Change};

use crate::Worker;

/// A look at every alert in one place: tests and the loop.
impl Worker {
    /// Looks at the alerts whose time has come (`always`: at all), and logs what opened and cleared, once each.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn look(&self, always: bool) -> Result<Vec<Change>, outbox::Error> {
        let changes = alerts::look(&self.database, alerts::NAMES, always).await?;
        for change in &changes {
            let Change { name, opened, subject, severity, count, summary } = change;
            match (opened, severity.as_str()) {
                (false, _) => tracing::info!(alert = name, subject, "alert cleared: {summary}"),
                (true, "critical") => tracing::error!(alert = name, subject, count, "alert: {summary}"),
                (true, _) => tracing::warn!(alert = name, subject, count, "alert: {summary}"),
            }
        }
        Ok(changes)
    }

    /// Posts what changed to the webhook, if there is one; returns how many posts arrived.
    ///
    /// # Errors
    /// As Postgres says; what the receiver answers is noted with the post.
    pub async fn post_alerts(&self) -> Result<usize, outbox::Error> {
        let Some(webhook) = self.options.webhook.as_ref().map(Arc::clone) else { return Ok(0) };
        let mut arrived = 0;
        loop {
            alerts::make_post(&self.database, self.options.webhook_repeat.as_secs_f64()).await?;
            // longer than a post may take: no other worker sends it meanwhile
            let Some(post) = alerts::take_post(&self.database, 2.0 * POST_TIMEOUT.as_secs_f64()).await? else {
                return Ok(arrived);
            };
            let answer = webhook.post(&post.id.to_string(), post.seconds, post.body.into_bytes(), POST_TIMEOUT).await;
            let (status, error) = match &answer {
                Ok(status) => (Some(*status), None),
                Err(refusal) => (refusal.status, Some(refusal.to_string())),
            };
            alerts::settle_post(&self.database, post.number, status, error.as_deref()).await?;
            if let Some(error) = error {
                tracing::warn!(post = %post.id, "the webhook did not take the alerts: {error}");
                return Ok(arrived);
            }
            arrived += 1;
        }
    }
}

/// A receiver that takes longer has not got it.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
