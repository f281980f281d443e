//! The request tracker: recording statuses in batches while a worker gathers, and every filter and every sort of its
//! lists at two million statuses of 400,000 requests.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use outbox::Database;
use outbox::requests::{
    self, Page, RequestFilter, RequestSort, Span, StatusFilter, StatusSort, create_partitions, gather, way,
};
use outbox::track::{NewStatus, Tracked, track_batch};
use tokio_postgres::Client;

use crate::ground::{Ground, connect, open};
use crate::process::Part;
use crate::report::{Report, Target, scaled};

const REQUESTS: usize = 400_000;
const CLIENTS: usize = 2;
const BATCH: usize = 500;
/// Each list is asked for so often; the median counts, as a page that somebody waits for.
const TURNS: usize = 9;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let url = ground.database("tracker").await;
    intake(report, &url).await;
    let url = ground.database("lists").await;
    let client = connect(&url).await;
    create_partitions(&open(&url), 30).await.expect("partitions");
    let count = i64::try_from(scaled(REQUESTS)).expect("few");
    seed(&client, count).await;
    let started = Instant::now();
    let database = open(&url);
    while gather(&database).await.expect("gathered") > 0 {}
    let rate = 5.0 * count as f64 / started.elapsed().as_secs_f64();
    report.note("tracker", "gather, alone", rate, "statuses/s", Target::None);
    client.batch_execute("vacuum analyze").await.expect("statistics");
    lists(report, &url).await;
}

/// Gathers until its parent is done.
pub async fn child(url: &str) {
    let database = open(url);
    let gathering = async {
        loop {
            if gather(&database).await.expect("gathered") == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::select! {
        () = crate::process::until_parent_is_done() => {}
        () = gathering => {}
    }
}

/// Batches of 500 from two clients, while a process gathers beside them.
async fn intake(report: &mut Report, url: &str) {
    let batches = scaled(200);
    let part = Part::start(&["child-gather", url]);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = connect(url).await;
        let bodies: Vec<Vec<NewStatus>> = (0..batches).map(|batch| batch_of(number, batch)).collect();
        clients.push(tokio::spawn(async move {
            let started = Instant::now();
            for body in &bodies {
                let transaction = client.transaction().await.expect("a transaction");
                let verdicts = track_batch(&transaction, body).await.expect("recorded");
                assert!(verdicts.iter().all(|verdict| *verdict == Tracked::Recorded));
                transaction.commit().await.expect("committed");
            }
            started
        }));
    }
    let mut first = None;
    for client in clients {
        let started = client.await.expect("a client");
        first = Some(first.map_or(started, |known: Instant| known.min(started)));
    }
    let seconds = first.expect("a client").elapsed().as_secs_f64();
    let count = (CLIENTS * batches * BATCH) as f64;
    let what = format!("track_batch of {BATCH}, {CLIENTS} clients, gathered meanwhile, fsync on");
    report.note("tracker", what, count / seconds, "statuses/s", Target::AtLeast(20_000.0));
    let left: i64 =
        connect(url).await.query_one("select count(*) from postmeter.request_news", &[]).await.expect("a count").get(0);
    report.note("tracker", "of these not gathered at the end", left as f64 / count, "", Target::None);
    part.end().await;
}

/// Statuses of requests that go through five steps each.
pub fn batch_of(client: usize, batch: usize) -> Vec<NewStatus> {
    let says = [
        ("ingress", "received"),
        ("ingress", "success"),
        ("puptoo", "received"),
        ("puptoo", "processing"),
        ("puptoo", "success"),
    ];
    let ids: Vec<String> = (0..BATCH / says.len()).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    (0..BATCH)
        .map(|n| {
            let (service, status) = says[n % says.len()];
            let mut new = NewStatus::new(service, &ids[n / says.len()], status);
            new.status_msg = Some(format!("{status} by {service}"));
            new.source = (n % 5 == 4).then(|| "inventory".to_owned());
            new.org = Some(format!("org-{}", n % 1000));
            new.account = Some(format!("account-{client}-{}", batch % 1000));
            new.inventory_id = Some(format!("{client}-{batch}-{}", n / says.len()));
            new
        })
        .collect()
}

/// Requests with five statuses each, one every five seconds back from now; every fiftieth fails with a message of its
/// own. What the recording functions would write, in fewer statements.
async fn seed(client: &Client, requests: i64) {
    client
        .batch_execute(&format!(
            "set synchronous_commit = off;
             create temp table script (n int, service text, source text, status text, msg text, gap numeric);
             insert into script values
                 (0, 'ingress', '', 'received', 'receiving upload', 0), (2, 'ingress', '', 'success', 'uploaded', 0.5),
                 (5, 'advisor-pup', 'inventory', 'success', 'stored', 9),
                 (6, 'insights-advisor-service', '', 'received', 'message received', 10),
                 (8, 'insights-advisor-service', 'insights-client', 'success', 'analysed', 12);
             create temp table req as
             select n, replace(gen_random_uuid()::text, '-', '') as id, clock_timestamp() - n * interval '5 seconds' as at,
                    'acct-' || (hashint8(n) & 2047) as account, 'org-' || (hashint8(n) & 2047) as org,
                    gen_random_uuid()::text as inv, case when n % 3 = 0 then gen_random_uuid()::text else '' end as sys
             from generate_series(1, {requests}) n;
             insert into postmeter.request_status (request_key, date, digest, request_id, service, source, status, status_msg,
                                                   account, org, inventory_id, system_id, recorded_at)
             select r.id, r.at + s.gap * interval '1 s', md5(s.n::text)::uuid, r.id, s.service, s.source,
                    case when r.n % 50 = 7 and s.n = 8 then 'error' else s.status end,
                    case when r.n % 50 = 7 and s.n = 8 then 'could not: ' || r.n else s.msg end, r.account, r.org,
                    case when s.n >= 4 then r.inv else '' end, case when s.n >= 4 then r.sys else '' end,
                    r.at + s.gap * interval '1 s' + interval '20 ms'
             from req r cross join script s order by r.at;
             insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
             select request_key, date, digest, kind, message, recorded_at from postmeter.request_status order by date;
             reset synchronous_commit"
        ))
        .await
        .expect("statuses");
}

/// The table of all lists.
pub async fn lists(report: &mut Report, url: &str) {
    let database = open(url);
    let client = connect(url).await;
    let text = async |sql: &str| -> String { client.query_one(sql, &[]).await.expect(sql).get(0) };
    let id = text("select request_id from postmeter.request where id = 4711").await;
    let org = text("select org from postmeter.request where id = 4711").await;
    let inventory = text("select inventory_id from postmeter.request where id = 4711").await;
    let system = text("select system_id from postmeter.request where system_id <> '' order by id limit 1").await;
    let rare = text("select status_msg from postmeter.request_status where status = 'error' limit 1").await;
    let last: Timestamp =
        client.query_one("select max(date) from postmeter.request_status", &[]).await.expect("a date").get(0);
    let mut worst = Worst::default();
    let mut all = Vec::new();
    for _ in 0..TURNS {
        let started = Instant::now();
        assert!(way(&database, &id).await.expect("an answer").is_some());
        all.push(started.elapsed());
    }
    worst.note(report, "by id".to_owned(), all);
    status_lists(report, &database, &rare, last, &mut worst).await;
    request_lists(report, &database, &Known { org, inventory, system, last }, &mut worst).await;
    report.note("tracker", format!("the slowest: {}", worst.what), worst.ms, "ms", Target::Below(20.0));
}

#[derive(Default)]
struct Worst {
    what: String,
    ms: f64,
}

impl Worst {
    fn note(&mut self, report: &mut Report, what: String, mut all: Vec<Duration>) {
        all.sort_unstable();
        let ms = all[all.len() / 2].as_secs_f64() * 1000.0;
        report.note("tracker", what.clone(), ms, "ms", Target::Below(20.0));
        if ms > self.ms {
            *self = Self { what, ms };
        }
    }
}

async fn status_lists(report: &mut Report, database: &Database, rare: &str, last: Timestamp, worst: &mut Worst) {
    use StatusSort::{Date, RecordedAt, RequestId, Service, Source, Status, StatusMsg};
    let some = |text: &str| Some(text.to_owned());
    let none = StatusFilter::default;
    let day = Span {
        from: Some(last - SignedDuration::from_mins(26 * 60 + 17)),
        until: Some(last - SignedDuration::from_mins(127)),
    };
    let filters = [
        ("no filter", none()),
        ("service", StatusFilter { service: some("insights-advisor-service"), ..none() }),
        ("source", StatusFilter { source: some("inventory"), ..none() }),
        ("status", StatusFilter { status: some("success"), ..none() }),
        ("status error", StatusFilter { status: some("error"), ..none() }),
        ("status_msg", StatusFilter { status_msg: some("stored"), ..none() }),
        ("status_msg rare", StatusFilter { status_msg: some(rare), ..none() }),
        ("date, a day", StatusFilter { date: day, ..none() }),
        ("created_at, a day", StatusFilter { recorded: day, ..none() }),
        (
            "service, status, date",
            StatusFilter { service: some("ingress"), status: some("received"), date: day, ..none() },
        ),
        ("service, status_msg", StatusFilter { service: some("ingress"), status_msg: some("uploaded"), ..none() }),
        ("nothing matches", StatusFilter { service: some("nobody"), ..none() }),
    ];
    for (name, filter) in filters {
        for sort in [Date, RecordedAt, Service, Source, Status, StatusMsg, RequestId] {
            for (descending, offset) in [(true, 0), (false, 0), (true, 300_000)] {
                if offset > 0 && (sort == StatusMsg || sort == RequestId) {
                    continue;
                }
                let page = Page { sort, descending, offset, limit: 10 };
                let mut all = Vec::new();
                for _ in 0..TURNS {
                    let started = Instant::now();
                    requests::statuses(database, &filter, &page).await.expect("a list");
                    all.push(started.elapsed());
                }
                let direction = if descending { "desc" } else { "asc" };
                worst.note(report, format!("statuses, {name}, by {sort:?} {direction}, from {offset}"), all);
            }
        }
    }
}

struct Known {
    org: String,
    inventory: String,
    system: String,
    last: Timestamp,
}

async fn request_lists(report: &mut Report, database: &Database, known: &Known, worst: &mut Worst) {
    use RequestSort::{Account, CreatedAt, InventoryId, Org, RequestId, SystemId};
    let none = RequestFilter::default;
    let last = known.last;
    let day = Span {
        from: Some(last - SignedDuration::from_mins(26 * 60 + 17)),
        until: Some(last - SignedDuration::from_mins(127)),
    };
    let filters = [
        ("no filter", none()),
        ("account", RequestFilter { account: Some(known.org.replace("org", "acct")), ..none() }),
        ("org", RequestFilter { org: Some(known.org.clone()), ..none() }),
        ("unknown org", RequestFilter { org: Some("nobody".to_owned()), ..none() }),
        ("inventory_id", RequestFilter { inventory_id: Some(known.inventory.clone()), ..none() }),
        ("system_id", RequestFilter { system_id: Some(known.system.clone()), ..none() }),
        ("created_at, a day", RequestFilter { created: day, ..none() }),
        ("org, created_at", RequestFilter { org: Some(known.org.clone()), created: day, ..none() }),
        ("outcome failed", RequestFilter { outcome: Some("failed".to_owned()), ..none() }),
    ];
    for (name, filter) in filters {
        for sort in [CreatedAt, Account, Org, InventoryId, SystemId, RequestId] {
            for (descending, offset) in [(true, 0), (false, 0), (true, 300_000)] {
                if offset > 0 && sort != CreatedAt {
                    continue;
                }
                let page = Page { sort, descending, offset, limit: 10 };
                let mut all = Vec::new();
                for _ in 0..TURNS {
                    let started = Instant::now();
                    requests::requests(database, &filter, &page).await.expect("a list");
                    all.push(started.elapsed());
                }
                let direction = if descending { "desc" } else { "asc" };
                worst.note(report, format!("requests, {name}, by {sort:?} {direction}, from {offset}"), all);
            }
        }
    }
}
