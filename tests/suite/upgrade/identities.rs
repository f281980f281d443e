//! A database that knows its usage by hashes, upgraded while services record.

use outbox::migrate::{MIGRATIONS, ROLES};
use tests::TestDatabase;

const RECORDED: &str = "
    select postmeter.record_usage('s', 'one', 'acme', 'db', 'cores', 5, date_trunc('hour', now()));
    select postmeter.record_usage('s', 'two', 'acme', 'db', 'cores', 7, date_trunc('hour', now()));
    select postmeter.record_usage('s', 'less', 'acme', 'db', 'cores', -2, date_trunc('hour', now()), corrects => 'one');";
const AGAIN: &str = "
    select postmeter.record_usage('s', 'one', 'acme', 'db', 'cores', 5.0, date_trunc('hour', now()));
    select postmeter.record_usage('s', 'less', 'acme', 'db', 'cores', -2, date_trunc('hour', now()), corrects => 'one');
    select postmeter.record_usage('s', 'meanwhile', 'acme', 'db', 'cores', 1, date_trunc('hour', now()));
    select postmeter.record_usage('s', 'more', 'acme', 'db', 'cores', -3, date_trunc('hour', now()), corrects => 'one');";

#[tokio::test]
async fn a2_after_the_upgrade_of_a_filled_database_what_was_recorded_is_known() {
    let db = TestDatabase::empty().await;
    db.client.batch_execute(ROLES).await.unwrap();
    let older = |version: i32| version <= 56;
    for migration in MIGRATIONS.iter().filter(|m| older(m.version)) {
        db.client.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error}", migration.name));
    }
    db.client.batch_execute("update postmeter.setting set purpose = 'production'").await.unwrap();
    db.client.batch_execute(RECORDED).await.unwrap();
    // usage of a month that was dropped has no identities, and must not be taken when older usage is
    let dropped = "insert into postmeter.decision (who, why, verb) values ('ada', 'retention', 'drop');
                   insert into postmeter.ledger_drop (month, decision_id, used_from, used_until)
                   select '2020-01-01', max(id), '2020-01-01', '2020-01-31T23:00Z' from postmeter.decision";
    db.client.batch_execute(dropped).await.unwrap();
    // it is under way when the upgrade begins to copy, and committed before it ends
    let mut service = db.connect().await;
    let open = service.transaction().await.unwrap();
    let meanwhile =
        "select postmeter.record_usage('s', 'meanwhile', 'acme', 'db', 'cores', 1, date_trunc('hour', now()))";
    open.batch_execute(meanwhile).await.unwrap();
    let mut upgrade = db.connect().await;
    let upgrading = tokio::spawn(async move {
        let all = upgrade.transaction().await.unwrap();
        for migration in MIGRATIONS.iter().filter(|m| !older(m.version)) {
            all.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error:?}", migration.name));
        }
        all.commit().await.unwrap();
    });
    tests::until_locked(&db.client, 1, || upgrading.is_finished()).await;
    // who is waited for needs nothing that the upgrade holds
    open.batch_execute(&meanwhile.replace("'meanwhile'", "'moreover'")).await.unwrap();
    open.commit().await.unwrap();
    upgrading.await.unwrap();

    db.client.batch_execute(AGAIN).await.unwrap();
    let row = "select format('%s usages, %s identities, %s of them corrected, %s entries', count(*),
                      (select count(*) from postmeter.usage_identity),
                      (select count(*) from postmeter.usage_identity where identity is not null),
                      (select count(*) from postmeter.outbox))
               from postmeter.usage";
    let row: String = db.client.query_one(row, &[]).await.unwrap().get(0);
    assert_eq!(row, "6 usages, 6 identities, 1 of them corrected, 6 entries");
    let corrected = "select string_agg(c.event_id || ' of ' || u.event_id, ', ' order by c.event_id)
                     from postmeter.usage c join postmeter.usage u on u.id = c.corrected_id";
    let corrected: String = db.client.query_one(corrected, &[]).await.unwrap().get(0);
    assert_eq!(corrected, "less of one, more of one");
    let more = "select postmeter.record_usage('s', 'most', 'acme', 'db', 'cores', -1, date_trunc('hour', now()), corrects => 'one')";
    let error = db.client.batch_execute(more).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().code().code(), "PM004", "the corrections of before count: {error:?}");
    let age = "select usage_age_max::text from postmeter.setting";
    let age: String = db.client.query_one(age, &[]).await.unwrap().get(0);
    assert_eq!(age, "400 days", "what an installation has is not lowered");
    let from = "select to_char(identities_from at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') from postmeter.setting";
    let from: String = db.client.query_one(from, &[]).await.unwrap().get(0);
    assert_eq!(from, "2020-01-31 23:00:00.000001");
}

#[tokio::test]
async fn f9_a_lead_of_more_than_a_day_is_lowered_by_the_upgrade_and_what_came_within_it_is_known() {
    let mut db = TestDatabase::empty().await;
    db.client.batch_execute(ROLES).await.unwrap();
    for migration in MIGRATIONS.iter().filter(|m| m.version <= 56) {
        db.client.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error}", migration.name));
    }
    db.client
        .batch_execute("update postmeter.setting set purpose = 'test', clock_frozen = '2024-09-18T10:00:00Z'")
        .await
        .unwrap();
    let ahead = "select postmeter.record_usage('s', 'ahead', 'acme', 'db', 'cores', 5, '2024-09-21T09:00:00Z')";
    for (lead, lowered) in [
        ("72 hours", "1 day"),
        ("24 hours 1 microsecond", "1 day"),
        ("7 days", "1 day"),
        ("24 hours", "24:00:00"),
        ("1 day", "1 day"),
        ("1 hour", "01:00:00"),
    ] {
        let upgrade = db.client.transaction().await.unwrap();
        upgrade.batch_execute("update postmeter.setting set usage_lead_max = '72 hours'").await.unwrap();
        upgrade.batch_execute(ahead).await.unwrap();
        let lead = format!("update postmeter.setting set usage_lead_max = '{lead}'");
        upgrade.batch_execute(&lead).await.unwrap();
        for migration in MIGRATIONS.iter().filter(|m| m.version > 56) {
            upgrade.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error}", migration.name));
        }
        let value = async |sql: &str| upgrade.query_one(sql, &[]).await.unwrap().get::<_, String>(0);
        assert_eq!(value("select usage_lead_max::text from postmeter.setting").await, lowered, "{lead}");
        // what was recorded further ahead is too far until its day comes, and never a second usage
        upgrade.batch_execute("savepoint refused").await.unwrap();
        let error = upgrade.batch_execute(ahead).await.unwrap_err();
        assert_eq!(error.as_db_error().unwrap().code().code(), "PM006", "{lead}");
        upgrade.batch_execute("rollback to refused").await.unwrap();
        let day = "update postmeter.setting set clock_frozen = '2024-09-21T09:00:00Z'";
        upgrade.batch_execute(day).await.unwrap();
        upgrade.batch_execute(ahead).await.unwrap();
        assert_eq!(value("select count(*)::text from postmeter.usage").await, "1", "{lead}");
        upgrade.rollback().await.unwrap();
    }
}
