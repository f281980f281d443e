//! What `/metrics` says of requests: read from the database, so that it is what was committed, whoever recorded it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use outbox::requests::{Totals, totals};
use outbox::{Database, Error};
use tokio::sync::Mutex;

/// Series of request statuses at most; whatever is beyond is counted together.
const SERIES_MAX: i64 = 2000;
/// How long a count is good for, however often it is scraped.
const FRESH: Duration = Duration::from_secs(5);
/// How long a scrape waits for the database: less than scrapers wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was counted last.
#[derive(Default)]
pub(crate) struct Counted {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    said: Option<(Instant, String)>,
    /// Kinds that have a series of their own: they keep it, so that no counter falls.
    kinds: HashSet<i64>,
}

impl Counted {
    /// The lines for a scrape. One scrape counts; others meanwhile wait for it.
    pub(crate) async fn lines(&self, database: &Database) -> String {
        let mut last = self.last.lock().await;
        if let Some((at, said)) = &last.said
            && at.elapsed() < FRESH
        {
            return said.clone();
        }
        let known: Vec<i64> = last.kinds.iter().copied().collect();
        let counted = tokio::time::timeout(PATIENCE, totals(database, &known, SERIES_MAX)).await;
        let said = match counted.unwrap_or_else(|_| Err(Error::Away("it did not answer in time".to_owned()))) {
            Ok(totals) => {
                last.kinds = totals.kinds.iter().map(|kind| kind.kind).collect();
                write(&totals)
            }
            Err(error) => {
                // nothing that was true once: a counter that stands still looks healthy
                tracing::warn!(%error, "a scrape could not count requests");
                up(0)
            }
        };
        last.said = Some((Instant::now(), said.clone()));
        said
    }
}

fn up(up: u8) -> String {
    format!(
        "# HELP postmeter_database_up 1: the database answered this scrape's questions. 0: it did not, and what it counts is missing here.\n\
         # TYPE postmeter_database_up gauge\npostmeter_database_up {up}\n"
    )
}

fn write(totals: &Totals) -> String {
    let mut out = up(1);
    let _ = write!(
        out,
        "# HELP postmeter_requests_unfinished Requests that were received and never finished (view postmeter.unfinished_request).\n\
         # TYPE postmeter_requests_unfinished gauge\npostmeter_requests_unfinished {}\n\
         # HELP postmeter_request_statuses_total Request statuses that were committed. What has no series of its own is in service=\"other\" without a status.\n\
         # TYPE postmeter_request_statuses_total counter\n",
        totals.unfinished
    );
    let mut series = |service: &str, status: &str, source: &str, total: i64| {
        let (service, status, source) = (escape(service), escape(status), escape(source));
        let _ = writeln!(
            out,
            "postmeter_request_statuses_total{{service=\"{service}\",status=\"{status}\",source=\"{source}\"}} {total}"
        );
    };
    for kind in &totals.kinds {
        series(&kind.service, &kind.status, &kind.source, kind.total);
    }
    // a status is never empty: this is nobody else's series
    series("other", "", "", totals.others);
    out
}

/// A label's value in Prometheus' text format.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use outbox::requests::Kind;

    use super::*;

    #[test]
    fn h1_a_name_cannot_write_a_line_of_its_own() {
        let kind = Kind {
            kind: 1,
            service: "a\"} 1\nb\\".to_owned(),
            source: String::new(),
            status: "s".to_owned(),
            total: 7,
        };
        let text = write(&Totals { unfinished: 2, kinds: vec![kind], others: 3 });
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "postmeter_database_up 1",
                "postmeter_requests_unfinished 2",
                r#"postmeter_request_statuses_total{service="a\"} 1\nb\\",status="s",source=""} 7"#,
                r#"postmeter_request_statuses_total{service="other",status="",source=""} 3"#,
            ]
        );
    }
}
