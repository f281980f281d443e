//! Requests of the day: what two services said about each, and the usage that it caused, recorded in the transaction of
//! the service that metered it. One of them never finishes.

use jiff::{SignedDuration, Timestamp};
use outbox::track::{NewStatus, track};
use outbox::{Database, NewUsage};

use super::day;

/// The hour in which they come.
pub const HOUR: i64 = 9;

/// How many.
pub const COUNT: i64 = 5;

/// The one that is shown at the end.
pub const SHOWN: &str = "8b7d3a52-0b1c-4e5f-9a6b-000000000001";

/// What is said about each: after so many milliseconds, by which service, from which source, what, in more words.
const SCRIPT: [(i64, &str, &str, &str, &str); 6] = [
    (0, "ingress", "", "received", "42 KiB"),
    (12, "ingress", "", "processing", ""),
    (85, "ingress", "", "success", "handed to the query service"),
    (140, "query", "planner", "received", ""),
    (460, "query", "planner", "processing", "3 shards"),
    (2310, "query", "engine", "success", "1200 rows"),
];

/// Plays them.
pub async fn play(database: &Database) -> anyhow::Result<()> {
    let start = day::midnight() + SignedDuration::from_hours(HOUR) + SignedDuration::from_mins(20);
    for number in 1..=COUNT {
        let at = start + SignedDuration::from_secs(number);
        // the last one is never heard of again
        let said = if number == COUNT { 2 } else { SCRIPT.len() };
        play_one(database, number, at, said).await?;
    }
    Ok(())
}

async fn play_one(database: &Database, number: i64, at: Timestamp, said: usize) -> anyhow::Result<()> {
    let id = format!("{}{number:012}", &SHOWN[..24]);
    let org = day::org(number.unsigned_abs());
    let mut client = database.client().await?;
    let (last, before) = SCRIPT[..said].split_last().expect("something is said");
    for (after, service, source, status, message) in before {
        let transaction = outbox::begin(&mut client).await?;
        track(&transaction, &status_of(&id, &org, at, (*after, service, source, status, message)))
            .await
            .map_err(outbox::Error::from)?;
        transaction.commit().await?;
    }
    // the service's own work, what it says, and what it meters: all of it or nothing
    let transaction = outbox::begin(&mut client).await?;
    track(&transaction, &status_of(&id, &org, at, *last)).await.map_err(outbox::Error::from)?;
    if said == SCRIPT.len() {
        let (event, metric) = (format!("query-{number}"), crate::focus::metric_tag("Requests"));
        let quantity = "1200".parse().expect("a quantity");
        let mut usage = NewUsage::new("query", &event, &org, "helios-database", &metric, quantity, at);
        usage.request_id = Some(id.clone());
        outbox::record_usage(&transaction, &usage).await.map_err(outbox::Error::from)?;
    }
    transaction.commit().await?;
    Ok(())
}

fn status_of(id: &str, org: &str, at: Timestamp, line: (i64, &str, &str, &str, &str)) -> NewStatus {
    let (after, service, source, status, message) = line;
    let mut said = NewStatus::new(service, id, status);
    said.date = Some(at + SignedDuration::from_millis(after));
    said.source = (!source.is_empty()).then(|| source.to_owned());
    said.status_msg = (!message.is_empty()).then(|| message.to_owned());
    said.org = Some(org.to_owned());
    said
}
