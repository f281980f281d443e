//! Every call received, with what was answered and whether the answer was let through: the last ones in full, all of
//! them in counters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::faults::FaultKind;
use crate::record::{Key, as_key};

/// What the client saw of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// The marketplace's own answer was handed to the connection.
    #[default]
    Answered,
    /// A delay is running, or the client hung up while it ran.
    Waiting,
    /// The connection was closed without an answer.
    Closed,
    /// The connection was reset without an answer.
    Reset,
    /// Something else was sent in place of the answer.
    Replaced,
    /// The answer was cut off in the middle.
    Truncated,
}

/// One call.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Call {
    /// From 1 upwards, in the order of processing.
    pub id: u64,
    /// Also sent to the client, as `x-amzn-RequestId`; Azure: as `x-ms-requestid`, and the client's own where it sent one.
    pub request_id: Uuid,
    /// Which marketplace's rules apply: `aws`, `azure` or `google`.
    pub marketplace: &'static str,
    /// The operation, empty when the request did not get as far as naming one.
    pub operation: String,
    /// The access key of the credential scope. Azure: the client id that the token was issued to.
    pub access_key: String,
    /// The seller's account that the access key stands for. Azure: the tenant.
    pub account: String,
    /// The region of the credential scope. Azure: empty.
    pub region: String,
    /// When it was received, on the simulator's clock.
    pub received_at: Timestamp,
    /// When it was received, in microseconds of real time since the simulator's start: for counting calls per second.
    pub elapsed_us: u64,
    /// How many calls were under way when it was read, itself included: what a client has in flight.
    pub at_once: usize,
    /// The records, when the request could be read.
    pub records: Vec<CallRecord>,
    /// Whether the marketplace's rules were applied. False: lost on its way, nothing was stored.
    pub processed: bool,
    /// HTTP status of the marketplace's own answer; 0 when it was not processed.
    pub status: u16,
    /// Name of the error that refused the whole call.
    pub error: Option<String>,
    /// What the client saw of that answer.
    pub delivery: Delivery,
    /// The faults that were applied.
    pub faults: Vec<FaultKind>,
}

/// One record of a call.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// What it is unique on.
    #[serde(flatten, serialize_with = "as_key")]
    pub key: Arc<Key>,
    /// The time as it was sent.
    pub timestamp: Timestamp,
    /// The quantity as it was sent, without trailing zeros.
    pub quantity: Decimal,
    /// The marketplace's word for what became of it; none when the whole call was refused or lost.
    pub result: Option<&'static str>,
    /// The receipt that was answered.
    pub receipt: Option<Uuid>,
}

/// Counts over all calls, also those that the log no longer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Calls received.
    pub calls: u64,
    /// Calls that were lost before processing.
    pub requests_lost: u64,
    /// Calls that were processed and whose answer the client never saw whole.
    pub responses_lost: u64,
    /// Calls that the log has dropped to stay within its capacity.
    pub calls_dropped_from_log: u64,
    /// Refused calls by error name.
    pub errors: BTreeMap<String, u64>,
    /// Records by the marketplace's word for what became of them.
    pub results: BTreeMap<&'static str, u64>,
}

impl Counters {
    fn add(&mut self, call: &Call) {
        self.calls += 1;
        if let Some(error) = &call.error {
            match self.errors.get_mut(error) {
                Some(count) => *count += 1,
                None => drop(self.errors.insert(error.clone(), 1)),
            }
        }
        for result in call.records.iter().filter_map(|record| record.result) {
            *self.results.entry(result).or_default() += 1;
        }
        self.add_delivery(call.processed, call.delivery);
    }

    fn add_delivery(&mut self, processed: bool, delivery: Delivery) {
        match (processed, delivery) {
            (_, Delivery::Answered | Delivery::Waiting) => {}
            (true, _) => self.responses_lost += 1,
            (false, _) => self.requests_lost += 1,
        }
    }
}

/// The last calls, and the counters.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    calls: VecDeque<Call>,
    counters: Counters,
}

impl CallLog {
    /// The id that the next call gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.counters.calls + 1
    }

    /// Adds a call under the next id and lets the oldest go when there are more than `capacity`.
    pub(crate) fn push(&mut self, mut call: Call, capacity: usize) -> u64 {
        call.id = self.next_id();
        self.counters.add(&call);
        let id = call.id;
        self.calls.push_back(call);
        while self.calls.len() > capacity {
            self.calls.pop_front();
            self.counters.calls_dropped_from_log += 1;
        }
        id
    }

    /// Says what became of the answer of a call that was waiting (and so was processed).
    pub(crate) fn settle(&mut self, id: u64, delivery: Delivery) {
        self.counters.add_delivery(true, delivery);
        // Ids in the log are consecutive, so the position is a subtraction.
        let first = self.calls.front().map_or(0, |call| call.id);
        let position = id.checked_sub(first).and_then(|offset| usize::try_from(offset).ok());
        if let Some(call) = position.and_then(|position| self.calls.get_mut(position)) {
            call.delivery = delivery;
        }
    }

    pub(crate) fn list(&self, after: u64) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.id > after)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_the_counters_are_not() {
        let mut log = CallLog::default();
        for _ in 0..5 {
            log.push(Call { processed: true, delivery: Delivery::Waiting, ..Call::default() }, 3);
        }
        log.settle(4, Delivery::Closed);
        log.settle(1, Delivery::Closed);
        let kept: Vec<_> = log.list(0).map(|call| (call.id, call.delivery)).collect();
        assert_eq!(kept, [(3, Delivery::Waiting), (4, Delivery::Closed), (5, Delivery::Waiting)]);
        assert_eq!((log.counters().calls, log.counters().calls_dropped_from_log), (5, 2));
        assert_eq!(log.counters().responses_lost, 2);
        assert_eq!(log.list(4).count(), 1);
    }
}
