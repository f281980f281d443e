//! What is read from the database for a scrape: bounded, kept for a while, and missing rather than old.

mod funnel;
mod questions;

use std::collections::HashSet;
use std::future::Future;
use std::time::{Duration, Instant};

use outbox::health::{Answer, ask};
use outbox::requests::{Totals, totals};
use outbox::{Database, Error};
use tokio::sync::Mutex;

use crate::names;
use crate::page::Page;

/// How long an answer is good for, however often it is scraped.
const FRESH: Duration = Duration::from_secs(10);
/// The same for questions whose cost grows with what waits.
const FRESH_DEAR: Duration = Duration::from_secs(60);
/// Nothing that was true of a database that did not answer is kept for long.
const FRESH_AWAY: Duration = Duration::from_secs(2);
/// How long a question may take; then its metrics are missing.
const WITHIN: Duration = Duration::from_secs(2);
/// How long a scrape waits for the database: less than scrapers wait.
const PATIENCE: Duration = Duration::from_secs(8);
/// What an answer may take on its way beyond that.
const GRACE: Duration = Duration::from_millis(500);
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
    cheap: Option<Kept>,
    dear: Option<Kept>,
    /// Kinds of request statuses that have a series of their own: they keep it, so that no counter falls.
    kinds: HashSet<i64>,
}

struct Kept {
    until: Instant,
    is_up: bool,
    page: Page,
}

impl Kept {
    fn is_fresh(kept: Option<&Self>) -> bool {
        kept.is_some_and(|kept| kept.until > Instant::now())
    }
}

/// Puts answers on a page; what is not answered is named there.
pub(crate) struct Asking<'a> {
    database: &'a Database,
    has_statuses: bool,
    page: Page,
    /// When the scrape goes without what is not asked yet.
    until: Instant,
    /// The database said something, if only that it takes too long.
    is_answered: bool,
}

impl Asking<'_> {
    /// Asks a question within its time. An error only if the database is away.
    async fn ask<T: Answer>(&mut self, question: &'static str) -> Result<Option<Vec<T>>, Error> {
        let within = WITHIN.min(self.until.saturating_duration_since(Instant::now()));
        let answer = tokio::time::timeout(within + GRACE, ask(self.database, within.max(Duration::from_millis(1))));
        let why = match if within.is_zero() { None } else { answer.await.ok() } {
            Some(Ok(Some(answer))) => {
                self.is_answered = true;
                self.page.put(&names::READING_MISSING, [question], 0.0);
                return Ok(Some(answer));
            }
            Some(Err(error)) if error.is_of_connection() => return Err(error),
            Some(Err(error)) => {
                self.is_answered = true;
                error.to_string()
            }
            Some(Ok(None)) => {
                self.is_answered = true;
                format!("it takes more than {} s", within.as_secs_f64())
            }
            None => "there was no time left for it".to_owned(),
        };
        tracing::debug!(question, "a scrape goes without an answer: {why}");
        self.page.put(&names::READING_MISSING, [question], 1.0);
        Ok(None)
    }
}

impl Readings {
    pub fn new(database: Database, has_statuses: bool) -> Self {
        Self { database, has_statuses, last: Mutex::default() }
    }

    /// The lines for a scrape. One scrape asks; others meanwhile wait for it.
    pub async fn text(&self) -> String {
        let mut last = self.last.lock().await;
        let Last { cheap, dear, kinds } = &mut *last;
        let until = Instant::now() + PATIENCE;
        if !Kept::is_fresh(cheap.as_ref()) {
            *cheap = Some(self.read(until, FRESH, questions::cheap).await);
            if self.has_statuses
                && let Some(kept) = cheap
                && kept.is_up
            {
                self.statuses(until, kept, kinds).await;
            }
        }
        // whether it is up, the cheap questions say: a backlog that makes the dear ones slow must not look like an outage
        let is_up = cheap.as_ref().is_some_and(|kept| kept.is_up);
        if !is_up {
            *dear = None;
        } else if !Kept::is_fresh(dear.as_ref()) {
            *dear = Some(self.read(until, FRESH_DEAR, questions::dear).await);
        }
        let mut page = Page::default();
        page.put(&names::DATABASE_UP, [], f64::from(u8::from(is_up)));
        [&*cheap, &*dear].into_iter().flatten().for_each(|kept| page.take(&kept.page));
        page.text()
    }

    /// Asks some questions, for as long as a scrape waits.
    async fn read(
        &self,
        until: Instant,
        fresh: Duration,
        questions: impl AsyncFn(&mut Asking<'_>) -> Result<(), Error>,
    ) -> Kept {
        let (database, has_statuses) = (&self.database, self.has_statuses);
        let mut asking = Asking { database, has_statuses, page: Page::default(), until, is_answered: false };
        let asked = questions(&mut asking).await;
        let is_up = asked.is_ok() && asking.is_answered;
        if let Err(error) = asked {
            // nothing that was true once: a gauge that stands still looks healthy
            tracing::debug!(%error, "a scrape could not ask the database");
            asking.page = Page::default();
            return Kept { until: Instant::now() + FRESH_AWAY, is_up, page: asking.page };
        }
        Kept { until: Instant::now() + fresh, is_up, page: asking.page }
    }

    async fn statuses(&self, until: Instant, kept: &mut Kept, kinds: &mut HashSet<i64>) {
        let known: Vec<i64> = kinds.iter().copied().collect();
        let Ok(counted) = in_time(until, totals(&self.database, &known, SERIES_MAX)).await else {
            kept.page.put(&names::READING_MISSING, ["request_statuses"], 1.0);
            return;
        };
        *kinds = counted.kinds.iter().map(|kind| kind.kind).collect();
        kept.page.put(&names::READING_MISSING, ["request_statuses"], 0.0);
        kept.page.put(&names::REQUESTS_UNFINISHED, [], precise(counted.unfinished));
        put_statuses(&mut kept.page, &counted);
    }
}

async fn in_time<T>(until: Instant, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let away = |_| Err(Error::Away("it did not answer in time".to_owned()));
    tokio::time::timeout_at(until.into(), asking).await.unwrap_or_else(away)
}

fn put_statuses(page: &mut Page, totals: &Totals) {
    for kind in &totals.kinds {
        page.total(&names::REQUEST_STATUSES, [&kind.service, &kind.status, &kind.source], precise(kind.total));
    }
    // a status is never empty: this is nobody else's series
    page.total(&names::REQUEST_STATUSES, ["other", "", ""], precise(totals.others));
}

/// Prometheus counts in doubles.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not to be expected")]
pub(crate) const fn precise(count: i64) -> f64 {
    count as f64
}
