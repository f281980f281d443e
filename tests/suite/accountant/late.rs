//! Late answers: a worker's call outlives its lease, and what the marketplace said is written down when others have
//! taken over, and perhaps somebody has said otherwise.

use std::sync::Arc;
use std::time::Duration;

use marketplaces::{Marketplace, OutgoingRecord};
use outbox::claim::Claim;
use outbox::settle::Settlement;
use rand::RngExt;
use remittance::{Answer, Outcome, Policy, RetrySchedule};
use rust_decimal::Decimal;
use worker::Worker;

use super::moves::Run;

/// A call that was answered after its worker had been given up.
pub struct Late {
    worker: Arc<Worker>,
    answered: Vec<(Claim, Answer)>,
    /// What of it a person called not billed, though the answer on its way says otherwise.
    denied: Vec<i64>,
    /// The database may know nothing of it: it was restored to a backup.
    pub is_forgotten: bool,
}

impl Late {
    fn accepted(&self) -> impl Iterator<Item = &Claim> {
        self.answered.iter().filter(|(_, answer)| answer.outcome == Outcome::Accepted).map(|(claim, _)| claim)
    }
}

impl Run {
    /// A worker sends what is due, and its lease is over before it can write down what was answered.
    pub async fn slow_call(&mut self) {
        self.stage.at(&self.now.to_string()).await;
        self.stage.fold().await;
        while self.stage.worker.cut().await.unwrap().cut > 0 {}
        let worker = self.stage.another_worker().await;
        let mut claims = self.stage.claim_as(worker.id()).await;
        claims.retain(|claim| claim.too_late.is_none());
        if claims.is_empty() {
            return;
        }
        let settings = self.stage.db.client.query_one("select settings from postmeter.destination", &[]).await.unwrap();
        let aws = tests::aws_with_test_keys("aws", &settings.get(0)).unwrap();
        let mut answered = Vec::new();
        claims.sort_by_key(|claim| claim.call);
        for call in claims.chunk_by(|a, b| a.call == b.call) {
            answered.extend(call.iter().cloned().zip(answers(aws.as_ref(), call).await));
        }
        let said = answered.iter().map(|(claim, answer)| format!("{} {:?}", claim.delivery, answer.outcome));
        self.done.push(format!("{} a slow call: {}", self.now, said.collect::<Vec<_>>().join(", ")));
        self.stage.end_lease_of(worker.id()).await;
        self.stage.worker.reap().await.unwrap();
        self.late.push(Late { worker, answered, denied: Vec::new(), is_forgotten: false });
        if self.draw.random_bool(0.3) {
            self.deny().await;
        }
    }

    /// Somebody says of what the marketplace holds that it was not billed, and may give it to another hour.
    pub async fn deny(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        for call in late.iter_mut().filter(|call| !call.is_forgotten) {
            let held: Vec<_> = call.accepted().map(|claim| (claim.delivery, claim.quantity)).collect();
            for (id, quantity) in held {
                let waits = format!(
                    "select (maybe_billed and status in ('unknown', 'due', 'held'))::text
                     from postmeter.delivery where id = {id}"
                );
                if self.stage.value(&waits).await != "true" || self.draw.random_bool(0.3) {
                    continue;
                }
                let filter = format!("{{\"delivery\": {id}}}");
                let hold = format!("select postmeter.hold('{filter}', 'bob', 'to another hour', false)");
                self.attempt(hold.clone()).await;
                let said = format!("select postmeter.resolve_unknown({id}, false, 'bob', 'not in their report')");
                if !self.attempt(said).await {
                    continue;
                }
                call.denied.push(id);
                let key = self.stage.value(&format!("select key from postmeter.delivery where id = {id}")).await;
                self.denied.push((key, quantity.to_string().parse().unwrap()));
                if self.draw.random_bool(0.8) {
                    let verb = if self.draw.random_bool(0.7) { "release" } else { "recount" };
                    self.attempt(hold).await;
                    self.attempt(format!("select postmeter.{verb}('{filter}', 'bob', 'to another hour', false)")).await;
                }
            }
        }
        self.late = late;
    }

    /// What was answered long ago is written down: it settles what is not settled, or contradicts.
    pub async fn late_answers(&mut self) {
        for call in std::mem::take(&mut self.late) {
            let batch = u32::try_from(call.answered.len()).unwrap();
            let settlements: Vec<_> = call
                .answered
                .iter()
                .map(|(claim, answer)| Settlement {
                    delivery: claim.delivery,
                    attempt: claim.attempt,
                    batch,
                    answer: answer.clone(),
                    took: Duration::ZERO,
                    others_passed: false,
                    is_lost: false,
                    is_death: false,
                })
                .collect();
            let policy = Policy { retry: RetrySchedule::default(), memory: None };
            let database = &self.stage.db.database;
            outbox::settle::settle(database, call.worker.id(), &settlements, &|_| policy).await.unwrap();
            outbox::maintain::review(database).await.unwrap();
            self.done.push(format!("{} late answers, after {:?} was denied", self.now, call.denied));
            for claim in call.accepted().filter(|_| !call.is_forgotten) {
                self.is_told(claim, call.denied.contains(&claim.delivery)).await;
            }
        }
    }

    /// What is accepted is known as such; where a person has said otherwise and moved it on, both sides are listed.
    async fn is_told(&self, claim: &Claim, was_denied: bool) {
        let (id, quantity) = (claim.delivery, claim.quantity);
        let stands = format!(
            "select concat_ws(' ', status, trim_scale(quantity)::text, case when maybe_billed then 'maybe billed' end)
             from postmeter.delivery where id = {id}"
        );
        let stands = self.stage.value(&stands).await;
        if stands == format!("accepted {quantity}") {
            return;
        }
        let listed = format!(
            "select count(*)::text from postmeter.contradiction_list
             where delivery_id = {id} and says = 'held' and coalesce(their_quantity, our_quantity) = {quantity}"
        );
        let is_listed = self.stage.value(&listed).await != "0";
        assert!(
            is_listed,
            "remittance {id} is {stands}, denied: {was_denied}, and they hold {quantity}\n{}",
            self.done.join("\n")
        );
    }
}

async fn answers(aws: &dyn Marketplace, call: &[Claim]) -> Vec<Answer> {
    let parcels: Vec<OutgoingRecord> = call
        .iter()
        .map(|claim| OutgoingRecord {
            body: claim.body.clone(),
            batch_group: claim.batch_group.clone(),
            quantity: claim.quantity,
            idempotency_key: claim.idempotency_key,
        })
        .collect();
    aws.submit(&parcels, Duration::from_secs(10)).await
}

/// At most so much that a person denied may be billed a second time.
pub fn denied(run: &Run, account: &str, dimension: &str) -> Decimal {
    let of = run.denied.iter().filter(|(key, _)| key.contains(account) && key.contains(&format!("/{dimension}/")));
    of.map(|(_, quantity)| *quantity).sum()
}
