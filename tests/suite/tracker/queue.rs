//! J9: a long queue of statuses is gathered at the same cost for each, whatever was known of the table.

use outbox::requests::gather;

use super::tracker;

/// The table was empty when it was vacuumed, as it usually is: plans are made for one row.
#[tokio::test]
async fn j9_a_long_queue_after_a_quiet_time_is_read_a_few_times_an_entry() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    db.client.batch_execute("alter table postmeter.request_news set (autovacuum_enabled = off)").await.unwrap();
    let used = "insert into postmeter.request_news (request_key, date, digest, kind, message, recorded_at)
                select 'r', now(), gen_random_uuid(), 1, 1, now() from generate_series(1, 5000);
                delete from postmeter.request_news";
    db.client.batch_execute(used).await.unwrap();
    db.client.batch_execute("vacuum (truncate off, analyze) postmeter.request_news").await.unwrap();
    let many = "select count(postmeter.track(service => 's', request_id => 'r-' || n % 900, status => 'processing',
                                             status_msg => n::text)) from generate_series(1, 12000) n";
    db.client.batch_execute(many).await.unwrap();
    while gather(&db.database).await.unwrap() > 0 {}
    let left = "select count(*) from postmeter.request_news";
    assert_eq!(db.client.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    // sessions tell what they read when they are idle: once it is told, it is all told
    let read = "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) between 12000 and 200000
                from pg_stat_user_tables where schemaname = 'postmeter' and relname = 'request_news'";
    tests::until_true(&db.client, read).await;
}
