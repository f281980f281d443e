//! The destinations this worker knows, each with its marketplace's code.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

use marketplaces::{DryRunMarketplace, Marketplace, Record};
use outbox::catalogue::{Canonical, Destination, Reading};
use outbox::cut::{Bytes, Sum};
use remittance::{Policy, Reason, RetrySchedule};
use serde_json::Value;
use telemetry::{Codes, names};
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;

/// A destination that is served.
pub struct Served {
    /// What the catalogue says.
    pub destination: Destination,
    /// The code that calls it, or why it cannot be called.
    pub marketplace: Result<Arc<dyn Marketplace>, String>,
    /// Its breaker.
    pub breaker: Arc<Breaker>,
    /// Codes of its answers that have a series of their own.
    pub codes: Arc<Codes>,
    /// Its calls on the wire, by whatever rules.
    pub on_the_wire: Arc<AtomicUsize>,
    /// Cancelled: the destination has other rules now, and no call begins by these.
    pub replaced: CancellationToken,
}

/// All of them, as last read.
pub struct Directory {
    loopback_only: bool,
    open: crate::Opener,
    served: RwLock<Arc<HashMap<i32, Arc<Served>>>>,
}

impl Directory {
    /// An empty directory. A test or demo database calls loopback addresses only.
    pub fn new(loopback_only: bool, open: crate::Opener) -> Self {
        Self { loopback_only, open, served: RwLock::default() }
    }

    /// All destinations.
    pub fn all(&self) -> Arc<HashMap<i32, Arc<Served>>> {
        Arc::clone(&self.served.read().expect("no holder of this lock can panic"))
    }

    /// Takes over what the catalogue says now; breakers and connections stay where nothing changed. After this no call
    /// begins by what it said before.
    pub fn replace(&self, destinations: Vec<Destination>) {
        let before = self.all();
        let after = destinations
            .into_iter()
            .map(|destination| {
                let old = before.get(&destination.id);
                if let Some(old) = old.filter(|old| old.destination == destination && old.marketplace.is_ok()) {
                    return (destination.id, Arc::clone(old));
                }
                let same = old.filter(|old| {
                    old.destination.kind == destination.kind && old.destination.settings == destination.settings
                });
                let marketplace = match same.map(|old| &old.marketplace) {
                    Some(Ok(marketplace)) => Ok(Arc::clone(marketplace)),
                    _ => self.open(&destination),
                };
                if let Err(problem) = &marketplace
                    && old.is_none_or(|old| old.marketplace.as_ref().err() != Some(problem))
                {
                    tracing::error!(destination = destination.name, "cannot be served: {problem}");
                }
                let breaker = old.map_or_else(Arc::default, |old| Arc::clone(&old.breaker));
                let codes = old.map_or_else(Arc::default, |old| Arc::clone(&old.codes));
                let on_the_wire = old.map_or_else(Arc::default, |old| Arc::clone(&old.on_the_wire));
                if old.is_none() {
                    names::DELIVERIES_CLAIMED.add([&destination.name], 0);
                    names::BREAKER_OPENED.add([&destination.name], 0);
                }
                let replaced = CancellationToken::new();
                let served = Served { destination, marketplace, breaker, codes, on_the_wire, replaced };
                (served.destination.id, Arc::new(served))
            })
            .collect();
        let after = Arc::new(after);
        *self.served.write().expect("no holder of this lock can panic") = Arc::clone(&after);
        for (id, old) in before.iter() {
            if after.get(id).is_none_or(|new| !Arc::ptr_eq(new, old)) {
                old.replaced.cancel();
            }
        }
    }

    fn open(&self, destination: &Destination) -> Result<Arc<dyn Marketplace>, String> {
        let opened = (self.open)(&destination.kind, &destination.settings).map_err(|error| error.to_string())?;
        let host = opened.endpoint().host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.loopback_only && !is_loopback {
            return Err(format!(
                "the database is marked test or demo, so {host} is not called: set an endpoint on 127.0.0.1"
            ));
        }
        // a shadow has the marketplace's code, and no way to it
        Ok(if destination.shadow { Arc::new(DryRunMarketplace(opened)) } else { opened })
    }

    /// Live destinations whose hours this worker can cut.
    pub fn servable(&self) -> Vec<i32> {
        self.cuttable(false)
    }

    /// Shadows that this worker can serve.
    pub fn shadows(&self) -> Vec<i32> {
        self.cuttable(true)
    }

    fn cuttable(&self, shadow: bool) -> Vec<i32> {
        let all = self.all();
        let served = all.values().filter(|served| served.marketplace.is_ok() && served.destination.shadow == shadow);
        let mut ids: Vec<i32> = served.map(|served| served.destination.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The policy of a destination; the default for one that has gone.
    pub fn policy(&self, destination: i32) -> Policy {
        self.all()
            .get(&destination)
            .map_or(Policy { retry: RetrySchedule::default(), memory: None }, |served| served.destination.policy)
    }

    /// Makes bytes of a sum, by the destination's marketplace.
    pub fn freeze(&self, sum: &Sum) -> Result<Bytes, Reason> {
        let all = self.all();
        let marketplace = all.get(&sum.destination_id).and_then(|served| served.marketplace.as_ref().ok());
        let marketplace = marketplace.ok_or(Reason::UnmappedDimension)?;
        let record = Record {
            identity: &sum.identity,
            product: &sum.product,
            dimension: &sum.dimension,
            hour: sum.hour,
            ends: sum.ends,
            quantity: sum.quantity,
            shares: &sum.shares,
            decimals: sum.decimals,
            idempotency_key: sum.idempotency_key,
        };
        match marketplace.freeze(&record) {
            Ok(frozen) => Ok(Bytes { body: frozen.body, batch_group: frozen.batch_group }),
            Err(refusal) => {
                // a line each would be thousands, if a dimension is set up wrongly
                tracing::debug!(reason = %refusal.reason, dimension = sum.dimension, hour = %sum.hour, "held a remittance: {refusal}");
                Err(refusal.reason)
            }
        }
    }

    /// Reads a subscription's identity, by the destination's marketplace; `None` if it cannot be opened now.
    pub fn read_identity(&self, destination: i32, identity: &Value) -> Option<Reading> {
        let all = self.all();
        let marketplace = all.get(&destination)?.marketplace.as_ref().ok()?;
        Some(match marketplace.buyer(identity) {
            Ok(buyer) => Ok(Canonical { buyer: buyer.key, account: buyer.account, form: buyer.form.to_owned() }),
            Err(refusal) => Err(refusal.message),
        })
    }
}
