//! Requests that are watched: each is read once a second, however many watch it, through connections of their own.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use outbox::Database;
use outbox::requests::{Mark, Seen, look};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::way::{Entry, unknown};
use crate::problem::Problem;

/// How often a request is looked at.
const POLL: Duration = Duration::from_secs(1);
/// Who connects again is told once more what was recorded so shortly before the last that was told: a transaction may
/// have been open for as long, and its statuses were not seen then.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
/// Connections of all who watch: none of those that others are served with.
const CONNECTIONS: usize = 3;

/// One status, as it is told.
#[derive(Debug)]
pub(super) struct Line {
    org: String,
    at: Timestamp,
    /// When it was recorded; of our own steps, when they were.
    recorded_at: Timestamp,
    pub text: String,
}

impl Line {
    /// Whether somebody who is limited to an org may see it.
    fn is_for(&self, org: Option<&str>) -> bool {
        org.is_none_or(|org| self.org.is_empty() || self.org == org)
    }
}

/// What is known of a request.
#[derive(Debug, Default)]
struct Known {
    /// The latest org that a service gave; none: only usage names the request.
    org: Option<String>,
    /// Every status once, in the order in which they were found.
    lines: Vec<Arc<Line>>,
    /// It was read.
    is_read: bool,
    /// Why it is not read any more.
    ended: Option<Problem>,
}

/// One request, for all who watch it.
#[derive(Debug)]
struct Reading(watch::Sender<Known>);

/// All requests that are watched.
pub(crate) struct Watched {
    database: Database,
    stopping: CancellationToken,
    readings: Mutex<HashMap<String, Weak<Reading>>>,
}

impl Watched {
    /// Nobody watches yet.
    pub fn new(database: &Database, stopping: CancellationToken) -> Self {
        Self { database: database.apart(CONNECTIONS), stopping, readings: Mutex::default() }
    }

    /// Watches a request. Its statuses are read by whoever comes first.
    pub(super) fn join(&self, id: &str, org: Option<String>, told_until: Option<Timestamp>) -> Watcher {
        let mut readings = self.readings.lock().expect("no panic while locked");
        readings.retain(|_, reading| reading.strong_count() > 0);
        let going = readings.get(id).and_then(Weak::upgrade).filter(|reading| reading.0.borrow().ended.is_none());
        let reading = going.unwrap_or_else(|| {
            let reading = Arc::new(Reading(watch::Sender::new(Known::default())));
            readings.insert(id.to_owned(), Arc::downgrade(&reading));
            let read = read(self.database.clone(), id.to_owned(), Arc::downgrade(&reading));
            let stopping = self.stopping.clone();
            tokio::spawn(async move { stopping.run_until_cancelled(read).await });
            reading
        });
        let changes = reading.0.subscribe();
        let skipped_until = told_until.map(|until| until - OVERLAP);
        Watcher { _reading: reading, changes, org, told: 0, told_until, skipped_until }
    }
}

/// Reads until nobody watches any more, or reading fails.
async fn read(database: Database, id: String, of: Weak<Reading>) {
    let (mut mark, mut told) = (Mark::default(), HashSet::new());
    let mut every = tokio::time::interval(POLL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if of.strong_count() == 0 {
            return;
        }
        let seen = look(&database, &id, &mut mark).await;
        let Some(reading) = of.upgrade() else { return };
        let ended = match seen {
            Ok(Some(seen)) => {
                take(&reading, seen, &mut told);
                continue;
            }
            Ok(None) => unknown(),
            Err(error) => error.into(),
        };
        reading.0.send_modify(|known| known.ended = Some(ended));
        return;
    }
}

/// Tells what was not told yet.
fn take(reading: &Reading, seen: Seen, told: &mut HashSet<Arc<str>>) {
    let Seen { request, said, steps, .. } = seen;
    let mut entries: Vec<Entry> = said.into_iter().map(Entry::from).chain(steps.into_iter().map(Entry::from)).collect();
    entries.sort_by_key(|entry| entry.at);
    let mut news = Vec::new();
    for entry in entries {
        let text = serde_json::to_string(&entry).expect("plain data");
        if told.insert(Arc::from(text.as_str())) {
            let recorded_at = entry.recorded_at.unwrap_or(entry.date);
            news.push(Arc::new(Line { org: entry.org, at: entry.at, recorded_at, text }));
        }
    }
    let org = request.map(|request| request.org).filter(|org| !org.is_empty());
    reading.0.send_if_modified(|known| {
        let is_news = !known.is_read || !news.is_empty() || known.org != org;
        known.org = org;
        known.lines.append(&mut news);
        known.is_read = true;
        is_news
    });
}

/// One client that watches one request.
pub(super) struct Watcher {
    /// While anybody holds it, it is read.
    _reading: Arc<Reading>,
    changes: watch::Receiver<Known>,
    org: Option<String>,
    /// Lines of the reading that were told, or that this one may not see.
    told: usize,
    /// When the latest was recorded that was told.
    told_until: Option<Timestamp>,
    /// Lines that were recorded until then were told to this one before it connected again.
    skipped_until: Option<Timestamp>,
}

impl Watcher {
    /// Up to when everything was told, for who connects again.
    pub const fn told_until(&self) -> Option<Timestamp> {
        self.told_until
    }

    /// Waits until there is news for this one; in their order.
    ///
    /// # Errors
    /// The request cannot be read, or is none that this one may see.
    pub async fn news(&mut self) -> Result<Vec<Arc<Line>>, Problem> {
        loop {
            {
                let known = self.changes.borrow_and_update();
                if let Some(problem) = &known.ended {
                    return Err(problem.clone());
                }
                let org = self.org.as_deref();
                if known.is_read && !is_theirs(&known, org) {
                    return Err(unknown());
                }
                let skipped = self.skipped_until;
                let is_news =
                    |line: &&Arc<Line>| line.is_for(org) && skipped.is_none_or(|until| line.recorded_at > until);
                let mut news: Vec<_> = known.lines[self.told..].iter().filter(is_news).cloned().collect();
                self.told = known.lines.len();
                if !news.is_empty() {
                    news.sort_by_key(|line| line.at);
                    self.told_until = self.told_until.max(news.iter().map(|line| line.recorded_at).max());
                    return Ok(news);
                }
            }
            if self.changes.changed().await.is_err() {
                return Err(unknown());
            }
        }
    }
}

fn is_theirs(known: &Known, org: Option<&str>) -> bool {
    org.is_none_or(|org| match &known.org {
        Some(of_request) => of_request == org,
        None => known.lines.iter().any(|line| line.org == org),
    })
}
