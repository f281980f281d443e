//! H2: no day is lost. Partitions are made, healed and dropped.

use super::{at, record, said, tracker, value};

const WHERE: &str = "select string_agg(tableoid::regclass || ' ' || request_id, ', ' order by date)
                     from postmeter.request_status";

#[tokio::test]
async fn h2_a_status_of_yesterday_tomorrow_or_before_the_first_partition_is_kept() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let statuses = [
        said("a long-ago received 1999-01-01T00:00:00Z"),
        said("a early received 2026-03-01T00:00:00Z"),
        said("a yesterday received 2026-03-09T23:59:59Z"),
        said("a today received"),
        said("a tomorrow received 2026-03-11T00:00:00Z"),
        said("a far received 2031-01-01T00:00:00Z"),
    ];
    record(&db, &statuses).await;
    let days = |early: &str| {
        format!(
            "postmeter.request_status_default long-ago, postmeter.request_status_{early} early, \
             postmeter.request_status_20260309 yesterday, postmeter.request_status_20260310 today, \
             postmeter.request_status_20260311 tomorrow, postmeter.request_status_default far"
        )
    };
    assert_eq!(value(&db, WHERE).await, days("default"));
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, WHERE).await, days("20260301"), "a day within the retention gets its partition");
    for id in ["long-ago", "early", "yesterday", "today", "tomorrow", "far"] {
        assert_eq!(outbox::requests::way(&db.database, id).await.unwrap().expect(id).said.len(), 1, "{id}");
    }
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, WHERE).await, days("20260301"));
}

#[tokio::test]
async fn h2_after_any_pause_of_maintenance_no_day_is_lost() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    at(&db, "2026-03-30T10:00:00Z").await;
    record(&db, &[said("a before received 2026-03-29T10:00:00Z"), said("a after received")]).await;
    assert_eq!(
        value(&db, WHERE).await,
        "postmeter.request_status_default before, postmeter.request_status_default after"
    );
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(
        value(&db, WHERE).await,
        "postmeter.request_status_20260329 before, postmeter.request_status_20260330 after"
    );
    record(&db, &[said("a next received 2026-04-06T10:00:00Z")]).await;
    assert!(value(&db, WHERE).await.ends_with("postmeter.request_status_20260406 next"));
}

#[tokio::test]
async fn h2_a_reader_is_never_queued_behind_a_partition() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    at(&db, "2026-03-30T10:00:00Z").await;
    record(&db, &[said("a r-1 received")]).await;
    let mut reader = db.connect().await;
    let reading = reader.transaction().await.unwrap();
    reading.batch_execute("select * from postmeter.request_status").await.unwrap();
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, WHERE).await, "postmeter.request_status_default r-1", "not while somebody reads");
    reading.commit().await.unwrap();
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, WHERE).await, "postmeter.request_status_20260330 r-1");
}

#[tokio::test]
async fn h2_retention_drops_whole_days_and_their_counts_and_keeps_the_rest() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let statuses = [
        said("a ancient received 1999-01-01T00:00:00Z"),
        said("a old received 2026-03-09T12:00:00Z"),
        said("a long received 2026-03-09T12:00:00Z"),
        said("a long success 2026-03-10T09:00:00Z"),
    ];
    record(&db, &statuses).await;
    outbox::requests::gather(&db.database).await.unwrap();
    let left = "select format('%s; %s; %s, %s, %s, %s', (select string_agg(request_id, ' ' order by date) from postmeter.request_status),
        (select string_agg(request_id, ' ' order by id) from postmeter.request),
        (select sum(n) from postmeter.request_status_count), (select sum(n) from postmeter.request_message_count),
        (select sum(n) from postmeter.request_count), (select sum(n) from postmeter.request_hour))";
    let all = value(&db, left).await;
    assert!(all.ends_with("; 4, 4, 3, 3"), "{all}");
    at(&db, "2026-04-08T23:59:59Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, left).await, all, "30 days are kept");
    at(&db, "2026-04-09T00:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    let kept = value(&db, left).await;
    assert!(
        kept.starts_with("ancient long; ") && kept.ends_with("long; 2, 2, 2, 2"),
        "the 9th is gone, and what ended on it: {kept}"
    );
    at(&db, "2026-05-01T00:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(
        value(&db, "select count(*)::text from postmeter.request_status").await,
        "0",
        "30 days after it was recorded"
    );
    assert_eq!(
        value(
            &db,
            "select format('%s %s %s %s', (select count(*) from postmeter.request),
        (select count(*) from postmeter.request_status_count), (select count(*) from postmeter.request_message_count),
        (select count(*) from postmeter.request_hour))"
        )
        .await,
        "0 0 0 0"
    );
    assert_eq!(
        value(&db, "select sum(total)::text from postmeter.request_status_kind").await,
        "4",
        "what was ever counted"
    );
}

#[tokio::test]
async fn h10_a_status_dated_9999_retires_by_its_recording() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("a far received 9999-12-01T00:00:00Z"), said("a near received")]).await;
    outbox::requests::gather(&db.database).await.unwrap();
    let left = "select format('%s %s %s', (select count(*) from postmeter.request_status),
        (select count(*) from postmeter.request), (select count(*) from postmeter.request_unit))";
    at(&db, "2026-04-09T09:59:59Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, left).await, "2 2 2", "30 days are kept");
    at(&db, "2026-04-11T00:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, left).await, "0 0 0");
}
