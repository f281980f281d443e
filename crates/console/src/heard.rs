//! What became of a switch: which calls are on the wire, and which workers have not acknowledged.

use outbox::switches;
use serde::Serialize;
use utoipa::ToSchema;

/// What became of a switch by the time of this answer, a worker's lease at most after it was thrown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Heard {
    /// Calls that had begun before and have no outcome yet; they end within the destination's `call_timeout`.
    pub calls_on_the_wire: i64,
    /// Workers that have not acknowledged.
    pub silent: Vec<Silent>,
}

/// A worker that has not acknowledged a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Silent {
    /// Its name: host and process.
    pub worker: String,
    /// Its lease has ended, so it begins no call before it has acknowledged. False: it may still call by the old rule.
    pub lease_ended: bool,
}

impl From<switches::Heard> for Heard {
    fn from(heard: switches::Heard) -> Self {
        let silent = heard.silent.into_iter();
        let silent = silent.map(|silent| Silent { worker: silent.worker, lease_ended: silent.lease_ended });
        Self { calls_on_the_wire: heard.calls_on_the_wire, silent: silent.collect() }
    }
}
