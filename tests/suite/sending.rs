//! D: what goes out to AWS, and what its answers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use marketplaces::aws::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future};
use marketplaces::aws::{Aws, Credentials};
use marketplaces::{Marketplace, SettingsError};
use serde_json::{Value, json};
use simulator::{Call, FaultKind, FaultRule, Match, Rate};
use tests::{Stage, quick};
use worker::{Options, Worker};

/// A stage with so many orgs, each with one core of 10:00, folded but not cut.
async fn many(orgs: usize) -> Stage {
    let stage = Stage::bare().await;
    stage.dimension(tests::Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..orgs {
        stage.subscribe(&format!("org{n}"), &format!("{:012}", 100_000_000_000_u64 + n as u64)).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage
}

fn sizes(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.records.len()).collect()
}

#[tokio::test]
async fn d1_a_call_has_at_most_25_records_of_one_product_on_the_hour() {
    let stage = many(27).await;
    let other = json!({"product_code": "prod-other", "customer_aws_account_id": "999988887777"});
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'org0', 'cache', id, '{other}', '2024-01-01' from postmeter.destination;
             insert into postmeter.dimension (destination_id, product, metric, name) select id, 'cache', 'gb', 'gb' from postmeter.destination"
        ))
        .await;
    stage.worker.reload().await.unwrap();
    stage
        .record_as(&outbox::NewUsage::new(
            "billing",
            "cache",
            "org0",
            "cache",
            "gb",
            tests::q("4"),
            tests::t("2024-09-18T10:20:00Z"),
        ))
        .await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let mut calls = sizes(&stage.aws.calls());
    calls.sort_unstable();
    assert_eq!(calls, [1, 2, 25]);
    for call in stage.aws.calls() {
        let product = &call.records[0].key.product;
        assert!(
            call.records.iter().all(|record| record.key.product == *product && record.timestamp == record.key.hour)
        );
    }
    stage.close().await;
}

#[tokio::test]
async fn d1_a_licence_is_carried_and_a_second_identity_form_is_refused() {
    let stage = Stage::bare().await;
    stage
        .dimension(tests::Dimension { decimals: 6, rounding: "down", month_end: "drop", ..tests::Dimension::default() })
        .await;
    let licence = json!({"license_arn": "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef", "customer_aws_account_id": "111122223333"});
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'acme', 'db', id, '{licence}', '2024-01-01' from postmeter.destination"
        ))
        .await;
    stage.worker.reload().await.unwrap();
    // the same buyer under a product code, bought by another org of ours: they would be billed twice
    stage.subscribe("acme-labs", "111122223333").await;
    assert!(
        stage
            .value("select invalid from postmeter.subscription where org = 'acme-labs'")
            .await
            .contains("two identity forms")
    );
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "1.2345678", "2024-09-18T10:10:00Z").await;
    stage.record("labs", "acme-labs", "cores", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1.234567"]);
    assert!(stage.aws.record()[0].key.product.starts_with("arn:aws:license-manager"));
    assert_eq!(stage.value("select reason from postmeter.held").await, "invalid_subscription");
    stage.close().await;
}

#[tokio::test]
async fn d2_one_bad_record_is_found_by_halving_and_the_others_lose_no_tries() {
    let stage = many(25).await;
    let bad = Match { customer: Some("100000000007".to_owned()), ..Match::default() };
    stage
        .aws
        .add_fault(FaultRule::new(FaultKind::RefuseRecord).matching(bad).error("InvalidUsageDimensionException"))
        .unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select count(*)::text from postmeter.remittance where status = 'accepted'").await, "24");
    let refused = stage.column("select code from postmeter.remittance r join postmeter.attempt_ledger a using (delivery_id) where r.status = 'rejected' order by a.number desc limit 1").await;
    assert_eq!(refused, ["InvalidUsageDimensionException"]);
    assert_eq!(
        stage.value("select max(tries)::text from postmeter.remittance where status = 'accepted'").await,
        "1",
        "only the call that was answered counts"
    );
    let calls = stage.aws.calls().len();
    assert_eq!(
        stage.value("select count(distinct call_id)::text from postmeter.attempt").await,
        calls.to_string(),
        "every call is in the ledger"
    );
    assert!(calls <= 11, "five halvings: {:?}", sizes(&stage.aws.calls()));
    stage.close().await;
}

#[tokio::test]
async fn d3_unprocessed_records_alone_are_sent_again() {
    let stage = many(3).await;
    let slow = Match { customer: Some("100000000001".to_owned()), ..Match::default() };
    stage.aws.add_fault(FaultRule::new(FaultKind::Unprocessed).matching(slow).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select count(*)::text from postmeter.remittance where status = 'accepted'").await, "2");
    stage.work_at("2024-09-18T11:11:00Z").await;
    assert_eq!(sizes(&stage.aws.calls()), [3, 1]);
    assert_eq!(stage.accepted().len(), 3);
    stage.close().await;
}

#[tokio::test]
async fn d3_a_customer_who_is_not_subscribed_is_held_and_can_be_retried_by_a_person() {
    let stage = many(1).await;
    let mut settings = stage.aws.settings();
    settings.aws.subscriptions = Some(vec![]);
    stage.aws.set_settings(settings.clone());
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 held 1"]);
    assert_eq!(stage.value("select code from postmeter.attempt_ledger").await, "CustomerNotSubscribed");
    settings.aws.subscriptions = None;
    stage.aws.set_settings(settings);
    let me = outbox::corrections::Decider { who: "ada", why: "the agreement is active now" };
    let retried = outbox::corrections::correct(
        &stage.db.database,
        outbox::corrections::Verb::Retry,
        &json!({"org": "org0"}),
        me,
        false,
    )
    .await
    .unwrap();
    assert_eq!(retried[0].after, "due");
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    stage.close().await;
}

#[tokio::test]
async fn d8_answers_that_make_no_sense_are_never_accepted_and_end_well() {
    for kind in [FaultKind::Garbage, FaultKind::Html, FaultKind::Empty, FaultKind::Truncated] {
        let stage = many(2).await;
        stage.aws.add_fault(FaultRule::new(kind).when(simulator::When::After).times(1)).unwrap();
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(
            stage.value("select count(*)::text from postmeter.remittance where maybe_billed and status = 'due'").await,
            "2",
            "{kind:?}"
        );
        stage.work_at("2024-09-18T11:11:00Z").await;
        assert_eq!(
            stage.value("select count(*)::text from postmeter.remittance where status = 'accepted'").await,
            "2",
            "{kind:?}"
        );
        stage.close().await;
    }
}

static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Credentials that are expired the first time.
#[derive(Debug)]
struct Expiring(Arc<AtomicU32>);

impl ProvideCredentials for Expiring {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let asked = self.0.fetch_add(1, Ordering::SeqCst);
        let key = if asked == 0 { "EXPIRED" } else { "AKIDFRESH" };
        future::ProvideCredentials::ready(Ok(Credentials::new(key, "secret", None, None, "test")))
    }
}

fn expiring(_kind: &str, settings: &Value) -> Result<Arc<dyn Marketplace>, SettingsError> {
    REFUSED.store(0, Ordering::SeqCst);
    Ok(Arc::new(Aws::open_with(settings, SharedCredentialsProvider::new(Expiring(Arc::default())))?))
}

#[tokio::test]
async fn d9_expired_credentials_burn_no_try_and_work_resumes_by_itself() {
    let stage = many(2).await;
    let mut settings = stage.aws.settings();
    settings.aws.access_keys = [("AKIDFRESH".to_owned(), "seller".to_owned())].into();
    stage.aws.set_settings(settings);
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = Worker::start(stage.db.another(), Options { open: expiring, ..quick() }).await.unwrap();
    worker.send().await.unwrap();
    assert_eq!(stage.column("select distinct outcome from postmeter.attempt_ledger").await, ["unauthorised"]);
    assert_eq!(stage.value("select max(tries)::text from postmeter.remittance").await, "0");
    assert_eq!(worker.send().await.unwrap(), 0, "the breaker is open");
    stage.at("2024-09-18T11:12:00Z").await;
    // the breaker's pause is real time
    tests::wait_until("both are accepted", async || {
        worker.maintain().await.unwrap();
        worker.send().await.unwrap();
        stage.remittances().await == ["18T10 accepted 1", "18T10 accepted 1"]
    })
    .await;
    stage.close().await;
}

/// No credentials at all.
#[derive(Debug)]
struct Missing;

impl ProvideCredentials for Missing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("nowhere")))
    }
}

fn missing(_kind: &str, settings: &Value) -> Result<Arc<dyn Marketplace>, SettingsError> {
    Ok(Arc::new(Aws::open_with(settings, SharedCredentialsProvider::new(Missing))?))
}

#[tokio::test]
async fn d10_missing_credentials_and_dry_run_are_outcomes_of_their_own_and_never_accepted() {
    let stage = many(1).await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let worker = Worker::start(stage.db.another(), Options { open: missing, ..quick() }).await.unwrap();
    worker.send().await.unwrap();
    assert_eq!(
        stage.column("select outcome || ' ' || is_try from postmeter.attempt_ledger").await,
        ["no_credentials false"]
    );
    assert_eq!(stage.remittances().await, ["18T10 due 1"]);
    stage.sql("update postmeter.destination set dry_run = true").await;
    stage.worker.reload().await.unwrap();
    stage.work_at("2024-09-18T11:12:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 dry_run 1"]);
    assert!(stage.aws.calls().is_empty());
    assert_eq!(stage.value("select dry_run || ' ' || accepted from postmeter.balance").await, "1 0");
    stage.close().await;
}

#[tokio::test]
async fn d11_exactly_at_the_deadline_it_still_goes_and_after_it_no_call_is_made() {
    for (time, status, calls) in
        [("2024-09-19T09:50:00Z", "18T10 accepted 1", 1), ("2024-09-19T09:50:01Z", "18T10 expired 1", 0)]
    {
        let stage = many(1).await;
        stage.cut_only("2024-09-18T11:10:00Z").await;
        assert_eq!(
            stage.value("select to_char(deadline at time zone 'UTC', 'DD HH24:MI') from postmeter.remittance").await,
            "19 09:50"
        );
        stage.at(time).await;
        stage.worker.send().await.unwrap();
        assert_eq!(stage.remittances().await, [status]);
        assert_eq!(stage.aws.calls().len(), calls);
        if calls == 0 {
            assert_eq!(
                stage.value("select outcome || ' ' || code from postmeter.attempt_ledger").await,
                "too_old deadline"
            );
        }
        stage.close().await;
    }
}

#[tokio::test]
async fn d12_a_quota_is_kept_by_all_workers_and_destinations_that_share_it() {
    let stage = many(40).await;
    let mut settings = stage.aws.settings();
    settings.aws.rate = Some(Rate { calls_per_second: 50.0, burst: 5 });
    stage.aws.set_settings(settings);
    stage
        .sql(
            "update postmeter.quota set calls_per_second = 40;
             update postmeter.destination set records_max = 1;
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'aws-too', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max from postmeter.destination;
             update postmeter.subscription set destination_id = (select id from postmeter.destination where name = 'aws-too') where org like '%1';
             insert into postmeter.dimension (destination_id, product, metric, name)
             select id, 'db', 'cores', 'cores' from postmeter.destination where name = 'aws-too'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    let second = stage.another_worker().await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    loop {
        let (one, two) = tokio::join!(stage.worker.send(), second.send());
        if one.unwrap() + two.unwrap() == 0 {
            break;
        }
    }
    assert_eq!(stage.value("select count(*)::text from postmeter.remittance where status = 'accepted'").await, "40");
    assert_eq!(stage.aws.counters().errors.get("ThrottlingException"), None, "no call was throttled");
    stage.close().await;
}

/// How many seconds ahead the slots of the quota are given away, at most so many.
async fn slots_end_within(stage: &Stage, seconds: u32) -> String {
    let ahead =
        format!("select (next_slot_at <= clock_timestamp() + interval '{seconds} seconds')::text from postmeter.quota");
    stage.value(&ahead).await
}

#[tokio::test]
async fn d12_nothing_is_claimed_long_before_its_slot() {
    let stage = many(40).await;
    stage
        .sql("update postmeter.quota set calls_per_second = 4; update postmeter.destination set in_flight_max = 30")
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    // each goes alone, as the records of a refused batch do
    stage.sql("update postmeter.delivery set batch_limit = 1").await;
    stage.worker.send().await.unwrap();
    assert_eq!(slots_end_within(&stage, 2).await, "true");
    let first = stage.aws.calls().len();
    assert!((1..=8).contains(&first), "two seconds' worth of calls, not all that may be in hand: {first}");
    let handed_back = "select count(*)::text from postmeter.delivery where status = 'in_flight'";
    assert_eq!(stage.value(handed_back).await, "0", "the rest is handed back for whoever has a slot");
    stage.close().await;
}

#[tokio::test]
async fn d12_slots_that_were_given_away_for_hours_are_not_waited_for() {
    let stage = many(10).await;
    stage
        .sql("update postmeter.quota set calls_per_second = 40, next_slot_at = clock_timestamp() + interval '3 hours'")
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    assert!(stage.worker.send().await.unwrap() > 0);
    assert_eq!(slots_end_within(&stage, 10).await, "true");
    stage.close().await;
}

#[tokio::test]
async fn d12_the_slowest_quota_is_a_limit_too() {
    let stage = many(10).await;
    stage
        .sql("update postmeter.quota set calls_per_second = 0.0000000000001; update postmeter.destination set records_max = 1")
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.worker.send().await.unwrap();
    assert_eq!(stage.aws.calls().len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn d12_a_quota_that_is_locked_is_kept_by_the_worker_itself() {
    let stage = many(40).await;
    stage
        .sql("update postmeter.quota set calls_per_second = 4; update postmeter.destination set records_max = 1, in_flight_max = 30")
        .await;
    stage.worker.reload().await.unwrap();
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.quota for no key update").await.unwrap();
    stage.worker.send().await.unwrap();
    holder.batch_execute("rollback").await.unwrap();
    let calls = stage.aws.calls();
    assert!((1..=8).contains(&calls.len()), "{}", calls.len());
    let apart = calls.windows(2).map(|pair| pair[1].elapsed_us - pair[0].elapsed_us);
    assert!(apart.clone().all(|apart| apart > 150_000), "four a second: {:?}", apart.collect::<Vec<_>>());
    stage.close().await;
}

#[tokio::test]
async fn i6_no_secret_is_in_the_ledger() {
    let stage = many(1).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(400).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.work_at("2024-09-18T11:12:00Z").await;
    let leaks = "select count(*)::text from postmeter.attempt_ledger a, postmeter.delivery d
                 where concat(a.code, a.excerpt, a.receipt, d.body) ~ 'a-secret-that-must-not-leak|AKIDTEST|Signature='";
    assert_eq!(stage.value(leaks).await, "0");
    stage.close().await;
}
