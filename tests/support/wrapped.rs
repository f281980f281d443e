//! A marketplace between whose call and answer something happens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use marketplaces::{Buyer, Capabilities, Frozen, Marketplace, OutgoingRecord, Record, Refusal};
use remittance::Answer;
use serde_json::Value;

/// What happens to answers on their way to the worker.
pub type OnTheWay = fn(Vec<Answer>) -> BoxFuture<'static, Vec<Answer>>;

/// What happens to records before their call.
pub type Before = fn(&[OutgoingRecord]);

/// A marketplace whose answers come by way of a function.
pub struct Wrapped {
    inner: Arc<dyn Marketplace>,
    before: Before,
    on_the_way: OnTheWay,
}

impl Wrapped {
    /// Around the AWS of a stage.
    ///
    /// # Errors
    /// As [`marketplaces::open`].
    pub fn aws(settings: &Value, on_the_way: OnTheWay) -> Result<Arc<dyn Marketplace>, marketplaces::SettingsError> {
        Ok(Arc::new(Self { inner: crate::aws_with_test_keys("aws", settings)?, before: |_| (), on_the_way }))
    }

    /// Around the AWS of a stage; the function sees every call's records first.
    ///
    /// # Errors
    /// As [`marketplaces::open`].
    pub fn aws_after(settings: &Value, before: Before) -> Result<Arc<dyn Marketplace>, marketplaces::SettingsError> {
        let on_the_way: OnTheWay = |answers| Box::pin(async move { answers });
        Ok(Arc::new(Self { inner: crate::aws_with_test_keys("aws", settings)?, before, on_the_way }))
    }
}

impl Marketplace for Wrapped {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn endpoint(&self) -> &reqwest::Url {
        self.inner.endpoint()
    }

    fn buyer(&self, identity: &Value) -> Result<Buyer, Refusal> {
        self.inner.buyer(identity)
    }

    fn freeze(&self, record: &Record<'_>) -> Result<Frozen, Refusal> {
        self.inner.freeze(record)
    }

    fn submit<'a>(&'a self, parcels: &'a [OutgoingRecord], timeout: Duration) -> BoxFuture<'a, Vec<Answer>> {
        (self.before)(parcels);
        Box::pin(async move { (self.on_the_way)(self.inner.submit(parcels, timeout).await).await })
    }
}
