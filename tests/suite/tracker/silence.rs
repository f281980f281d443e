//! H5 and H10: who is silent is seen, however much others say; and nobody is called silent for what they did not do.

use outbox::requests::gather;
use outbox::track::NewStatus;
use tests::{TestDatabase, t};

use super::{at, record, tracker, value};

async fn said(db: &TestDatabase, now: &str, words: &[(&str, &str, &str)]) {
    at(db, now).await;
    let of = |(service, request, status): &(&str, &str, &str)| {
        let mut said = NewStatus::new(service, request, status);
        said.date = Some(now.parse().unwrap());
        said
    };
    record(db, &words.iter().map(of).collect::<Vec<_>>()).await;
    gather(&db.database).await.unwrap();
}

const UNFINISHED: &str =
    "select coalesce(string_agg(format('%s %s', request_id, silent_for), ', ' order by request_id), '')
                          from postmeter.unfinished_request";
const SILENT: &str =
    "select coalesce(string_agg(format('%s %s/%s %s %s', service, came_due_unfinished, came_due, old, is_silent),
                          ', ' order by place), '') from postmeter.silent_service";

#[tokio::test]
async fn h5_a_service_that_hangs_is_unfinished_while_others_go_on_talking() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    said(&db, "2026-03-10T10:00:00Z", &[("hung", "r-1", "received")]).await;
    for hour in 10..20 {
        said(&db, &format!("2026-03-10T{hour}:50:00Z"), &[("beat", "r-1", "success"), ("beat", "r-1", "processing")])
            .await;
    }
    assert_eq!(value(&db, UNFINISHED).await, "r-1 09:50:00");
    // who is at work in the same request is not silent
    assert_eq!(value(&db, SILENT).await, "hung 0/0 0 f");
    said(&db, "2026-03-11T11:30:00Z", &[("beat", "r-1", "success")]).await;
    assert_eq!(value(&db, SILENT).await, "hung 0/0 1 t", "beyond the age");
    said(&db, "2026-03-11T11:31:00Z", &[("hung", "r-1", "success")]).await;
    assert_eq!(value(&db, UNFINISHED).await, "");
}

#[tokio::test]
async fn h10_a_service_that_never_spoke_is_overdue_while_others_go_on_talking() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let route = "insert into postmeter.route (after, status, service, within) values ('ingress', 'success', 'never', '10 minutes')";
    db.client.execute(route, &[]).await.unwrap();
    said(&db, "2026-03-10T10:00:00Z", &[("ingress", "r-1", "success")]).await;
    for hour in 10..20 {
        said(&db, &format!("2026-03-10T{hour}:50:00Z"), &[("beat", "r-1", "success")]).await;
    }
    assert_eq!(value(&db, UNFINISHED).await, "r-1 09:40:00");
    said(&db, "2026-03-11T10:30:00Z", &[("beat", "r-1", "success")]).await;
    assert_eq!(value(&db, SILENT).await, "never 0/0 1 t");
}

/// What came due and what of it is unfinished are counted by the same words: those of the service.
#[tokio::test]
async fn h10_later_words_of_others_make_no_share_of_what_is_unfinished() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let all: Vec<String> = (0..200).map(|n| format!("r-{n}")).collect();
    let of = |service, status, some: &[String]| -> Vec<NewStatus> {
        some.iter().map(|request| NewStatus::new(service, request, status)).collect()
    };
    record(&db, &of("puptoo", "received", &all)).await;
    record(&db, &of("puptoo", "success", &all[5..])).await;
    gather(&db.database).await.unwrap();
    at(&db, "2026-03-10T12:00:00Z").await;
    record(&db, &of("beat", "success", &all)).await;
    gather(&db.database).await.unwrap();
    at(&db, "2026-03-10T13:00:01Z").await;
    assert_eq!(value(&db, SILENT).await, "puptoo 0/0 0 f", "its hour was two hours ago");
    at(&db, "2026-03-10T11:00:01Z").await;
    assert_eq!(value(&db, SILENT).await, "puptoo 5/200 0 f");
}

#[tokio::test]
async fn h10_a_new_route_awaits_nobody_for_what_was_handed_over_before_it() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    said(&db, "2026-03-10T10:00:00Z", &[("ingress", "old", "success")]).await;
    at(&db, "2026-03-10T10:30:00Z").await;
    let route = "insert into postmeter.route (after, status, service, within) values ('ingress', 'success', 'new', '10 minutes')";
    db.client.execute(route, &[]).await.unwrap();
    while gather(&db.database).await.unwrap() > 0 {}
    let open = "select coalesce(string_agg(request_id, ' '), '') from postmeter.request where outcome = 'open'";
    assert_eq!(value(&db, open).await, "");
    said(&db, "2026-03-10T10:31:00Z", &[("ingress", "new", "success")]).await;
    assert_eq!(value(&db, open).await, "new");
    // a feed that lags brings the answer, too: nobody is late before it was heard of
    let mut late = NewStatus::new("ingress", "lagging", "success");
    late.date = Some("2026-03-10T10:05:00Z".parse().unwrap());
    record(&db, &[late]).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, UNFINISHED).await, "");
}

#[tokio::test]
async fn h11_seconds_of_services_are_those_of_the_latest_requests() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut said = Vec::new();
    for n in 1..=20_i64 {
        for (service, status, second) in
            [("ingress", "received", 0), ("ingress", "success", n), ("puptoo", "received", 2), ("puptoo", "error", 9)]
        {
            let mut one = NewStatus::new(service, &format!("r-{n}"), status);
            one.date = Some(t("2026-03-10T09:00:00Z") + jiff::SignedDuration::from_secs(second));
            said.push(one);
        }
    }
    record(&db, &said).await;
    gather(&db.database).await.unwrap();
    let sql = std::fs::read_to_string("../sql/queries/measure_service_seconds.sql").unwrap();
    let rows = db.client.query(&sql, &[]).await.unwrap();
    let told: Vec<serde_json::Value> = rows.iter().map(|row| row.get(0)).collect();
    let expected = serde_json::json!({"service": "ingress", "median": 10.5, "p95": 19.05});
    assert_eq!(told, [expected], "a failure is no success, however long it took");
}

/// A producer can invent services, as many as it likes.
#[tokio::test]
async fn h10_invented_services_push_no_known_one_out_of_the_alert() {
    let db = tracker("2026-03-08T10:00:00Z").await;
    let of = |service: &str, request: String, status| NewStatus::new(service, &request, status);
    let known: Vec<_> = (0..50).map(|n| of("puptoo", format!("ok-{n}"), "success")).collect();
    record(&db, &known).await;
    record(&db, &[of("puptoo", "hung".to_owned(), "received")]).await;
    let invented: Vec<_> = (0..600).map(|n| of(&format!("a{}", n % 150), format!("x-{n}"), "received")).collect();
    record(&db, &invented).await;
    gather(&db.database).await.unwrap();
    at(&db, "2026-03-10T12:00:00Z").await;
    for query in ["alert_requests_never_finished", "measure_silent"] {
        let sql = std::fs::read_to_string(format!("../sql/queries/{query}.sql")).unwrap();
        let rows = db.client.query(&sql, &[]).await.unwrap();
        let texts: Vec<String> = rows
            .iter()
            .map(|row| row.try_get::<_, String>(0).unwrap_or_else(|_| row.get::<_, serde_json::Value>(0).to_string()))
            .collect();
        assert_eq!(texts.len(), 100, "{query}");
        assert!(texts.iter().any(|text| text.contains("puptoo")), "{query}");
        assert!(texts.iter().any(|text| text.contains("other services")), "{query}: what was left out is named");
    }
}
