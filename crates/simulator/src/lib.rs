//! The marketplaces' own rules over HTTP, with an authoritative record of what was accepted.
//!
//! For tests, the demo and anybody's staging: point an integration at it and ask it afterwards what a marketplace would
//! have billed. It is an independent judge. It shares no code with the crates that it judges, and where a rule is
//! disputed it takes the reading that is harder for a client. `docs/simulator.md` is the guide for people.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use simulator::{FaultKind, FaultRule, Settings, Simulator};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let running = Simulator::start(listener, Settings::default())?;
//! running.add_fault(FaultRule::new(FaultKind::LoseResponse).times(1))?;
//! // ... let the integration send to running.address() ...
//! assert_eq!(running.record().len(), 1);
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod aws;
mod azure;
mod bucket;
mod calls;
mod clock;
mod deliver;
mod exchange;
mod faults;
mod google;
mod record;
mod server;
mod settings;
mod socket;
mod state;

pub use aws::settings::{AwsSettings, IdenticalResend, Subscription, UnknownCustomer};
pub use azure::settings::{AzureClient, AzureResource, AzureSettings, AzureStatus, ReconStatus};
pub use bucket::Rate;
pub use calls::{Call, CallRecord, Counters, Delivery};
pub use clock::Clock;
pub use faults::{FaultError, FaultKind, FaultRule, FaultState, Match, When};
pub use google::settings::{ChangedOperation, GoogleSettings, MetricType, RepeatedOperation};
pub use record::{Accepted, DimensionTotal, Filter, Key, Totals};
pub use server::{Running, Simulator, StartError};
pub use settings::Settings;

#[cfg(test)]
mod tests;
