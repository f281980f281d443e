//! Deliveries that were in the hands of a dying worker are sent alone, so that a row that kills workers is found.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::Worker;
use crate::call::{LEASE_NEEDED, call_span, hand_back};
use crate::directory::Served;
use crate::dispatch::Dispatch;
use crate::settler::Answers;

/// What an attempt to send a suspect came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspect {
    /// Its call has begun.
    Sent,
    /// Another is under way, or it is not the time.
    Later,
    /// There is none.
    None,
}

impl Worker {
    /// Begins the call of one delivery that was in the hands of a dying worker, in a call of its own. A worker has one of
    /// them in hand at a time. Whatever else it has in hand goes on: what is on the wire beside it while it kills becomes
    /// a suspect in its turn, and no two suspects are ever beside each other.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn dispatch_suspect(
        self: &Arc<Self>,
        served: &Arc<Served>,
        state: &Dispatch,
        answers: &Answers,
    ) -> Result<Suspect, outbox::Error> {
        let waits = self.paces.wait(served.destination.quota, Instant::now()).is_some();
        if self.lease.remaining() < LEASE_NEEDED || served.destination.paused || waits {
            return Ok(Suspect::Later);
        }
        let Ok(alone) = Arc::clone(&self.suspect).try_lock_owned() else { return Ok(Suspect::Later) };
        if !self.may_begin(served, served.admission()).await? {
            return Ok(Suspect::Later);
        }
        let (rules, seen) = (served.destination.rules(), self.options.history.position());
        let claiming = self.open_attempts.claiming(self.lease.now());
        let Some(claim) = outbox::claim::claim_suspect(&self.database, rules, self.id, seen.as_ref()).await? else {
            return Ok(Suspect::None);
        };
        let guard = self.guard(std::slice::from_ref(&claim));
        drop(claiming);
        self.crash.point("after_claim");
        let span = call_span(self, served, std::slice::from_ref(&claim));
        let (worker, served, answers) = (Arc::clone(self), Arc::clone(served), answers.clone());
        state.begin(
            async move {
                let settlements = match served.pass(&CancellationToken::new()).await {
                    Some(permit) => worker.submit(&served, vec![claim], &permit).await,
                    None => hand_back(vec![claim]),
                };
                // its answer is on its way to the settler before the next one is claimed
                worker.answered(&served, settlements, guard, &answers).await;
                drop(alone);
            }
            .instrument(span),
        );
        Ok(Suspect::Sent)
    }
}
