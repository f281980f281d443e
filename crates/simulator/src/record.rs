//! The authoritative record: what was accepted, once per key, first write wins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

/// What a marketplace deduplicates on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Which marketplace's rules apply: `aws`, `azure` or `google`.
    pub marketplace: &'static str,
    /// The region of the call; deduplication does not cross regions. Azure: empty; Google: the
    /// operation's id.
    pub region: String,
    /// The product code or the licence ARN, whichever form the call used. Azure: empty, because a plan is no part of a
    /// key there.
    pub product: String,
    /// The customer in the form that the call used. Azure: the resource's GUID or path, in lower case.
    pub customer: String,
    /// The marketplace's name for what is metered.
    pub dimension: String,
    /// Start of the UTC hour.
    pub hour: Timestamp,
}

/// An `Arc` written as what it points to (serde leaves shared pointers out unless asked for).
pub(crate) fn as_key<S: Serializer>(key: &Arc<Key>, serializer: S) -> Result<S::Ok, S::Error> {
    key.serialize(serializer)
}

/// One accepted report.
#[derive(Clone, Debug, Serialize)]
pub struct Accepted {
    /// Position in the record, from 1 upwards: the cursor for paging.
    pub number: u64,
    /// What it is unique on.
    #[serde(flatten, serialize_with = "as_key")]
    pub key: Arc<Key>,
    /// The time as it was sent, before it was cut to the hour.
    pub timestamp: Timestamp,
    /// The quantity that will be billed.
    pub quantity: Decimal,
    /// The marketplace's receipt: AWS's `MeteringRecordId`, Azure's `usageEventId`.
    pub receipt: Uuid,
    /// When it was accepted, on the simulator's clock.
    pub accepted_at: Timestamp,
    /// The call that brought it.
    pub call: u64,
    /// How often the identical report came again.
    pub identical_resends: u64,
    /// How often the same key came with another quantity and was refused.
    pub duplicates_refused: u64,
}

/// What became of a report that was offered to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Accepted now, under this receipt.
    New(Uuid),
    /// Accepted before with this very quantity, under this receipt.
    Same(Uuid),
    /// The key holds another quantity; nothing changed.
    Other,
}

/// Which part of the record is meant. Absent fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The region of the call.
    pub region: Option<String>,
    /// Product code or licence ARN.
    pub product: Option<String>,
    /// The customer in the form that the call used.
    pub customer: Option<String>,
    /// The dimension.
    pub dimension: Option<String>,
    /// Start of the hour.
    pub hour: Option<Timestamp>,
}

impl Filter {
    fn admits(&self, key: &Key) -> bool {
        let same = |wanted: &Option<String>, held: &String| wanted.as_ref().is_none_or(|wanted| wanted == held);
        same(&self.region, &key.region)
            && same(&self.product, &key.product)
            && same(&self.customer, &key.customer)
            && same(&self.dimension, &key.dimension)
            && self.hour.is_none_or(|hour| hour == key.hour)
    }
}

/// Sums over a part of the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Accepted reports.
    pub records: u64,
    /// Their quantities, added exactly. Across dimensions it is a checksum, not an amount of anything.
    pub quantity: Decimal,
    /// The same per dimension, in the order of their names.
    pub dimensions: Vec<DimensionTotal>,
    /// How often identical reports came again.
    pub identical_resends: u64,
    /// How often a known key came with another quantity and was refused.
    pub duplicates_refused: u64,
    /// Hours of a customer and dimension that were accepted under more than one key: in a second region, or by product
    /// code and by licence. A marketplace bills each of them.
    pub hours_under_several_keys: u64,
}

/// The totals of one dimension.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DimensionTotal {
    /// The dimension.
    pub dimension: String,
    /// Accepted reports.
    pub records: u64,
    /// Their quantities, added exactly.
    pub quantity: Decimal,
}

/// Everything accepted since the start or the last reset. It grows by a few hundred bytes with each report.
#[derive(Debug, Default)]
pub(crate) struct Record {
    accepted: Vec<Accepted>,
    positions: HashMap<Arc<Key>, usize>,
}

impl Record {
    /// Offers a report: the first write of a key wins, and its quantity never changes. Quantities compare by value.
    pub(crate) fn offer(&mut self, report: &Report<'_>) -> Offer {
        if let Some(&position) = self.positions.get(report.key) {
            let held = &mut self.accepted[position];
            if held.quantity == report.quantity {
                held.identical_resends += 1;
                return Offer::Same(held.receipt);
            }
            held.duplicates_refused += 1;
            return Offer::Other;
        }
        let receipt = Uuid::new_v4();
        self.positions.insert(Arc::clone(report.key), self.accepted.len());
        self.accepted.push(Accepted {
            number: self.accepted.len() as u64 + 1,
            key: Arc::clone(report.key),
            timestamp: report.timestamp,
            quantity: report.quantity,
            receipt,
            accepted_at: report.now,
            call: report.call,
            identical_resends: 0,
            duplicates_refused: 0,
        });
        Offer::New(receipt)
    }

    /// What a key holds.
    pub(crate) fn held(&self, key: &Arc<Key>) -> Option<&Accepted> {
        self.positions.get(key).map(|&position| &self.accepted[position])
    }

    pub(crate) fn len(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// What the filter admits, in the order of acceptance, beginning after the given number.
    pub(crate) fn list<'a>(&'a self, filter: &'a Filter, after: u64) -> impl Iterator<Item = &'a Accepted> {
        let skipped = usize::try_from(after).unwrap_or(usize::MAX).min(self.accepted.len());
        self.accepted[skipped..].iter().filter(|accepted| filter.admits(&accepted.key))
    }

    pub(crate) fn totals(&self, filter: &Filter) -> Totals {
        let mut totals = Totals::default();
        let mut dimensions: BTreeMap<&str, DimensionTotal> = BTreeMap::new();
        let mut hours: HashMap<(&str, &str, Timestamp), u64> = HashMap::new();
        for accepted in self.list(filter, 0) {
            let key = &accepted.key;
            let dimension = dimensions.entry(&key.dimension).or_default();
            dimension.records += 1;
            dimension.quantity = sum(dimension.quantity, accepted.quantity);
            totals.records += 1;
            totals.quantity = sum(totals.quantity, accepted.quantity);
            totals.identical_resends += accepted.identical_resends;
            totals.duplicates_refused += accepted.duplicates_refused;
            *hours.entry((&key.customer, &key.dimension, key.hour)).or_default() += 1;
        }
        let named = |(name, total): (&str, DimensionTotal)| DimensionTotal { dimension: name.to_owned(), ..total };
        totals.dimensions = dimensions.into_iter().map(named).collect();
        totals.hours_under_several_keys = hours.values().filter(|&&keys| keys > 1).count() as u64;
        totals
    }
}

/// A report on its way into the record.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) key: &'a Arc<Key>,
    pub(crate) timestamp: Timestamp,
    pub(crate) quantity: Decimal,
    pub(crate) now: Timestamp,
    pub(crate) call: u64,
}

/// Exact: ten digits before and six after the point leave room for 10¹² records before 28 digits are full.
fn sum(one: Decimal, other: Decimal) -> Decimal {
    one.checked_add(other).unwrap_or(Decimal::MAX).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(region: &str, dimension: &str) -> Arc<Key> {
        Arc::new(Key {
            marketplace: "aws",
            region: region.to_owned(),
            product: "product".to_owned(),
            customer: "111122223333".to_owned(),
            dimension: dimension.to_owned(),
            hour: "2026-07-22T10:00:00Z".parse().unwrap(),
        })
    }

    fn offer(record: &mut Record, key: &Arc<Key>, quantity: &str) -> Offer {
        let now: Timestamp = "2026-07-22T11:05:00Z".parse().unwrap();
        record.offer(&Report { key, timestamp: key.hour, quantity: quantity.parse().unwrap(), now, call: 1 })
    }

    #[test]
    fn d3_first_write_wins_and_quantities_compare_by_value() {
        let (mut record, cores) = (Record::default(), key("us-east-1", "cores"));
        let Offer::New(receipt) = offer(&mut record, &cores, "17") else { panic!("the first is new") };
        assert_eq!(offer(&mut record, &cores, "17.00"), Offer::Same(receipt));
        assert_eq!(offer(&mut record, &cores, "17.000001"), Offer::Other);
        let totals = record.totals(&Filter::default());
        assert_eq!((totals.records, totals.quantity.to_string().as_str()), (1, "17"));
        assert_eq!((totals.identical_resends, totals.duplicates_refused), (1, 1));
    }

    #[test]
    fn another_region_is_another_key_and_the_totals_show_the_double_billing() {
        let mut record = Record::default();
        offer(&mut record, &key("us-east-1", "cores"), "5");
        offer(&mut record, &key("eu-west-1", "cores"), "5");
        offer(&mut record, &key("us-east-1", "users"), "0.1");
        let totals = record.totals(&Filter::default());
        assert_eq!(totals.hours_under_several_keys, 1);
        assert_eq!(totals.quantity.to_string(), "10.1");
        assert_eq!(totals.dimensions.iter().map(|d| d.records).collect::<Vec<_>>(), [2, 1]);
        let filter = Filter { region: Some("eu-west-1".to_owned()), ..Filter::default() };
        assert_eq!(record.totals(&filter).records, 1);
        assert_eq!(record.list(&Filter::default(), 1).count(), 2);
    }
}
