//! H1: one request's way.

use outbox::NewUsage;
use outbox::requests::{Page, RequestFilter, RequestSort, requests, way};
use outbox::track::NewStatus;
use remittance::request::{Durations, hours_minutes_seconds};
use tests::{Stage, q, t};

use super::{at, record, said, tracker, value};

/// The scripted scenario of the original's load test: eleven messages.
fn scenario(request: &str) -> Vec<NewStatus> {
    let script = [
        ("ingress", "", "received", "0.0"),
        ("ingress", "", "processing", "0.2"),
        ("ingress", "", "success", "0.5"),
        ("ingress", "", "announced", "0.6"),
        ("advisor-pup", "", "received", "1.0"),
        ("advisor-pup", "inventory", "success", "9.0"),
        ("insights-advisor-service", "", "received", "10.0"),
        ("insights-advisor-service", "insights-client", "processing", "11.0"),
        ("insights-advisor-service", "insights-client", "success", "12.0"),
        ("insights-advisor-service", "vulnerability", "processing", "13.0"),
        ("insights-advisor-service", "vulnerability", "success", "14.5"),
    ];
    let start = t("2026-03-10T09:00:00Z");
    script
        .map(|(service, source, status, after)| {
            let mut message = NewStatus::new(service, request, status);
            message.source = (!source.is_empty()).then(|| source.to_owned());
            let after: f64 = after.parse().unwrap();
            message.date = Some(start + jiff::SignedDuration::from_millis((after * 1000.0) as i64));
            message
        })
        .to_vec()
}

#[tokio::test]
async fn h1_a_request_is_found_by_each_of_its_ids_in_order_and_with_its_times() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut messages = scenario("r-1");
    messages[0].org = Some("acme".to_owned());
    messages[0].account = Some("first".to_owned());
    messages[5].inventory_id = Some("inv-1".to_owned());
    messages[6].system_id = Some("sys-1".to_owned());
    messages[6].account = Some("second".to_owned());
    // an empty text says nothing, and does not wipe what is known
    messages[10].org = Some(String::new());
    messages.reverse();
    record(&db, &messages).await;
    record(&db, &scenario("r-2")).await;

    let found = way(&db.database, "r-1").await.unwrap().expect("r-1");
    let dates: Vec<_> = found.said.iter().map(|said| said.date).collect();
    assert!(dates.is_sorted() && dates.len() == 11);
    let durations = Durations::of(found.said.iter().map(|said| remittance::request::StatusTiming {
        service: &said.service,
        source: &said.source,
        date: said.date,
    }));
    let per: Vec<_> = durations
        .per_service
        .iter()
        .map(|(name, length)| format!("{name} {}", hours_minutes_seconds(*length)))
        .collect();
    assert_eq!(
        per,
        [
            "advisor-pup:inventory 00:00:00.000000",
            "advisor-pup:undefined 00:00:00.000000",
            "ingress:undefined 00:00:00.600000",
            "insights-advisor-service:insights-client 00:00:01.000000",
            "insights-advisor-service:undefined 00:00:00.000000",
            "insights-advisor-service:vulnerability 00:00:01.500000",
        ]
    );
    assert_eq!(hours_minutes_seconds(durations.in_services), "00:00:03.100000");
    assert_eq!(hours_minutes_seconds(durations.total), "00:00:14.500000");
    let request = found.request.unwrap();
    assert_eq!(
        (request.org.as_str(), request.account.as_str(), request.inventory_id.as_str(), request.system_id.as_str()),
        ("acme", "second", "inv-1", "sys-1")
    );
    assert_eq!((request.outcome.as_str(), request.open_services.len()), ("succeeded", 0));

    let page = Page { sort: RequestSort::CreatedAt, descending: true, offset: 0, limit: 10 };
    let some = |text: &str| Some(text.to_owned());
    for filter in [
        RequestFilter { org: some("acme"), ..RequestFilter::default() },
        RequestFilter { account: some("second"), ..RequestFilter::default() },
        RequestFilter { inventory_id: some("inv-1"), ..RequestFilter::default() },
        RequestFilter { system_id: some("sys-1"), ..RequestFilter::default() },
    ] {
        let listed = requests(&db.database, &filter, &page).await.unwrap();
        assert_eq!(listed.count, 1, "{filter:?}");
        assert_eq!(listed.rows[0].request_id, "r-1", "{filter:?}");
    }
    let first = RequestFilter { account: some("first"), ..RequestFilter::default() };
    assert_eq!(requests(&db.database, &first, &page).await.unwrap().count, 0, "it is second's now");
}

#[tokio::test]
async fn h1_outcome_says_who_failed_and_why_and_a_second_try_that_succeeds_ends_it() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let outcome =
        "select format('%s %s %s %s', outcome, failed_service, failure, open_services) from postmeter.request";
    let mut steps = Vec::new();
    let mut failed = said("puptoo r-1 error 2026-03-10T09:00:03Z");
    failed.status_msg = Some("no space".to_owned());
    for message in [
        said("ingress r-1 received 2026-03-10T09:00:00Z"),
        said("ingress r-1 success 2026-03-10T09:00:01Z"),
        said("puptoo r-1 received 2026-03-10T09:00:02Z"),
        failed,
        said("puptoo r-1 processing 2026-03-10T09:00:04Z"),
        said("puptoo r-1 success 2026-03-10T09:00:05Z"),
    ] {
        record(&db, &[message]).await;
        outbox::requests::gather(&db.database).await.unwrap();
        steps.push(value(&db, outcome).await);
    }
    assert_eq!(
        steps,
        [
            "open   {ingress}",
            "succeeded   {}",
            "open   {puptoo}",
            "failed puptoo no space {}",
            "failed puptoo no space {}",
            "succeeded   {}"
        ]
    );
}

#[tokio::test]
async fn h1_received_and_never_finished_is_one_view() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &scenario("finished")).await;
    record(&db, &scenario("stuck")[..7]).await;
    let unfinished =
        "select coalesce(string_agg(request_id || ' ' || open_services::text || ' ' || silent_for, ', '), '')
                      from postmeter.unfinished_request";
    outbox::requests::gather(&db.database).await.unwrap();
    assert_eq!(value(&db, unfinished).await, "", "an hour has not passed");
    at(&db, "2026-03-10T11:00:00Z").await;
    assert_eq!(value(&db, unfinished).await, "", "exactly an hour is not more");
    at(&db, "2026-03-10T11:00:01Z").await;
    assert_eq!(value(&db, unfinished).await, "stuck {insights-advisor-service} 01:00:01");
    record(&db, &[said("insights-advisor-service stuck error")]).await;
    outbox::requests::gather(&db.database).await.unwrap();
    assert_eq!(value(&db, unfinished).await, "", "it ended, badly");
}

#[tokio::test]
async fn h1_postmeters_own_steps_run_from_receipt_to_the_marketplaces_answer() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let id = "8B7D3A52-0b1c-4e5f-9a6b-7c8d9e0f1a2b";
    let mut usage = NewUsage::new("shop", "job-1", "acme", "db", "cores", q("3"), t("2024-09-18T10:10:00Z"));
    usage.request_id = Some(id.to_owned());
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    outbox::record_usage(&transaction, &usage).await.unwrap();
    transaction.commit().await.unwrap();
    let steps = async || -> Vec<String> {
        let way =
            way(&stage.db.database, &id.replace('-', "").to_lowercase()).await.unwrap().expect("known by its usage");
        assert!(way.request.is_none() && way.said.is_empty());
        way.steps.iter().map(|step| format!("{}:{} {}", step.service, step.source, step.status)).collect()
    };
    assert_eq!(steps().await, ["postmeter: received"]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(
        steps().await,
        ["postmeter: received", "postmeter:aws processing", "postmeter:aws sent", "postmeter:aws success"]
    );
    stage.close().await;
}

#[tokio::test]
async fn h1_an_installation_that_tracks_no_requests_does_without_the_index_of_usage() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let mut usage = NewUsage::new("shop", "job-1", "acme", "db", "cores", q("3"), t("2024-09-18T10:10:00Z"));
    usage.request_id = Some("job-1".to_owned());
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    outbox::record_usage(&transaction, &usage).await.unwrap();
    transaction.commit().await.unwrap();
    let index =
        async |wanted: bool| value(&stage.db, &format!("select postmeter.index_requests({wanted})::text")).await;
    let indexes = "select count(*)::text from pg_index i where i.indrelid in (select inhrelid from pg_inherits
                       where inhparent = 'postmeter.usage'::regclass)
                   and pg_get_indexdef(i.indexrelid) like '%request_key_of%'";
    let scans = "select coalesce(sum(seq_scan), 0)::text from pg_stat_xact_user_tables where relname like 'usage%'";
    assert_eq!(index(true).await, "false", "a new installation has it");
    assert_ne!(value(&stage.db, indexes).await, "0");

    assert_eq!(index(false).await, "true");
    assert_eq!(index(false).await, "false");
    assert_eq!(value(&stage.db, indexes).await, "0", "no partition keeps one");
    stage.db.client.batch_execute("begin; set local enable_seqscan = on").await.unwrap();
    let before = value(&stage.db, scans).await;
    assert_eq!(value(&stage.db, "select count(*)::text from postmeter.request_steps('job-1')").await, "0");
    assert_eq!(value(&stage.db, scans).await, before, "usage is not read whole instead");
    stage.db.client.batch_execute("commit").await.unwrap();
    assert!(way(&stage.db.database, "job-1").await.unwrap().is_none());

    assert_eq!(index(true).await, "true");
    let way = way(&stage.db.database, "job-1").await.unwrap().expect("found by its usage again");
    assert_eq!(way.steps.len(), 1);
    let worker = "set role postmeter_worker; select postmeter.index_requests(false)";
    let refused = stage.db.client.batch_execute(worker).await.expect_err("only the owner may");
    assert_eq!(refused.as_db_error().unwrap().code().code(), "42501");
    stage.close().await;
}

#[tokio::test]
async fn h1_a_flood_under_one_id_is_counted_and_does_not_slow_the_gatherer() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let start = t("2026-03-10T00:00:00Z");
    for round in 0..3_i64 {
        let statuses: Vec<_> = (0..900_i64)
            .map(|n| {
                let mut message = said("ingress flood received");
                message.date = Some(start + jiff::SignedDuration::from_secs(round * 900 + n));
                message
            })
            .collect();
        record(&db, &statuses).await;
        outbox::requests::gather(&db.database).await.unwrap();
    }
    assert_eq!(value(&db, "select format('%s %s %s', statuses, first_date at time zone 'UTC', last_date at time zone 'UTC') from postmeter.request").await,
        "2700 2026-03-10 00:00:00 2026-03-10 00:44:59");
}
