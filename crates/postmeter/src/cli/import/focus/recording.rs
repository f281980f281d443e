//! The second half of an import: each group of rows is recorded once, or compared with what was recorded.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};
use outbox::import::{Group as NewGroup, Grouped};
use outbox::{Database, NewUsage};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::Imported;
use super::counts::End;
use super::listing::Line;
use super::reading::Held;
use crate::cli::import::run::{PATIENCE, TRIES};
use crate::focus::groups::Group;
use crate::focus::identity::Rule;
use crate::focus::row::{Kind, Rules};

/// Groups of one transaction.
const BATCH: usize = 500;

/// What an error of the disk is about.
pub(super) const PUT_ASIDE: &str = "rows are sorted on disk (in TMPDIR)";

/// What an import knows while it records.
struct Recording<'a> {
    database: &'a Database,
    apply: bool,
    rules: HashMap<String, Rule>,
    shift: SignedDuration,
    /// A person named the source.
    is_named: bool,
    /// Sources with usage that was recorded under another rule.
    older: HashSet<String>,
    imported: &'a mut Imported,
}

/// Records what was read.
///
/// # Errors
/// The database does not come back, or the list cannot be written. What was recorded until then stays recorded.
pub(super) async fn record(
    database: &Database,
    held: Held,
    rules: &Rules,
    apply: bool,
    imported: &mut Imported,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let client = database.client().await?;
    outbox::migrate::keeps_any_text(&client).await?;
    let mut older = HashSet::new();
    for (source, rule) in &held.rules {
        if begin(database, source, rule.prefix()).await? {
            older.insert(source.clone());
        }
    }
    drop(client);
    let mut recording = Recording {
        database,
        apply,
        shift: rules.shift,
        is_named: rules.source.is_some(),
        rules: held.rules,
        older,
        imported,
    };
    let mut groups = held.gathering.groups().context(PUT_ASIDE)?;
    loop {
        let batch: Vec<Group> = groups.by_ref().take(BATCH).collect::<Result<_, _>>().context(PUT_ASIDE)?;
        if batch.is_empty() {
            return Ok(());
        }
        recording.batch(batch).await?;
        let usages = &recording.imported.counts.usages;
        bar.set_message(format!("{} recorded, {} repeated", usages.recorded, usages.repeated));
        if stop.is_cancelled() {
            recording.imported.is_stopped = true;
            return Ok(());
        }
    }
}

/// Whether a source holds usage of exports under other ids than those that begin with the prefix.
async fn begin(database: &Database, source: &str, prefix: &str) -> anyhow::Result<bool> {
    again(database, async || {
        let mut client = database.client().await?;
        let transaction = outbox::begin(&mut client).await?;
        let others = outbox::import::begin_import(&transaction, source, prefix).await?;
        transaction.commit().await?;
        Ok(others)
    })
    .await
}

/// Does something in a transaction; where it met another one or the database went away, it waits and does the same again,
/// which records nothing twice.
async fn again<T>(database: &Database, does: impl AsyncFn() -> Result<T, outbox::Error>) -> anyhow::Result<T> {
    let mut tries = 1;
    loop {
        match does().await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tracing::warn!(%error, tries, "a batch is recorded again");
                database.wait(PATIENCE).await?;
                tries += 1;
            }
            result => return Ok(result?),
        }
    }
}

impl Recording<'_> {
    async fn batch(&mut self, batch: Vec<Group>) -> anyhow::Result<()> {
        let mut sent = Vec::with_capacity(batch.len());
        for group in batch {
            match &group.problem {
                Some((field, reason)) => self.refuse(&group, field, &reason.clone())?,
                None => match self.usage(&group) {
                    Some(new) => sent.push((group, new)),
                    None => {
                        let reason = format!("{} is beyond 1000000000000, all rows together", group.part.amount);
                        self.refuse(&group, "ConsumedQuantity", &reason)?;
                    }
                },
            }
        }
        let new: Vec<NewGroup> = sent.iter().map(|(_, new)| new.clone()).collect();
        let verdicts = self.ask(&new).await?;
        for ((group, new), verdict) in sent.iter().zip(verdicts) {
            self.take(group, new, verdict)?;
        }
        Ok(())
    }

    fn event_id(&self, group: &Group) -> String {
        let rule = self.rules.get(&group.part.source);
        rule.map(|rule| rule.event_id(group.part.begin, group.part.id)).unwrap_or_default()
    }

    /// What is to be recorded of a group; none: it is too much for one usage.
    fn usage(&self, group: &Group) -> Option<NewGroup> {
        let part = &group.part;
        let quantity = part.amount.quantity()?;
        let event_id = self.event_id(group);
        let mut usage =
            NewUsage::new(&part.source, &event_id, &part.org, &part.product, &part.metric, quantity, part.used_at);
        let mut evidence: Map<String, Value> = serde_json::from_str(&part.evidence).unwrap_or_default();
        evidence.insert("rows".to_owned(), Value::from(group.rows));
        // as one format for all providers: what is imported later is compared with it
        for (name, moment) in [("charge_period_start", Some(part.begin)), ("charge_period_end", part.end)] {
            if let Some(moment) = moment {
                evidence.insert(name.to_owned(), Value::from(moment.to_string()));
            }
        }
        usage.attributes = Value::Object(evidence);
        let older =
            if self.older.contains(&part.source) { group.older.clone().unwrap_or_default() } else { Vec::new() };
        Some(NewGroup {
            usage,
            unit: part.unit.clone(),
            older,
            begins: part.begin,
            ends: part.end,
            is_named: self.is_named,
        })
    }

    /// Records groups in a transaction.
    async fn ask(&self, groups: &[NewGroup]) -> anyhow::Result<Vec<Grouped>> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        again(self.database, async || {
            let mut client = self.database.client().await?;
            let transaction = outbox::begin(&mut client).await?;
            let verdicts = outbox::import::import_batch(&transaction, groups, self.apply).await?;
            transaction.commit().await?;
            Ok(verdicts)
        })
        .await
    }

    fn take(&mut self, group: &Group, new: &NewGroup, verdict: Grouped) -> anyhow::Result<()> {
        let usages = &mut self.imported.counts.usages;
        match verdict {
            Grouped::Recorded => {
                usages.recorded += 1;
                self.end(group, End::Recorded);
                Ok(())
            }
            Grouped::Repeated => {
                usages.repeated += 1;
                self.end(group, End::Repeated);
                Ok(())
            }
            Grouped::Changed(standing) => {
                usages.changed += 1;
                let what = if self.imported.is_held_back {
                    "nothing was done, because rows of these files were refused: mend or leave them out first"
                } else {
                    "nothing was done; --apply-differences records the difference"
                };
                self.changed(group, standing, what)
            }
            Grouped::Applied(standing) => {
                usages.applied += 1;
                self.changed(group, standing, "the difference is recorded now")
            }
            Grouped::Zero => self.list(group, Kind::Skipped, "ConsumedQuantity", "is zero: nothing was used", None),
            Grouped::OtherRule(from, until) => {
                let reason = self.other_rule(&new.usage, from, until);
                self.refuse(group, "ChargePeriodStart", &reason)
            }
            Grouped::Refused(refused) => {
                let field = refused.field.clone().unwrap_or_else(|| refused.code.clone());
                self.refuse(group, &field, &refused.to_string())
            }
        }
    }

    fn other_rule(&self, usage: &NewUsage, from: Timestamp, until: Timestamp) -> String {
        let columns = self.rules.get(&usage.source).map(Rule::columns).unwrap_or_default();
        let later = until.checked_sub(self.shift).unwrap_or(until);
        format!(
            "usage of {} from {from} until before {until} was imported into {} by other ids (an older version of postmeter, \
             or other columns than {columns}), and this is not found among it as it is now, so it may be counted already: \
             take only what is later (--from {later}, or the next begin of a charge period), name the --id of before if that \
             was another one, or record the difference by hand",
            usage.org, usage.source
        )
    }

    fn changed(&mut self, group: &Group, standing: Option<String>, what: &str) -> anyhow::Result<()> {
        let amount = group.part.amount;
        let reason = match &standing {
            Some(standing) => format!("{standing} was recorded, and now it is {amount}: {what}"),
            None => format!("another quantity than {amount} was recorded: {what}"),
        };
        self.list(group, Kind::Changed, "ConsumedQuantity", &reason, standing.as_deref())
    }

    fn refuse(&mut self, group: &Group, field: &str, reason: &str) -> anyhow::Result<()> {
        self.list(group, Kind::Refused, field, reason, None)
    }

    fn list(
        &mut self,
        group: &Group,
        kind: Kind,
        field: &str,
        reason: &str,
        recorded: Option<&str>,
    ) -> anyhow::Result<()> {
        self.end(group, End::from(kind));
        let event_id = self.event_id(group);
        self.imported.listing.add(&Line {
            place: group.first,
            rows: group.rows,
            kind,
            field,
            reason,
            event_id: &event_id,
            recorded,
            quantity: group.part.amount,
        })
    }

    fn end(&mut self, group: &Group, end: End) {
        for one in &group.metered {
            self.imported.counts.end((&one.product, &one.metric), end, one.rows, one.amount);
        }
    }
}
