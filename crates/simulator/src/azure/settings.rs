//! What can be set about Microsoft's metering API. The defaults are what its documents say (microsoft/
//! commercial-marketplace-openapi `meteringapi.v1.json`, "Marketplace metered billing APIs").

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bucket::Rate;

/// The rules of Microsoft's metering API, and what it knows. Where a set is absent (`null`), everything passes that check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureSettings {
    /// Applications by client id. Empty: any client with any secret gets a token. A token dies with the secret that it was
    /// issued for.
    pub clients: BTreeMap<String, AzureClient>,
    /// Client ids in the technical configuration of the offer; a valid token of another is a 403. `managed-identity` is the
    /// one of the metadata service.
    pub offer_clients: Option<BTreeSet<String>>,
    /// Seconds (of real time) that a token is good for.
    pub token_seconds: u64,
    /// Resources that may be billed; others are ResourceNotFound.
    pub resources: Option<Vec<AzureResource>>,
    /// Known dimensions; others are InvalidDimension.
    pub dimensions: Option<BTreeSet<String>>,
    /// Age in hours, counted from the start of the event's hour, from which it is expired.
    pub max_age_hours: i64,
    /// Seconds by which an event may lie ahead of the simulator's clock.
    pub future_tolerance_seconds: i64,
    /// Calls per client; `null`: no limit. Microsoft publishes none.
    pub rate: Option<Rate>,
    /// What a 429 says in `Retry-After`; `null`: nothing.
    pub retry_after_seconds: Option<u64>,
    /// The status word of an event that the fault `unprocessed` strikes in a batch. A word that no document knows tries what
    /// a client makes of it.
    pub error_word: String,
    /// The `reconStatus` in which `usageEvents` lists what was accepted.
    pub recon_status: ReconStatus,
}

impl Default for AzureSettings {
    fn default() -> AzureSettings {
        AzureSettings {
            clients: BTreeMap::new(),
            offer_clients: None,
            token_seconds: 3599,
            resources: None,
            dimensions: None,
            max_age_hours: 24,
            future_tolerance_seconds: 0,
            rate: None,
            retry_after_seconds: None,
            error_word: "Error".to_owned(),
            recon_status: ReconStatus::default(),
        }
    }
}

/// An application that may have tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureClient {
    /// Its directory; absent: any.
    pub tenant: Option<String>,
    /// Its secret.
    pub secret: String,
}

/// A SaaS subscription or a managed application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureResource {
    /// What events call it: a GUID (`resourceId`) or a path (`resourceUri`), in any letters' case.
    pub resource: String,
    /// Its plan; absent: any. Another one is BadArgument.
    pub plan: Option<String>,
    /// Where it stands. Only `subscribed` is billed.
    pub status: AzureStatus,
    /// When it was cancelled: what was used before is still taken, whatever the status, within its 24 hours.
    pub until: Option<Timestamp>,
    /// The client whose offer it was bought from; another one is ResourceNotAuthorized. Absent: any.
    pub client: Option<String>,
}

/// The states of a SaaS subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AzureStatus {
    /// Bought, not yet activated.
    PendingFulfillmentStart,
    /// Active.
    #[default]
    Subscribed,
    /// The customer's payment failed.
    Suspended,
    /// Cancelled.
    Unsubscribed,
}

/// How far Microsoft is with what it accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReconStatus {
    /// Taken in; the processed quantity is still zero.
    Submitted,
    /// Processed.
    #[default]
    Accepted,
}
