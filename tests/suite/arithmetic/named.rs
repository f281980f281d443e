//! K3 and K4: contracts that the catalogue names, and what goes on where buyers change between months.

use serde_json::json;
use tests::{Dimension, Stage, q, t};

use super::contracts::{end, held_by_them, subscribe_as};
use super::cover::cover;
use super::moved::{LICENCE, is_explained, licence};
use super::{billed, hour};
use crate::people::refuse_all;

/// acme buys twice, by account first and second, each under a contract of that name, at these customers.
async fn two_contracts(stage: &Stage, customers: [&str; 2]) {
    for (account, customer) in ["first", "second"].into_iter().zip(customers) {
        let buyer = json!({"product_code": "prod-db", "customer_aws_account_id": customer});
        subscribe_as(stage, buyer, Some(account), "2024-01-01T00:00:00Z").await;
    }
}

/// Gives acme's subscriptions the names of their accounts.
async fn name_them(stage: &Stage) {
    stage.sql("update postmeter.subscription set contract = account").await;
}

/// Uses cores in an hour of the 18th, by account; the hour is not cut.
async fn used(stage: &Stage, account: &str, hour: u32, quantity: &str) {
    let time = t(&format!("2024-09-18T{hour:02}:05:00Z"));
    let event = format!("{account} at {hour}");
    let mut usage = outbox::NewUsage::new("billing", &event, "acme", "db", "cores", q(quantity), time);
    usage.account = Some(account.to_owned());
    stage.record_as(&usage).await;
}

/// Both use cores in an hour of the 18th, which is cut.
async fn both(stage: &Stage, hour: u32, first: &str, second: &str) {
    stage.at(&format!("2024-09-18T{hour}:10:00Z")).await;
    used(stage, "first", hour, first).await;
    used(stage, "second", hour, second).await;
    stage.cut_at(&format!("2024-09-18T{}:10:00Z", hour + 1)).await;
}

const ONE: &str = "111122223333";

#[tokio::test]
async fn k3_two_named_contracts_of_one_org_on_one_buyer_round_and_cover_each_by_itself() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    two_contracts(&stage, [ONE, ONE]).await;
    name_them(&stage).await;
    cover(&stage, "acme", "cores", 4).await;
    both(&stage, 10, "7.25", "2.5").await;
    both(&stage, 11, "0.5", "2.25").await;
    // first: 3.25 and 3.75, both 4; second: 0 and 0.75. Together they would be 2 and 5
    assert_eq!(billed(&stage).await, ["4", "1"], "one quantity under one key");
    let balance =
        "select concat_ws(' ', buyer, recorded, covered, carried, difference) from postmeter.balance order by 1";
    assert_eq!(stage.column(balance).await, ["contract:db/first 7.75 4 -0.25 0", "contract:db/second 4.75 4 -0.25 0"]);
    is_explained(&stage).await;
    let told =
        "select concat_ws(' ', account, sum(used), sum(quantity), bool_or(shared)) from postmeter.remittance_summary
                group by account order by 1";
    assert_eq!(stage.column(told).await, ["first 7.75 4 f", "second 4.75 1 f"], "nobody shares a unit");
    stage.close().await;
}

#[tokio::test]
async fn k3_a_named_contract_s_cover_is_not_that_of_its_buyer_s_contract_beside_it() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    two_contracts(&stage, [ONE, ONE]).await;
    stage
        .sql(
            "update postmeter.subscription set contract = 'first' where account = 'first';
             insert into postmeter.cover (subscription_id, metric, quantity)
             select id, 'cores', 4 from postmeter.subscription where account = 'first'",
        )
        .await;
    both(&stage, 10, "1", "2.5").await;
    assert_eq!(billed(&stage).await, ["3"]);
    let balance = "select concat_ws(' ', recorded, covered, difference) from postmeter.balance order by recorded";
    assert_eq!(stage.column(balance).await, ["1 1 0", "2.5 0 0"]);
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_contract_named_within_a_metered_month_counts_from_the_next_month_on() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    two_contracts(&stage, [ONE, ONE]).await;
    both(&stage, 10, "0.25", "0.25").await;
    name_them(&stage).await;
    both(&stage, 11, "0.25", "0.75").await;
    assert_eq!(billed(&stage).await, ["1", "1"], "1.5 of one contract: nothing is counted anew");
    let decided = "select s.account || ' ' || k.month || ' ' || (k.contract = s.buyer) from postmeter.contract_member k
                   join postmeter.subscription s on s.id = k.subscription_id order by 1";
    assert_eq!(stage.column(decided).await, ["first 2024-09-01 true", "second 2024-09-01 true"]);
    is_explained(&stage).await;
    stage.at("2024-10-02T10:10:00Z").await;
    for account in ["first", "second"] {
        let mut usage =
            outbox::NewUsage::new("billing", account, "acme", "db", "cores", q("0.25"), t("2024-10-02T10:05:00Z"));
        usage.account = Some(account.to_owned());
        stage.record_as(&usage).await;
    }
    stage.cut_at("2024-10-02T11:10:00Z").await;
    assert_eq!(stage.accepted().last().unwrap(), "02T10 2", "each by its own from October on");
    stage.close().await;
}

#[tokio::test]
async fn k3_a_named_contract_goes_on_under_a_licence_and_into_the_next_month() {
    let stage = Stage::new().await;
    stage.sql("update postmeter.subscription set contract = 'gold'").await;
    end(&stage, "2024-09-18T11:00:00Z").await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    // it follows within the month whatever it is called, and by its own name from the next one on
    stage.sql("update postmeter.subscription set contract = 'silver' where valid_until is null").await;
    cover(&stage, "acme", "cores", 10).await;
    hour(&stage, 10, "8").await;
    hour(&stage, 11, "9").await;
    assert_eq!(billed(&stage).await, ["0", "7"], "17 used in two forms, 10 covered");
    // an account that was mistaken, corrected in place: the name says where it counts
    let corrected = json!({ "license_arn": LICENCE, "customer_aws_account_id": "444455556666" });
    let edit = "update postmeter.subscription set identity = $1 where valid_until is null";
    stage.db.client.execute(edit, &[&corrected]).await.unwrap();
    stage.worker.reload().await.unwrap();
    hour(&stage, 12, "1").await;
    assert_eq!(billed(&stage).await, ["0", "7", "1"]);
    is_explained(&stage).await;
    stage.at("2024-10-02T10:10:00Z").await;
    stage.use_cores("october", "11", "2024-10-02T10:05:00Z").await;
    stage.cut_at("2024-10-02T11:10:00Z").await;
    let meters = "select month || ' ' || buyer from postmeter.balance order by 1";
    assert_eq!(stage.column(meters).await, ["2024-09-01 contract:db/gold", "2024-10-01 contract:db/silver"]);
    assert_eq!(stage.accepted().last().unwrap(), "02T10 1", "11 used, 10 covered anew");
    stage.close().await;
}

#[tokio::test]
async fn k3_one_contract_at_two_buyers_rounds_once_and_what_is_late_stays_under_its_own() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    two_contracts(&stage, [ONE, "444455556666"]).await;
    stage.sql("update postmeter.subscription set contract = 'gold'").await;
    both(&stage, 10, "0.5", "0.75").await;
    let all = "select trim_scale(sum(quantity))::text from postmeter.remittance";
    assert_eq!(stage.value(all).await, "1", "1.25 of one contract under two keys");
    stage.at("2024-09-18T12:30:00Z").await;
    used(&stage, "second", 9, "1").await;
    used(&stage, "second", 8, "2").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    let late = held_by_them(&stage).into_iter().filter(|held| !held.contains("T10")).collect::<Vec<_>>();
    assert!(!late.is_empty() && late.iter().all(|held| held.starts_with("444455556666")), "{late:?}");
    assert_eq!(stage.value(all).await, "4", "4.25 used");
    // the month's remainder is settled once
    stage.at("2024-09-30T23:30:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    assert_eq!(stage.value(all).await, "5");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_what_the_first_buyer_of_a_named_contract_has_late_goes_to_an_hour_of_its_second() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", ONE, "2024-09-18T10:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    stage.sql("update postmeter.subscription set contract = 'gold'").await;
    hour(&stage, 10, "1").await;
    stage.at("2024-09-18T12:30:00Z").await;
    stage.use_cores("late", "2", "2024-09-18T10:50:00Z").await;
    stage.cut_at("2024-09-18T12:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 2"], "under the licence, in an hour that was never sent");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_what_the_first_buyer_of_a_named_contract_was_refused_is_released_to_its_second() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", ONE, "2024-09-18T10:00:00Z", Some("2024-09-18T11:00:00Z")).await;
    subscribe_as(&stage, licence(LICENCE), None, "2024-09-18T11:00:00Z").await;
    stage.sql("update postmeter.subscription set contract = 'gold'").await;
    refuse_all(&stage, true);
    hour(&stage, 10, "1.5").await;
    refuse_all(&stage, false);
    hour(&stage, 11, "2").await;
    stage.sql("select postmeter.release('{\"org\": \"acme\"}', 'ada', 'taken later', false)").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 2", "18T12 2"], "3.5 used, 4 billed");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k4_what_is_late_of_a_month_is_a_part_of_its_contract_s_next_buyer() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.configure("late_policy = 'part'").await;
    stage.subscribe_for("acme", ONE, "2024-01-01T00:00:00Z", Some("2024-10-01T00:00:00Z")).await;
    stage.subscribe_for("acme", "444455556666", "2024-10-01T00:00:00Z", None).await;
    stage.at("2024-09-29T10:10:00Z").await;
    stage.use_cores("in time", "0.5", "2024-09-29T10:05:00Z").await;
    stage.cut_at("2024-09-29T11:10:00Z").await;
    stage.at("2024-10-03T10:30:00Z").await;
    stage.use_cores("late", "2.75", "2024-09-29T10:30:00Z").await;
    stage.use_cores("october", "0.5", "2024-10-03T10:10:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-03T11:10:00Z").await;
    assert_eq!(
        held_by_them(&stage),
        ["111122223333 29T10 1", "444455556666 03T10 4"],
        "3.25 of September is 4, of which 1 is billed; and 1 of October's own"
    );
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_whoever_is_entered_later_under_a_mistaken_buyer_has_a_contract_of_his_own() {
    let stage = Stage::new().await;
    cover(&stage, "acme", "cores", 5).await;
    hour(&stage, 10, "4.5").await;
    // the account was another customer's
    stage
        .sql(
            "update postmeter.subscription
              set identity = '{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"444455556666\"}'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    for org in ["globex", "initech"] {
        stage.subscribe(org, ONE).await;
    }
    stage.at("2024-09-18T11:10:00Z").await;
    for org in ["globex", "initech"] {
        stage.record(org, org, "cores", "0.75", "2024-09-18T11:05:00Z").await;
    }
    hour(&stage, 11, "0.75").await;
    // acme: 5.25, 5 covered; the others 1.5, of which acme's contract covers nothing
    assert_eq!(held_by_them(&stage), ["111122223333 18T11 2", "444455556666 18T11 1"]);
    assert_eq!(
        stage.value("select count(*)::text from postmeter.balance").await,
        "2",
        "two orgs of one buyer round once"
    );
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_contract_s_name_is_a_name_and_waits_for_workers_that_know_it() {
    let stage = Stage::new().await;
    let refused = async |set: &str| {
        let edit = format!("update postmeter.subscription set {set}");
        let error = stage.db.client.batch_execute(&edit).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        format!("{} {}", error.code().code(), error.constraint().unwrap_or_default())
    };
    let long = "x".repeat(64);
    for name in ["", " ", "a/b", "#1", "a\u{202e}b", "a\nb", "contract:a", &long] {
        assert_eq!(refused(&format!("contract = '{name}'")).await, "23514 subscription_contract_name", "{name:?}");
    }
    let buyer = "buyer = 'contract:db/gold', identity_form = 'x', invalid = null";
    assert_eq!(refused(buyer).await, "23514 subscription_buyer_is_no_contract", "no buyer is read as a contract");
    stage
        .sql(
            "insert into postmeter.worker (id, name, version, lease, lease_until, knows)
              values (gen_random_uuid(), 'older', '0', '1 hour', clock_timestamp() + interval '1 hour', 51)",
        )
        .await;
    assert_eq!(refused("contract = 'gold'").await, "PM052 subscription_contract_known");
    stage.sql("update postmeter.worker set stopped_at = clock_timestamp() where name = 'older'").await;
    stage.sql("update postmeter.subscription set contract = 'gold'").await;
    stage.close().await;
}

#[tokio::test]
async fn k3_a_cover_counts_in_the_hour_in_which_it_begins_and_in_that_of_its_end() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe_for("acme", ONE, "2024-09-18T10:02:00Z", Some("2024-09-18T11:22:00Z")).await;
    stage.subscribe_for("acme", ONE, "2024-09-18T11:22:00Z", None).await;
    cover(&stage, "acme", "cores", 5).await;
    hour(&stage, 10, "3").await;
    assert_eq!(billed(&stage).await, ["0"], "it began at 10:02");
    stage.at("2024-09-18T11:40:00Z").await;
    stage.use_cores("renewed", "1", "2024-09-18T11:30:00Z").await;
    hour(&stage, 11, "4").await;
    assert_eq!(billed(&stage).await, ["0", "3"], "8 used, and of the two in the hour 11 only one covers");
    is_explained(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k3_the_remainders_of_two_contracts_at_one_buyer_are_settled_each() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    two_contracts(&stage, [ONE, ONE]).await;
    stage.sql("update postmeter.subscription set contract = 'gold' where account = 'first'").await;
    both(&stage, 10, "0.5", "0.25").await;
    assert_eq!(billed(&stage).await, ["0"]);
    stage.at("2024-09-30T23:30:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-01T00:10:00Z").await;
    stage.cut_at("2024-10-01T00:20:00Z").await;
    let all = "select trim_scale(sum(quantity))::text from postmeter.remittance";
    assert_eq!(stage.value(all).await, "2", "each is rounded up");
    is_explained(&stage).await;
    stage.close().await;
}
