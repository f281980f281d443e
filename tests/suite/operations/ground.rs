//! The small ledger of known answers: two days in September, every way that a usage can end.

use std::time::Duration;

use outbox::NewUsage;
use outbox::claim::Claim;
use outbox::settle::Settlement;
use remittance::{Answer, Outcome, Policy, RetrySchedule};
use tests::{Dimension, Stage, q, t};

async fn use_of(stage: &Stage, event: &str, org: &str, metric: &str, quantity: &str, at: &str) {
    stage.record(event, org, metric, quantity, &format!("2024-09-18T{at}:00Z")).await;
}

/// What each remittance is answered, by its number.
fn answer_to(number: i64) -> Answer {
    let outcome = match number {
        // of ten o'clock: acme's cores, gb and sockets, then globex's gb and sockets
        3 => Outcome::Unknown { code: "timeout".to_owned() },
        4 => Outcome::Conflict { shown: Some(q("2")) },
        5 => Outcome::HandedBack,
        6 | 7 => Outcome::Rejected { code: "InvalidUsageDimensionException".to_owned() },
        _ => Outcome::Accepted,
    };
    let is_heard = !matches!(outcome, Outcome::Unknown { .. } | Outcome::HandedBack);
    Answer {
        http_status: is_heard.then_some(if matches!(outcome, Outcome::Rejected { .. }) { 400 } else { 200 }),
        receipt: matches!(outcome, Outcome::Accepted).then(|| format!("receipt-{number}")),
        request_id: is_heard.then(|| format!("req-{number}")),
        ..Answer::bare(outcome)
    }
}

async fn settle(stage: &Stage, claims: &[Claim]) {
    let policy = Policy { retry: RetrySchedule::default(), memory: None };
    for claim in claims {
        let answer = Settlement {
            delivery: claim.delivery,
            attempt: claim.attempt,
            batch: 1,
            answer: answer_to(claim.delivery),
            took: Duration::from_millis(100 + u64::try_from(claim.delivery).unwrap()),
            others_passed: false,
            is_lost: false,
            is_death: false,
        };
        outbox::settle::settle(&stage.db.database, stage.worker.id(), &[answer], &|_| policy).await.unwrap();
    }
}

async fn catalogue(stage: &Stage) {
    for dimension in [
        Dimension { name: "core_units", factor: (1, 4), ..Dimension::default() },
        Dimension { metric: "gb", name: "gb", ..Dimension::default() },
        Dimension { metric: "sockets", name: "sockets", ..Dimension::default() },
    ] {
        stage.dimension(dimension).await;
    }
    stage
        .sql(
            "update postmeter.dimension set unit_price = 0.12, currency = 'USD' where metric = 'cores';
             update postmeter.dimension set unit_price = 0.5, currency = 'EUR' where metric = 'gb';
             insert into postmeter.exemption (org, reason) values ('ours', 'our own staging');
             update postmeter.worker set name = 'worker-1', lease_until = clock_timestamp() + interval '1 day'",
        )
        .await;
    stage.subscribe("acme", "111122223333").await;
    stage.subscribe("globex", "444455556666").await;
    // buys through acme's account: one key for both
    stage.subscribe("initech", "111122223333").await;
}

/// Until ten past eleven: remittances 1 and 2 are accepted, 3 to 7 end badly.
async fn morning(stage: &Stage) {
    stage.at("2024-09-18T09:30:00Z").await;
    stage
        .sql("select postmeter.track('ingress', 'req-4711', 'received', postmeter.clock(), null, null, null, 'acme')")
        .await;
    for (event, org, metric, quantity) in [
        ("e1", "acme", "cores", "10"),
        ("e2", "acme", "cores", "6"),
        ("e3", "acme", "cores", "7"),
        ("i1", "initech", "cores", "1"),
    ] {
        use_of(stage, event, org, metric, quantity, "09:10").await;
    }
    stage.fold().await;
    use_of(stage, "g1", "globex", "gb", "3", "09:20").await;
    stage.cut_only("2024-09-18T10:10:00Z").await;
    settle(stage, &stage.claim_as(stage.worker.id()).await).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for (event, org, metric, quantity) in [
        ("e4", "acme", "cores", "20"),
        ("e5", "acme", "gb", "3"),
        ("e6", "acme", "sockets", "5"),
        ("g2", "globex", "gb", "2"),
        ("g3", "globex", "sockets", "2"),
    ] {
        // one fold each, so that they are numbered in this order
        use_of(stage, event, org, metric, quantity, "10:10").await;
        stage.fold().await;
    }
    use_of(stage, "u1", "umbrella", "cores", "5", "10:10").await;
    use_of(stage, "u2", "umbrella", "gb", "1", "10:15").await;
    use_of(stage, "x1", "ours", "cores", "9", "10:10").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    settle(stage, &stage.claim_as(stage.worker.id()).await).await;
}

/// What people decided at half past eleven.
async fn decisions(stage: &Stage) {
    stage.at("2024-09-18T11:30:00Z").await;
    for call in [
        r#"retry('{"delivery": 6}', 'mira', 'dimension was added', false)"#,
        r#"release('{"delivery": 7}', 'mira', 'goes with the next hour', false)"#,
        r#"write_off_held('{"org": "umbrella", "metric": "gb"}', 'mira', 'test usage', false)"#,
        "pause('aws', 'ada', 'their maintenance')",
        "resume('aws', 'ada', 'it is over')",
    ] {
        stage.sql(&format!("select * from postmeter.{call}")).await;
    }
}

/// The ledger, at nine o'clock of the next day.
pub async fn ground() -> Stage {
    let stage = Stage::bare().await;
    catalogue(&stage).await;
    morning(&stage).await;
    decisions(&stage).await;
    use_of(&stage, "e7", "acme", "cores", "8", "11:20").await;
    let mut credit = NewUsage::new("billing", "g4", "globex", "db", "gb", q("-2"), t("2024-09-18T11:20:00Z"));
    credit.corrects = Some("g1".to_owned());
    stage.record_as(&credit).await;
    stage.cut_only("2024-09-18T12:10:00Z").await;
    use_of(&stage, "e8", "acme", "cores", "2", "12:05").await;
    stage.fold().await;
    // what was handed back, retried and released is claimed: some answers come, two calls stay under way
    let claims = stage.claim_as(stage.worker.id()).await;
    let (heard, _): (Vec<Claim>, Vec<Claim>) = claims.into_iter().partition(|claim| claim.delivery > 7);
    settle(&stage, &heard).await;
    stage.cut_only("2024-09-18T13:10:00Z").await;
    use_of(&stage, "e9", "acme", "cores", "6", "13:05").await;
    stage.fold().await;
    while outbox::requests::gather(&stage.db.database).await.unwrap() > 0 {}
    use_of(&stage, "w1", "acme", "cores", "4", "13:05").await;
    stage.at("2024-09-19T09:00:00Z").await;
    stage
}
