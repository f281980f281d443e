//! The request of BatchMeterUsage as it travels, and the shape that the service model demands of it.
//!
//! Lengths, ranges and patterns are those of botocore 1.44.5's service model (`meteringmarketplace/2016-01-14`).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::answer::Refusal;

/// Records that one call may carry.
pub(crate) const MAX_RECORDS: usize = 25;
/// Bytes from which a request is too large ("must be less than 1 MB").
pub(crate) const MAX_BODY_BYTES: usize = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchMeterUsage {
    pub(crate) usage_records: Option<Vec<UsageRecord>>,
    pub(crate) product_code: Option<String>,
}

/// Kept as it came, because the answer repeats it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UsageRecord {
    /// Epoch seconds; a fraction is allowed, text is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Number>,
    #[serde(rename = "CustomerAWSAccountId", skip_serializing_if = "Option::is_none")]
    pub(crate) customer_aws_account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customer_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) license_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dimension: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quantity_as_decimal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage_allocations: Option<Vec<UsageAllocation>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UsageAllocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated_usage_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocated_usage_quantity_as_decimal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Vec<Tag>>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl BatchMeterUsage {
    /// Reads a body, or says why AWS's parser would not.
    pub(crate) fn parse(body: &[u8]) -> Result<BatchMeterUsage, Refusal> {
        let batch: BatchMeterUsage =
            serde_json::from_slice(body).map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        batch.check()?;
        Ok(batch)
    }

    pub(crate) fn records(&self) -> &[UsageRecord] {
        self.usage_records.as_deref().unwrap_or_default()
    }

    fn check(&self) -> Result<(), Refusal> {
        let Some(records) = &self.usage_records else { return invalid("usageRecords", "must not be null") };
        if records.len() > MAX_RECORDS {
            return invalid("usageRecords", "must have length less than or equal to 25");
        }
        if self.product_code.as_deref().is_some_and(|code| code.len() > 255 || !code.bytes().all(is_product_code)) {
            return invalid("productCode", "must be at most 255 of letters, digits and -/=:_.@");
        }
        records.iter().try_for_each(UsageRecord::check)
    }
}

impl UsageRecord {
    /// Epoch seconds, rounded down, and nanoseconds. The check has made sure that it is there.
    pub(crate) fn seconds(&self) -> (i64, i32) {
        let Some(number) = &self.timestamp else { return (0, 0) };
        match number.as_i64() {
            Some(seconds) => (seconds, 0),
            None => {
                let exact = number.as_f64().unwrap_or(f64::MAX);
                // Casts saturate, and what is beyond the calendar is out of bounds later.
                (exact.floor() as i64, ((exact - exact.floor()) * 1e9) as i32)
            }
        }
    }

    /// The quantity by value. Neither form given: 0, as documented.
    pub(crate) fn amount(&self) -> Decimal {
        amount(self.quantity, self.quantity_as_decimal.as_deref())
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.timestamp.is_none() {
            return invalid("usageRecords.timestamp", "must not be null");
        }
        if !self.dimension.as_deref().is_some_and(|dimension| (1..=255).contains(&dimension.chars().count())) {
            return invalid("usageRecords.dimension", "must have length from 1 to 255");
        }
        match (&self.customer_aws_account_id, &self.customer_identifier) {
            (Some(account), None) if !is_account(account) => {
                return invalid("usageRecords.customerAWSAccountId", "must be 1 to 255 digits");
            }
            (None, Some(customer)) if customer.is_empty() || customer.chars().count() > 255 => {
                return invalid("usageRecords.customerIdentifier", "must have length from 1 to 255");
            }
            (Some(_), Some(_)) | (None, None) => {
                return invalid("usageRecords", "must have one of customerAWSAccountId and customerIdentifier");
            }
            _ => {}
        }
        if self.license_arn.as_deref().is_some_and(|arn| !is_arn(arn)) {
            return invalid("usageRecords.licenseArn", "must be an ARN");
        }
        if self.quantity.is_some() && self.quantity_as_decimal.is_some() {
            return invalid("usageRecords", "must not have both quantity and quantityAsDecimal");
        }
        check_amount("usageRecords.quantity", self.quantity, self.quantity_as_decimal.as_deref())?;
        self.check_allocations()
    }

    fn check_allocations(&self) -> Result<(), Refusal> {
        let Some(allocations) = &self.usage_allocations else { return Ok(()) };
        if allocations.is_empty() || allocations.len() > 2500 {
            return invalid("usageRecords.usageAllocations", "must have length from 1 to 2500");
        }
        for allocation in allocations {
            let (whole, decimal) =
                (allocation.allocated_usage_quantity, allocation.allocated_usage_quantity_as_decimal.as_deref());
            if whole.is_some() == decimal.is_some() {
                return invalid("usageAllocations", "must have one of the two quantities");
            }
            check_amount("usageAllocations.allocatedUsageQuantity", whole, decimal)?;
        }
        Ok(())
    }
}

impl UsageAllocation {
    pub(crate) fn amount(&self) -> Decimal {
        amount(self.allocated_usage_quantity, self.allocated_usage_quantity_as_decimal.as_deref())
    }
}

fn amount(whole: Option<i64>, decimal: Option<&str>) -> Decimal {
    // At most 16 digits after the check, so nothing is rounded.
    let decimal = decimal.and_then(|text| Decimal::from_str_exact(text).ok());
    decimal.unwrap_or_else(|| Decimal::from(whole.unwrap_or(0))).normalize()
}

fn check_amount(field: &str, whole: Option<i64>, decimal: Option<&str>) -> Result<(), Refusal> {
    if whole.is_some_and(|whole| !(0..=i64::from(i32::MAX)).contains(&whole)) {
        return invalid(field, "must be from 0 to 2147483647");
    }
    if decimal.is_some_and(|decimal| !is_decimal(decimal)) {
        return invalid(field, "as decimal must be at most 10 digits and at most 6 after the point");
    }
    Ok(())
}

fn invalid<T>(field: &str, constraint: &str) -> Result<T, Refusal> {
    let text =
        format!("1 validation error detected: Value at '{field}' failed to satisfy constraint: Member {constraint}");
    Err(Refusal::new("ValidationException", text))
}

fn is_product_code(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-/=:_.@".contains(&byte)
}

/// `^[0-9]+$`, at most 255.
fn is_account(account: &str) -> bool {
    (1..=255).contains(&account.len()) && account.bytes().all(|byte| byte.is_ascii_digit())
}

/// `^(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$`
fn is_decimal(text: &str) -> bool {
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    digits(whole, 10) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(|part| digits(part, 6))
}

/// `^arn:aws[a-zA-Z-]*:S:R:R:[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}$`, where S is
/// `[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}` and R is `[A-Za-z0-9_/.-]{0,63}`.
fn is_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
    let of = |part: &str, also: &[u8], most: usize| {
        part.len() <= most && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
    };
    let starts = |part: &str| part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    arn == "arn"
        && partition
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'))
        && starts(service)
        && of(service, b"_/.-", 63)
        && of(region, b"_/.-", 63)
        && of(account, b"_/.-", 63)
        && starts(resource)
        && of(resource, b":_/+=,@.-", 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_documented_pattern() {
        for good in ["0", "0.1", "17.000000", "9999999999.999999"] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in ["", ".5", "1.", "01", "-1", "1e3", "12345678901", "1.1234567", "1.2.3", "١"] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }

    #[test]
    fn arns_follow_the_documented_pattern() {
        assert!(is_arn("arn:aws:license-manager::294406891311:license:l-0123456789abcdef"));
        assert!(is_arn("arn:aws-us-gov:license-manager:us-gov-west-1:294406891311:license:l-1"));
        for bad in ["", "arn:aws:license-manager", "arn:gcp:license-manager:::l", "arn:aws::::l", "arn:aws:s:::-l"] {
            assert!(!is_arn(bad), "{bad}");
        }
    }

    #[test]
    fn timestamps_are_numbers_with_or_without_a_fraction() {
        let record = |text: &str| serde_json::from_str::<UsageRecord>(&format!("{{\"Timestamp\":{text}}}"));
        assert_eq!(record("1784714400").unwrap().seconds(), (1_784_714_400, 0));
        assert_eq!(record("1784714400.5").unwrap().seconds(), (1_784_714_400, 500_000_000));
        assert_eq!(record("-0.5").unwrap().seconds(), (-1, 500_000_000));
        assert_eq!(record("1.7847144E9").unwrap().seconds(), (1_784_714_400, 0));
        assert!(record("\"2026-07-22T10:00:00Z\"").is_err());
    }
}
