//! A restore to a backup: what the marketplace accepted meanwhile is lost here, services record again what they lack,
//! and people enter the catalogue again and look up what was billed.

use std::collections::BTreeSet;
use std::process::Output;

use jiff::Timestamp;
use rust_decimal::Decimal;
use tests::{Stage, TestDatabase, canonical};

use super::books::{ACCOUNTS, METRICS, ORGS, Usage};
use super::moves::Run;

/// A copy of the database, and how far the books were then.
pub struct Backup {
    db: TestDatabase,
    usages: usize,
}

/// What people know of a restore.
#[derive(Default)]
pub struct Restored {
    /// Whether all that may have been billed in the lost time is looked up.
    pub is_settled: bool,
    /// Hundredths by which people have corrected a contract's usage for what is billed with hours that are not here.
    noted: [[i64; METRICS.len()]; ACCOUNTS.len()],
    /// The same by usage.
    taken: Vec<(usize, i64)>,
}

fn run(stage: &Stage, words: &[&str]) -> String {
    let mut command = tests::postmeter(&stage.db.url());
    let Output { status, stdout, stderr } = command.env("USER", "ada").args(words).output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&stderr));
    said
}

impl Run {
    /// The database is backed up, once.
    pub async fn backup(&mut self) {
        if self.restored.is_none() && self.backup.is_none() {
            let db = self.stage.db.backup().await;
            // its connections have ended with the others
            self.stage.worker = self.stage.another_worker().await;
            self.stage.worker.reload().await.unwrap();
            self.done.push(format!("{} a backup", self.now));
            self.backup = Some(Backup { db, usages: self.books.usages.len() });
        }
    }

    /// The database is lost, and its backup takes its place.
    pub async fn restore(&mut self) {
        let Some(Backup { db, usages }) = self.backup.take() else { return };
        let catalogue = run(&self.stage, &["catalog", "show"]);
        self.stage.db = db;
        self.stage.at(&self.now.to_string()).await;
        self.stage.worker = self.stage.another_worker().await;
        self.sql("select postmeter.declare_installation('original', 'ada', 'restored')".to_owned()).await;
        self.restored = Some(Restored::default());
        for late in &mut self.late {
            late.is_forgotten = true;
        }
        // services record again what they lack: the same event is the same usage
        for number in usages..self.books.usages.len() {
            self.record_again(number).await;
        }
        // the catalogue is a file that people keep: what was edited meanwhile is entered again
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), catalogue).unwrap();
        let said = run(&self.stage, &["catalog", "apply", file.path().to_str().unwrap(), "--why", "restored"]);
        self.done.push(format!("{} restored to {usages} usages: {said}", self.now));
        self.stage.worker = self.stage.another_worker().await;
        self.stage.worker.reload().await.unwrap();
        // paused, it folds; then people see which hours they hold that are not here, before anything is sent again
        self.stage.work().await;
        self.account_for_unknown().await;
        self.stage.work().await;
        self.resume().await;
        self.stage.worker.reload().await.unwrap();
        self.stage.work().await;
    }

    /// What they hold with hours that are not here, or had nothing to bill here: only people know of it.
    pub async fn unknown_keys(&self) -> Vec<(String, Decimal)> {
        let ours = "select key from postmeter.delivery where status <> 'nothing_due'";
        let ours: BTreeSet<String> = self.stage.column(ours).await.into_iter().collect();
        let theirs = self.stage.aws.record();
        let theirs = theirs.iter().map(|accepted| (canonical(&accepted.key), accepted.quantity));
        theirs.filter(|(key, _)| !ours.contains(key)).collect()
    }

    /// What they were found to hold beyond ours of hours of the lost time: other hours may have billed it before somebody
    /// looked it up (usage came in another order then, and was rounded otherwise), and it is credit.
    pub async fn found_beyond(&self, account: &str, dimension: &str) -> Decimal {
        if self.restored.is_none() {
            return Decimal::ZERO;
        }
        let beyond = format!(
            "select coalesce(sum(greatest(d.shown_quantity - d.quantity, 0)), 0)::text from postmeter.delivery d
             where d.status = 'accepted' and d.key like '%{account}%/{dimension}/%'"
        );
        self.stage.value(&beyond).await.parse().unwrap()
    }

    /// How much of that is of a contract and metric.
    pub fn unknown_to_us(unknown: &[(String, Decimal)], contract: usize, metric: usize) -> Decimal {
        let is_of = |key: &str| key.contains(ACCOUNTS[contract]) && key.contains(&format!("/{}/", METRICS[metric]));
        unknown.iter().filter(|(key, _)| is_of(key)).map(|(_, quantity)| *quantity).sum()
    }

    /// Hundredths of usage that people have counted as billed with such hours.
    pub fn noted(&self, contract: usize, metric: usize) -> i64 {
        self.restored.as_ref().map_or(0, |restored| restored.noted[contract][metric])
    }

    /// At most so much of that may have been billed once more before somebody accounted for it, and is credit.
    pub fn noted_late(&self, contract: usize, metric: usize) -> i64 {
        (self.noted(contract, metric) + 99) / 100
    }

    /// Once each hour of before the loss is settled, people account for what they hold with others. What was
    /// withheld is let go only then: it is billed no more, as far as it was among those.
    pub async fn settle_lost_time(&mut self) {
        if self.restored.is_none() {
            return;
        }
        if !self.unsettled().await.is_empty() {
            self.restored.as_mut().unwrap().is_settled = false;
            return;
        }
        let is_settled = self.account_for_unknown().await;
        self.restored.as_mut().unwrap().is_settled = is_settled;
    }

    /// What of the time before a loss is not settled yet, other than what is withheld until all else is.
    pub async fn unsettled(&self) -> String {
        let unsettled = "select coalesce(string_agg(concat_ws(' ', x.kind, x.id), '; '), '') from (
                 select 'remittance' as kind, d.id from postmeter.delivery d
                 where d.hour + interval '1 hour' <= (select max(b.noticed_at) from postmeter.timeline_break b)
                   and (d.status in ('open', 'due', 'in_flight', 'unknown', 'conflict') or d.maybe_billed)
                   and d.id not in (select w.delivery_id from postmeter.withheld w)
                 union all select 'doubt', x.delivery_id from postmeter.doubt x
                 where x.decision_id is null and x.delivery_id not in (select w.delivery_id from postmeter.withheld w)
                 union all select 'unconfirmed', u.delivery_id from postmeter.unconfirmed u
                 union all select 'contradiction', c.id from postmeter.contradiction c where c.decision_id is null) x";
        self.stage.value(unsettled).await
    }

    /// Corrects usage by what they hold with hours that are not here; says whether nothing is left of that.
    async fn account_for_unknown(&mut self) -> bool {
        let unknown = self.unknown_keys().await;
        let mut is_done = true;
        for (contract, account) in ACCOUNTS.iter().enumerate() {
            for (metric, name) in METRICS.iter().enumerate() {
                let held = Self::unknown_to_us(&unknown, contract, metric) * Decimal::ONE_HUNDRED;
                let missing = i64::try_from(held).unwrap() - self.noted(contract, metric);
                let left = self.account_for(contract, metric, missing).await;
                // what is left of a started unit is nobody's usage: they billed it whole
                if left >= 100 {
                    self.done.push(format!("{} {left} of {name} for {account} not accounted for", self.now));
                    is_done = false;
                }
            }
        }
        is_done
    }

    /// Corrects a contract's usage by what is billed for it with an hour that is not here; returns what is left.
    async fn account_for(&mut self, contract: usize, metric: usize, mut missing: i64) -> i64 {
        if missing < 0 {
            // an hour that was not here is here by now, and counts what they hold
            let is_like = |u: &Usage| ORGS[u.org].1 == contract && u.metric == metric && self.books.is_billed(u);
            let usage = self.books.usages.iter().position(is_like).expect("usage that is billed, beside which it goes");
            self.adjust(usage, -missing).await;
            return 0;
        }
        let record = self.stage.aws.record();
        let is_theirs = |used_at: Timestamp| {
            let hour = used_at.strftime("%Y-%m-%dT%H:00:00Z").to_string();
            let mut of_hour =
                record.iter().filter(|a| a.key.hour.to_string() == hour && a.key.dimension == METRICS[metric]);
            of_hour.any(|a| a.key.customer.contains(ACCOUNTS[contract]))
        };
        let now = Timestamp::from_second(self.now.as_second() / 3600 * 3600).unwrap();
        let of_contract = |n: &usize| {
            let usage = &self.books.usages[*n];
            // what may be exempt in the hour that runs is no matter of the lost time, nor what may be given up
            let is_sure = usage.used_at < now && !usage.waits && usage.corrects.is_none();
            ORGS[usage.org].1 == contract && usage.metric == metric && is_sure
        };
        let mut usages: Vec<usize> = (0..self.books.usages.len()).filter(of_contract).collect();
        // first what is of an hour that they do not hold: it is what went with another one
        usages.sort_by_key(|n| is_theirs(self.books.usages[*n].used_at));
        for number in usages {
            let part = missing.min(self.left_here(number));
            if part > 0 && self.books.is_billed(&self.books.usages[number]) {
                self.adjust(number, -part).await;
                missing -= part;
            }
        }
        missing
    }

    /// What is left of a usage after corrections, people's included.
    pub fn left_here(&self, number: usize) -> i64 {
        let taken = self.restored.iter().flat_map(|restored| &restored.taken);
        self.books.left_of(number) - taken.filter(|(of, _)| *of == number).map(|(_, part)| part).sum::<i64>()
    }

    async fn adjust(&mut self, number: usize, hundredths: i64) {
        let usage = &self.books.usages[number];
        let (contract, metric) = (ORGS[usage.org].1, usage.metric);
        self.record_adjustment(number, hundredths).await;
        let restored = self.restored.as_mut().unwrap();
        restored.taken.push((number, -hundredths));
        restored.noted[contract][metric] -= hundredths;
    }
}
