//! Billing exports in the FinOps Open Cost and Usage Specification (FOCUS 1.0 to 1.3).
//!
//! `catalog derive focus` makes a catalogue of such a file and `import focus` usage of its rows. Both must come to the
//! same tags, so the rules are here: org is `SubAccountId`, product the tag of `ServiceName`, metric the tag of
//! `ConsumedUnit`. What a file is, is in [`file`]; its rows in [`rows`]; which of them are usage in [`charges`]; which of
//! them are one usage in [`identity`].

pub mod bounded;
pub mod charges;
pub mod columns;
mod deliveries;
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

/// What makes a unit another one: its letters and digits, and their case where bits and bytes, milli and mega differ by
/// it. `GB Months` is `GB-months`; `Gb` is not `GB`, though both have the tag `gb`. As `postmeter.import_unit_key` does it.
#[must_use]
pub fn unit_name(consumed_unit: &str) -> String {
    let words = words(&consumed_unit.replace('/', " per "));
    words.split('-').map(unit_word).collect::<Vec<_>>().join("-")
}

/// A word of a unit; it is the same in any case, unless it is of bits and bytes (`Gbps`, `GBps`), or milli and mega.
fn unit_word(word: &str) -> String {
    let lower = word.to_lowercase();
    let prefixed = lower.strip_prefix(['k', 'm', 'g', 't', 'p', 'e', 'z', 'y']);
    let is_of_bits = [Some(lower.as_str()), prefixed].into_iter().flatten().any(|rest| {
        let after = rest.strip_prefix('i').unwrap_or(rest).strip_prefix('b');
        after.is_some_and(|after| !after.starts_with(['a', 'e', 'i', 'o', 'u', 'y']))
    });
    let is_vowel = |c: char| ['a', 'e', 'i', 'o', 'u'].contains(&c);
    let is_milli =
        lower.strip_prefix('m').is_some_and(|rest| matches!(rest.chars().count(), 1 | 2) && !rest.contains(is_vowel));
    if is_of_bits || is_milli || word.chars().count() == 1 { word.to_owned() } else { lower }
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
        for (one, same) in [("GB-Months", "GB months"), ("Hours", "hours"), ("GigaBytes", "gigabytes")] {
            assert_eq!(unit_name(one), unit_name(same));
        }
        let units = "GB-Months Hours Gb Gbps GBPS KiBps mWh MWh bps Bytes GigaBytes MBit Hrs GB-Mo ms Ms B Min kWh";
        let keys = "GB-months hours Gb Gbps GBPS KiBps mWh MWh bps bytes gigabytes mbit hrs GB-mo ms Ms B min kwh";
        assert_eq!(units.split(' ').map(unit_name).collect::<Vec<_>>().join(" "), keys, "as the database does");
        for (one, other) in [("Gb", "GB"), ("Gbps", "GBps"), ("KiBps", "Kibps"), ("mWh", "MWh"), ("bps", "Bps")] {
            assert_ne!(unit_name(one), unit_name(other));
        }
    }
}
