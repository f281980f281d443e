//! Billing exports in the FinOps Open Cost and Usage Specification (FOCUS 1.0 to 1.3).
//!
//! `catalog derive focus` makes a catalogue of such a file and `import focus` usage of its rows. Both must come to the
//! same tags, so the rules are here: org is `SubAccountId`, product the tag of `ServiceName`, metric the tag of
//! `ConsumedUnit`. What a file is, is in [`file`]; its rows in [`rows`]; which of them are usage in [`charges`]; which of
//! them are one usage in [`identity`].

pub mod bounded;
pub mod charges;
pub mod columns;
pub mod file;
pub mod groups;
pub mod identity;
pub mod number;
#[cfg(feature = "parquet")]
mod parquet;
pub mod row;
pub mod rows;
mod sorted;
pub mod time;

/// The product of a service's name: `Amazon EC2 Container Registry (ECR)` is `amazon-ec2-container-registry-ecr`.
#[must_use]
pub fn product_tag(service_name: &str) -> String {
    tag(service_name)
}

/// The metric of a unit's name: `GB-Months` and `GB Months` are `gb-months`, `GB/Month` is `gb-per-month`.
#[must_use]
pub fn metric_tag(consumed_unit: &str) -> String {
    tag(&consumed_unit.replace('/', " per "))
}

/// What makes a unit another one: its letters and digits, in their case. `GB Months` is `GB-Months`; `Gb` is not `GB`,
/// though both have the tag `gb`.
#[must_use]
pub fn unit_name(consumed_unit: &str) -> String {
    words(&consumed_unit.replace('/', " per "))
}

/// Lower case; every run of anything but letters and digits is one hyphen; none at the ends.
fn tag(name: &str) -> String {
    words(name).to_lowercase()
}

fn words(name: &str) -> String {
    let spaced: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_stable_and_plain() {
        assert_eq!(product_tag("Amazon EC2 Container Registry (ECR)"), "amazon-ec2-container-registry-ecr");
        assert_eq!(product_tag("BLOCK_STORAGE"), "block-storage");
        assert_eq!(metric_tag("GB-Months"), metric_tag("GB Months"));
        assert_eq!(metric_tag("GiB/Second-Months"), "gib-per-second-months");
        assert_eq!(metric_tag("(?)"), "");
        assert_eq!(unit_name("GB-Months"), unit_name("GB Months"));
        assert_ne!(unit_name("Gb"), unit_name("GB"));
    }
}
