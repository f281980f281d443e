//! What can be set about AWS Marketplace Metering. The defaults are what botocore 1.44.5's service model documents.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bucket::Rate;

/// The rules of AWS Marketplace Metering that differ between versions of its contract, and the catalogue that it knows.
/// Where a set is absent (`null`), everything passes that check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsSettings {
    /// The word for an identical report that comes again.
    pub identical_resend: IdenticalResend,
    /// Access key id → seller account. Empty: any key passes, and each stands for an account of its own.
    pub access_keys: BTreeMap<String, String>,
    /// Regions that offer the API; elsewhere DisabledApiException.
    pub regions: Option<BTreeSet<String>>,
    /// Known product codes; others are InvalidProductCodeException.
    pub product_codes: Option<BTreeSet<String>>,
    /// Licence ARN → product code. Others are InvalidLicenseException, and so are two products in one call.
    pub licenses: Option<BTreeMap<String, String>>,
    /// Known dimensions; others are InvalidUsageDimensionException.
    pub dimensions: Option<BTreeSet<String>>,
    /// Who may be billed for what, from when until when.
    pub subscriptions: Option<Vec<Subscription>>,
    /// What becomes of a customer who has no subscription at all.
    pub unknown_customer: UnknownCustomer,
    /// Calls per seller account and region; `null` disables the limit. AWS documents 10 calls/s; the burst is ours.
    pub rate: Option<Rate>,
    /// Age in hours, counted from the start of the record's hour, from which a record is refused: 24 since
    /// botocore 1.44, 6 before, 1 in older texts.
    pub max_age_hours: i64,
    /// Hours after the month's end (UTC) from which its records are refused; `null` disables the cut-off. 6 since
    /// botocore 1.44.
    pub month_cutoff_hours: Option<i64>,
    /// Seconds by which a timestamp may lie ahead of the simulator's clock. AWS documents none.
    pub future_tolerance_seconds: i64,
    /// Minutes after the end of a subscription in which its last usage is still taken. AWS documents about one hour.
    pub closing_window_minutes: i64,
    /// Whether a timestamp before the very instant of the subscription's start is refused. Off: the hour in which it
    /// began counts whole.
    pub strict_subscription_start: bool,
    /// Put before the error's name in `__type`, such as `com.amazonaws.marketplacemetering#`: clients must cut it off.
    pub error_type_prefix: String,
}

impl Default for AwsSettings {
    fn default() -> AwsSettings {
        AwsSettings {
            identical_resend: IdenticalResend::default(),
            access_keys: BTreeMap::new(),
            regions: None,
            product_codes: None,
            licenses: None,
            dimensions: None,
            subscriptions: None,
            unknown_customer: UnknownCustomer::default(),
            rate: Some(Rate { calls_per_second: 10.0, burst: 10 }),
            max_age_hours: 24,
            month_cutoff_hours: Some(6),
            future_tolerance_seconds: 0,
            closing_window_minutes: 60,
            strict_subscription_start: false,
            error_type_prefix: String::new(),
        }
    }
}

/// AWS's own texts disagree on this word, so a client has to take both for its own report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdenticalResend {
    /// `Success` with the first `MeteringRecordId`: "identical requests are idempotent" (botocore 1.44.5).
    #[default]
    Success,
    /// `DuplicateRecord`, as AWS's metering skill for coding assistants says in one place.
    Duplicate,
}

/// What becomes of a customer who has no subscription at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCustomer {
    /// `CustomerNotSubscribed` for that record ("the customer identifier is invalid" is its first documented cause).
    #[default]
    NotSubscribed,
    /// InvalidCustomerIdentifierException for the whole call.
    RefuseCall,
}

/// A customer's right to be billed for a product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscription {
    /// The buyer's AWS account, for records that use `CustomerAWSAccountId`.
    pub customer_aws_account_id: Option<String>,
    /// The legacy identifier, for records that use `CustomerIdentifier`.
    pub customer_identifier: Option<String>,
    /// The product, for calls that use `ProductCode`.
    pub product_code: Option<String>,
    /// The licence, for records that use `LicenseArn`.
    pub license_arn: Option<String>,
    /// Start; absent: always was.
    pub from: Option<Timestamp>,
    /// End (exclusive); absent: still running.
    pub until: Option<Timestamp>,
}
