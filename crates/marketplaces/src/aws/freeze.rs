//! The bytes of one usage record. Once written they are sent to the letter, ever after.
//!
//! Shapes and bounds: botocore 1.44.5, service model `meteringmarketplace`, shape `UsageRecord`.

use jiff::Timestamp;
use remittance::{Quantity, Reason, Share};
use serde::Serialize;

use super::identity::Identity;
use crate::{Frozen, Record, Refusal};

/// Digits after the point that `QuantityAsDecimal` may have.
pub(super) const DECIMALS_MAX: u32 = 6;
/// Digits before the point that `QuantityAsDecimal` may have.
const INTEGER_DIGITS_MAX: usize = 10;
/// The largest `Quantity`, a 32-bit integer.
const INTEGER_MAX: i64 = 2_147_483_647;
/// Tags of a usage allocation.
pub(super) const TAGS_MAX: u32 = 5;
/// Characters of a dimension's name.
const DIMENSION_CHARS_MAX: usize = 255;

/// A usage record as it goes out; the order of fields is the order in the bytes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageRecord<'a> {
    timestamp: i64,
    #[serde(rename = "CustomerAWSAccountId", skip_serializing_if = "Option::is_none")]
    customer_aws_account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_identifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_arn: Option<&'a str>,
    dimension: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity_as_decimal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    usage_allocations: Vec<UsageAllocation<'a>>,
}

/// A share of the quantity, in the same form as that.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageAllocation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_usage_quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocated_usage_quantity_as_decimal: Option<String>,
    /// Left out for all the rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag<'a> {
    key: &'a str,
    value: &'a str,
}

/// Builds the bytes of a record. `Quantity` for a dimension without decimals, `QuantityAsDecimal` for all others:
/// never both, AWS refuses the whole call then.
pub(super) fn freeze(record: &Record<'_>) -> Result<Frozen, Refusal> {
    let identity = Identity::read(record.identity)?;
    let (account, customer, licence_arn) = match &identity {
        Identity::LicenceAccount { licence_arn, account } => (Some(account), None, Some(licence_arn)),
        Identity::ProductAccount { account, .. } => (Some(account), None, None),
        Identity::ProductCustomer { customer, .. } => (None, Some(customer), None),
    };
    let (quantity, quantity_as_decimal) = quantity(record.quantity, record.decimals)?;
    let body = UsageRecord {
        timestamp: hour(record.hour)?,
        customer_aws_account_id: account.map(String::as_str),
        customer_identifier: customer.map(String::as_str),
        license_arn: licence_arn.map(String::as_str),
        dimension: dimension(record.dimension)?,
        quantity,
        quantity_as_decimal,
        usage_allocations: allocations(record.shares, record.decimals)?,
    };
    let body = serde_json::to_string(&body).expect("texts and integers are always JSON");
    Ok(Frozen { body, batch_group: identity.batch_group(record.product) })
}

/// The shares as AWS has them. One without tags is the whole, and says nothing.
fn allocations(shares: &[Share], decimals: u32) -> Result<Vec<UsageAllocation<'_>>, Refusal> {
    if shares.iter().all(|share| share.tags.is_empty()) {
        return Ok(Vec::new());
    }
    shares
        .iter()
        .map(|share| {
            let (allocated_usage_quantity, allocated_usage_quantity_as_decimal) = quantity(share.quantity, decimals)?;
            let tags = share.tags.iter().map(|(key, value)| Tag { key, value }).collect();
            Ok(UsageAllocation { allocated_usage_quantity, allocated_usage_quantity_as_decimal, tags })
        })
        .collect()
}

/// Seconds since 1970, at an hour's start: AWS rounds down to hours, so two stamps of one hour would collide there.
fn hour(hour: Timestamp) -> Result<i64, Refusal> {
    let seconds = hour.as_second();
    if seconds.rem_euclid(3_600) == 0 && hour.subsec_nanosecond() == 0 {
        Ok(seconds)
    } else {
        let message = format!("hour {hour} is not the start of an hour; records are cut by the hour");
        Err(Refusal { reason: Reason::InvalidSubscription, message })
    }
}

fn dimension(name: &str) -> Result<&str, Refusal> {
    if (1..=DIMENSION_CHARS_MAX).contains(&name.chars().count()) {
        Ok(name)
    } else {
        let message =
            format!("dimension {name:?} must have 1 to {DIMENSION_CHARS_MAX} characters; map the metric anew");
        Err(Refusal { reason: Reason::UnmappedDimension, message })
    }
}

/// The quantity in the one form that fits, to the letter of the model's pattern
/// `^(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?$` or as an integer.
fn quantity(quantity: Quantity, decimals: u32) -> Result<(Option<i64>, Option<String>), Refusal> {
    let refused =
        |why: String| Refusal { reason: Reason::QuantityOutOfRange, message: format!("quantity {quantity} {why}") };
    if quantity.is_negative() {
        return Err(refused("is negative; AWS takes nothing back".to_owned()));
    }
    let decimals_max = decimals.min(DECIMALS_MAX);
    if quantity.decimals() > decimals_max {
        return Err(refused(format!(
            "has more than the {decimals_max} decimals it may have; round it before it is cut"
        )));
    }
    if decimals > 0 {
        return if quantity.integer_digits() <= INTEGER_DIGITS_MAX {
            Ok((None, Some(quantity.to_string())))
        } else {
            Err(refused(format!("has more than {INTEGER_DIGITS_MAX} digits before the point, the most AWS takes")))
        };
    }
    match quantity.to_i64() {
        Some(integer @ 0..=INTEGER_MAX) => Ok((Some(integer), None)),
        _ => Err(refused(format!("is more than {INTEGER_MAX}, the most AWS takes without decimals"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const ARN: &str = "arn:aws:license-manager::294406891311:license:l-1";

    fn frozen(identity: &Value, amount: &str, decimals: u32) -> Result<Frozen, Refusal> {
        freeze(&Record {
            identity,
            product: "cloud",
            dimension: "cores",
            hour: "2024-09-18T22:00:00Z".parse().expect("an hour"),
            ends: None,
            quantity: amount.parse().expect("a quantity"),
            shares: &[],
            decimals,
            idempotency_key: Uuid::nil(),
        })
    }

    fn by_account(amount: &str, decimals: u32) -> Result<String, Reason> {
        let identity = json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" });
        frozen(&identity, amount, decimals).map(|f| f.body).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn d1_the_bytes_of_each_form() {
        let cases = [
            (
                json!({ "customer_aws_account_id": "111122223333", "license_arn": ARN }),
                format!(
                    r#"{{"Timestamp":1726696800,"CustomerAWSAccountId":"111122223333","LicenseArn":"{ARN}","Dimension":"cores","Quantity":7}}"#
                ),
                "licence:cloud",
            ),
            (
                json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" }),
                r#"{"Timestamp":1726696800,"CustomerAWSAccountId":"111122223333","Dimension":"cores","Quantity":7}"#
                    .to_owned(),
                "product:prod9",
            ),
            (
                json!({ "product_code": "prod9", "customer_identifier": "ifAPi5AcF3" }),
                r#"{"Timestamp":1726696800,"CustomerIdentifier":"ifAPi5AcF3","Dimension":"cores","Quantity":7}"#
                    .to_owned(),
                "product:prod9",
            ),
        ];
        for (identity, body, group) in cases {
            let expected = Frozen { body, batch_group: group.to_owned() };
            assert_eq!(frozen(&identity, "7.00", 0), Ok(expected));
        }
    }

    #[test]
    fn d1_decimals_travel_as_text() {
        let tail = |amount, decimals| {
            by_account(amount, decimals).map(|body| body[body.find("\"Quantity").expect("one")..].to_owned())
        };
        assert_eq!(tail("17.50", 6), Ok(r#""QuantityAsDecimal":"17.5"}"#.to_owned()));
        assert_eq!(tail("17", 2), Ok(r#""QuantityAsDecimal":"17"}"#.to_owned()));
        assert_eq!(tail("9999999999.999999", 6), Ok(r#""QuantityAsDecimal":"9999999999.999999"}"#.to_owned()));
        assert_eq!(tail("0", 6), Ok(r#""QuantityAsDecimal":"0"}"#.to_owned()));
        assert_eq!(tail("0", 0), Ok(r#""Quantity":0}"#.to_owned()));
        assert_eq!(tail("2147483647", 0), Ok(r#""Quantity":2147483647}"#.to_owned()));
    }

    #[test]
    fn b11_a_quantity_beyond_type_or_digits_is_refused() {
        for (amount, decimals) in [
            ("2147483648", 0),
            ("0.5", 0),
            ("-1", 0),
            ("-0.1", 6),
            ("10000000000", 6),
            ("0.0000001", 6),
            ("0.0000001", 15),
            ("0.123", 2),
        ] {
            assert_eq!(by_account(amount, decimals), Err(Reason::QuantityOutOfRange), "{amount} with {decimals}");
        }
    }

    #[test]
    fn k12_shares_travel_in_the_form_of_the_quantity_and_one_without_tags_says_nothing() {
        let share = |tags: &[(&str, &str)], amount: &str| Share {
            tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            quantity: amount.parse().expect("a quantity"),
        };
        let identity = json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" });
        let frozen = |shares: &[Share], amount: &str, decimals| {
            let body = freeze(&Record {
                identity: &identity,
                product: "cloud",
                dimension: "cores",
                hour: "2024-09-18T22:00:00Z".parse().expect("an hour"),
                ends: None,
                quantity: amount.parse().expect("a quantity"),
                shares,
                decimals,
                idempotency_key: Uuid::nil(),
            });
            let body = body.expect("freezes").body;
            body[body.find("\"Quantity").expect("one")..].to_owned()
        };
        let shares = [share(&[("region", "eu"), ("team", "a \"b\"")], "5"), share(&[], "2")];
        assert_eq!(
            frozen(&shares, "7", 0),
            r#""Quantity":7,"UsageAllocations":[{"AllocatedUsageQuantity":5,"Tags":[{"Key":"region","Value":"eu"},{"Key":"team","Value":"a \"b\""}]},{"AllocatedUsageQuantity":2}]}"#
        );
        let shares = [share(&[("team", "a")], "0.5"), share(&[("team", "b")], "0.25")];
        assert_eq!(
            frozen(&shares, "0.75", 2),
            r#""QuantityAsDecimal":"0.75","UsageAllocations":[{"AllocatedUsageQuantityAsDecimal":"0.5","Tags":[{"Key":"team","Value":"a"}]},{"AllocatedUsageQuantityAsDecimal":"0.25","Tags":[{"Key":"team","Value":"b"}]}]}"#
        );
        assert_eq!(frozen(&[share(&[], "7")], "7", 0), r#""Quantity":7}"#);
    }

    #[test]
    fn d1_stamps_are_hour_aligned() {
        let identity = json!({ "product_code": "p", "customer_identifier": "c" });
        let record = |hour: &str, dimension| {
            let hour = hour.parse().expect("a time");
            let quantity = Quantity::from(1);
            freeze(&Record {
                identity: &identity,
                product: "x",
                dimension,
                hour,
                ends: None,
                quantity,
                shares: &[],
                decimals: 0,
                idempotency_key: Uuid::nil(),
            })
        };
        assert!(record("2024-09-18T22:00:00Z", "d").is_ok());
        assert!(record("2024-09-18T22:00:01Z", "d").is_err());
        assert!(record("2024-09-18T22:00:00.5Z", "d").is_err());
        let long = "d".repeat(256);
        for name in ["", long.as_str()] {
            let reason = record("2024-09-18T22:00:00Z", name).map_err(|refusal| refusal.reason);
            assert_eq!(reason, Err(Reason::UnmappedDimension));
        }
    }
}
