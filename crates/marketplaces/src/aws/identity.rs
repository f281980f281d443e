//! Who buys, as AWS identifies a buyer. Rules of fields: botocore 1.44.5, service model `meteringmarketplace`.

use remittance::Reason;
use serde_json::{Map, Value};

use crate::{Buyer, Refusal};

const LICENCE_ARN: &str = "license_arn";
const PRODUCT_CODE: &str = "product_code";
const ACCOUNT: &str = "customer_aws_account_id";
const CUSTOMER: &str = "customer_identifier";
const FORMS: &str = "give license_arn with customer_aws_account_id (products since June 2026), or product_code with \
                     customer_aws_account_id, or product_code with customer_identifier (legacy)";

/// The three ways to name a buyer. One and the same buyer named in two ways in one hour is billed twice: AWS
/// deduplicates within a form, not across them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Concurrent Agreements: the licence names product and agreement; no product code is sent.
    LicenceAccount {
        /// The agreement's licence.
        licence_arn: String,
        /// The buyer's AWS account, 12 digits.
        account: String,
    },
    /// The product of the request, the buyer by AWS account.
    ProductAccount {
        /// AWS's code of the product.
        product_code: String,
        /// The buyer's AWS account, 12 digits.
        account: String,
    },
    /// The product of the request, the buyer by the identifier that `ResolveCustomer` once gave.
    ProductCustomer {
        /// AWS's code of the product.
        product_code: String,
        /// The legacy identifier.
        customer: String,
    },
}

impl Identity {
    /// Reads a subscription's identity from the catalogue.
    pub(super) fn read(identity: &Value) -> Result<Self, Refusal> {
        let Value::Object(fields) = identity else {
            return Err(refusal(format!("the AWS identity must be an object: {FORMS}")));
        };
        let known = [LICENCE_ARN, PRODUCT_CODE, ACCOUNT, CUSTOMER];
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(refusal(format!("{name} is no field of an AWS identity: {FORMS}")));
        }
        let licence_arn = text(fields, LICENCE_ARN, is_licence_arn, "a licence's ARN (arn:aws:license-manager:…)")?;
        let product_code = text(fields, PRODUCT_CODE, is_product_code, "1 to 255 of letters, digits and -/=:_.@")?;
        let account = text(fields, ACCOUNT, is_account, "12 digits, as text")?;
        let customer = text(fields, CUSTOMER, is_customer, "1 to 255 printable characters without a slash")?;
        match (licence_arn, product_code, account, customer) {
            (Some(licence_arn), None, Some(account), None) => Ok(Self::LicenceAccount { licence_arn, account }),
            (None, Some(product_code), Some(account), None) => Ok(Self::ProductAccount { product_code, account }),
            (None, Some(product_code), None, Some(customer)) => Ok(Self::ProductCustomer { product_code, customer }),
            (Some(_), Some(_), _, _) => Err(refusal(format!(
                "license_arn and product_code exclude each other (sent both ways, an hour is billed twice): {FORMS}"
            ))),
            (_, _, Some(_), Some(_)) => {
                Err(refusal(format!("customer_aws_account_id and customer_identifier exclude each other: {FORMS}")))
            }
            (Some(_), None, None, _) => Err(refusal(format!("license_arn needs customer_aws_account_id: {FORMS}"))),
            (None, Some(_), None, None) => {
                Err(refusal(format!("customer_aws_account_id (or customer_identifier) is missing: {FORMS}")))
            }
            (None, None, _, _) => Err(refusal(format!("license_arn or product_code is missing: {FORMS}"))),
        }
    }

    /// The buyer in canonical form, within `region`: AWS deduplicates per region.
    pub(super) fn buyer(&self, region: &str) -> Buyer {
        let (sold, account, form) = match self {
            Self::LicenceAccount { licence_arn, account } => (licence_arn, account, "licence_account"),
            Self::ProductAccount { product_code, account } => (product_code, account, "product_account"),
            Self::ProductCustomer { product_code, customer } => (product_code, customer, "product_customer"),
        };
        // Codes and ARNs may contain slashes (and never a percent sign): escaped, two buyers cannot share a key.
        let key = format!("aws/{region}/{}/{account}", sold.replace('/', "%2F"));
        Buyer { key, account: account.clone(), form }
    }

    /// What may share a call: one AWS product a request. Licences do not tell their product, so our product tag stands
    /// for it.
    pub(super) fn batch_group(&self, product: &str) -> String {
        match self {
            Self::LicenceAccount { .. } => format!("licence:{product}"),
            Self::ProductAccount { product_code, .. } | Self::ProductCustomer { product_code, .. } => {
                format!("product:{product_code}")
            }
        }
    }
}

/// A field's text, if it is there; refused by name if it is not as it should be.
fn text(
    fields: &Map<String, Value>,
    name: &str,
    fits: fn(&str) -> bool,
    expected: &str,
) -> Result<Option<String>, Refusal> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if fits(text) => Ok(Some(text.clone())),
        Some(Value::String(text)) => Err(refusal(format!("{name} is {text:?}; it must be {expected}"))),
        Some(_) => Err(refusal(format!("{name} must be a text: {expected}"))),
    }
}

fn refusal(message: String) -> Refusal {
    Refusal { reason: Reason::InvalidSubscription, message }
}

/// The model says digits; an AWS account has 12 of them, and a lost leading zero is the usual mistake.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Model: `^[-a-zA-Z0-9/=:_.@]*$`, at most 255; empty would name no product.
fn is_product_code(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'=' | b':' | b'_' | b'.' | b'@'))
}

/// The model allows anything; what `ResolveCustomer` gives is printable. A slash would end the buyer in the key.
fn is_customer(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

/// Model: `^arn:aws[a-zA-Z-]*:` service `:` region `:` account `:` resource `$`, each part with its own letters.
fn is_licence_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &[scheme, partition, service, region, account, resource] = parts.as_slice() else { return false };
    let letters = |part: &str, more: &[u8]| part.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let begins = |part: &str| part.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    scheme == "arn"
        && partition.strip_prefix("aws").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
        && [service, region, account].iter().all(|part| part.len() <= 63 && letters(part, b"_/.-"))
        && begins(service)
        && begins(resource)
        && resource.len() <= 1024
        && letters(resource, b":_/+=,@.-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:license-manager::294406891311:license:l-be33b7fb09c84e5b8d4a6ed0d9a4bb2f";

    fn refused(identity: &Value) -> String {
        let refusal = Identity::read(identity).expect_err("must be refused");
        assert_eq!(refusal.reason, Reason::InvalidSubscription);
        refusal.message
    }

    #[test]
    fn d1_each_form_has_its_canonical_key() {
        let cases = [
            (
                json!({ "license_arn": ARN, "customer_aws_account_id": "111122223333" }),
                format!("aws/us-east-1/{ARN}/111122223333"),
                "licence_account",
                "licence:cloud",
            ),
            (
                json!({ "product_code": "prod9", "customer_aws_account_id": "011122223333" }),
                "aws/us-east-1/prod9/011122223333".to_owned(),
                "product_account",
                "product:prod9",
            ),
            (
                json!({ "product_code": "prod9", "customer_identifier": "ifAPi5AcF3" }),
                "aws/us-east-1/prod9/ifAPi5AcF3".to_owned(),
                "product_customer",
                "product:prod9",
            ),
        ];
        for (identity, key, form, group) in cases {
            let identity = Identity::read(&identity).expect("a known form");
            let buyer = identity.buyer("us-east-1");
            assert_eq!((buyer.key, buyer.form, identity.batch_group("cloud")), (key, form, group.to_owned()));
        }
    }

    #[test]
    fn d1_account_id_or_legacy_id_never_both() {
        let both =
            json!({ "product_code": "p", "customer_aws_account_id": "111122223333", "customer_identifier": "c" });
        assert!(refused(&both).starts_with("customer_aws_account_id and customer_identifier exclude each other"));
        let twice = json!({ "product_code": "p", "license_arn": ARN, "customer_aws_account_id": "111122223333" });
        assert!(refused(&twice).starts_with("license_arn and product_code exclude each other"));
    }

    #[test]
    fn d1_what_is_missing_or_malformed_is_named() {
        for (identity, beginning) in [
            (json!(null), "the AWS identity must be an object"),
            (json!({}), "license_arn or product_code is missing"),
            (json!({ "customer_aws_account_id": "111122223333" }), "license_arn or product_code is missing"),
            (json!({ "product_code": "p" }), "customer_aws_account_id (or customer_identifier) is missing"),
            (json!({ "license_arn": ARN }), "license_arn needs customer_aws_account_id"),
            (json!({ "license_arn": ARN, "customer_identifier": "c" }), "license_arn needs customer_aws_account_id"),
            (
                json!({ "product_code": "p", "customer_aws_account_id": 111_122_223_333_u64 }),
                "customer_aws_account_id must be a text",
            ),
            (
                json!({ "product_code": "p", "customer_aws_account_id": "11122223333" }),
                "customer_aws_account_id is \"11122223333\"; it must be 12 digits",
            ),
            (json!({ "product_code": "", "customer_identifier": "c" }), "product_code is \"\""),
            (json!({ "product_code": "p q", "customer_identifier": "c" }), "product_code is \"p q\""),
            (json!({ "product_code": "p", "customer_identifier": "a/b" }), "customer_identifier is \"a/b\""),
            (json!({ "product_code": "p", "customer_identifier": "c".repeat(256) }), "customer_identifier is"),
            (
                json!({ "license_arn": "arn:aws:license-manager", "customer_aws_account_id": "111122223333" }),
                "license_arn is",
            ),
            (json!({ "product_code": "p", "account": "111122223333" }), "account is no field of an AWS identity"),
        ] {
            let message = refused(&identity);
            assert!(message.starts_with(beginning), "{identity}: {message}");
        }
    }

    #[test]
    fn two_buyers_never_share_a_key() {
        let one = json!({ "product_code": "a/b", "customer_identifier": "c" });
        let other = json!({ "product_code": "a", "customer_identifier": "c" });
        let key = |identity: &Value| Identity::read(identity).expect("a known form").buyer("eu-west-1").key;
        assert_eq!((key(&one).as_str(), key(&other).as_str()), ("aws/eu-west-1/a%2Fb/c", "aws/eu-west-1/a/c"));
    }
}
