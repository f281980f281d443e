//! Where the month's usage is, from its record to its acceptance.

use std::collections::BTreeMap;

use outbox::measure;

use super::Asking;
use crate::names;

/// Pairs of product and metric with series of their own at most.
const PAIRS_MAX: usize = 200;

type Stages = BTreeMap<String, (f64, f64)>;

/// Asks for each stage. `folded` and `recorded` are sums of the others, so they are only told where all of them are.
pub(super) async fn ask(asking: &mut Asking<'_>) {
    let mut pairs: BTreeMap<(String, String), Stages> = BTreeMap::new();
    let mut add = |product: String, metric: String, stage: String, usages: f64, quantity: f64| {
        let (rows, sum) = pairs.entry((product, metric)).or_default().entry(stage).or_default();
        (*rows, *sum) = (*rows + usages, *sum + quantity);
    };
    let rest = asking.ask::<measure::Funnel>("funnel").await;
    let open = asking.ask::<measure::OpenUsage>("open").await;
    let waiting = asking.ask::<measure::WaitingUsage>("waiting").await;
    let (is_folded, is_recorded) =
        (rest.is_some() && open.is_some(), rest.is_some() && open.is_some() && waiting.is_some());
    for row in rest.into_iter().flatten() {
        add(row.product, row.metric, row.stage, row.usages, row.quantity);
    }
    for row in open.into_iter().flatten() {
        add(row.product, row.metric, row.stage, row.usages, row.quantity);
    }
    for row in waiting.into_iter().flatten() {
        add(row.product, row.metric, row.stage, row.usages, row.quantity);
    }
    for stages in pairs.values_mut() {
        let of = |stages: &Stages, names: &[&str]| {
            let found = names.iter().filter_map(|name| stages.get(*name));
            found.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        };
        if is_recorded {
            stages.insert("recorded".to_owned(), of(stages, &["waiting", "held_usage", "open", "cut"]));
        }
        if is_folded {
            stages.insert("folded".to_owned(), of(stages, &["open", "cut"]));
        }
    }
    for ((product, metric), stages) in bounded(pairs) {
        for (stage, (usages, quantity)) in stages {
            let labels = [product.as_str(), metric.as_str(), stage.as_str()];
            asking.page.put(&names::USAGE_ROWS, labels, usages);
            asking.page.put(&names::USAGE_QUANTITY, labels, quantity);
        }
    }
}

/// The pairs with most usages; the others together as `other`, whose quantity adds units of different metrics: a measure
/// of size.
fn bounded(pairs: BTreeMap<(String, String), Stages>) -> Vec<((String, String), Stages)> {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    let size = |stages: &Stages| stages.values().map(|(usages, _)| *usages).fold(0.0, f64::max);
    // stable: of equals the first by name
    pairs.sort_by(|a, b| size(&b.1).total_cmp(&size(&a.1)));
    if pairs.len() > PAIRS_MAX {
        let mut other = Stages::new();
        for (stage, (usages, quantity)) in pairs.split_off(PAIRS_MAX).into_iter().flat_map(|(_, stages)| stages) {
            let (rows, sum) = other.entry(stage).or_default();
            (*rows, *sum) = (*rows + usages, *sum + quantity);
        }
        pairs.push((("other".to_owned(), "other".to_owned()), other));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readings::precise;

    #[test]
    fn i5_ten_thousand_metrics_are_two_hundred_and_the_rest() {
        let stages = |usages: f64| Stages::from([("cut".to_owned(), (usages, 2.0 * usages))]);
        let number = |number: i64| ("p".to_owned(), format!("{number:05}"));
        let bounded = bounded((0..10_000).map(|n| (number(n), stages(precise(n)))).collect());
        assert_eq!(bounded.len(), 201);
        assert_eq!(bounded[0].0, number(9999), "the largest first");
        let all: f64 = bounded.iter().map(|(_, stages)| stages["cut"].0).sum();
        assert_eq!(all, precise((0..10_000).sum()), "nothing is missing from the sum");
    }
}
