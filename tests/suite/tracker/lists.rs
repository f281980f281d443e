//! H3: every filter and every sort, against a list that is filtered and sorted by hand.

use std::cmp::Ordering;

use jiff::{SignedDuration, Timestamp};
use outbox::requests::{Page, RequestFilter, RequestSort, Span, StatusFilter, StatusSort, requests, statuses};
use outbox::track::NewStatus;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::{TestDatabase, t};

use super::{at, record, tracker, value};

const START: &str = "2026-03-08T00:00:00Z";

/// Messages over three days, many of one moment, with few names so that every filter meets some.
fn messages(random: &mut StdRng, count: usize) -> Vec<NewStatus> {
    let mut pick = |words: &[&str]| words[random.random_range(0..words.len())].to_owned();
    (0..count)
        .map(|_| {
            let mut message = NewStatus::new(
                &pick(&["ingress", "puptoo", "advisor"]),
                &pick(&["r-1", "r-2", "r-3", "8b7d3a520b1c4e5f9a6b7c8d9e0f1a2b", "zz"]),
                &pick(&["received", "success", "error"]),
            );
            let some = |text: String| (!text.is_empty()).then_some(text);
            message.source = some(pick(&["", "inventory", "upload"]));
            message.status_msg = some(pick(&["", "a", "b", "a long one"]));
            message.org = some(pick(&["", "acme", "globex"]));
            let minutes: i64 = pick(&["0", "7", "60", "90", "1439", "1440", "1500", "4000"]).parse().unwrap();
            message.date = Some(
                t(START) + SignedDuration::from_mins(minutes) + SignedDuration::from_micros(random_micros(&mut pick)),
            );
            message
        })
        .collect()
}

fn random_micros(pick: &mut impl FnMut(&[&str]) -> String) -> i64 {
    pick(&["0", "1", "1000000"]).parse().unwrap()
}

/// A row as the list must show it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    key: String,
    service: String,
    source: String,
    status: String,
    status_msg: String,
    date: Timestamp,
    recorded_at: Timestamp,
    number: i64,
}

async fn all_rows(db: &TestDatabase) -> Vec<Row> {
    let rows = db
        .client
        .query(
            "select request_key, service, source, status, status_msg, date, recorded_at, number
             from postmeter.request_status",
            &[],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| Row {
            key: row.get(0),
            service: row.get(1),
            source: row.get(2),
            status: row.get(3),
            status_msg: row.get(4),
            date: row.get(5),
            recorded_at: row.get(6),
            number: row.get(7),
        })
        .collect()
}

fn matches(row: &Row, filter: &StatusFilter) -> bool {
    let is = |wanted: &Option<String>, have: &str| wanted.as_ref().is_none_or(|wanted| wanted == have);
    let within = |span: &Span, at: Timestamp| {
        span.from.is_none_or(|from| at >= from) && span.until.is_none_or(|until| at < until)
    };
    is(&filter.service, &row.service)
        && is(&filter.source, &row.source)
        && is(&filter.status, &row.status)
        && is(&filter.status_msg, &row.status_msg)
        && within(&filter.date, row.date)
        && within(&filter.recorded, row.recorded_at)
}

fn compare(one: &Row, other: &Row, sort: StatusSort) -> Ordering {
    let first = match sort {
        StatusSort::Service => one.service.cmp(&other.service),
        StatusSort::Source => one.source.cmp(&other.source),
        StatusSort::Status => one.status.cmp(&other.status),
        StatusSort::StatusMsg => one.status_msg.cmp(&other.status_msg),
        StatusSort::RequestId => one.key.cmp(&other.key),
        StatusSort::RecordedAt => one.recorded_at.cmp(&other.recorded_at),
        StatusSort::Date => Ordering::Equal,
    };
    if sort == StatusSort::RecordedAt {
        return first.then(one.number.cmp(&other.number));
    }
    first.then(one.date.cmp(&other.date)).then(one.number.cmp(&other.number))
}

fn some_span(random: &mut StdRng) -> Span {
    let bounds = [
        "00:00:00",
        "00:07:00.000001",
        "00:30:00",
        "01:00:00",
        "01:30:00",
        "05:00:00",
        "23:59:00",
        "24:00:00",
        "25:00:01",
        "80:00:00",
    ];
    let mut span = Span::default();
    let mut at = || {
        let text = bounds[random.random_range(0..bounds.len())];
        let mut parts = text.split(':').map(|part| part.parse::<f64>().unwrap());
        let mut next = || parts.next().unwrap();
        let seconds = next() * 3600.0 + next() * 60.0;
        t(START) + SignedDuration::from_micros((seconds * 1e6 + next() * 1e6).round() as i64)
    };
    let (one, other) = (at(), at());
    match random.random_range(0..4) {
        0 => span.after(one, true),
        1 => span.before(one, false),
        2 => {
            span.after(one.min(other), false);
            span.before(one.max(other), true);
        }
        _ => {}
    }
    span
}

fn some_filter(random: &mut StdRng) -> StatusFilter {
    let mut maybe = |words: &[&str]| {
        (random.random_range(0..3) == 0).then(|| words[random.random_range(0..words.len())].to_owned())
    };
    let mut filter = StatusFilter {
        service: maybe(&["ingress", "puptoo", "nobody"]),
        source: maybe(&["", "inventory"]),
        status: maybe(&["received", "error"]),
        status_msg: maybe(&["", "a", "a long one", "unsaid"]),
        ..StatusFilter::default()
    };
    filter.date = some_span(random);
    filter.recorded = some_span(random);
    filter
}

#[tokio::test]
async fn h3_lists_of_statuses_are_what_filtering_and_sorting_by_hand_gives() {
    use StatusSort::{Date, RecordedAt, RequestId, Service, Source, Status, StatusMsg};
    let seed = 20_260_310;
    let mut random = StdRng::seed_from_u64(seed);
    let db = tracker("2026-03-08T00:00:00Z").await;
    // recorded at several times, some of them gathered and some not
    for (round, now) in
        ["2026-03-08T00:00:00Z", "2026-03-08T01:30:00Z", "2026-03-09T00:59:59.999999Z", "2026-03-11T08:00:00Z"]
            .iter()
            .enumerate()
    {
        at(&db, now).await;
        record(&db, &messages(&mut random, 150)).await;
        if round == 1 {
            outbox::requests::gather(&db.database).await.unwrap();
        }
    }
    let rows = all_rows(&db).await;
    assert!(rows.iter().any(|row| row.source.is_empty()), "statuses without a source are among them");
    for turn in 0..400 {
        let filter = if turn == 0 { StatusFilter::default() } else { some_filter(&mut random) };
        let sort = [Date, RecordedAt, Service, Source, Status, StatusMsg, RequestId][turn % 7];
        let page = Page {
            sort,
            descending: random.random(),
            offset: [0, 0, 3, 50, 500][random.random_range(0..5)],
            limit: [1, 10, 100][random.random_range(0..3)],
        };
        let mut expected: Vec<Row> = rows.iter().filter(|row| matches(row, &filter)).cloned().collect();
        expected.sort_by(|one, other| compare(one, other, sort));
        if page.descending {
            expected.reverse();
        }
        let listed = statuses(&db.database, &filter, &page).await.unwrap();
        assert_eq!(listed.count, expected.len() as i64, "seed {seed}, turn {turn}: {filter:?}");
        let texts: Vec<_> = listed
            .rows
            .iter()
            .map(|row| {
                (
                    row.request_id.clone(),
                    row.service.clone(),
                    row.source.clone(),
                    row.status.clone(),
                    row.status_msg.clone(),
                    row.date,
                    row.recorded_at,
                )
            })
            .collect();
        let wanted: Vec<_> = expected
            .into_iter()
            .skip(page.offset as usize)
            .take(page.limit as usize)
            .map(|row| (row.key, row.service, row.source, row.status, row.status_msg, row.date, row.recorded_at))
            .collect();
        assert_eq!(texts, wanted, "seed {seed}, turn {turn}: {filter:?} {page:?}");
    }
}

#[tokio::test]
async fn h3_a_count_is_true_while_others_record() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let page = Page { sort: StatusSort::Date, descending: true, offset: 0, limit: 1 };
    let mut open = db.connect().await;
    let transaction = open.transaction().await.unwrap();
    outbox::track::track(&transaction, &NewStatus::new("a", "r-1", "open")).await.unwrap();
    for count in 1..=3 {
        record(&db, &[NewStatus::new("a", &format!("r-{count}"), "received")]).await;
        assert_eq!(statuses(&db.database, &StatusFilter::default(), &page).await.unwrap().count, count);
    }
    transaction.commit().await.unwrap();
    assert_eq!(statuses(&db.database, &StatusFilter::default(), &page).await.unwrap().count, 4);
}

#[tokio::test]
async fn h11_a_list_counts_what_is_gathered_and_says_until_when_that_is() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[NewStatus::new("a", "r-1", "received")]).await;
    outbox::requests::gather(&db.database).await.unwrap();
    at(&db, "2026-03-10T10:00:05Z").await;
    let queued: Vec<_> = (0..3).map(|n| NewStatus::new("newcomer", &format!("r-{n}"), "success")).collect();
    record(&db, &queued).await;
    at(&db, "2026-03-10T10:01:00Z").await;
    // a role that may not gather, as a reader that finds a long queue
    let as_reader = format!("{}?options=-c%20role%3Dpostmeter_reader", db.url());
    let reader = outbox::Database::open(&outbox::Access::new(&as_reader)).unwrap();
    for sort in [StatusSort::Date, StatusSort::Service, StatusSort::RecordedAt, StatusSort::RequestId] {
        let page = Page { sort, descending: true, offset: 0, limit: 10 };
        let listed = statuses(&reader, &StatusFilter::default(), &page).await.unwrap();
        assert_eq!((listed.count, listed.as_of), (1, t("2026-03-10T10:00:05Z")), "{sort:?}");
        let named = StatusFilter { service: Some("newcomer".to_owned()), ..StatusFilter::default() };
        assert_eq!(statuses(&reader, &named, &page).await.unwrap().count, 0, "{sort:?}");
    }
    let left = "select count(*)::text from postmeter.request_news";
    assert_eq!(value(&db, left).await, "3", "the reader has gathered nothing");
    let page = Page { sort: StatusSort::Service, descending: true, offset: 0, limit: 10 };
    let listed = statuses(&db.database, &StatusFilter::default(), &page).await.unwrap();
    assert_eq!((listed.count, listed.as_of), (4, t("2026-03-10T10:01:00Z")), "whoever may gather takes few along");
}

/// Six hundred messages about 150 requests, drawn at random.
async fn drawn_requests(random: &mut StdRng) -> TestDatabase {
    let db = tracker("2026-03-10T10:00:00Z").await;
    for round in 0..6 {
        let messages: Vec<NewStatus> = (0..100)
            .map(|n| {
                let mut pick = |words: &[&str]| words[random.random_range(0..words.len())].to_owned();
                let mut message = NewStatus::new(
                    "a",
                    &format!("r-{}", (n * 7 + round) % 150),
                    &pick(&["received", "success", "error"]),
                );
                message.org = Some(pick(&["", "acme", "globex"]));
                message.account = Some(pick(&["", "one", "two"]));
                message.inventory_id = Some(pick(&["", "i-1", "i-2", "i-3"]));
                message.system_id = Some(pick(&["", "s-1"]));
                let minutes: i64 = pick(&["0", "30", "60", "1441", "2000"]).parse().unwrap();
                message.date = Some(t(START) + SignedDuration::from_mins(minutes));
                message
            })
            .collect();
        record(&db, &messages).await;
        outbox::requests::gather(&db.database).await.unwrap();
    }
    db
}

#[tokio::test]
async fn h3_lists_of_requests_are_what_filtering_and_sorting_by_hand_gives() {
    use RequestSort::{Account, CreatedAt, Duration, InventoryId, LastRecordedAt, Org, RequestId, SystemId};
    let mut random = StdRng::seed_from_u64(7);
    let db = drawn_requests(&mut random).await;
    let rows = db
        .client
        .query(
            "select account, org, inventory_id, system_id, request_id, created_at, outcome,
                 extract(epoch from last_date - first_date)::bigint from postmeter.request",
            &[],
        )
        .await
        .unwrap();
    let read =
        |row: &tokio_postgres::Row| ([0, 1, 2, 3, 4].map(|column| row.get(column)), row.get(5), row.get(6), row.get(7));
    let all: Vec<([String; 5], Timestamp, String, i64)> = rows.iter().map(read).collect();
    assert_eq!(all.len(), 150);
    for turn in 0..300 {
        let mut maybe = |words: &[&str]| {
            (random.random_range(0..3) == 0).then(|| words[random.random_range(0..words.len())].to_owned())
        };
        let mut filter = RequestFilter {
            account: maybe(&["", "one", "nobody"]),
            org: maybe(&["acme", "globex"]),
            inventory_id: maybe(&["i-1", ""]),
            system_id: maybe(&["s-1"]),
            outcome: maybe(&["failed", "open"]),
            ..RequestFilter::default()
        };
        filter.created = some_span(&mut random);
        let sort = [CreatedAt, Account, Org, InventoryId, SystemId, RequestId, Duration][turn % 7];
        let page = Page { sort, descending: random.random(), offset: [0, 2, 40][turn % 3], limit: 10 };
        let is = |wanted: &Option<String>, have: &str| wanted.as_ref().is_none_or(|wanted| wanted == have);
        let mut expected: Vec<_> = all
            .iter()
            .filter(|([account, org, inventory, system, _], created, outcome, _)| {
                is(&filter.account, account)
                    && is(&filter.org, org)
                    && is(&filter.inventory_id, inventory)
                    && is(&filter.system_id, system)
                    && is(&filter.outcome, outcome)
                    && filter.created.from.is_none_or(|from| *created >= from)
                    && filter.created.until.is_none_or(|until| *created < until)
            })
            .collect();
        expected.sort_by(|(one, created, _, took), (other, later, _, longer)| {
            let by = |index: usize| one[index].cmp(&other[index]);
            let first = match sort {
                Account => by(0),
                Org => by(1),
                InventoryId => by(2),
                SystemId => by(3),
                RequestId => by(4),
                // of open requests only, and tested where those are
                CreatedAt | LastRecordedAt | Duration => Ordering::Equal,
            };
            if sort == Duration { took.cmp(longer).then(by(4)) } else { first.then(created.cmp(later)).then(by(4)) }
        });
        if page.descending {
            expected.reverse();
        }
        let listed = requests(&db.database, &filter, &page).await.unwrap();
        assert_eq!(listed.count, expected.len() as i64, "turn {turn}: {filter:?}");
        let ids: Vec<_> = listed.rows.iter().map(|row| row.request_id.as_str()).collect();
        let wanted: Vec<_> =
            expected.into_iter().skip(page.offset as usize).take(10).map(|(texts, ..)| texts[4].as_str()).collect();
        assert_eq!(ids, wanted, "turn {turn}: {filter:?} {page:?}");
    }
}
