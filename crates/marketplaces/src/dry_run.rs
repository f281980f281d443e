//! A marketplace that is not called.

use std::sync::Arc;
use std::time::Duration;

use remittance::{Answer, Outcome};
use serde_json::Value;

use crate::{BoxFuture, Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal};

/// A marketplace's code without its call: it reads identities and makes bytes, and submitting gives a dry run.
pub struct DryRunMarketplace(pub Arc<dyn Marketplace>);

impl Marketplace for DryRunMarketplace {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn endpoint(&self) -> &reqwest::Url {
        self.0.endpoint()
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        self.0.buyer(identity)
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        self.0.freeze(record)
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], _: Duration) -> BoxFuture<'a, Vec<Answer>> {
        let answers = parcels.iter().map(|_| Answer::bare(Outcome::DryRun)).collect();
        Box::pin(std::future::ready(answers))
    }
}
