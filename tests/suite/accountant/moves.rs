//! What happens to the books: services, people, the catalogue and the marketplace, each in random order.

use jiff::{SignedDuration, Timestamp};
use outbox::NewUsage;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rust_decimal::Decimal;
use serde_json::json;
use tests::{Stage, q};

use super::books::{ACCOUNTS, Books, METRICS, ORGS, Usage};
use super::implausible::PLAUSIBLE;
use super::late::Late;
use super::mistyped::Typo;
use super::restore::{Backup, Restored};
use crate::people::refuse_all;

/// One run: the stage, the books beside it, and what has been done that can be done only once.
pub struct Run {
    pub stage: Stage,
    pub books: Books,
    pub draw: StdRng,
    pub now: Timestamp,
    pub moved: [bool; 3],
    pub is_disk_known: bool,
    /// What is mistyped in the catalogue now.
    pub typos: Vec<Typo>,
    /// Calls whose answers nobody has written down yet.
    pub late: Vec<Late>,
    /// Keys and quantities that a person called not billed, though they were.
    pub denied: Vec<(String, Decimal)>,
    pub breaks: u32,
    pub backup: Option<Backup>,
    /// Once the database was restored to its backup.
    pub restored: Option<Restored>,
    /// Corrections of people.
    pub adjustments: u32,
    /// What was done, for whom it may concern when the books differ.
    pub done: Vec<String>,
}

fn decimal(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
}

pub fn licence_arn(contract: usize) -> String {
    format!("arn:aws:license-manager::123456789012:license:l-{contract:032x}")
}

/// What a contract is known by once it has moved from its product code.
fn licence(contract: usize) -> serde_json::Value {
    json!({ "license_arn": licence_arn(contract), "customer_aws_account_id": ACCOUNTS[contract] })
}

/// The orgs of a contract, as a list for SQL.
pub fn orgs_of(contract: usize) -> String {
    let orgs = ORGS.iter().filter(|(_, of)| *of == contract).map(|(org, _)| format!("'{org}'"));
    orgs.collect::<Vec<_>>().join(", ")
}

impl Run {
    pub async fn sql(&mut self, sql: String) {
        self.stage.sql(&sql).await;
        self.done.push(format!("{} {sql}", self.now));
    }

    /// What may be refused, and then changes nothing.
    pub async fn attempt(&mut self, sql: String) -> bool {
        let refused = self.stage.db.client.batch_execute(&sql).await.err().map(|error| Stage::refusal_in(&error));
        self.done.push(format!("{} {sql}: {refused:?}", self.now));
        refused.is_none()
    }

    pub async fn record(&mut self, usage: Usage) {
        self.books.usages.push(usage);
        self.record_again(self.books.usages.len() - 1).await;
    }

    /// Records what is in the books already.
    pub async fn record_again(&mut self, number: usize) {
        let usage = &self.books.usages[number];
        let corrects = usage.corrects.map(|of| format!("e{of}"));
        let (hundredths, used_at) = (usage.hundredths, usage.used_at);
        self.record_as(format!("e{number}"), number, hundredths, used_at, corrects).await;
    }

    /// People correct a usage by what is no matter of the books.
    pub async fn record_adjustment(&mut self, number: usize, hundredths: i64) {
        self.adjustments += 1;
        let used_at = self.books.usages[number].used_at;
        let event = format!("a{}", self.adjustments);
        // what is more is usage of its own
        let corrects = (hundredths < 0).then(|| format!("e{number}"));
        self.record_as(event, number, hundredths, used_at, corrects).await;
    }

    async fn record_as(&mut self, event: String, like: usize, hundredths: i64, used_at: Timestamp, of: Option<String>) {
        let usage = &self.books.usages[like];
        let (org, metric) = (ORGS[usage.org].0, METRICS[usage.metric]);
        let quantity = decimal(hundredths);
        let mut new = NewUsage::new("billing", &event, org, "db", metric, q(&quantity), used_at);
        new.corrects = of;
        self.stage.record_as(&new).await;
        self.done.push(format!("{} {event} {org} {metric} {quantity} at {used_at}, {:?}", self.now, new.corrects));
    }

    /// Usage of some minutes ago, or of hours ago.
    pub async fn usage(&mut self) {
        for _ in 0..self.draw.random_range(0..5) {
            let minutes = if self.draw.random_bool(0.2) { 30..150 } else { 0..10 };
            let used_at = self.now - SignedDuration::from_mins(self.draw.random_range(minutes));
            // a counter that ran over, or a busy day
            let is_wild = self.draw.random_bool(0.04);
            let usage = Usage {
                org: self.draw.random_range(0..ORGS.len()),
                metric: usize::from(self.draw.random_bool(0.3)),
                hundredths: self.draw.random_range(if is_wild { PLAUSIBLE + 1..500_000 } else { 1..1500 }),
                used_at,
                corrects: None,
                waits: is_wild,
                given_up: false,
            };
            self.record(usage).await;
        }
    }

    /// Part or all of an earlier usage was a mistake.
    pub async fn correction(&mut self) {
        let whole: Vec<usize> = (0..self.books.usages.len())
            .filter(|n| {
                let usage = &self.books.usages[*n];
                usage.corrects.is_none() && !usage.given_up && self.left_here(*n) > 0
            })
            .collect();
        let Some(&of) = whole.choose(&mut self.draw) else { return };
        let left = self.left_here(of);
        let taken = if self.draw.random_bool(0.5) { left } else { self.draw.random_range(1..=left) };
        let usage =
            Usage { hundredths: -taken, used_at: self.now, corrects: Some(of), ..self.books.usages[of].clone() };
        self.record(usage).await;
    }

    /// From the next full hour on a contract is known by a licence.
    pub async fn licence(&mut self) {
        let contract = self.draw.random_range(0..ACCOUNTS.len());
        if std::mem::replace(&mut self.moved[contract], true) {
            return;
        }
        let hour = Timestamp::from_second((self.now.as_second() / 3600 + 1) * 3600).unwrap();
        let identity = licence(contract);
        self.sql(format!(
            "with ended as (
                 update postmeter.subscription set valid_until = '{hour}'
                 where org in ({}) and valid_until is null returning org, product, destination_id, id
             ), renewed as (
                 insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select org, product, destination_id, '{identity}', '{hour}' from ended returning id, org
             )
             insert into postmeter.cover (subscription_id, metric, quantity)
             select r.id, c.metric, c.quantity
             from renewed r join ended e on e.org = r.org join postmeter.cover c on c.subscription_id = e.id",
            orgs_of(contract)
        ))
        .await;
        self.stage.worker.reload().await.unwrap();
    }

    /// A contract's identity is corrected in place, while hours of it are open.
    pub async fn identity(&mut self) {
        let contract = self.draw.random_range(0..ACCOUNTS.len());
        if self.moved[contract] {
            return;
        }
        // it mends what was mistyped, too
        let edit = format!(
            "update postmeter.subscription set identity = '{}' where org in ({})",
            licence(contract),
            orgs_of(contract)
        );
        self.moved[contract] = self.attempt(edit).await;
        self.stage.worker.reload().await.unwrap();
    }

    /// A subscription ends this minute, and another one of the same identity follows it.
    pub async fn renewal(&mut self) {
        let org = ORGS.choose(&mut self.draw).unwrap().0;
        let now = self.now;
        self.sql(format!(
            "with ended as (
                 update postmeter.subscription set valid_until = '{now}'
                 where org = '{org}' and valid_until is null and valid_from < '{now}'
                 returning org, product, destination_id, identity, id
             ), renewed as (
                 insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                 select org, product, destination_id, identity, '{now}' from ended returning id, org
             )
             insert into postmeter.cover (subscription_id, metric, quantity)
             select r.id, c.metric, c.quantity
             from renewed r join ended e on e.org = r.org join postmeter.cover c on c.subscription_id = e.id"
        ))
        .await;
        self.stage.worker.reload().await.unwrap();
    }

    /// An org is not billed for an hour: the next, or the one that runs.
    pub async fn exemption(&mut self) {
        let org = self.draw.random_range(0..ORGS.len());
        let hour = self.now.as_second() / 3600 + i64::from(self.draw.random_bool(0.5));
        let from = Timestamp::from_second(hour * 3600).unwrap();
        let until = from + SignedDuration::from_hours(1);
        if self.books.exemptions.iter().any(|(o, f, _)| (*o, *f) == (org, from)) {
            return;
        }
        self.sql(format!(
            "insert into postmeter.exemption (org, valid_from, valid_until, reason)
             values ('{}', '{from}', '{until}', 'a trial')",
            ORGS[org].0
        ))
        .await;
        self.books.exemptions.push((org, from, until));
    }

    /// The second metric is entered in the catalogue, which until now held its usage.
    pub async fn disk(&mut self) {
        if !std::mem::replace(&mut self.is_disk_known, true) {
            self.stage
                .dimension(tests::Dimension { metric: "disk", name: "disk", ..tests::Dimension::default() })
                .await;
            self.limit("disk").await;
            self.stage.worker.reload().await.unwrap();
            self.done.push(format!("{} disk is entered", self.now));
        }
    }

    /// The marketplace refuses everything, or does so no longer.
    pub fn refusals(&mut self) {
        let refuse = self.draw.random_bool(0.4);
        refuse_all(&self.stage, refuse);
        self.done.push(format!("{} they refuse everything: {refuse}", self.now));
    }

    /// The database lost commits, which held nothing.
    pub async fn lost_commits(&mut self) {
        self.breaks += 1;
        // a break is known by when the server started
        self.sql(format!(
            "update postmeter.timeline_break set server_started_at = server_started_at - interval '1 second';
             select postmeter.timeline_went_back('ada', 'break {}')",
            self.breaks
        ))
        .await;
    }
}
