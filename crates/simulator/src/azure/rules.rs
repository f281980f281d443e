//! The decisions about usage events, as pure functions of settings, request and time.
//!
//! Sources: "Marketplace metered billing APIs" and its FAQ. What was accepted before is looked at last: a repetition that has
//! expired meanwhile, or whose subscription has ended, is told so, and the client does not learn that it was taken.

use jiff::Timestamp;

use super::request::UsageEvent;
use super::settings::{AzureResource, AzureSettings, AzureStatus};

const HOUR: i64 = 3600;

pub(crate) const ACCEPTED: &str = "Accepted";
pub(crate) const DUPLICATE: &str = "Duplicate";
pub(crate) const EXPIRED: &str = "Expired";
pub(crate) const ERROR: &str = "Error";
pub(crate) const NOT_ACTIVE: &str = "ResourceNotActive";
pub(crate) const NOT_FOUND: &str = "ResourceNotFound";
pub(crate) const NOT_AUTHORIZED: &str = "ResourceNotAuthorized";
const INVALID_DIMENSION: &str = "InvalidDimension";
const INVALID_QUANTITY: &str = "InvalidQuantity";
const BAD_ARGUMENT: &str = "BadArgument";

/// Why an event is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status word of a batch.
    pub(crate) status: &'static str,
    /// The field.
    pub(crate) target: &'static str,
    /// A sentence; for a single event, all there is beside `BadArgument`.
    pub(crate) message: &'static str,
}

/// An event, seen by the rules.
pub(crate) struct Case<'a> {
    pub(crate) settings: &'a AzureSettings,
    pub(crate) client: &'a str,
    pub(crate) now: Timestamp,
}

impl Case<'_> {
    /// Whether an event may be taken, before what was accepted earlier is looked at.
    pub(crate) fn judge(&self, event: &UsageEvent) -> Result<(), Fault> {
        let fault = |status, target, message| Err(Fault { status, target, message });
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        match (given(&event.resource_id), given(&event.resource_uri)) {
            (true, true) => {
                return fault(BAD_ARGUMENT, "ResourceId", "Only one of resourceId and resourceUri may be given.");
            }
            (false, false) => return fault(BAD_ARGUMENT, "ResourceId", "The resourceId is required."),
            (true, false) if !is_guid(&event.resource()) => {
                return fault(BAD_ARGUMENT, "ResourceId", "The resourceId must be a GUID.");
            }
            _ => {}
        }
        if !given(&event.dimension) {
            return fault(BAD_ARGUMENT, "Dimension", "The dimension is required.");
        }
        if !given(&event.plan_id) {
            return fault(BAD_ARGUMENT, "PlanId", "The planId is required.");
        }
        let Some(hour) = event.hour() else {
            return fault(BAD_ARGUMENT, "EffectiveStartTime", "The effectiveStartTime must be a date and time.");
        };
        if !event.amount().is_some_and(|amount| amount.is_sign_positive() && !amount.is_zero()) {
            return fault(INVALID_QUANTITY, "Quantity", "The quantity must be greater than zero.");
        }
        self.resource(event)?;
        if self
            .settings
            .dimensions
            .as_ref()
            .is_some_and(|known| !event.dimension.as_ref().is_some_and(|d| known.contains(d)))
        {
            return fault(INVALID_DIMENSION, "Dimension", "The dimension is not one of the plan's.");
        }
        self.time(event, hour)
    }

    fn resource(&self, event: &UsageEvent) -> Result<(), Fault> {
        let fault = |status, target, message| Err(Fault { status, target, message });
        let Some(resources) = &self.settings.resources else { return Ok(()) };
        let name = event.resource();
        let Some(resource) = resources.iter().find(|known| known.resource.eq_ignore_ascii_case(&name)) else {
            return fault(NOT_FOUND, "ResourceId", "The resource is not found.");
        };
        if resource.client.as_deref().is_some_and(|client| client != self.client) {
            return fault(NOT_AUTHORIZED, "ResourceId", "The application is not authorized for this resource.");
        }
        if resource.plan.is_some() && resource.plan != event.plan_id {
            return fault(BAD_ARGUMENT, "PlanId", "The planId is not that of the resource.");
        }
        if is_active(resource, event) {
            Ok(())
        } else {
            fault(NOT_ACTIVE, "ResourceId", "The resource is not in Subscribed status.")
        }
    }

    /// Not in the future, and less than 24 hours after the start of its hour.
    fn time(&self, event: &UsageEvent, hour: Timestamp) -> Result<(), Fault> {
        let target = "EffectiveStartTime";
        let ahead = event.time().map_or(0, |time| time.as_second().saturating_sub(self.now.as_second()));
        if ahead > self.settings.future_tolerance_seconds {
            return Err(Fault { status: BAD_ARGUMENT, target, message: "The effectiveStartTime lies in the future." });
        }
        let age = self.now.as_second().saturating_sub(hour.as_second());
        if age >= self.settings.max_age_hours.saturating_mul(HOUR) {
            return Err(Fault { status: EXPIRED, target, message: "The effectiveStartTime is older than 24 hours." });
        }
        Ok(())
    }
}

/// Subscribed and not cancelled, or used before the cancellation.
fn is_active(resource: &AzureResource, event: &UsageEvent) -> bool {
    match resource.until {
        Some(until) => event.time().is_some_and(|time| time < until),
        None => resource.status == AzureStatus::Subscribed,
    }
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
