//! D: what goes out to Azure from the database, and what its answers do there.

use std::process::Stdio;
use std::time::Duration;

use jiff::civil::date;
use marketplaces::Marketplace;
use marketplaces::azure::Azure;
use serde_json::json;
use simulator::{AzureClient, AzureResource, AzureSettings, AzureStatus, FaultKind, FaultRule, Match, When};
use tests::{Stage, aws_with_test_keys, azure_test_client, q, t};

pub fn resource(number: usize) -> String {
    format!("11112222-3333-4444-5555-{number:012}")
}

/// A stage with an Azure destination, to which so many orgs with one core of 10:00 each are subscribed.
pub async fn many(orgs: usize, single: bool) -> Stage {
    let stage = Stage::bare().await;
    let settings =
        json!({ "endpoint": stage.aws.url(), "token_endpoint": stage.aws.url(), "profile": "test", "single": single });
    let records_max = if single { 1 } else { 25 };
    stage
        .sql(&format!(
            "with q as (insert into postmeter.quota (name) values ('azure') returning id)
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max)
             select 'azure', 'azure', '{settings}', q.id, '24 hours', {records_max}, 250000 from q;
             insert into postmeter.dimension (destination_id, product, metric, name, decimals)
             select id, 'db', 'cores', 'cores', 6 from postmeter.destination where name = 'azure'"
        ))
        .await;
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..orgs {
        subscribe(&stage, &format!("org{n}"), n, "gold", "2024-01-01", None).await;
        stage.record(&format!("e{n}"), &format!("org{n}"), "cores", "1.25", "2024-09-18T10:10:00Z").await;
    }
    stage
}

async fn subscribe(stage: &Stage, org: &str, number: usize, plan: &str, from: &str, until: Option<&str>) {
    let identity = json!({ "resource_id": resource(number), "plan_id": plan });
    let until = until.map_or("null".to_owned(), |until| format!("'{until}'"));
    stage
        .sql(&format!(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from, valid_until)
             select '{org}', 'db', id, '{identity}', '{from}', {until} from postmeter.destination where name = 'azure'"
        ))
        .await;
    stage.worker.reload().await.unwrap();
}

/// Changes the rules of the simulated marketplace.
pub fn rules(stage: &Stage, change: impl FnOnce(&mut AzureSettings)) {
    let mut settings = stage.aws.settings();
    change(&mut settings.azure);
    stage.aws.set_settings(settings);
}

/// How many remittances stand where: `accepted 2`.
pub async fn standings(stage: &Stage) -> Vec<String> {
    stage.column("select status || ' ' || count(*) from postmeter.remittance group by status order by status").await
}

/// Lets time pass until a remittance stands there; the breaker's pause is real time.
pub async fn work_until(stage: &Stage, standing: &str) {
    tests::wait_until(standing, async || {
        stage.work().await;
        standings(stage).await == [standing]
    })
    .await;
}

/// The same destination, to do at the marketplace what somebody else might.
fn somebody_else(stage: &Stage) -> Azure {
    let settings = json!({ "endpoint": stage.aws.url(), "token_endpoint": stage.aws.url(), "profile": "test" });
    Azure::open_with(&settings, azure_test_client()).unwrap()
}

async fn report(azure: &Azure, number: usize, hour: &str, quantity: &str) {
    let identity = json!({ "resource_id": resource(number), "plan_id": "gold" });
    let (hour, quantity, idempotency_key) = (t(hour), q(quantity), uuid::Uuid::nil());
    let record = marketplaces::Record {
        identity: &identity,
        product: "db",
        dimension: "cores",
        hour,
        ends: None,
        quantity,
        shares: &[],
        decimals: 6,
        idempotency_key,
    };
    let marketplaces::Frozen { body, batch_group } = azure.freeze(&record).unwrap();
    let parcel = marketplaces::OutgoingRecord { body, batch_group, quantity, idempotency_key };
    let answers = azure.submit(&[parcel], Duration::from_secs(20)).await;
    assert_eq!(answers[0].outcome, remittance::Outcome::Accepted);
}

#[tokio::test]
async fn d4_usage_of_27_resources_goes_out_in_two_calls_and_is_settled() {
    let stage = many(27, false).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 27"]);
    let mut sizes: Vec<usize> = stage.aws.calls().iter().map(|call| call.records.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 25]);
    assert!(stage.accepted().iter().all(|accepted| accepted == "18T10 1.25"));
    let receipts = stage.column("select receipt from postmeter.attempt_ledger order by receipt").await;
    let mut theirs: Vec<String> = stage.aws.record().iter().map(|held| held.receipt.to_string()).collect();
    theirs.sort();
    assert_eq!(receipts, theirs);
    let ids = stage.column("select distinct split_part(their_request_id, '/', 1) from postmeter.attempt_ledger").await;
    assert!(stage.aws.calls().iter().all(|call| ids.contains(&call.request_id.to_string())), "{ids:?}");
    stage.close().await;
}

#[tokio::test]
async fn d4_a_duplicate_with_our_quantity_is_accepted_and_with_another_a_conflict_that_shows_both() {
    for single in [false, true] {
        let stage = many(2, single).await;
        stage.at("2024-09-18T11:01:00Z").await;
        let other = somebody_else(&stage);
        report(&other, 0, "2024-09-18T10:00:00Z", "1.25").await;
        report(&other, 1, "2024-09-18T10:00:00Z", "9").await;
        stage.cut_at("2024-09-18T11:10:00Z").await;
        let shown = "select status || ' ' || trim_scale(quantity) || ' ' || trim_scale(shown_quantity) from postmeter.remittance order by status";
        assert_eq!(stage.column(shown).await, ["accepted 1.25 1.25", "conflict 1.25 9"]);
        stage.close().await;
    }
}

#[tokio::test]
async fn d4_one_resource_that_is_not_ours_is_held_and_the_others_are_accepted() {
    let stage = many(3, false).await;
    rules(&stage, |azure| {
        let of = |number, client: Option<&str>| AzureResource {
            resource: resource(number),
            client: client.map(str::to_owned),
            ..AzureResource::default()
        };
        azure.resources = Some(vec![of(0, None), of(1, Some("another-app")), of(2, None)]);
    });
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 2", "held 1"]);
    let held = "select status || ' ' || code from postmeter.attempt_ledger where status = 'held'";
    assert_eq!(stage.column(held).await, ["held ResourceNotAuthorized"]);
    stage.close().await;
}

#[tokio::test]
async fn d4_a_400_is_read_as_expired_not_subscribed_or_rejected() {
    for (fault, standing) in
        [("Expired", "expired 1"), ("ResourceNotActive", "held 1"), ("InvalidDimension", "rejected 1")]
    {
        let stage = many(1, true).await;
        stage.aws.add_fault(FaultRule::new(FaultKind::RefuseRecord).error(fault)).unwrap();
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(standings(&stage).await, [standing]);
        assert_eq!(
            stage.column("select code || ' ' || http_status from postmeter.attempt_ledger").await,
            [format!("{fault} 400")]
        );
        stage.close().await;
    }
    let stage = many(1, true).await;
    rules(&stage, |azure| {
        azure.resources = Some(vec![AzureResource {
            resource: resource(0),
            status: AzureStatus::Suspended,
            ..AzureResource::default()
        }]);
    });
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["held 1"]);
    assert_eq!(stage.value("select code from postmeter.attempt_ledger").await, "NotSubscribed");
    stage.close().await;
}

#[tokio::test]
async fn d4_a_status_nobody_knows_holds_that_record_alone() {
    let stage = many(3, false).await;
    rules(&stage, |azure| azure.error_word = "UnderReview".to_owned());
    let one = Match { customer: Some(resource(1)), ..Match::default() };
    stage.aws.add_fault(FaultRule::new(FaultKind::Unprocessed).matching(one)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 2", "held 1"]);
    let held = "select reason || ' ' || maybe_billed from postmeter.remittance where status = 'held'";
    assert_eq!(stage.column(held).await, ["unrecognised_answer true"]);
    assert_eq!(stage.value("select code from postmeter.attempt_ledger where status = 'held'").await, "UnderReview");
    stage.close().await;
}

#[tokio::test]
async fn e1_an_answer_that_was_lost_is_unknown_and_the_same_bytes_show_that_it_was_billed_once() {
    for single in [false, true] {
        let stage = many(1, single).await;
        stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).when(When::After).times(1)).unwrap();
        stage.cut_at("2024-09-18T11:10:00Z").await;
        assert_eq!(stage.column("select status || ' ' || maybe_billed from postmeter.remittance").await, ["due true"]);
        stage.work_at("2024-09-18T11:12:00Z").await;
        assert_eq!(
            stage.column("select outcome || coalesce(' ' || trim_scale(shown_quantity), '') from postmeter.attempt_ledger order by number").await,
            ["unknown", "duplicate 1.25"]
        );
        assert_eq!(standings(&stage).await, ["accepted 1"]);
        assert_eq!(stage.accepted(), ["18T10 1.25"]);
        stage.close().await;
    }
}

#[tokio::test]
async fn e12_accepted_without_an_answer_and_then_expired_stays_maybe_billed() {
    let stage = many(1, false).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::LoseResponse).when(When::After).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    rules(&stage, |azure| azure.max_age_hours = 1);
    stage.work_at("2024-09-18T11:12:00Z").await;
    assert_eq!(stage.column("select status || ' ' || maybe_billed from postmeter.remittance").await, ["unknown true"]);
    assert_eq!(stage.value("select code from postmeter.attempt_ledger order by number desc limit 1").await, "Expired");
    stage.close().await;
}

#[tokio::test]
async fn d9_a_secret_that_expires_in_mid_run_burns_no_try_and_work_resumes_by_itself() {
    let stage = many(1, false).await;
    let secret = |secret: &str| {
        let client = AzureClient { secret: secret.to_owned(), ..AzureClient::default() };
        rules(&stage, |azure| azure.clients = [("app-test".to_owned(), client)].into());
    };
    secret("a-secret-that-must-not-leak");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 1"]);
    secret("another");
    stage.record("later", "org0", "cores", "2", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 1", "due 1"]);
    assert_eq!(
        stage.column("select distinct outcome from postmeter.attempt_ledger where status = 'due'").await,
        ["unauthorised"]
    );
    assert_eq!(stage.value("select max(tries)::text from postmeter.remittance where status = 'due'").await, "0");
    secret("a-secret-that-must-not-leak");
    stage.at("2024-09-18T12:12:00Z").await;
    work_until(&stage, "accepted 2").await;
    stage.close().await;
}

#[tokio::test]
async fn b12_a_changed_plan_continues_the_meter_and_goes_out_with_its_hour() {
    let stage = many(0, false).await;
    stage.sql("update postmeter.dimension set decimals = 0 where name = 'cores'").await;
    let change = "2024-09-18T11:00:00Z";
    subscribe(&stage, "acme", 1, "gold", "2024-01-01", Some(change)).await;
    subscribe(&stage, "acme", 1, "silver", change, None).await;
    stage.record("one", "acme", "cores", "0.5", "2024-09-18T10:10:00Z").await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.record("two", "acme", "cores", "1", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1"]);
    let plans = "select (body ~ 'gold')::text from postmeter.delivery where body is not null order by hour";
    assert_eq!(stage.column(plans).await, ["true", "false"]);
    stage.close().await;
}

#[tokio::test]
async fn d5_the_marketplace_tells_what_it_holds_of_a_day_beside_our_ledger() {
    let stage = many(2, false).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    report(&somebody_else(&stage), 7, "2024-09-18T09:00:00Z", "3").await;
    let settings: serde_json::Value = serde_json::from_str(
        &stage.value("select settings::text from postmeter.destination where name = 'azure'").await,
    )
    .unwrap();
    let azure = aws_with_test_keys("azure", &settings).unwrap();
    let mut theirs = azure.reported(date(2024, 9, 18), Duration::from_secs(20)).await.unwrap();
    theirs.sort_by(|one, other| one.buyer.cmp(&other.buyer));
    let theirs: Vec<String> =
        theirs.iter().map(|day| format!("{} {} {}", day.buyer, day.dimension, day.quantity)).collect();
    let ours = "select buyer || ' ' || dimension || ' ' || trim_scale(quantity) from postmeter.remittance where status = 'accepted' order by buyer";
    let ours = stage.column(ours).await;
    assert_eq!(ours, theirs[..2], "in the same words");
    assert_eq!(theirs[2..], [format!("azure/{} cores 3", resource(7))]);
}

/// Runs `postmeter reconcile azure --day 2024-09-18 --json`; returns exit code and `verdict difference` of each key.
async fn reconcile(stage: &Stage) -> (i32, Vec<String>) {
    let mut command = tests::postmeter(&stage.db.url());
    command.args(["reconcile", "azure", "--day", "2024-09-18", "--who", "ada", "--json"]);
    command.env("POSTMETER_AZURE_TEST_TENANT_ID", "contoso.example");
    command.env("POSTMETER_AZURE_TEST_CLIENT_ID", "app-test");
    command.env("POSTMETER_AZURE_TEST_CLIENT_SECRET", "a-secret-that-must-not-leak");
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    let line = |row: &serde_json::Value| format!("{} {}", row["verdict"], row["difference"]).replace('"', "");
    (ran.status.code().unwrap(), rows.iter().map(line).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_reconcile_finds_what_they_lost_and_what_we_do_not_know_and_sends_nothing() {
    let stage = many(2, false).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(reconcile(&stage).await, (0, vec!["equal 0".to_owned(), "equal 0".to_owned()]));
    // they forget everything but what somebody else sent since: another key, and another quantity under one of ours
    let now = stage.aws.clock();
    stage.aws.reset();
    stage.aws.set_clock(now);
    report(&somebody_else(&stage), 7, "2024-09-18T09:00:00Z", "3").await;
    report(&somebody_else(&stage), 1, "2024-09-18T09:00:00Z", "2").await;
    let (code, rows) = reconcile(&stage).await;
    assert_eq!((code, rows), (3, ["theirs_alone 3", "ours_alone -1.25", "quantity 0.75"].map(str::to_owned).to_vec()));
    assert_eq!(stage.aws.record().len(), 2, "differences are rows, never sends");
    assert_eq!(stage.value("select count(*)::text from postmeter.reconciliation where who = 'ada'").await, "2");
    let asked = "select string_agg(verdict, ' ' order by verdict) from postmeter.reconciled";
    assert_eq!(stage.value(asked).await, "ours_alone quantity theirs_alone", "the latest answer counts");
}

#[tokio::test]
async fn i6_no_secret_of_azure_is_in_the_ledger() {
    let stage = many(1, false).await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(400).times(1)).unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.work_at("2024-09-18T11:12:00Z").await;
    assert_eq!(standings(&stage).await, ["accepted 1"]);
    let leaks = "select count(*)::text from postmeter.attempt_ledger a, postmeter.delivery d
                 where concat(a.code, a.excerpt, a.receipt, d.body) ~ 'a-secret-that-must-not-leak|app-test|Bearer|sim[.]'";
    assert_eq!(stage.value(leaks).await, "0");
    stage.close().await;
}

#[tokio::test]
async fn d9_the_command_reads_the_profile_that_the_settings_name_and_no_other() {
    let stage = many(1, false).await;
    let client = AzureClient { tenant: Some("contoso.example".to_owned()), secret: "mounted-secret".to_owned() };
    rules(&stage, |azure| azure.clients = [("app-main".to_owned(), client)].into());
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage.sql("update postmeter.worker set stopped_at = now(), reaped_at = now()").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "mounted-secret\n").unwrap();
    let worker = |profile: &str| {
        let mut command = tests::postmeter(&stage.db.url());
        command.arg("worker");
        command.env("POSTMETER_WORKER_POLL_MS", "20").env("POSTMETER_TEST_LEASE_SECONDS", "2");
        command.env(format!("POSTMETER_AZURE_{profile}_TENANT_ID"), "contoso.example");
        command.env(format!("POSTMETER_AZURE_{profile}_CLIENT_ID"), "app-main");
        command.env(format!("POSTMETER_AZURE_{profile}_CLIENT_SECRET_FILE"), file.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let missing = "no_credentials credentials_not_loaded";
    for (profile, time, expected) in [("OTHER", "11:10", missing), ("TEST", "11:20", "accepted")] {
        stage.at(&format!("2024-09-18T{time}:00Z")).await;
        let mut child = worker(profile);
        let ended = "select concat_ws(' ', outcome, code) from postmeter.attempt_ledger where outcome <> 'open' order by number desc limit 1";
        tests::wait_until(format_args!("{profile}: {expected}"), async || stage.value(ended).await == expected).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(stage.accepted(), ["18T10 1.25"]);
}
