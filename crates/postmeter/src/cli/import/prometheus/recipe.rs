//! What an import is made by, and that an hour is not recorded under two of them.
//!
//! The ids of a query's hours are made of its series' labels, and those of a recipe of the labels that make org,
//! product, metric and account; so the same usage would have two ids under two of them, and be billed twice. Ids
//! begin with their hour: whether it is known under another one is a look into an index.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use outbox::Database;
use uuid::Uuid;

use super::super::run::{PATIENCE, TRIES};
use super::PrometheusArgs;
use super::hours::{HOUR, Hours};
use super::reading::series_id;
use super::samples::Kind;

/// How samples become usage. Its name is part of the event ids.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub kind: Kind,
    pub selector: String,
    pub interval: jiff::SignedDuration,
    pub divide_by: u64,
    /// The labels that make org, product, metric and account: they make the id, and the rest is summed up.
    labels: BTreeSet<String>,
    /// Another one for another meaning, for ever: or every hour is billed again.
    pub name: String,
}

impl Recipe {
    /// The one of the command line; none, if it has a query.
    pub fn of(args: &PrometheusArgs, interval: jiff::SignedDuration) -> Option<Self> {
        let (kind, selector) = match (&args.gauge, &args.counter) {
            (Some(selector), _) => (Kind::Gauge, selector),
            (_, Some(selector)) => (Kind::Counter, selector),
            _ => return None,
        };
        let (word, _) = args.asked();
        let mut texts = vec![("org", args.org.as_str()), ("product", args.product.as_str())];
        texts.extend([("metric", args.metric.as_str()), ("kind", word), ("selector", &selector.0)]);
        texts.extend(args.account.as_ref().map(|account| ("account", account.as_str())));
        let mut meaning: BTreeMap<String, String> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        meaning.insert("divide_by".to_owned(), args.divide_by.to_string());
        let templates = [&args.org, &args.product, &args.metric].into_iter().chain(&args.account);
        Some(Self {
            kind,
            selector: selector.0.clone(),
            interval,
            divide_by: args.divide_by,
            labels: templates.flat_map(|template| template.labels()).map(str::to_owned).collect(),
            name: series_id(&meaning).simple().to_string()[..12].to_owned(),
        })
    }

    /// The labels of a series that make its group.
    pub fn group(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let kept = labels.iter().filter(|(name, _)| self.labels.contains(*name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The id of an hour of a group.
    pub fn event_id(&self, group: Uuid, hour: Timestamp) -> String {
        format!("{hour}/recipe-{}/{group}", self.name)
    }
}

/// How many hours before the first one are looked at: a week.
const LOOK_BACK: i64 = 7 * 24;

/// The first of the hours, and the first of those right before it of which no usage is known; none, if some is known of
/// the one before it, or of none in a week.
pub(super) async fn unread(
    database: &Database,
    source: &str,
    hours: Hours,
) -> anyhow::Result<Option<(Timestamp, Timestamp)>> {
    let before = |back: i64| hours.from - HOUR * i32::try_from(back).expect("some hours");
    let looked_at: Vec<_> = (1..=LOOK_BACK).map(before).collect();
    // no recipe has that name, so all hours with usage are those of another one
    let known = recorded_otherwise(database, source, &looked_at, Some("none"), None).await?;
    let since = known.last().map(|hour| *hour + HOUR);
    Ok(since.filter(|since| *since < hours.from).map(|since| (hours.from, since)))
}

/// Those hours among some that were recorded under another recipe or query.
pub(super) async fn recorded_otherwise(
    database: &Database,
    source: &str,
    hours: &[Timestamp],
    recipe: Option<&str>,
    query: Option<&str>,
) -> anyhow::Result<BTreeSet<Timestamp>> {
    let mut tries = 1;
    loop {
        let asked = async {
            let mut client = database.client().await?;
            let transaction = outbox::begin(&mut client).await?;
            outbox::hours_of_other_recipes(&transaction, source, hours, recipe, query).await
        };
        match asked.await {
            Err(error) if error.is_transient() && tries < TRIES => {
                database.wait(PATIENCE).await?;
                tries += 1;
            }
            result => return Ok(result?.into_iter().collect()),
        }
    }
}
