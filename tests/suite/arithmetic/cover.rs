//! What contracts cover, and orgs that are not billed at all.

use tests::{Dimension, Stage, q, t};

use super::{billed, hour};

/// Says what the contract of an org covers.
pub(super) async fn cover(stage: &Stage, org: &str, metric: &str, quantity: u32) {
    stage
        .sql(&format!(
            "insert into postmeter.cover (subscription_id, metric, quantity)
             select id, '{metric}', {quantity} from postmeter.subscription where org = '{org}'
             on conflict (subscription_id, metric) do update set quantity = excluded.quantity"
        ))
        .await;
}

#[tokio::test]
async fn b7_a_contract_of_four_covers_three_and_of_ten_bills_six() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 4).await;
    hour(&stage, 10, "3").await;
    assert_eq!(
        stage.value("select covered || ' of ' || recorded from postmeter.balance").await,
        "3 of 3",
        "fully covered"
    );
    assert_eq!(stage.value("select metrics #>> '{0,cover}' from postmeter.cut").await, "4");
    hour(&stage, 11, "7").await;
    assert_eq!(billed(&stage).await, ["0", "6"]);
    stage.close().await;
}

#[tokio::test]
async fn b7_the_contracts_of_two_orgs_on_one_account_add_up() {
    let stage = Stage::new().await;
    stage.subscribe("globex", "111122223333").await;
    cover(&stage, "acme", "cores", 4).await;
    cover(&stage, "globex", "cores", 3).await;
    hour(&stage, 10, "10").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    stage.close().await;
}

#[tokio::test]
async fn b7_one_contract_is_subtracted_once_for_two_service_levels() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 4).await;
    stage.at("2024-09-18T10:10:00Z").await;
    for level in ["gold", "silver"] {
        let mut usage =
            outbox::NewUsage::new("billing", level, "acme", "db", "cores", q("3"), t("2024-09-18T10:05:00Z"));
        usage.attributes = serde_json::json!({ "level": level });
        stage.record_as(&usage).await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"]);
    stage.close().await;
}

#[tokio::test]
async fn b7_cover_is_kept_per_metric_where_metrics_share_a_dimension() {
    let stage = Stage::new().await;
    stage.dimension(Dimension { metric: "gpus", ..Dimension::default() }).await;
    cover(&stage, "acme", "cores", 4).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.record("gpus", "acme", "gpus", "5", "2024-09-18T10:05:00Z").await;
    hour(&stage, 10, "3").await;
    assert_eq!(stage.accepted(), ["18T10 5"], "the core that is left over does not cover a gpu");
    stage.close().await;
}

#[tokio::test]
async fn b8_raised_cover_acts_on_the_whole_month() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 100).await;
    hour(&stage, 10, "200").await;
    cover(&stage, "acme", "cores", 200).await;
    hour(&stage, 11, "100").await;
    hour(&stage, 12, "50").await;
    assert_eq!(billed(&stage).await, ["100", "0", "50"]);
    stage.close().await;
}

#[tokio::test]
async fn b9_lowered_cover_acts_on_later_usage_only() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 100).await;
    hour(&stage, 10, "80").await;
    cover(&stage, "acme", "cores", 50).await;
    hour(&stage, 11, "30").await;
    assert_eq!(billed(&stage).await, ["0", "30"], "80 stay covered");
    stage.close().await;
}

#[tokio::test]
async fn b9_when_a_contract_ends_what_it_covered_stays_covered() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    cover(&stage, "acme", "cores", 100).await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    hour(&stage, 10, "100").await;
    hour(&stage, 11, "50").await;
    assert_eq!(billed(&stage).await, ["0", "50"]);
    stage.close().await;
}

#[tokio::test]
async fn b9_a_contract_that_begins_in_mid_month_covers_the_month() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", "111122223333", "2024-01-01T00:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    hour(&stage, 10, "10").await;
    stage.subscribe_for("acme", "111122223333", "2024-09-18T11:00:00Z", None).await;
    stage
        .sql(
            "insert into postmeter.cover (subscription_id, metric, quantity)
             select max(id), 'cores', 40 from postmeter.subscription",
        )
        .await;
    hour(&stage, 11, "30").await;
    hour(&stage, 12, "15").await;
    assert_eq!(billed(&stage).await, ["10", "0", "5"], "55 used, 40 covered, 10 billed before");
    stage.close().await;
}

#[tokio::test]
async fn b9_exempt_usage_is_accounted_for_with_its_reason_and_never_sent() {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'our own staging')").await;
    // a free first month: exempt for a while
    let free = "insert into postmeter.exemption (org, reason, valid_until)
                values ('acme', 'first month free', '2024-09-18T11:00Z')";
    stage.sql(free).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.record("ours", "ours", "cores", "7", "2024-09-18T10:05:00Z").await;
    hour(&stage, 10, "3").await;
    hour(&stage, 11, "2").await;
    assert_eq!(stage.accepted(), ["18T11 2"]);
    assert_eq!(
        stage
            .column(
                "select concat(event_id, ': ', whereabouts, ', ' || reason) from postmeter.usage_explained order by 1"
            )
            .await,
        ["at 10: exempt, first month free", "at 11: allocated", "ours: exempt, our own staging"]
    );
    assert_eq!(stage.value("select exempt::text from postmeter.usage_balance where org = 'ours'").await, "7");
    stage.close().await;
}

#[tokio::test]
async fn b9_an_exemption_takes_what_was_held() {
    let stage = Stage::new().await;
    stage.record("one", "ours", "cores", "7", "2024-09-18T09:05:00Z").await;
    stage.work().await;
    assert_eq!(stage.value("select reason from postmeter.held").await, "no_subscription");
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'our own staging')").await;
    stage.work_anew().await;
    assert_eq!(stage.value("select exempt::text from postmeter.usage_balance where org = 'ours'").await, "7");
    stage.close().await;
}
