//! The way of one call through faults, rules and log: the same for every marketplace.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use bytes::Bytes;
use uuid::Uuid;

use crate::calls::{Call, Delivery};
use crate::deliver::{self, Answer, Cut};
use crate::faults::{ContentFaults, Plan, When};
use crate::state::{Shared, State};

/// What a marketplace's file brings: a request that was read, and how it is decided.
pub(crate) trait Exchange: Send + 'static {
    /// The call so far, with its records where they could be read.
    fn call(&self) -> &Call;
    /// The same, to be completed.
    fn call_mut(&mut self) -> &mut Call;
    /// Applies the marketplace's rules, stores what is accepted, and prepares the answer.
    fn decide(&mut self, state: &mut State, faults: &ContentFaults);
    /// The call with its results, and the body of the answer.
    fn into_answer(self) -> (Call, Bytes);
    /// The content type of the answer.
    fn content_type(&self) -> &'static str;
    /// What else stands in the answer's head: the call's id.
    fn headers(&self) -> HeaderMap {
        let id = HeaderValue::from_str(&self.call().request_id.to_string());
        id.map(|id| HeaderMap::from_iter([(HeaderName::from_static("x-amzn-requestid"), id)])).unwrap_or_default()
    }
}

/// Takes a call all the way. An error means that the connection has to go without an answer.
pub(crate) async fn run<E: Exchange>(shared: Arc<Shared>, mut exchange: E) -> Result<Response<Body>, Cut> {
    let lent = Arc::clone(&shared);
    let (at_once, _under_way) = lent.begin_call();
    exchange.call_mut().at_once = at_once;
    let mut plan = shared.lock().faults.draw(&exchange.call().records);
    exchange.call_mut().faults = std::mem::take(&mut plan.struck);
    let unprocessed = plan.disturbance.as_ref().is_some_and(|rule| rule.when_or_default() == When::Before);
    if unprocessed {
        return lost(&shared, exchange, &plan).await;
    }
    let (delivery, delay_after) = (plan.delivery(), plan.delay_after);
    let waits = !(plan.delay_before + delay_after).is_zero();
    let disturbance = plan.disturbance.take();
    let (id, answer) = if plan.delay_before.is_zero() {
        process(&shared, exchange, &plan, if waits { Delivery::Waiting } else { delivery })
    } else {
        // In a task of its own: when the client hangs up, this future is dropped, but a marketplace that has read a
        // request goes on to process it.
        let shared = Arc::clone(&shared);
        let later = tokio::spawn(async move {
            tokio::time::sleep(plan.delay_before).await;
            process(&shared, exchange, &plan, Delivery::Waiting)
        });
        later.await.map_err(|_| Cut::Close)?
    };
    if waits {
        tokio::time::sleep(delay_after).await;
        shared.lock().calls.settle(id, delivery);
    }
    deliver::send(disturbance.as_ref(), Some(answer))
}

/// Decides and logs under one lock, so that the log's order is the order of the decisions.
fn process<E: Exchange>(shared: &Shared, mut exchange: E, plan: &Plan, delivery: Delivery) -> (u64, Answer) {
    let mut state = shared.lock();
    exchange.decide(&mut state, &plan.content);
    let (content_type, mut headers) = (exchange.content_type(), exchange.headers());
    if let Some(seconds) = plan.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let (mut call, body) = exchange.into_answer();
    call.processed = true;
    call.delivery = delivery;
    let answer = Answer { status: call.status, content_type, headers, body };
    let capacity = state.settings.call_log_capacity;
    (state.calls.push(call, capacity), answer)
}

/// A call that never reaches the rules.
async fn lost<E: Exchange>(shared: &Shared, exchange: E, plan: &Plan) -> Result<Response<Body>, Cut> {
    let (mut call, _) = exchange.into_answer();
    call.delivery = plan.delivery();
    log_lost(shared, call);
    tokio::time::sleep(plan.delay_before + plan.delay_after).await;
    deliver::send(plan.disturbance.as_ref(), None)
}

/// Logs a call of which nothing was stored.
pub(crate) fn log_lost(shared: &Shared, call: Call) {
    let mut state = shared.lock();
    let capacity = state.settings.call_log_capacity;
    state.calls.push(call, capacity);
}

/// The beginning of a call's entry in the log.
pub(crate) fn received(shared: &Shared, marketplace: &'static str) -> Call {
    let received_at = shared.lock().clock.now();
    Call { request_id: Uuid::new_v4(), marketplace, received_at, elapsed_us: shared.elapsed_us(), ..Call::default() }
}
