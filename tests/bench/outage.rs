//! An outage of an hour with 50,000 remittances waiting. The hour passes on the movable clock, in a minute and a half of
//! real time: pauses and leases are real, so there are more probes in it, relative to its length, than in a real hour.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Client;

use crate::ground::{Ground, connect};
use crate::marketplace::Marketplace;
use crate::process::Part;
use crate::report::{Report, Target, scaled};
use crate::seed;

const REMITTANCES: usize = 50_000;
/// Every hundredth has its deadline within the hour: nobody can save these.
const HOPELESS: i64 = 100;
const REAL_SECONDS: u32 = 90;
/// A claim: eight calls on the wire and as many ahead, 25 records each.
const CLAIM: usize = 16 * 25;

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let url = ground.database("outage").await;
    let client = connect(&url).await;
    let aws = Marketplace::start().await;
    aws.set(&json!({ "aws": { "rate": null } })).await;
    aws.is_down(503).await;
    let remittances = i64::try_from(scaled(REMITTANCES)).expect("few");
    waiting(&client, aws.port, remittances).await;
    let worker = Part::start(&["child-work", &url]);
    while count(&client, "select count(*) from postmeter.breaker").await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (started, cpu, calls) = (Instant::now(), worker.cpu_seconds(), aws.count().await);
    for _ in 0..REAL_SECONDS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let step = 3600.0 / f64::from(REAL_SECONDS) - 1.0;
        let moved = "update postmeter.setting set clock_shift = clock_shift + make_interval(secs => $1)";
        client.execute(moved, &[&step]).await.expect("the clock moves");
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = (worker.cpu_seconds() - cpu) / seconds * 100.0;
    let probes = aws.count().await - calls;
    let what = |what: &str| format!("{remittances} waiting, an hour down: {what}");
    report.note("outage", what("worker CPU meanwhile"), cpu, "% of core", Target::Below(2.0));
    report.note("outage", what("calls meanwhile"), probes as f64, "calls", Target::None);
    recovery(report, &client, &aws, &what).await;
    worker.end().await;
}

/// A queue of remittances, the hopeless ones among them.
async fn waiting(client: &Client, port: u16, remittances: i64) {
    seed::destination(client, port, 25, 8).await;
    seed::due(client, 1, remittances).await;
    client
        .batch_execute(&format!(
            "update postmeter.destination set retry_first = '2 seconds', retry_max = '5 minutes';
             update postmeter.delivery d set deadline = clock_timestamp() + case when d.id % {HOPELESS} = 0
                 then interval '5 minutes' + (d.id % 5000) / 5000.0 * interval '50 minutes'
                 else interval '62 minutes' + (hashint8(d.id)::bigint & 1048575) / 1048575.0 * interval '4 hours' end;
             update postmeter.due q set deadline = d.deadline from postmeter.delivery d where d.id = q.delivery_id;
             analyze postmeter.delivery; analyze postmeter.due"
        ))
        .await
        .expect("a queue");
}

async fn recovery(report: &mut Report, client: &Client, aws: &Marketplace, what: &dyn Fn(&str) -> String) {
    let before = aws.count().await;
    aws.is_back().await;
    let back = Instant::now();
    let saved = "select count(*) from postmeter.delivery where status = 'expired'
                 and deadline > (select postmeter.clock()) + interval '60 seconds'";
    assert_eq!(count(client, saved).await, 0, "nothing has expired before its deadline");
    let returned: std::time::SystemTime =
        client.query_one("select postmeter.clock()", &[]).await.expect("a clock").get(0);
    while aws.count().await == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    report.note("outage", what("back until the probe"), back.elapsed().as_secs_f64(), "s", Target::Below(61.5));
    let left = "select count(*) from postmeter.delivery where status in ('due', 'in_flight')";
    while count(client, left).await > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    report.note("outage", what("back until all are settled"), back.elapsed().as_secs_f64(), "s", Target::None);
    // the longest pause and a moment for the ramp: before that nobody could have known that it was back
    let expired = "select count(*) from postmeter.delivery where status <> 'accepted' and deadline > $1::timestamptz + interval '65 seconds'";
    let lost: i64 = client.query_one(expired, &[&returned]).await.expect("a count").get(0);
    report.note("outage", what("lost that could have been saved"), lost as f64, "", Target::Below(1.0));
    let hopeless = count(client, "select count(*) from postmeter.delivery where status <> 'accepted'").await;
    report.note("outage", what("expired within the hour"), hopeless as f64, "", Target::None);
    let inversions = inversions(client, aws).await;
    report.note("outage", what("sent after later ones, beyond a claim"), inversions as f64, "", Target::Below(1.0));
    let calls = aws.all("calls", "calls").await;
    let ramp: Vec<String> = calls
        .iter()
        .filter(|call| call["id"].as_u64() > Some(before))
        .take(16)
        .map(|call| call["at_once"].to_string())
        .collect();
    println!("  outage: calls under way at each of the first calls after it: {}", ramp.join(" "));
}

/// How many were accepted after others whose place in the order of deadlines is more than a claim behind theirs.
async fn inversions(client: &Client, aws: &Marketplace) -> usize {
    let order = "select identity ->> 'customer_aws_account_id' from postmeter.delivery where status = 'accepted' order by deadline, id";
    let rows = client.query(order, &[]).await.expect("an order");
    let reserved = reserved(client).await;
    println!("  outage: {} of {} went by the reserved share and are not counted", reserved.len(), rows.len());
    // places among those that went by deadline: what the reserved share took from between them leaves no gap
    let by_deadline = rows.iter().map(|row| row.get(0)).filter(|customer: &String| !reserved.contains(customer));
    let place: HashMap<String, usize> = by_deadline.enumerate().map(|(place, customer)| (customer, place)).collect();
    let (mut furthest, mut inversions) = (0, 0);
    for record in aws.all("record", "records").await {
        let Some(&place) = place.get(record["customer"].as_str().expect("a customer")) else { continue };
        inversions += usize::from(place + CLAIM < furthest);
        furthest = furthest.max(place);
    }
    inversions
}

/// Who went by the reserved share: in claims whose deliveries stood next to each other by age among all that still
/// waited, which by their deadlines, drawn without regard to age, they would not. The oldest of all need not be among
/// them: what came back to the queue below the claim's floor waits until the floor is forgotten.
async fn reserved(client: &Client) -> HashSet<String> {
    let claims = "select d.id, d.identity ->> 'customer_aws_account_id', a.claimed_at::text
                  from postmeter.delivery d join postmeter.attempt a on a.delivery_id = d.id and a.number = d.attempts
                  where d.status = 'accepted' order by a.claimed_at, d.id";
    let rows = client.query(claims, &[]).await.expect("claims");
    let all: Vec<(i64, String, String)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut waiting: BTreeSet<i64> = all.iter().map(|(id, ..)| *id).collect();
    let mut reserved = HashSet::new();
    for claim in all.chunk_by(|one, next| one.2 == next.2) {
        let neighbours = waiting.range(claim[0].0..);
        let by_age = claim.len() > 1 && claim.iter().zip(neighbours).all(|((id, ..), next)| id == next);
        if by_age && claim.len() < waiting.len() {
            reserved.extend(claim.iter().map(|(_, customer, _)| customer.clone()));
        }
        for (id, ..) in claim {
            waiting.remove(id);
        }
    }
    reserved
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("a count").get(0)
}
