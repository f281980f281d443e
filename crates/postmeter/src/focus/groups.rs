//! Rows put together: those with one id of one source are one usage, over all files of a command.

use std::collections::HashMap;
use std::io;
use std::iter::Peekable;

use jiff::Timestamp;
use uuid::Uuid;

use super::deliveries::Deliveries;
use super::number::Amount;
use super::row::Part;
use super::sorted::{Sorted, Sorter};

/// So many ids of an older version are kept of a group; one with more is not recognised by them.
const OLDER_MAX: usize = 500;

/// So many metrics of a group that cannot be one usage are counted apart.
const METERED_MAX: usize = 1000;

/// So many metrics have their unit watched.
const UNITS_MAX: usize = 100_000;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The number of its file, from 0.
    pub file: u32,
    /// Its line.
    pub line: u64,
}

/// Rows that are one usage.
#[derive(Debug, Clone)]
pub struct Group {
    /// What its first row says; the amount is of all.
    pub part: Part,
    /// Where that row stands.
    pub first: Place,
    /// How many rows.
    pub rows: u64,
    /// The ids that older versions gave its rows; none if there were too many.
    pub older: Option<Vec<String>>,
    /// Why it cannot be one usage: the column, and a sentence.
    pub problem: Option<(&'static str, String)>,
    /// What of it is of which product and metric: one, unless it cannot be one usage.
    pub metered: Vec<Metered>,
}

/// Rows of a group that are of one product and metric.
#[derive(Debug, Clone)]
pub struct Metered {
    /// Of what.
    pub product: String,
    /// Measured in what.
    pub metric: String,
    /// How many rows.
    pub rows: u64,
    /// What they add up to.
    pub amount: Amount,
}

impl Metered {
    fn of(part: &Part) -> Self {
        Self { product: part.product.clone(), metric: part.metric.clone(), rows: 1, amount: part.amount }
    }
}

/// Takes rows in any order and gives groups, in bounded memory.
#[derive(Default)]
pub struct Gathering {
    sorter: Sorter,
    /// The unit of a product's metric, and the other ones that were met.
    units: HashMap<(String, String), Vec<String>>,
    deliveries: Deliveries,
}

impl Gathering {
    /// Puts a row in.
    ///
    /// # Errors
    /// The disk is full, or cannot be written.
    pub fn put(&mut self, part: &Part, place: Place) -> io::Result<()> {
        if self.units.len() < UNITS_MAX {
            let units = self.units.entry((part.product.clone(), part.metric.clone())).or_default();
            if units.len() < 5 && !units.contains(&part.unit) {
                units.push(part.unit.clone());
            }
        }
        self.deliveries.put(part, place.file);
        self.sorter.put(encode(part, place))
    }

    /// Two files that seem to be two deliveries of one export.
    #[must_use]
    pub fn two_deliveries(&self) -> Option<(u32, u32)> {
        self.deliveries.same()
    }

    /// The groups.
    ///
    /// # Errors
    /// What was put aside cannot be read.
    pub fn groups(self) -> io::Result<Groups> {
        let units = self.units.into_iter().filter(|(_, units)| units.len() > 1).collect();
        Ok(Groups { sorted: self.sorter.sorted()?.peekable(), units })
    }
}

/// Groups, one at a time.
pub struct Groups {
    sorted: Peekable<Sorted>,
    /// Metrics on whose tag several units fall.
    units: HashMap<(String, String), Vec<String>>,
}

impl Iterator for Groups {
    type Item = io::Result<Group>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = match self.sorted.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        Some(self.group(&first))
    }
}

impl Groups {
    fn group(&mut self, first: &[u8]) -> io::Result<Group> {
        let (part, place) = decode(first)?;
        let key = key(first)?.to_vec();
        let older = Some(vec![part.older.clone()]);
        let metered = vec![Metered::of(&part)];
        let mut group = Group { part, first: place, rows: 1, older, problem: None, metered };
        while let Some(next) = self.sorted.next_if(|record| !matches!(record, Ok(record) if key_differs(record, &key)))
        {
            let (part, _) = decode(&next?)?;
            group.add(part);
        }
        let of = (group.part.product.clone(), group.part.metric.clone());
        if let Some(units) = self.units.get(&of) {
            let reason =
                format!("{} are different units with one tag, {}: which one is meant?", units.join(" and "), of.1);
            group.problem.get_or_insert(("ConsumedUnit", reason));
        }
        Ok(group)
    }
}

impl Group {
    fn add(&mut self, other: Part) {
        self.rows += 1;
        self.part.amount.add(other.amount);
        // beyond so many, the first stands for the rest
        let is_of = |one: &Metered| one.product == other.product && one.metric == other.metric;
        match self.metered.iter().position(is_of).or_else(|| self.metered.len().checked_sub(METERED_MAX)) {
            Some(place) => {
                self.metered[place].rows += 1;
                self.metered[place].amount.add(other.amount);
            }
            None => self.metered.push(Metered::of(&other)),
        }
        for (column, one, another) in [
            ("SubAccountId", &self.part.org, &other.org),
            ("ServiceName", &self.part.product, &other.product),
            ("ConsumedUnit", &self.part.metric, &other.metric),
        ] {
            // an id of an org is the same in any case, as in the group's own id
            let is_same =
                if column == "SubAccountId" { one.to_lowercase() == another.to_lowercase() } else { one == another };
            if !is_same && self.problem.is_none() {
                let reason = format!("rows with one id have {one:?} and {another:?}: name the column in --id");
                self.problem = Some((column, reason));
            }
        }
        if other.end != self.part.end && self.problem.is_none() {
            let reason = "rows with one id and begin end at different times: import one granularity of a time, hours or days, \
                          or name the column in --id that tells the two apart";
            self.problem = Some(("ChargePeriodEnd", reason.to_owned()));
        }
        if let Some(older) = &mut self.older {
            match older.binary_search(&other.older) {
                Ok(_) => {}
                Err(_) if older.len() >= OLDER_MAX => self.older = None,
                Err(place) => older.insert(place, other.older),
            }
        }
    }
}

fn key_differs(record: &[u8], key: &[u8]) -> bool {
    !record.starts_with(key)
}

/// What a record begins with: begin, id and source.
fn key(record: &[u8]) -> io::Result<&[u8]> {
    let length = usize::from(u16::from_be_bytes([byte(record, 24)?, byte(record, 25)?]));
    record.get(..26 + length).ok_or_else(damaged)
}

fn byte(record: &[u8], place: usize) -> io::Result<u8> {
    record.get(place).copied().ok_or_else(damaged)
}

fn damaged() -> io::Error {
    io::Error::other("what was put aside on disk is damaged")
}

/// Begin, id, source, place, and the rest: in the order of bytes, groups lie together, in order of time, and their rows in
/// the files' order.
fn encode(part: &Part, place: Place) -> Vec<u8> {
    let mut record = Vec::with_capacity(256 + part.evidence.len());
    // without its sign, so that the order of bytes is that of time
    record.extend_from_slice(&(part.begin.as_microsecond().cast_unsigned() ^ (1 << 63)).to_be_bytes());
    record.extend_from_slice(part.id.as_bytes());
    let source = &part.source.as_bytes()[..part.source.len().min(usize::from(u16::MAX))];
    record.extend_from_slice(&u16::try_from(source.len()).unwrap_or(u16::MAX).to_be_bytes());
    record.extend_from_slice(source);
    record.extend_from_slice(&place.file.to_be_bytes());
    record.extend_from_slice(&place.line.to_be_bytes());
    record.extend_from_slice(&part.amount.0.to_be_bytes());
    record.extend_from_slice(&part.used_at.as_microsecond().to_be_bytes());
    record.extend_from_slice(&part.end.map_or(i64::MIN, Timestamp::as_microsecond).to_be_bytes());
    for text in [&part.org, &part.product, &part.metric, &part.unit, &part.older, &part.evidence] {
        record.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        record.extend_from_slice(text.as_bytes());
    }
    record
}

fn decode(record: &[u8]) -> io::Result<(Part, Place)> {
    let mut rest = record;
    let mut take = |count: usize| -> io::Result<&[u8]> {
        let (taken, left) = rest.split_at_checked(count).ok_or_else(damaged)?;
        rest = left;
        Ok(taken)
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| damaged());
    let begin = u64::from_be_bytes(take(8)?.try_into().map_err(|_| damaged())?) ^ (1 << 63);
    let begin = Timestamp::from_microsecond(begin.cast_signed()).map_err(|_| damaged())?;
    let id = Uuid::from_slice(take(16)?).map_err(|_| damaged())?;
    let length = u16::from_be_bytes(take(2)?.try_into().map_err(|_| damaged())?);
    let source = text(take(usize::from(length))?)?;
    let file = u32::from_be_bytes(take(4)?.try_into().map_err(|_| damaged())?);
    let line = u64::from_be_bytes(take(8)?.try_into().map_err(|_| damaged())?);
    let amount = Amount(i128::from_be_bytes(take(16)?.try_into().map_err(|_| damaged())?));
    let used_at = i64::from_be_bytes(take(8)?.try_into().map_err(|_| damaged())?);
    let used_at = Timestamp::from_microsecond(used_at).map_err(|_| damaged())?;
    let end = match i64::from_be_bytes(take(8)?.try_into().map_err(|_| damaged())?) {
        i64::MIN => None,
        end => Some(Timestamp::from_microsecond(end).map_err(|_| damaged())?),
    };
    let mut next = || -> io::Result<String> {
        let length = u32::from_be_bytes(take(4)?.try_into().map_err(|_| damaged())?);
        text(take(length as usize)?)
    };
    let (org, product, metric) = (next()?, next()?, next()?);
    let (unit, older, evidence) = (next()?, next()?, next()?);
    let part = Part { begin, end, id, source, org, product, metric, unit, amount, used_at, older, evidence };
    Ok((part, Place { file, line }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: u128, amount: i128, older: &str) -> Part {
        Part {
            begin: "2024-09-18T22:00:00Z".parse().unwrap(),
            end: None,
            id: Uuid::from_u128(id),
            source: "focus:aws".to_owned(),
            org: "acme".to_owned(),
            product: "s3".to_owned(),
            metric: "gb".to_owned(),
            unit: "GB".to_owned(),
            amount: Amount(amount),
            used_at: "2024-09-18T22:00:00Z".parse().unwrap(),
            older: older.to_owned(),
            evidence: "{}".to_owned(),
        }
    }

    fn groups(parts: &[Part]) -> Vec<Group> {
        let mut gathering = Gathering { sorter: Sorter::new(300), ..Gathering::default() };
        for (line, part) in (2..).zip(parts) {
            gathering.put(part, Place { file: 0, line }).unwrap();
        }
        gathering.groups().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn l6_rows_of_one_id_are_one_usage_wherever_they_stand() {
        let parts = [part(7, 1, "a"), part(5, 10, "b"), part(7, 2, "c"), part(7, 4, "a"), part(5, 20, "b")];
        let found = groups(&parts);
        let told: Vec<_> = found
            .iter()
            .map(|group| (group.part.amount.0, group.rows, group.first.line, group.older.clone().unwrap()))
            .collect();
        let text = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(told, [(30, 2, 3, text(&["b"])), (7, 3, 2, text(&["a", "c"]))]);
        assert!(found.iter().all(|group| group.problem.is_none()));
        let mut reversed = parts;
        reversed.reverse();
        assert_eq!(groups(&reversed).iter().map(|group| group.part.amount.0).collect::<Vec<_>>(), [30, 7]);
    }

    #[test]
    fn l6_groups_come_in_order_of_time() {
        let at = |text: &str, id| Part { begin: text.parse().unwrap(), ..part(id, 1, "a") };
        let parts = [at("2024-09-18T22:00:00Z", 1), at("1969-12-31T23:00:00Z", 9), at("2024-09-18T21:00:00Z", 5)];
        let found: Vec<_> = groups(&parts).iter().map(|group| group.part.id.as_u128()).collect();
        assert_eq!(found, [9, 5, 1]);
    }

    #[test]
    fn l6_sources_are_apart() {
        let other = Part { source: "focus:oci".to_owned(), ..part(7, 2, "b") };
        assert_eq!(groups(&[part(7, 1, "a"), other, part(7, 1, "a")]).len(), 2);
    }

    #[test]
    fn l6_rows_that_cannot_be_one_usage_are_refused_by_the_column() {
        let renamed = Part { product: "ec2".to_owned(), ..part(7, 1, "b") };
        let day = Part { end: Some("2024-09-19T22:00:00Z".parse().unwrap()), ..part(7, 1, "b") };
        let other_unit = Part { metric: "hours".to_owned(), unit: "Hours".to_owned(), ..part(7, 1, "b") };
        for (other, column) in [(renamed, "ServiceName"), (other_unit, "ConsumedUnit"), (day, "ChargePeriodEnd")] {
            let found = groups(&[part(7, 1, "a"), other]);
            assert_eq!(found[0].problem.as_ref().map(|(column, _)| *column), Some(column));
        }
    }

    #[test]
    fn l6_two_units_on_one_tag_are_refused_both() {
        let bits = Part { unit: "Gb".to_owned(), ..part(5, 1, "b") };
        let problems = groups(&[part(7, 1, "a"), bits]).into_iter().map(|group| group.problem).collect::<Vec<_>>();
        assert!(problems.iter().all(|problem| matches!(problem, Some(("ConsumedUnit", _)))), "{problems:?}");
    }
}
