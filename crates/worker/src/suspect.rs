//! Deliveries that were in the hands of a dying worker are sent alone, so that a row that kills workers is found.

use remittance::Outcome;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::Worker;
use crate::directory::Served;
use crate::dispatch::{LEASE_NEEDED, call_span, hand_back};

impl Worker {
    /// Sends one delivery that was in the hands of a dying worker, with nothing else in ours, as far as patience goes: a
    /// slow call at one destination must not stop the others, so calls are held back for half a poll before it and half
    /// a poll during it. What is on the wire beside it then may become a suspect once, and is never beside one again:
    /// suspects go one at a time. Returns whether one was sent.
    ///
    /// # Errors
    /// As Postgres says.
    pub(crate) async fn dispatch_suspect(&self, served: &Served) -> Result<bool, outbox::Error> {
        let may_begin = async || {
            let passage = served.passage();
            Ok::<bool, outbox::Error>(!served.destination.paused && self.may_begin(served, passage).await?)
        };
        if self.lease.remaining() < LEASE_NEEDED || !may_begin().await? {
            return Ok(false);
        }
        let rest = self.options.pulse.rest(&served.destination.name);
        let _one_at_a_time = self.suspect.lock().await;
        drop(rest);
        let patience = self.options.poll / 2;
        let alone = tokio::time::timeout(patience, self.alone.write()).await.ok();
        // waiting may have taken long
        if !may_begin().await? {
            return Ok(false);
        }
        let (rules, seen) = (served.destination.rules(), self.options.history.position());
        let claiming = self.hands.claiming(self.lease.now());
        let Some(claim) = outbox::claim::claim_suspect(&self.database, rules, self.id, seen.as_ref()).await? else {
            return Ok(false);
        };
        let grip = self.grip(std::slice::from_ref(&claim));
        drop(claiming);
        self.crash.point("after_claim");
        let span = call_span(self, served, std::slice::from_ref(&claim));
        let sending = async {
            match served.pass(&CancellationToken::new()).await {
                Some(passing) => self.submit(served, vec![claim], &passing).await,
                None => hand_back(vec![claim]),
            }
        };
        let mut sending = std::pin::pin!(sending.instrument(span));
        let settlements = match tokio::time::timeout(patience, &mut sending).await {
            Ok(settlements) => settlements,
            Err(_) => {
                drop(alone);
                sending.await
            }
        };
        self.tell(served, &settlements);
        self.settle_surely(&settlements, || self.options.pulse.turn(&served.destination.name)).await;
        grip.answered();
        self.report(served).await?;
        // what was handed back is a suspect still
        Ok(settlements.iter().any(|settlement| settlement.answer.outcome != Outcome::HandedBack))
    }
}
