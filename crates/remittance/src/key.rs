//! The idempotency key, derived from the canonical key that the database builds (`postmeter.remittance_key`).

use uuid::Uuid;

/// Namespace of Postmeter's idempotency keys (a UUIDv4 drawn once, fixed for ever).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_7c0e_52a9_4b83_9c1e_0d8a_b5f4_7236);

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
        let key = "aws/us-east-1/prod/111122223333/cores/2024-09-18T22:00:00Z";
        assert_eq!(idempotency_key("aws", key, 0), idempotency_key("aws", key, 0));
        assert_ne!(idempotency_key("aws", key, 0), idempotency_key("aws", key, 1));
        assert_ne!(idempotency_key("aws", key, 0), idempotency_key("aws-eu", key, 0));
    }
}
