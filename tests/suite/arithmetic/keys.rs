//! What is one key and what never merges.

use tests::{Dimension, Stage, q, t};

use super::{billed, hour};

/// Another product, and an org with two accounts.
const MORE: &str = "
    insert into postmeter.dimension (destination_id, product, metric, name)
    select id, 'cache', 'cores', 'cores' from postmeter.destination;
    insert into postmeter.subscription (org, product, account, destination_id, identity, valid_from)
    select s.org, s.product, s.account, d.id,
    jsonb_build_object('product_code', s.code, 'customer_aws_account_id', s.customer), '2024-01-01Z'
    from postmeter.destination d, (values
    ('acme', 'cache', null, 'prod-cache', '111122223333'),
    ('initech', 'db', 'eu', 'prod-db', '777700000001'),
    ('initech', 'db', 'us', 'prod-db', '777700000002')) s(org, product, account, code, customer)";

#[tokio::test]
async fn a5_orgs_accounts_products_metrics_and_months_never_merge() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "444455556666").await;
    stage.dimension(Dimension { metric: "gb", name: "gb", ..Dimension::default() }).await;
    stage.sql(MORE).await;
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:30:00Z").await;
    for (n, (org, product, metric, account)) in [
        ("acme", "db", "cores", None),
        ("globex", "db", "cores", None),
        ("acme", "db", "gb", None),
        ("acme", "cache", "cores", None),
        ("initech", "db", "cores", Some("eu")),
        ("initech", "db", "cores", Some("us")),
        ("initech", "db", "cores", None),
    ]
    .into_iter()
    .enumerate()
    {
        let quantity = format!("{}.5", n + 1);
        let mut usage = outbox::NewUsage::new(
            "billing",
            &n.to_string(),
            org,
            product,
            metric,
            q(&quantity),
            t("2024-09-18T10:10:00Z"),
        );
        usage.account = account.map(str::to_owned);
        stage.record_as(&usage).await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let mut bills: Vec<_> = stage
        .aws
        .record()
        .iter()
        .map(|a| {
            (a.quantity.normalize().to_string(), a.key.customer.clone(), a.key.product.clone(), a.key.dimension.clone())
        })
        .collect();
    bills.sort();
    let bills: Vec<_> = bills.iter().map(|(q, c, p, d)| format!("{q} {c} {p} {d}")).collect();
    assert_eq!(
        bills,
        [
            "2 111122223333 prod-db cores",
            "3 444455556666 prod-db cores",
            "4 111122223333 prod-db gb",
            "5 111122223333 prod-cache cores",
            "6 777700000001 prod-db cores",
            "7 777700000002 prod-db cores",
        ]
    );
    assert_eq!(
        stage.column("select reason from postmeter.held").await,
        ["ambiguous_subscription"],
        "which account, nobody said"
    );
    stage.close().await;
}

#[tokio::test]
async fn a5_usage_of_the_previous_month_leaves_this_month_alone() {
    let stage = Stage::new().await;
    stage.at("2024-09-30T23:50:00Z").await;
    stage.use_cores("september", "0.5", "2024-09-30T23:40:00Z").await;
    stage.at("2024-10-01T00:02:00Z").await;
    stage.use_cores("october", "0.25", "2024-10-01T00:01:00Z").await;
    stage.cut_at("2024-10-01T00:20:00Z").await;
    stage.use_cores("late", "0.75", "2024-09-30T23:55:00Z").await;
    stage.cut_at("2024-10-01T01:10:00Z").await;
    assert_eq!(
        stage.column("select month || ' ' || recorded || ' ' || accepted from postmeter.balance order by month").await,
        ["2024-09-01 1.25 2", "2024-10-01 0.25 1"]
    );
    stage.close().await;
}

#[tokio::test]
async fn b12_two_orgs_on_one_account_are_one_key_rounded_once() {
    let stage = Stage::new().await;
    stage.subscribe("acme-labs", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("a", "0.5", "2024-09-18T10:10:00Z").await;
    stage.record("b", "acme-labs", "cores", "0.5", "2024-09-18T10:20:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.delivery").await, "1");
    stage.close().await;
}

#[tokio::test]
async fn b12_two_metrics_of_one_dimension_are_one_key_rounded_once() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { metric: "cores", name: "units", factor: (1, 3), ..Dimension::default() }).await;
    stage.dimension(Dimension { metric: "gpus", name: "units", factor: (1, 2), ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.record("gpus", "acme", "gpus", "1", "2024-09-18T10:05:00Z").await;
    hour(&stage, 10, "1").await;
    hour(&stage, 11, "0.5").await;
    assert_eq!(billed(&stage).await, ["1", "0"], "1/3 + 1/2, then 1/6: one unit exactly");
    assert_eq!(stage.value("select denominator || ' ' || carried from postmeter.balance").await, "6 0");
    // a metric that joins in mid-month changes the common denominator, not what was counted
    stage.dimension(Dimension { metric: "disks", name: "units", factor: (1, 7), ..Dimension::default() }).await;
    stage.at("2024-09-18T12:10:00Z").await;
    stage.record("disks", "acme", "disks", "7", "2024-09-18T12:05:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(billed(&stage).await, ["1", "0", "1"]);
    assert_eq!(stage.value("select denominator || ' ' || carried from postmeter.balance").await, "42 0");
    stage.close().await;
}

#[tokio::test]
async fn b12_a_subscription_renewed_or_a_plan_changed_continues_the_meter() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    hour(&stage, 10, "0.5").await;
    // late usage under the old one meets usage under the new one in one hour
    stage.use_cores("late", "0.25", "2024-09-18T10:59:00Z").await;
    hour(&stage, 11, "0.25").await;
    hour(&stage, 12, "0.5").await;
    assert_eq!(billed(&stage).await, ["1", "0", "1"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.meter").await, "1");
    stage.close().await;
}
