//! The decisions of BatchMeterUsage, as pure functions of settings, request and time.
//!
//! First everything that refuses the whole call and stores nothing ("if any of the records are outside of the allowed
//! range, the entire batch is not processed"), then what concerns a single record.
//! Source unless said otherwise: botocore 1.44.5's service model, its documentation texts included.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use super::answer::Refusal;
use super::request::{BatchMeterUsage, Tag, UsageRecord};
use super::settings::{AwsSettings, Subscription, UnknownCustomer};

const HOUR: i64 = 3600;

/// A call, seen by the rules.
pub(crate) struct Case<'a> {
    pub(crate) settings: &'a AwsSettings,
    pub(crate) region: &'a str,
    pub(crate) batch: &'a BatchMeterUsage,
    pub(crate) now: Timestamp,
}

impl Case<'_> {
    /// Whether the whole call is refused, and with what.
    pub(crate) fn refusal(&self) -> Result<(), Refusal> {
        if self.settings.regions.as_ref().is_some_and(|regions| !regions.contains(self.region)) {
            return Err(Refusal::new("DisabledApiException", "The API is disabled in the Region."));
        }
        self.identity()?;
        self.licenses()?;
        let records = self.batch.records();
        records.iter().try_for_each(|record| self.customer(record))?;
        records.iter().try_for_each(|record| self.dimension(record))?;
        records.iter().try_for_each(allocations)?;
        records.iter().try_for_each(|record| self.timestamp(record))
    }

    /// One way to name the product: by `ProductCode` for the call or by `LicenseArn` in each record. Both together are
    /// documented as double billing; refusing them is stricter than AWS may be, so that the mistake is seen.
    fn identity(&self) -> Result<(), Refusal> {
        let code = self.batch.product_code.as_deref().filter(|code| !code.is_empty());
        for record in self.batch.records() {
            match (code, &record.license_arn) {
                (Some(_), Some(_)) => {
                    let message = "ProductCode must not be sent with LicenseArn: the usage would be billed twice.";
                    return Err(Refusal::new("ValidationException", message));
                }
                (None, None) => {
                    let message = "ProductCode is required for records without LicenseArn.";
                    return Err(Refusal::new("InvalidProductCodeException", message));
                }
                (None, Some(_)) if record.customer_identifier.is_some() => {
                    let message = "LicenseArn goes with CustomerAWSAccountId.";
                    return Err(Refusal::new("ValidationException", message));
                }
                _ => {}
            }
        }
        match (&self.settings.product_codes, code) {
            (Some(known), Some(code)) if !known.contains(code) => {
                Err(Refusal::new("InvalidProductCodeException", format!("Product code {code} is not known.")))
            }
            _ => Ok(()),
        }
    }

    /// "Ensure the LicenseArn is valid, matches the customer, and usage is within the license activation period", and
    /// "each BatchMeterUsage request is for only one product".
    fn licenses(&self) -> Result<(), Refusal> {
        let refused = |message: String| Err(Refusal::new("InvalidLicenseException", message));
        let mut product = None;
        for record in self.batch.records() {
            let Some(arn) = &record.license_arn else { continue };
            if let Some(known) = &self.settings.licenses {
                let Some(code) = known.get(arn) else { return refused(format!("License {arn} is not known.")) };
                if product.replace(code).is_some_and(|other| other != code) {
                    return refused("The licenses belong to more than one product.".to_owned());
                }
            }
            let Some(subscriptions) = &self.settings.subscriptions else { continue };
            let mut held = subscriptions.iter().filter(|held| held.license_arn.as_ref() == Some(arn)).peekable();
            if held.peek().is_none() {
                return refused(format!("License {arn} is not known."));
            }
            let mut own = held.filter(|held| self.is_customer(held, record)).peekable();
            if own.peek().is_none() {
                return refused(format!("License {arn} does not match the customer."));
            }
            if !own.any(|own| self.started(own, record) && !ended(own, record)) {
                return refused(format!("The usage lies outside the activation period of license {arn}."));
            }
        }
        Ok(())
    }

    fn customer(&self, record: &UsageRecord) -> Result<(), Refusal> {
        let Some(subscriptions) = &self.settings.subscriptions else { return Ok(()) };
        let refuses = self.settings.unknown_customer == UnknownCustomer::RefuseCall;
        if refuses && !subscriptions.iter().any(|held| self.is_customer(held, record)) {
            let message = format!("Customer {} does not exist.", customer(record));
            return Err(Refusal::new("InvalidCustomerIdentifierException", message));
        }
        Ok(())
    }

    fn dimension(&self, record: &UsageRecord) -> Result<(), Refusal> {
        let (Some(known), Some(dimension)) = (&self.settings.dimensions, &record.dimension) else { return Ok(()) };
        if known.contains(dimension) {
            return Ok(());
        }
        let message = format!("Dimension {dimension} is not one of the product's.");
        Err(Refusal::new("InvalidUsageDimensionException", message))
    }

    /// Not in the future, not "24 hours or more" old, not of a month that is closed, not before the customer's start.
    fn timestamp(&self, record: &UsageRecord) -> Result<(), Refusal> {
        let refused = |reason: &str| {
            let message = format!("Timestamp {} {reason}.", record.seconds().0);
            Err(Refusal::new("TimestampOutOfBoundsException", message))
        };
        let Some(hour) = hour(record) else { return refused("is beyond the calendar") };
        let age = self.now.as_second().saturating_sub(hour.as_second());
        if record.seconds().0.saturating_sub(self.settings.future_tolerance_seconds) > self.now.as_second() {
            return refused("lies in the future");
        }
        if age >= self.settings.max_age_hours.saturating_mul(HOUR) {
            return refused("is too old");
        }
        let grace = self.settings.month_cutoff_hours.map(|hours| hours.saturating_mul(HOUR));
        if grace.is_some_and(|grace| self.now.as_second() >= month_end(hour).saturating_add(grace)) {
            return refused("belongs to a month that is closed");
        }
        let started = match self.settings.subscriptions.as_deref() {
            Some(subscriptions) if record.license_arn.is_none() => {
                let mut own = subscriptions.iter().filter(|held| self.is_right(held, record)).peekable();
                own.peek().is_none() || own.any(|held| self.started(held, record))
            }
            _ => true,
        };
        if started { Ok(()) } else { refused("is before the start of the customer's usage") }
    }

    /// Whether the customer may be billed for this record, once the call as a whole has passed.
    pub(crate) fn is_subscribed(&self, record: &UsageRecord) -> bool {
        let Some(subscriptions) = &self.settings.subscriptions else { return true };
        let window = self.settings.closing_window_minutes.saturating_mul(60);
        subscriptions.iter().filter(|held| self.is_right(held, record)).any(|held| {
            let closed = |until: Timestamp| self.now.as_second() >= until.as_second().saturating_add(window);
            self.started(held, record) && !ended(held, record) && !held.until.is_some_and(closed)
        })
    }

    fn is_customer(&self, held: &Subscription, record: &UsageRecord) -> bool {
        match &record.customer_aws_account_id {
            Some(account) => held.customer_aws_account_id.as_ref() == Some(account),
            None => held.customer_identifier.is_some() && held.customer_identifier == record.customer_identifier,
        }
    }

    /// The record's customer holds this subscription, in the form by which the record names the product.
    fn is_right(&self, held: &Subscription, record: &UsageRecord) -> bool {
        self.is_customer(held, record)
            && match &record.license_arn {
                Some(arn) => held.license_arn.as_ref() == Some(arn),
                None => held.product_code.is_some() && held.product_code == self.batch.product_code,
            }
    }

    fn started(&self, held: &Subscription, record: &UsageRecord) -> bool {
        let Some(from) = held.from else { return true };
        let strict = self.settings.strict_subscription_start;
        let start = if strict { from.as_second() } else { from.as_second().div_euclid(HOUR) * HOUR };
        record.seconds().0 >= start
    }
}

/// Usage of the hour in which the subscription ended is still of the subscription: the one time when an incomplete hour
/// is sent.
fn ended(held: &Subscription, record: &UsageRecord) -> bool {
    held.until.is_some_and(|until| record.seconds().0 >= until.as_second())
}

/// The customer in the form that the record uses.
pub(crate) fn customer(record: &UsageRecord) -> &str {
    record.customer_aws_account_id.as_deref().or(record.customer_identifier.as_deref()).unwrap_or_default()
}

/// The start of the UTC hour for which the record counts; none beyond the calendar.
pub(crate) fn hour(record: &UsageRecord) -> Option<Timestamp> {
    Timestamp::from_second(record.seconds().0.div_euclid(HOUR) * HOUR).ok()
}

/// Epoch seconds of the first of the next month, 00:00 UTC.
fn month_end(hour: Timestamp) -> i64 {
    let first = hour.to_zoned(TimeZone::UTC).date().last_of_month().tomorrow();
    let midnight = first.ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    midnight.map_or(i64::MAX, |midnight| midnight.timestamp().as_second())
}

/// Shares must add up to the record, in the same kind of number, each set of tags once.
fn allocations(record: &UsageRecord) -> Result<(), Refusal> {
    let Some(allocations) = &record.usage_allocations else { return Ok(()) };
    let refused = |message: &str| Err(Refusal::new("InvalidUsageAllocationsException", message));
    let mut total = Decimal::ZERO;
    let mut seen: Vec<Vec<&Tag>> = Vec::with_capacity(allocations.len());
    for allocation in allocations {
        if allocation.allocated_usage_quantity_as_decimal.is_some() != record.quantity_as_decimal.is_some() {
            return refused("Allocations must use the same type of quantity as the record.");
        }
        let mut tags: Vec<&Tag> = allocation.tags.iter().flatten().collect();
        if tags.len() > 5 || !tags.iter().all(|tag| is_tag(&tag.key, 100) && is_tag(&tag.value, 256)) {
            return Err(Refusal::new("InvalidTagException", "A tag is invalid, or there are more than 5."));
        }
        tags.sort_unstable();
        seen.push(tags);
        // 2,500 quantities of at most 16 digits: no overflow.
        total += allocation.amount();
    }
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("Each set of tags may be given once.");
    }
    if total == record.amount() { Ok(()) } else { refused("Allocated quantities must add up to the record's.") }
}

/// `^[a-zA-Z0-9+ -=._:\/@]+$`, where ` -=` is a range that takes in the punctuation between space and equals sign.
fn is_tag(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || (b' '..=b'=').contains(&byte) || b"_@".contains(&byte))
}
