//! What is read from the database for a scrape: bounded, kept for a while, and missing rather than old.

mod funnel;
mod questions;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use outbox::health::{Answer, Limits, Told, ask};
use outbox::requests::{Totals, totals};
use outbox::{Database, Error};
use tokio::sync::Mutex;

use self::questions::Topic;
use crate::names;
use crate::page::Page;

/// How long a scrape waits for the database, whatever happens there: scrapers give up after 10 s, some sooner.
const BUDGET: Duration = Duration::from_millis(2500);
/// How long a question may take of that; then its metrics are missing.
const WITHIN: Duration = Duration::from_secs(2);
/// How long it may wait for a lock: what is locked is locked for all who ask about it, one after the other.
const LOCK: Duration = Duration::from_millis(200);
/// How long an answer is good for, however often it is scraped.
const FRESH: Duration = Duration::from_secs(10);
/// The same for questions whose cost grows with what waits.
const FRESH_DEAR: Duration = Duration::from_secs(60);
/// Nothing that was true of a database that did not answer is kept for long.
const FRESH_AWAY: Duration = Duration::from_secs(2);
/// Series of request statuses at most; whatever is beyond is counted together.
const SERIES_MAX: i64 = 2000;

/// What is read, with what was read last.
pub(crate) struct Readings {
    database: Database,
    /// Request statuses are told by consoles only: they are many.
    has_statuses: bool,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    topics: BTreeMap<&'static str, Kept>,
    /// The database answered when it was asked last.
    is_up: bool,
    /// Kinds of request statuses that have a series of their own: they keep it, so that no counter falls.
    kinds: HashSet<i64>,
}

struct Kept {
    until: Instant,
    page: Page,
}

/// Asks about one topic and puts the answers on a page; what is not answered is named there.
pub(crate) struct Asking<'a> {
    database: &'a Database,
    page: Page,
    /// When the scrape goes without what is not answered yet.
    until: Instant,
    /// The database said something, if only that it takes too long.
    is_answered: bool,
    /// An answer is missing that may be there soon.
    is_to_be_repeated: bool,
}

impl Asking<'_> {
    fn limits(&self) -> Limits {
        Limits { until: self.until, statement: WITHIN, lock: LOCK }
    }

    /// Asks a question within its time.
    async fn ask<T: Answer>(&mut self, question: &'static str) -> Option<Vec<T>> {
        let told = ask(self.database, self.limits()).await;
        self.take(question, told)
    }

    /// Takes what became of a question.
    fn take<T>(&mut self, question: &'static str, told: Result<Told<T>, Error>) -> Option<T> {
        let is_silent = match &told {
            Ok(told) => matches!(told, Told::Silent),
            Err(error) => error.is_of_connection(),
        };
        self.is_answered |= !is_silent;
        let why = match told {
            Ok(Told::Answer(answer)) => {
                self.page.put(&names::READING_MISSING, [question], 0.0);
                return Some(answer);
            }
            Ok(told) => {
                self.is_to_be_repeated |= !matches!(told, Told::Late);
                told.why(WITHIN)
            }
            Err(error) => {
                self.is_to_be_repeated |= is_silent;
                error.to_string()
            }
        };
        tracing::debug!(question, "a scrape goes without an answer: {why}");
        self.page.put(&names::READING_MISSING, [question], 1.0);
        None
    }
}

impl Readings {
    pub fn new(database: Database, has_statuses: bool) -> Self {
        Self { database, has_statuses, last: Mutex::default() }
    }

    /// The lines for a scrape, within [`BUDGET`]. One scrape asks; others meanwhile wait for it.
    pub async fn text(&self) -> String {
        let until = Instant::now() + BUDGET;
        let mut last = self.last.lock().await;
        let asked = self.read(&last, until).await;
        last.keep(asked);
        let mut page = Page::default();
        page.put(&names::DATABASE_UP, [], f64::from(u8::from(last.is_up)));
        last.topics.values().for_each(|kept| page.take(&kept.page));
        page.text()
    }

    /// Asks about everything that is not known any more, side by side: a table that is locked, or a question that is
    /// slow, costs its own answer. The connections are fewer; the cheap questions come first.
    async fn read(&self, last: &Last, until: Instant) -> Vec<Asked> {
        let now = Instant::now();
        let is_known = |topic: &&Topic| last.topics.get(topic.name).is_some_and(|kept| kept.until > now);
        let topics = questions::topics(self.has_statuses).filter(|topic| !is_known(topic));
        let mut asking: Vec<BoxFuture<'_, Asked>> =
            topics.map(|topic| Box::pin(self.about(topic, until)) as BoxFuture<'_, Asked>).collect();
        let statuses = "request_statuses";
        if self.has_statuses && last.topics.get(statuses).is_none_or(|kept| kept.until <= now) {
            asking.push(Box::pin(self.statuses(statuses, last.kinds.iter().copied().collect(), until)));
        }
        join_all(asking).await
    }

    fn asking(&self, until: Instant) -> Asking<'_> {
        let (page, is_answered, is_to_be_repeated) = (Page::default(), false, false);
        Asking { database: &self.database, page, until, is_answered, is_to_be_repeated }
    }

    async fn about(&self, topic: &'static Topic, until: Instant) -> Asked {
        let mut asking = self.asking(until);
        (topic.ask)(&mut asking).await;
        Asked::of(topic.name, if topic.is_dear { FRESH_DEAR } else { FRESH }, asking)
    }

    async fn statuses(&self, name: &'static str, known: Vec<i64>, until: Instant) -> Asked {
        let mut asking = self.asking(until);
        let told = totals(&self.database, &known, SERIES_MAX, asking.limits()).await;
        let counted = asking.take(name, told);
        if let Some(counted) = &counted {
            asking.page.put(&names::REQUESTS_UNFINISHED, [], precise(counted.unfinished));
            put_statuses(&mut asking.page, counted);
        }
        let kinds = counted.map(|counted| counted.kinds.iter().map(|kind| kind.kind).collect());
        Asked { kinds, ..Asked::of(name, FRESH, asking) }
    }
}

/// What became of one topic.
struct Asked {
    name: &'static str,
    kept: Kept,
    is_answered: bool,
    kinds: Option<HashSet<i64>>,
}

impl Asked {
    fn of(name: &'static str, fresh: Duration, asking: Asking<'_>) -> Self {
        let until = Instant::now() + if asking.is_to_be_repeated { FRESH_AWAY } else { fresh };
        Self { name, kept: Kept { until, page: asking.page }, is_answered: asking.is_answered, kinds: None }
    }
}

impl Last {
    fn keep(&mut self, asked: Vec<Asked>) {
        if !asked.is_empty() {
            self.is_up = asked.iter().any(|asked| asked.is_answered);
        }
        for Asked { name, kept, kinds, .. } in asked {
            self.kinds = kinds.unwrap_or(std::mem::take(&mut self.kinds));
            self.topics.insert(name, kept);
        }
        if !self.is_up {
            // nothing that was true once: a gauge that stands still looks healthy
            self.topics.values_mut().for_each(|kept| {
                kept.page = Page::default();
                kept.until = kept.until.min(Instant::now() + FRESH_AWAY);
            });
        }
    }
}

fn put_statuses(page: &mut Page, totals: &Totals) {
    for kind in &totals.kinds {
        page.total(&names::REQUEST_STATUSES, [&kind.service, &kind.status, &kind.source], precise(kind.total));
    }
    // a status is never empty: no other series has these labels
    page.total(&names::REQUEST_STATUSES, ["other", "", ""], precise(totals.others));
}

/// Prometheus counts in doubles.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not to be expected")]
pub(crate) const fn precise(count: i64) -> f64 {
    count as f64
}
