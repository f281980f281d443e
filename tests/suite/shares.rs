//! K12: a quantity is shared out by attributes of its usage, to the last decimal.

use serde_json::Value;
use tests::Stage;

/// A stage whose quantities are shared out by team and region.
async fn shared(set: &str) -> Stage {
    let stage = Stage::new().await;
    stage.sql(&format!("update postmeter.dimension set allocate_by = '{{region,team}}'{set}")).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
}

/// Records usage of acme's cores: SQL for event id, quantity and attributes, and for the rows that it comes from.
async fn record(stage: &Stage, columns: &str, from: &str) {
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, quantity, attributes, org, product, metric, used_at)
             select 'billing', {columns}, 'acme', 'db', 'cores', '2024-09-18T10:10:00Z' from {from}"
        ))
        .await;
}

/// What was frozen of the one hour: each share with its tags, in order.
async fn frozen(stage: &Stage) -> Vec<String> {
    let body = stage.value("select body from postmeter.delivery where status = 'accepted' order by hour limit 1").await;
    assert!(body.len() <= 65_536, "{} bytes", body.len());
    let body: Value = serde_json::from_str(&body).unwrap();
    let allocations = body["UsageAllocations"].as_array().cloned().unwrap_or_default();
    let told = allocations.iter().map(|allocation| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tags = allocation["Tags"].as_array().cloned().unwrap_or_default();
        let tags: Vec<_> = tags.iter().map(|tag| format!("{}={}", text(&tag["Key"]), text(&tag["Value"]))).collect();
        let whole = allocation["AllocatedUsageQuantity"].as_i64().map(|whole| whole.to_string());
        let amount = whole.unwrap_or_else(|| text(&allocation["AllocatedUsageQuantityAsDecimal"]));
        format!("{amount} {}", tags.join(" ")).trim_end().to_owned()
    });
    told.collect()
}

#[tokio::test]
async fn k12_a_quantity_is_shared_out_by_what_was_used_and_the_marketplace_takes_the_sum() {
    let stage = shared(", factor_denominator = 4").await;
    record(
        &stage,
        "e, q, a::jsonb",
        r#"(values ('a', 9, '{"team": "red", "region": "eu"}'), ('b', 5, '{"team": "blue", "region": "eu", "more": 1}'),
                   ('c', 2, '{}'), ('d', 1, '{"team": "red", "region": "eu"}'), ('e', 8, '{"team": "no tag: ä"}')) x(e, q, a)"#,
    )
    .await;
    // a correction takes from the share of what it corrects, whatever it says itself
    stage.correct("less", "e", "-8", "2024-09-18T10:12:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // 17 quarters are 5 started units: 10, 5 and 2 of 17
    assert_eq!(stage.accepted(), ["18T10 5"]);
    assert_eq!(frozen(&stage).await, ["3 region=eu team=red", "1 region=eu team=blue", "1"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_decimals_are_shared_out_to_the_last() {
    let stage = shared(", decimals = 6, rounding = 'nearest'").await;
    record(&stage, "n::text, 0.3333333, jsonb_build_object('team', n)", "generate_series(1, 3) n").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    assert_eq!(frozen(&stage).await, ["0.333334 team=1", "0.333333 team=2", "0.333333 team=3"]);
    stage.close().await;
}

#[tokio::test]
async fn k12_what_is_too_much_for_a_record_stands_without_tags() {
    let stage = shared("").await;
    record(
        &stage,
        "n::text, 1 + n % 2, jsonb_build_object('team', 'team ' || n, 'region', repeat('r', n % 200))",
        "generate_series(1, 3000) n",
    )
    .await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 4500"], "the simulator adds it up");
    let frozen = frozen(&stage).await;
    assert!((100..2500).contains(&frozen.len()), "{}", frozen.len());
    let rest = frozen.iter().find(|share| !share.contains('=')).expect("the rest");
    let tagged = frozen.iter().filter(|share| share.contains('=')).map(|share| share.split(' ').next().unwrap());
    let tagged: i64 = tagged.map(|amount| amount.parse::<i64>().unwrap()).sum();
    assert_eq!(rest.parse::<i64>().unwrap() + tagged, 4500);
    stage.close().await;
}

#[tokio::test]
async fn k12_without_tags_or_without_the_policy_nothing_is_shared_out() {
    let stage = shared("").await;
    stage.use_cores("untagged", "5", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert!(frozen(&stage).await.is_empty());
    stage.close().await;
}

/// Random totals, decimals and weights: the shares sum to the total, none is negative or a unit off, and the same is the same.
#[tokio::test]
async fn k12_shares_by_largest_remainder_sum_exactly_whatever_the_weights() {
    let stage = Stage::bare().await;
    let wrong = "
        with random as materialized (
            select n, (n % 7) as decimals, trunc((random() * 10 ^ (1 + n % 10))::numeric, (n % 7)) as total,
                   array(select case when random() < 0.1 then 0 else trunc((random() ^ 3)::numeric * 10::numeric ^ (n % 30)) + g % 2 end
                         from generate_series(1, 1 + n % 40) g) as weights
            from generate_series(1, 500) n
        ), shared as materialized (
            select r.*, s.item, s.share, (select sum(w) from unnest(r.weights) w) as sum
            from random r cross join lateral postmeter.largest_remainder(r.total, r.decimals, r.weights) s
        )
        select format('%s: %s by %s', n, total, weights) from (
            select n, total, weights, decimals,
                   sum(share) <> total or min(share) < 0 or min(scale(trim_scale(share))) > decimals
                   or bool_or(abs(share * sum - total * weights[item]) >= sum * ('1e-' || decimals)::numeric)
                   or array_agg(share order by item) <> (
                       select array_agg(x.share order by x.item) from postmeter.largest_remainder(total, decimals, weights) x) as is_wrong
            from shared group by 1, 2, 3, 4) q
        where is_wrong";
    assert!(stage.column(wrong).await.is_empty());
    let equal = "select share::text from postmeter.largest_remainder(2, 0, array[1, 1, 1]) order by item";
    assert_eq!(stage.column(equal).await, ["1", "1", "0"], "of equal ones the first");
    assert!(stage.column("select share::text from postmeter.largest_remainder(2, 0, array[0, 0])").await.is_empty());
}
