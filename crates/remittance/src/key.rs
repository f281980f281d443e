//! Canonical keys and the idempotency key derived from them.

use jiff::Timestamp;
use uuid::Uuid;

/// Namespace of Postmeter's idempotency keys (a UUIDv4 drawn once, fixed for ever).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_7c0e_52a9_4b83_9c1e_0d8a_b5f4_7236);

/// The hour of a key as canonical text, `2024-09-18T22:00:00Z`.
#[must_use]
pub fn canonical_hour(hour: Timestamp) -> String {
    hour.to_string()
}

/// The canonical key of a remittance: the marketplace's identity of the buyer (which already names region and product
/// or licence), the dimension and the hour. The database builds the same text (`postmeter.remittance_key`).
#[must_use]
pub fn remittance_key(buyer: &str, dimension: &str, hour: Timestamp) -> String {
    format!("{buyer}/{dimension}/{}", canonical_hour(hour))
}

/// The idempotency key: a pure function of destination, canonical key and release count, so that a cut that was lost
/// by a failover and is made again meets itself at the marketplace.
#[must_use]
pub fn idempotency_key(destination: &str, key: &str, releases: i32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{destination}\n{key}\n{releases}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e13_the_idempotency_key_is_a_pure_function() {
        let hour: Timestamp = "2024-09-18T22:00:00Z".parse().expect("hour");
        let key = remittance_key("aws/us-east-1/prod/111122223333", "cores", hour);
        assert_eq!(key, "aws/us-east-1/prod/111122223333/cores/2024-09-18T22:00:00Z");
        assert_eq!(idempotency_key("aws", &key, 0), idempotency_key("aws", &key, 0));
        assert_ne!(idempotency_key("aws", &key, 0), idempotency_key("aws", &key, 1));
        assert_ne!(idempotency_key("aws", &key, 0), idempotency_key("aws-eu", &key, 0));
    }
}
