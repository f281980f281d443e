//! J9: a marketplace that throttles or fails a share of all calls. What is accepted, against the same marketplace in
//! health; with `Retry-After`, against a simulated client that waits exactly so long; and the end of a backlog.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use marketplaces::Record;
use remittance::Quantity;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::ground::{Ground, connect};
use crate::marketplace::Marketplace;
use crate::process::Part;
use crate::report::{Report, Target, scaled};

/// Seconds of a window; a tenth of them at the least scale still is a window.
const WINDOW: usize = 60;
const SHARES: [f64; 4] = [0.1, 0.2, 0.4, 0.6];
/// What a call takes at the marketplace, in milliseconds.
const CALL_MS: u64 = 100;
const IN_FLIGHT: i32 = 4;
/// The end of a backlog.
const LAST: usize = 2_000;
/// What a marketplace is: its name, calls a second that its quota allows, records a call.
const KINDS: [(&str, Option<f64>, i32); 3] = [("aws", Some(10.0), 25), ("azure", None, 25), ("google", None, 1)];

/// One marketplace with a worker that sends to it.
struct Scene {
    client: Client,
    theirs: Marketplace,
    kind: &'static str,
    worker: Option<Part>,
    url: String,
}

pub async fn run(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    let only = std::env::var("POSTMETER_BENCH_ONLY").ok();
    for (kind, limit, records) in KINDS.into_iter().filter(|(kind, ..)| only.as_ref().is_none_or(|only| only == kind)) {
        let window = Duration::from_secs(scaled(WINDOW).max(6) as u64);
        let calls = limit.unwrap_or(f64::from(IN_FLIGHT) * 1000.0 / call_ms(kind) as f64);
        let backlog = (calls * f64::from(records) * window.as_secs_f64() * 9.0) as usize;
        let mut scene = Scene::start(&ground, &format!("j9_{kind}"), kind, limit, records).await;
        scene.due(backlog).await;
        scene.work();
        let healthy = scene.rate(window, &[]).await;
        report.note("j9", format!("{kind}: without faults"), healthy, "records/s", Target::None);
        for share in SHARES {
            let rate = scene.rate(window, &half_and_half(share)).await;
            let what = format!("{kind}: {share} answered 429 or 503, of (1 - {share}) of that");
            report.note("j9", what, rate / healthy / (1.0 - share), "", Target::AtLeast(0.8));
        }
        for share in SHARES {
            let throttled = json!({ "match": { "min_records": 1 }, "kind": "status", "status": 429, "probability": share, "seed": 7, "retry_after": 1 });
            let rate = scene.rate(window, &[throttled]).await;
            let ideal = waits_exactly(share, limit, call_ms(kind)) * f64::from(records);
            let what = format!("{kind}: {share} answered 429 with Retry-After: 1, of who waits so long");
            report.note("j9", what, rate / ideal, "", Target::AtLeast(0.8));
        }
    }
}

/// The end of a backlog, and one buyer of forty who is refused for whole calls.
pub async fn run_last(report: &mut Report) {
    let ground = Ground::start(true, &[]);
    for (kind, limit, records) in KINDS {
        let mut scene = Scene::start(&ground, &format!("j9_last_{kind}"), kind, limit, records).await;
        let last = scaled(LAST);
        scene.due(last).await;
        scene.set_faults(&half_and_half(0.4)).await;
        let began = Instant::now();
        scene.work();
        while scene.accepted().await < last as i64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let what = format!("{kind}: the last {last} with 0.4 answered 429 or 503, all accepted after");
        report.note("j9_last", what, began.elapsed().as_secs_f64(), "s", Target::Below(3000.0));
    }
    for (kind, limit, _) in KINDS.into_iter().skip(1) {
        let mut scene = Scene::start(&ground, &format!("j9_one_{kind}"), kind, limit, 25).await;
        scene.due(40).await;
        let error = if kind == "azure" { "Forbidden" } else { "PERMISSION_DENIED" };
        let refused = json!({ "kind": "refuse_record", "error": error, "status": 403, "match": { "customer": customer(kind, 7) } });
        scene.set_faults(&[refused]).await;
        let began = Instant::now();
        scene.work();
        while scene.accepted().await < 39 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let others = began.elapsed().as_secs_f64();
        let held = "select count(*) from postmeter.delivery where status = 'held'";
        while count(&scene.client, held).await == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let rounds =
            count(&scene.client, "select max(attempts)::bigint from postmeter.delivery where status = 'accepted'")
                .await;
        let what = |what: &str| format!("{kind}: one of 40 buyers refused for whole calls: {what}");
        report.note("j9_last", what("rounds until the 39 are accepted"), rounds as f64, "", Target::Below(6.5));
        report.note("j9_last", what("seconds until then"), others, "s", Target::None);
        report.note(
            "j9_last",
            what("until he is held by name"),
            began.elapsed().as_secs_f64(),
            "s",
            Target::Below(60.0),
        );
    }
}

/// A share of calls, half of them throttled and half refused by a server error, none processed.
fn half_and_half(share: f64) -> Vec<Value> {
    let rule = |status: u16, probability: f64, seed: u64| json!({ "match": { "min_records": 1 }, "kind": "status", "status": status, "probability": probability, "seed": seed });
    // the second is drawn for what the first has left
    vec![rule(429, share / 2.0, 11), rule(503, share / 2.0 / (1.0 - share / 2.0), 13)]
}

/// At Google every consumer of the bench is checked before its report, by a call of its own. Faults strike reports.
fn call_ms(kind: &str) -> u64 {
    if kind == "google" { 2 * CALL_MS } else { CALL_MS }
}

fn customer(kind: &str, number: usize) -> String {
    match kind {
        "aws" => format!("{number:012}"),
        "azure" => format!("11112222-3333-4444-5555-{number:012}"),
        _ => format!("project:p{number}"),
    }
}

fn identity(kind: &str, number: usize) -> Value {
    let customer = customer(kind, number);
    match kind {
        "aws" => json!({ "product_code": "prod9", "customer_aws_account_id": customer }),
        "azure" => json!({ "resource_id": customer, "plan_id": "gold" }),
        _ => json!({ "consumer_id": customer }),
    }
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("a count").get(0)
}

impl Scene {
    async fn start(ground: &Ground, name: &str, kind: &'static str, limit: Option<f64>, records: i32) -> Self {
        let url = ground.database(name).await;
        let (client, theirs) = (connect(&url).await, Marketplace::start().await);
        // the faults alone throttle; a run may last longer than an hour is taken
        theirs.set(&json!({ "aws": { "rate": null }, "google": { "max_age_minutes": 100_000 } })).await;
        let endpoint = format!("http://127.0.0.1:{}", theirs.port);
        let settings = match kind {
            "aws" => json!({ "region": "us-east-1", "endpoint": endpoint }),
            "azure" => json!({ "endpoint": endpoint, "token_endpoint": endpoint, "profile": "test" }),
            _ => json!({ "service_name": "db.example.com", "endpoint": endpoint, "credentials": "metadata" }),
        };
        let limit = limit.map_or("null".to_owned(), |limit| limit.to_string());
        client
            .batch_execute(&format!(
                "with q as (insert into postmeter.quota (name, calls_per_second) values ('{kind}', {limit}) returning id)
                 insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max, in_flight_max)
                 select '{kind}', '{kind}', '{settings}', q.id, '24 hours', {records}, 250000, {IN_FLIGHT} from q"
            ))
            .await
            .expect("a destination");
        let scene = Self { client, theirs, kind, worker: None, url };
        scene.set_faults(&[]).await;
        scene
    }

    /// So many remittances of as many buyers, due, each as its marketplace's code freezes it.
    async fn due(&self, count: usize) {
        let settings: Value =
            self.client.query_one("select settings from postmeter.destination", &[]).await.expect("settings").get(0);
        let marketplace = tests::aws_with_test_keys(self.kind, &settings).expect("a marketplace");
        // Google counts from the end of the window, and takes it for an hour
        let clock = self.client.query_one("select postmeter.clock()", &[]).await.expect("a clock");
        let now = clock.get::<_, Timestamp>(0).as_second();
        let hour = Timestamp::from_second(now - now % 3600 - 3600).expect("an hour");
        let hour_text = hour.to_string();
        for part in (1..=count).collect::<Vec<_>>().chunks(20_000) {
            let (mut identities, mut buyers, mut bodies, mut groups, mut keys) =
                (vec![], vec![], vec![], vec![], vec![]);
            for number in part {
                let (identity, key) = (identity(self.kind, *number), Uuid::new_v4());
                let record = Record {
                    identity: &identity,
                    product: "db",
                    dimension: "cores",
                    hour,
                    ends: None,
                    quantity: Quantity::from(7),
                    shares: &[],
                    decimals: 0,
                    idempotency_key: key,
                };
                let frozen = marketplace.freeze(&record).expect("bytes");
                buyers.push(marketplace.buyer(&identity).expect("a buyer").key);
                bodies.push(frozen.body);
                groups.push(frozen.batch_group);
                keys.push(key.to_string());
                identities.push(identity.to_string());
            }
            self.client
                .execute(DUE, &[&identities, &buyers, &bodies, &groups, &keys, &hour_text])
                .await
                .expect("due remittances");
        }
        self.client
            .batch_execute("analyze postmeter.delivery; analyze postmeter.due; checkpoint")
            .await
            .expect("statistics");
    }

    fn work(&mut self) {
        self.worker = Some(Part::start(&["child-work", &self.url]));
    }

    /// From now on these faults, beside what a call takes anyhow.
    async fn set_faults(&self, faults: &[Value]) {
        self.theirs.is_back().await;
        let mut all = vec![json!({ "kind": "delay", "ms": CALL_MS })];
        all.extend_from_slice(faults);
        self.theirs.fails(&json!(all)).await;
    }

    async fn accepted(&self) -> i64 {
        count(&self.client, "select count(*) from postmeter.delivery where status = 'accepted'").await
    }

    /// Records accepted a second with these faults, from the first that is accepted in health on.
    async fn rate(&mut self, window: Duration, faults: &[Value]) -> f64 {
        // every window begins in health, with nothing learned
        self.set_faults(&[]).await;
        self.client
            .batch_execute("delete from postmeter.pace; delete from postmeter.breaker")
            .await
            .expect("a clean slate");
        let before = self.accepted().await;
        while self.accepted().await == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.set_faults(faults).await;
        let (began, before) = (Instant::now(), self.accepted().await);
        tokio::time::sleep(window).await;
        let accepted = self.accepted().await - before;
        let trips = count(&self.client, "select count(*) from postmeter.breaker").await;
        println!(
            "  j9 {}: {accepted} accepted in {:.1} s, {trips} breakers open",
            self.kind,
            began.elapsed().as_secs_f64()
        );
        accepted as f64 / began.elapsed().as_secs_f64()
    }
}

const DUE: &str = "with given as (
        select g.*, row_number() over () as n
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) g(identity, buyer, body, batch_group, key)
    ), meters as (
        insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
        select t.id, g.buyer, 'cores', date_trunc('month', clock_timestamp())::date, 'up', 0, 'round_up'
        from given g, postmeter.destination t
        returning id, buyer
    ), made as (
        insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, deadline, round, quantity,
                                        body, batch_group, idempotency_key, cut_at)
        select t.id, g.buyer || '/cores', m.id, $6::text::timestamptz, g.identity::jsonb, 'db', 'due',
               clock_timestamp() + interval '5 hours' + g.n * interval '1 millisecond', 1, 7, g.body, g.batch_group, g.key::uuid, clock_timestamp()
        from given g join meters m on m.buyer = g.buyer, postmeter.destination t
        returning id, destination_id, deadline
    )
    insert into postmeter.due (delivery_id, destination_id, deadline) select id, destination_id, deadline from made";

/// Calls a second that pass for a client with as many in flight and the same quota, which after each 429 begins no call
/// for exactly a second. In steps of a millisecond, over an hour.
fn waits_exactly(share: f64, limit: Option<f64>, call_ms: u64) -> f64 {
    let (mut flying, mut gate, mut slot, mut passed, mut seed) = (Vec::new(), 0_u64, 0.0_f64, 0_u64, 7_u64);
    let length = 3_600_000;
    for now in 0..length {
        flying.retain(|ends: &u64| {
            if *ends > now {
                return true;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if ((seed >> 40) as f64 / f64::from(1 << 24)) < share {
                gate = now + 1000;
            } else {
                passed += 1;
            }
            false
        });
        while flying.len() < IN_FLIGHT as usize && gate <= now && slot <= now as f64 {
            flying.push(now + call_ms);
            if let Some(limit) = limit {
                slot = slot.max(now as f64) + 1000.0 / limit;
            }
        }
    }
    passed as f64 * 1000.0 / length as f64
}
