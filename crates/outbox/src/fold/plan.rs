//! What a fold is about to do: entries grouped by kind, and the target of each kind. No database here.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use remittance::Reason;
use rust_decimal::Decimal;
use uuid::Uuid;

/// An entry taken from the outbox.
#[derive(Debug)]
pub(super) struct Entry {
    pub usage: Uuid,
    pub org: String,
    pub product: String,
    pub metric: String,
    pub account: Option<String>,
    pub hour: Timestamp,
    /// For when the catalogue is asked about it: the start of its hour, or where a subscription ends or begins in it.
    pub at: Timestamp,
    pub quantity: Decimal,
    /// The usage that it corrects.
    pub corrected: Option<Uuid>,
    /// It was folded before, or put aside.
    pub returned: bool,
    /// When it came into the outbox.
    pub entered_at: Timestamp,
}

/// An entry as the plan keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub usage: Uuid,
    pub quantity: Decimal,
    /// Index of its kind.
    pub kind: usize,
    /// The usage that it corrects.
    pub corrected: Option<Uuid>,
    /// No fold has taken it before.
    pub is_first: bool,
    /// When it came into the outbox.
    pub entered_at: Timestamp,
}

/// Where entries of a kind go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Not looked up yet.
    Unresolved,
    /// The catalogue knows it.
    Resolved { subscription: i64, dimension: i64 },
    /// To this remittance, if it is still open once locked (then its round is known).
    Open { delivery: i64, meter_metric: i64, subscription: i64, round: Option<i32> },
    /// What it corrects was counted by a cut: it is counted beside it, at once.
    Counted { meter: i64, delivery: i64, meter_metric: i64, subscription: i64 },
    /// Its own hour was cut or can no longer be sent.
    Late { meter: i64, meter_metric: i64, subscription: i64, dimension: i64 },
    /// Nowhere for now.
    Held(Reason),
    /// Not billed here.
    Exempt(i64),
    /// What it corrects was given up by this decision.
    WrittenOff(i64),
    /// Its hour was cut while we looked: back to the outbox.
    Returned,
    /// Another session keeps what it needs: back to the outbox, and its org is folded apart.
    Locked,
}

/// Beyond which quantity usage is implausible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The field of the dimension that says so.
    pub beyond: String,
    /// In units of the metric.
    pub bound: Decimal,
}

/// What all entries of a kind have in common.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub org: String,
    pub product: String,
    pub metric: String,
    pub account: Option<String>,
    /// Its own; of what corrects, that of the usage that it corrects.
    pub hour: Timestamp,
    /// For when the catalogue is asked about them.
    pub at: Timestamp,
    pub destination: Option<i32>,
    pub target: Target,
    /// Corrections of this usage, which is not among what is folded here: where it stands, they go.
    pub corrected: Option<Uuid>,
    /// The meter of its contract, where that is another one than that of its key.
    pub counts_on: Option<i64>,
    /// What holds them as implausible.
    pub limit: Option<Limit>,
}

/// A kind that the catalogue knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    pub kind: usize,
    pub subscription: i64,
    pub dimension: i64,
    pub hour: Timestamp,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub entries: Vec<Planned>,
    pub kinds: Vec<Kind>,
    /// The catalogue has a shadow, which is to be given what is new.
    pub has_shadow: bool,
    /// The catalogue has limits of what is plausible.
    pub has_limits: bool,
}

/// Columns of allocations to insert.
#[derive(Debug, Default)]
pub(super) struct Allocated {
    pub usage: Vec<Uuid>,
    pub destination: Vec<i32>,
    pub delivery: Vec<i64>,
    pub meter_metric: Vec<i64>,
    pub round: Vec<i32>,
    pub quantity: Vec<Decimal>,
    pub hour: Vec<Timestamp>,
    pub subscription: Vec<i64>,
}

/// Columns of held usage to insert.
#[derive(Debug, Default)]
pub(super) struct HeldRows<'a> {
    pub usage: Vec<Uuid>,
    pub destination: Vec<Option<i32>>,
    pub reason: Vec<&'static str>,
    pub org: Vec<&'a str>,
    pub product: Vec<&'a str>,
    pub metric: Vec<&'a str>,
    pub account: Vec<Option<&'a str>>,
    pub quantity: Vec<Decimal>,
    pub hour: Vec<Timestamp>,
    pub corrected: Vec<Option<Uuid>>,
    pub beyond: Vec<Option<&'a str>>,
    pub bound: Vec<Option<Decimal>>,
}

/// Columns of corrections of what cuts have counted.
#[derive(Debug, Default)]
pub(super) struct Credited {
    pub meter_metric: Vec<i64>,
    pub quantity: Vec<Decimal>,
}

/// Everything a fold writes.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    pub allocated: Allocated,
    pub credited: Credited,
    pub held: HeldRows<'a>,
    pub exempt: (Vec<Uuid>, Vec<i64>),
    /// With the decision.
    pub written_off: (Vec<Uuid>, Vec<i64>),
    /// With when each came into the outbox.
    pub returned: (Vec<Uuid>, Vec<Timestamp>),
}

/// What the entries of a kind have in common: org, product, metric, account, hour, when the catalogue is asked about them, and
/// the usage that they correct, if that is elsewhere.
type Alike = (String, String, String, Option<String>, Timestamp, Timestamp, Option<Uuid>);

/// The round of what no cut counts: a correction of what a cut has counted is counted at once.
const AT_ONCE: i32 = -1;

impl Allocated {
    fn push(
        &mut self,
        kind: &Kind,
        (usage, quantity): (Uuid, Decimal),
        (delivery, round): (i64, i32),
        (meter_metric, subscription): (i64, i64),
    ) {
        self.usage.push(usage);
        self.destination.push(kind.destination.expect("a resolved kind has a destination"));
        self.delivery.push(delivery);
        self.meter_metric.push(meter_metric);
        self.round.push(round);
        self.quantity.push(quantity);
        self.hour.push(kind.hour);
        self.subscription.push(subscription);
    }
}

impl Plan {
    /// Groups entries by what the catalogue and the calendar see of them. A correction belongs to the kind of the usage
    /// that it corrects, if that is here.
    pub fn of(taken: Vec<Entry>) -> Self {
        let times: HashMap<Uuid, (Timestamp, Timestamp)> = taken
            .iter()
            .filter(|entry| entry.corrected.is_none())
            .map(|entry| (entry.usage, (entry.hour, entry.at)))
            .collect();
        let mut index: HashMap<Alike, usize> = HashMap::new();
        let mut plan =
            Self { entries: Vec::with_capacity(taken.len()), kinds: Vec::new(), has_shadow: false, has_limits: false };
        for entry in taken {
            let Entry { usage, org, product, metric, account, hour, at, quantity, corrected, returned, entered_at } =
                entry;
            let here = corrected.and_then(|corrected| times.get(&corrected));
            let ((hour, at), elsewhere) = here.map_or(((hour, at), corrected), |times| (*times, None));
            let key = (org, product, metric, account, hour, at, elsewhere);
            let kind = *index.entry(key).or_insert_with_key(|key| {
                let (org, product, metric, account, hour, at, corrected) = key.clone();
                plan.kinds.push(Kind {
                    org,
                    product,
                    metric,
                    account,
                    hour,
                    at,
                    destination: None,
                    target: Target::Unresolved,
                    corrected,
                    counts_on: None,
                    limit: None,
                });
                plan.kinds.len() - 1
            });
            plan.entries.push(Planned { usage, quantity, kind, corrected, is_first: !returned, entered_at });
        }
        plan
    }

    /// One column of the kinds that the catalogue is asked about.
    pub fn column<'a, T: ?Sized>(&'a self, field: impl Fn(&'a Kind) -> &'a T) -> Vec<&'a T> {
        self.kinds.iter().filter(|kind| kind.target == Target::Unresolved).map(field).collect()
    }

    pub fn resolved(&self) -> Vec<Resolved> {
        let resolved = |(kind, k): (usize, &Kind)| match k.target {
            Target::Resolved { subscription, dimension } => {
                Some(Resolved { kind, subscription, dimension, hour: k.hour })
            }
            _ => None,
        };
        self.kinds.iter().enumerate().filter_map(resolved).collect()
    }

    /// Kinds that need their meter locked, with it, in the order of the meters.
    pub fn on_meters_in_order(&self) -> Vec<(i64, usize)> {
        let mut kinds: Vec<(i64, usize)> = self
            .kinds
            .iter()
            .enumerate()
            .filter_map(|(index, kind)| match kind.target {
                Target::Late { meter, .. } | Target::Counted { meter, .. } => Some((meter, index)),
                _ => None,
            })
            .collect();
        kinds.sort_unstable();
        kinds
    }

    /// Usage that is too late for its own hour, with where it is owed.
    pub fn late(&self) -> (Vec<Uuid>, Vec<i32>) {
        let late = self.entries.iter().filter_map(|entry| {
            let kind = &self.kinds[entry.kind];
            matches!(kind.target, Target::Late { .. }).then_some((entry.usage, kind.destination?))
        });
        late.unzip()
    }

    /// Holds these usages, and what corrects them here, by a reason of their own, with the limit of their kind if that is
    /// the reason; the rest of their kinds goes on.
    pub fn hold(&mut self, usages: &HashSet<Uuid>, reason: Reason, limits: &HashMap<usize, Limit>) {
        let mut held = HashMap::new();
        for entry in &mut self.entries {
            if !usages.contains(&entry.usage) && !entry.corrected.is_some_and(|corrected| usages.contains(&corrected)) {
                continue;
            }
            let kinds = &mut self.kinds;
            entry.kind = *held.entry(entry.kind).or_insert_with(|| {
                let limit = limits.get(&entry.kind).cloned();
                kinds.push(Kind { target: Target::Held(reason), limit, ..kinds[entry.kind].clone() });
                kinds.len() - 1
            });
        }
        // nothing is opened for what has nobody left
        for (from, _) in held {
            if self.entries.iter().all(|entry| entry.kind != from) {
                self.kinds[from].target = Target::Held(reason);
            }
        }
    }

    /// The remittances to lock, in order.
    pub fn deliveries(&self) -> Vec<i64> {
        let mut deliveries: Vec<i64> = self
            .kinds
            .iter()
            .filter_map(|kind| match kind.target {
                Target::Open { delivery, .. } => Some(delivery),
                _ => None,
            })
            .collect();
        deliveries.sort_unstable();
        deliveries.dedup();
        deliveries
    }

    /// Which of the remittances, all of them open, count on the meter of a contract: remittances and meters.
    pub fn parts(&self) -> (Vec<i64>, Vec<i64>) {
        let part = |kind: &Kind| match kind.target {
            Target::Open { delivery, .. } => Some((delivery, kind.counts_on?)),
            _ => None,
        };
        self.kinds.iter().filter_map(part).unzip()
    }

    /// Takes over the rounds of what is locked and still open; the rest goes back. A correction counts only in the round
    /// of what it corrects.
    pub fn keep_open(&mut self, locked: &HashSet<i64>, open: &HashMap<i64, i32>) {
        for kind in &mut self.kinds {
            if let Target::Open { delivery, round, .. } = &mut kind.target {
                match open.get(delivery) {
                    Some(known) if round.is_none_or(|round| round == *known) => *round = Some(*known),
                    Some(_) => kind.target = Target::Returned,
                    None if locked.contains(delivery) => kind.target = Target::Returned,
                    None => kind.target = Target::Locked,
                }
            }
        }
    }

    /// Orgs of which another session keeps something, each once.
    pub fn locked(&self) -> Vec<String> {
        let locked = self.kinds.iter().filter(|kind| kind.target == Target::Locked);
        let mut orgs: Vec<String> = locked.map(|kind| kind.org.clone()).collect();
        orgs.sort_unstable();
        orgs.dedup();
        orgs
    }

    /// Everything to write.
    pub fn rows(&self) -> Rows<'_> {
        let mut rows = Rows::default();
        for Planned { usage, quantity, kind, corrected, entered_at, .. } in &self.entries {
            let kind = &self.kinds[*kind];
            match kind.target {
                Target::Open { delivery, meter_metric, subscription, round } => {
                    let round = round.expect("an open remittance was locked");
                    rows.allocated.push(kind, (*usage, *quantity), (delivery, round), (meter_metric, subscription));
                }
                Target::Counted { delivery, meter_metric, subscription, .. } => {
                    rows.allocated.push(kind, (*usage, *quantity), (delivery, AT_ONCE), (meter_metric, subscription));
                    rows.credited.meter_metric.push(meter_metric);
                    rows.credited.quantity.push(*quantity);
                }
                Target::Held(reason) => {
                    let h = &mut rows.held;
                    h.usage.push(*usage);
                    h.destination.push(kind.destination);
                    h.reason.push(reason.as_str());
                    h.org.push(&kind.org);
                    h.product.push(&kind.product);
                    h.metric.push(&kind.metric);
                    h.account.push(kind.account.as_deref());
                    h.quantity.push(*quantity);
                    h.hour.push(kind.hour);
                    h.corrected.push(*corrected);
                    h.beyond.push(kind.limit.as_ref().map(|limit| limit.beyond.as_str()));
                    h.bound.push(kind.limit.as_ref().map(|limit| limit.bound));
                }
                Target::Exempt(exemption) => {
                    rows.exempt.0.push(*usage);
                    rows.exempt.1.push(exemption);
                }
                Target::WrittenOff(decision) => {
                    rows.written_off.0.push(*usage);
                    rows.written_off.1.push(decision);
                }
                Target::Returned | Target::Locked => {
                    rows.returned.0.push(*usage);
                    rows.returned.1.push(*entered_at);
                }
                Target::Unresolved | Target::Resolved { .. } | Target::Late { .. } => {
                    unreachable!("every kind has found its target before anything is written")
                }
            }
        }
        rows
    }
}
