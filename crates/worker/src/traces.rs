//! Traces go on from the `traceparent` under which usage was recorded: folds and calls are linked to it, and an outgoing
//! call carries it, if the worker is told to.

use std::time::Duration;

use outbox::claim::{Claim, Recorded};
use tracing::Span;

use crate::Worker;

/// Where traces go. The worker knows steps and the text of `traceparent`, and nothing of those who collect spans.
pub trait Traces: std::fmt::Debug + Send + Sync {
    /// A step is about usages that were recorded under these traces.
    fn link(&self, step: &Span, traceparents: &[String]);

    /// A call is about to be made, and belongs to this one trace. Returns what it carries as `traceparent`.
    fn carry(&self, call: &Span, traceparent: &str) -> Option<String>;
}

/// No spans are collected: a call carries the very `traceparent` of the usage.
#[derive(Debug, Clone, Copy)]
pub struct PassOn;

impl Traces for PassOn {
    fn link(&self, _: &Span, _: &[String]) {}

    fn carry(&self, _: &Span, traceparent: &str) -> Option<String> {
        Some(traceparent.to_owned())
    }
}

/// No call waits longer to hear under which traces its usage was recorded.
const PATIENCE: Duration = Duration::from_millis(500);

impl Worker {
    /// What a call of these claims carries as `traceparent`: the one under which all usage that was looked at was
    /// recorded. If there are several, none, and the call is linked to them. A trace is worth no error and little delay.
    pub(crate) async fn traceparent(&self, call: &Span, claims: &[Claim]) -> Option<String> {
        let traces = self.options.traces.as_ref()?;
        let deliveries: Vec<i64> = claims.iter().map(|claim| claim.delivery).collect();
        let found = tokio::time::timeout(PATIENCE, outbox::claim::traces(&self.database, &deliveries)).await;
        let Recorded { traceparents, others } = found.ok()?.ok()?;
        match &traceparents[..] {
            [one] if !others => traces.carry(call, one),
            several => {
                traces.link(call, several);
                None
            }
        }
    }
}
