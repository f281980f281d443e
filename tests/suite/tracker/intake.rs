//! H2: what is recorded, and what is refused.

use outbox::track::{NewStatus, Tracked, track};
use tests::TestDatabase;

use super::{record, refusal, said, tracker, value};

const DASHED: &str = "8B7D3A52-0b1c-4e5f-9a6b-7c8d9e0f1a2b";
const UNDASHED: &str = "8b7d3a520b1c4e5f9a6b7c8d9e0f1a2b";

#[tokio::test]
async fn h2_dashed_and_undashed_uuids_are_the_same_request() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said(&format!("ingress {DASHED} received 2026-03-10T09:00:00Z"))]).await;
    record(&db, &[said(&format!("puptoo {UNDASHED} received 2026-03-10T09:00:01Z"))]).await;
    for id in [DASHED, UNDASHED, &UNDASHED.to_uppercase(), &DASHED.to_lowercase()] {
        let way = outbox::requests::way(&db.database, id).await.unwrap().expect(id);
        assert_eq!(way.said.len(), 2, "{id}");
        assert_eq!(way.request.unwrap().request_id, DASHED, "the form in which it was first recorded");
    }
    // a text that only looks like one stays what it is
    record(&db, &[said("a Job-4711 received"), said("a job-4711 received"), said("a job4711 received")]).await;
    assert_eq!(value(&db, "select count(distinct request_key)::text from postmeter.request_status").await, "4");
}

#[tokio::test]
async fn h2_a_missing_or_malformed_field_is_refused_by_name() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let call = |values: &str| format!("select postmeter.track({values})");
    let long = "repeat('x', 256)";
    for (values, refused) in [
        ("null, 'r', 's'", "23502 service service_missing"),
        ("'a', null, 's'", "23502 request_id request_id_missing"),
        ("'a', 'r', null", "23502 status status_missing"),
        ("'', 'r', 's'", "PM001 service service_length"),
        ("'a', '', 's'", "PM001 request_id request_id_length"),
        (&format!("'a', {long}, 's'"), "PM001 request_id request_id_length"),
        (&format!("'a', 'r', {long}"), "PM001 status status_length"),
        (&format!("'a', 'r', 's', source => {long}"), "PM001 source source_length"),
        (&format!("'a', 'r', 's', account => {long}"), "PM001 account account_length"),
        (&format!("'a', 'r', 's', org => {long}"), "PM001 org org_length"),
        (&format!("'a', 'r', 's', inventory_id => {long}"), "PM001 inventory_id inventory_id_length"),
        (&format!("'a', 'r', 's', system_id => {long}"), "PM001 system_id system_id_length"),
        ("'a', 'r', 's', status_msg => repeat('x', 8193)", "PM001 status_msg status_msg_length"),
        ("'a', 'r', 's', 'infinity'", "PM001 date date_range"),
        ("'a', 'r', 's', '-infinity'", "PM001 date date_range"),
        ("'a', 'r', 's', '10000-01-01Z'", "PM001 date date_range"),
    ] {
        assert_eq!(refusal(&db, &call(values)).await, refused, "{values}");
    }
    assert_eq!(refusal(&db, "select postmeter.track_batch('{}')").await, "PM001 statuses statuses_array");
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_status").await, "0");
}

#[tokio::test]
async fn h2_a_batch_gives_a_verdict_for_each_and_keeps_what_is_good() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let rows = db
        .client
        .query(
            r#"select verdict, coalesce(error_code, ''), coalesce(field, '') from postmeter.track_batch('[
                {"service": "A", "request_id": "r", "status": "S", "date": "2026-03-10T09:00:00Z"},
                {"service": "a", "request_id": "r"},
                {"service": "a", "request_id": "r", "status": "s", "date": "soon"},
                {"service": "a", "request_id": 7, "status": "s"},
                3,
                {"service": "a", "request_id": "r", "status": "s", "date": "2026-03-10T10:00:00+01:00"}]')"#,
            &[],
        )
        .await
        .unwrap();
    let verdicts: Vec<String> = rows
        .iter()
        .map(|row| [0, 1, 2].map(|column| row.get::<_, String>(column)).join(" ").trim_end().to_owned())
        .collect();
    assert_eq!(
        verdicts,
        ["recorded", "refused 23502 status", "refused 22007 date", "recorded", "refused PM001 statuses", "repeated"]
    );
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_news").await, "2");
}

#[tokio::test]
async fn h2_the_same_message_twice_is_one_row_and_any_difference_is_another() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let first = said("ingress r-1 received 2026-03-10T09:00:00Z");
    let twice = [first.clone(), first.clone()];
    assert_eq!(record(&db, &twice).await, [Tracked::Recorded, Tracked::Repeated]);
    assert_eq!(record(&db, &twice).await, [Tracked::Repeated, Tracked::Repeated]);
    let shouted = NewStatus { service: "INGRESS".to_owned(), status: "Received".to_owned(), ..first.clone() };
    assert_eq!(record(&db, &[shouted]).await, [Tracked::Repeated], "services and statuses are lower-cased");
    for other in [
        NewStatus { source: Some("s".to_owned()), ..first.clone() },
        NewStatus { status_msg: Some("m".to_owned()), ..first.clone() },
        NewStatus { org: Some("acme".to_owned()), ..first.clone() },
        NewStatus { account: Some("acme".to_owned()), ..first.clone() },
        NewStatus { inventory_id: Some("acme".to_owned()), ..first.clone() },
        NewStatus { system_id: Some("acme".to_owned()), ..first.clone() },
        NewStatus { date: Some("2026-03-10T09:00:00.000001Z".parse().unwrap()), ..first.clone() },
    ] {
        assert_eq!(record(&db, std::slice::from_ref(&other)).await, [Tracked::Recorded], "{other:?}");
    }
    outbox::requests::gather(&db.database).await.unwrap();
    assert_eq!(record(&db, &twice).await, [Tracked::Repeated, Tracked::Repeated]);
    assert_eq!(
        value(
            &db,
            "select format('%s %s', count(*), (select statuses from postmeter.request)) from postmeter.request_status"
        )
        .await,
        "8 8"
    );
}

/// Waits until so many sessions of this database wait for a lock.
async fn until_waiting(db: &TestDatabase, sessions: i64) {
    tests::until_locked(&db.client, sessions, || false).await;
}

#[tokio::test]
async fn h2_two_services_that_name_a_new_status_at_once_are_both_kept_and_do_not_wait() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let (mut one, mut other) = (db.connect().await, db.connect().await);
    let (first, second) = (one.transaction().await.unwrap(), other.transaction().await.unwrap());
    assert!(track(&first, &said("newcomer r-1 unheard-of")).await.unwrap());
    assert!(track(&second, &said("newcomer r-2 unheard-of")).await.unwrap(), "while the first has not ended");
    // not even for the same request
    assert!(track(&second, &said("newcomer r-1 heard-of")).await.unwrap());
    second.commit().await.unwrap();
    assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 2);
    first.commit().await.unwrap();
    assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 1);
    let counted = "select string_agg(status || ' ' || total, ', ' order by status) from postmeter.request_status_kind";
    assert_eq!(value(&db, counted).await, "heard-of 1, unheard-of 2");
    assert_eq!(
        value(&db, "select string_agg(request_id || ' ' || statuses, ', ' order by request_id) from postmeter.request")
            .await,
        "r-1 2, r-2 1"
    );
}

#[tokio::test]
async fn h2_the_same_message_from_two_at_once_is_one_row_also_when_the_first_rolls_back() {
    for first_commits in [true, false] {
        let db = tracker("2026-03-10T10:00:00Z").await;
        let mut client = db.connect().await;
        let first = client.transaction().await.unwrap();
        let message = said("ingress r-1 received 2026-03-10T09:00:00Z");
        assert!(track(&first, &message).await.unwrap());
        let mut other = db.connect().await;
        let second = tokio::spawn(async move {
            let transaction = other.transaction().await.unwrap();
            let fresh = track(&transaction, &said("ingress r-1 received 2026-03-10T09:00:00Z")).await.unwrap();
            transaction.commit().await.unwrap();
            fresh
        });
        until_waiting(&db, 1).await;
        if first_commits {
            first.commit().await.unwrap();
        } else {
            first.rollback().await.unwrap();
        }
        assert_eq!(second.await.unwrap(), !first_commits);
        assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 1);
        assert_eq!(value(&db, "select count(*)::text from postmeter.request_status").await, "1");
    }
}

#[tokio::test]
async fn h2_what_is_rolled_back_leaves_nothing() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut client = db.connect().await;
    let transaction = client.transaction().await.unwrap();
    track(&transaction, &said("ingress r-1 received")).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(outbox::requests::way(&db.database, "r-1").await.unwrap().is_none());
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_news").await, "0");
}

#[tokio::test]
async fn h2_gatherers_side_by_side_count_each_status_once() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let statuses: Vec<_> = (0..300).map(|n| said(&format!("service-{} r-{} received", n % 3, n % 100))).collect();
    record(&db, &statuses).await;
    let gatherers: Vec<_> = (0..6)
        .map(|_| {
            let database = db.another();
            tokio::spawn(async move { outbox::requests::gather(&database).await.unwrap() })
        })
        .collect();
    let mut gathered = 0;
    for gatherer in gatherers {
        gathered += gatherer.await.unwrap();
    }
    assert_eq!(gathered, 300);
    assert_eq!(
        value(
            &db,
            "select format('%s %s %s', (select sum(n) from postmeter.request_status_count),
        (select sum(statuses) from postmeter.request), (select sum(n) from postmeter.request_hour))"
        )
        .await,
        "300 300 100"
    );
}

#[tokio::test]
async fn h2_a_request_that_two_gatherers_meet_is_counted_once() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("ingress r-1 received"), said("puptoo r-1 received")]).await;
    let mut client = db.connect().await;
    let first = client.transaction().await.unwrap();
    first.execute("select postmeter.gather_requests(1)", &[]).await.unwrap();
    let other = db.another();
    let second = tokio::spawn(async move { outbox::requests::gather(&other).await.unwrap() });
    until_waiting(&db, 1).await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), 1);
    let counted = "select format('%s %s %s', (select statuses from postmeter.request),
        (select sum(n) from postmeter.request_hour), (select sum(n) from postmeter.request_count))";
    assert_eq!(value(&db, counted).await, "2 1 1");
}

#[tokio::test]
async fn h2_gather_begins_where_nothing_is_left_and_misses_nothing_that_commits_late() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut client = db.connect().await;
    let late = client.transaction().await.unwrap();
    track(&late, &said("late r-1 received")).await.unwrap();
    let number: String = late.query_one("select pg_current_xact_id()::text", &[]).await.unwrap().get(0);
    for turn in 0..3 {
        record(&db, &[said(&format!("early r-{turn} received"))]).await;
        assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 1);
    }
    let behind = format!("select (xid <= '{number}')::text from postmeter.request_floor");
    assert_eq!(value(&db, &behind).await, "true", "it does not pass a transaction that has not ended");
    late.commit().await.unwrap();
    assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 1, "recorded before, committed after");
    // a database that was loaded elsewhere has numbers of transactions that are not those of its new cluster
    db.client.batch_execute("update postmeter.request_floor set xid = '9000000000000'").await.unwrap();
    record(&db, &[said("elsewhere r-1 received")]).await;
    assert_eq!(outbox::requests::gather(&db.database).await.unwrap(), 1);
    assert_eq!(value(&db, "select sum(statuses)::text from postmeter.request").await, "5");
}

#[tokio::test]
async fn i3_a_producer_can_track_and_nothing_else_and_nobody_changes_what_was_said() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    db.client.batch_execute("set role postmeter_producer").await.unwrap();
    db.client.batch_execute("select postmeter.track('a', 'r', 's')").await.unwrap();
    db.client.batch_execute("select postmeter.track_batch('[]')").await.unwrap();
    for denied in [
        "select * from postmeter.request_status",
        "insert into postmeter.request_news select",
        "select postmeter.gather_requests(1)",
        "select * from postmeter.request_steps('r')",
        "select postmeter.drop_request_partitions()",
    ] {
        assert!(refusal(&db, denied).await.starts_with("42501"), "{denied}");
    }
    db.client.batch_execute("set role postmeter_reader").await.unwrap();
    assert!(refusal(&db, "select postmeter.track('a', 'r', 't')").await.starts_with("42501"));
    db.client.batch_execute("reset role").await.unwrap();
    for table in ["request_status", "request_status_default", "request_status_20260310"] {
        for change in ["update postmeter.? set status = 'x'", "delete from postmeter.?", "truncate postmeter.?"] {
            assert!(refusal(&db, &change.replace('?', table)).await.starts_with("PM020"), "{change} {table}");
        }
    }
}
