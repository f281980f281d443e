//! What the head of each migration says of its locks is what Postgres says while it runs.

use std::collections::BTreeSet;

use outbox::migrate::{Head, MIGRATIONS};
use tests::TestDatabase;

/// Locks against writers or readers that this transaction holds on tables and views which were there before it: the
/// strongest of each, by the parent of partitions, and whether it has read or written a table whole.
const TAKEN: &str = "
    with locked as (
        select coalesce(pg_partition_root(c.oid), c.oid::regclass)::oid as oid, c.oid as part, l.mode,
               array_position(array['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock'], l.mode) as strength
        from pg_locks l join pg_class c on c.oid = l.relation
        where l.pid = pg_backend_pid() and l.granted and l.database = (select oid from pg_database where datname = current_database())
          and c.relkind in ('r', 'p', 'v') and c.oid = any($1)
    ), strongest as (
        select oid, max(strength) as strength,
               bool_or(pg_stat_get_xact_numscans(part) || ' ' || coalesce(pg_relation_filenode(part), 0) <> ($2::jsonb ->> part::text)) as grows
        from locked where strength is not null group by oid
    )
    select (array['share', 'share row exclusive', 'exclusive', 'access exclusive'])[s.strength] || ' on ' || c.relname
           || case when s.grows then ', grows with its rows' else ', for a moment' end
    from strongest s join pg_class c on c.oid = s.oid order by c.relname";

/// What there is, how often it has been read whole, and the file that it is in.
const THERE: &str = "
    select c.oid, c.oid::text, pg_stat_get_xact_numscans(c.oid) || ' ' || coalesce(pg_relation_filenode(c.oid), 0)
    from pg_class c where c.relnamespace = to_regnamespace('postmeter')";

#[tokio::test]
async fn f9_every_migration_states_the_locks_it_takes() {
    let mut database = TestDatabase::empty().await;
    let mut wrong = Vec::new();
    for migration in MIGRATIONS {
        let transaction = database.client.transaction().await.unwrap();
        let before = transaction.query(THERE, &[]).await.unwrap();
        let oids: Vec<u32> = before.iter().map(|row| row.get(0)).collect();
        let state: serde_json::Map<String, serde_json::Value> =
            before.iter().map(|row| (row.get(1), row.get::<_, String>(2).into())).collect();
        transaction.batch_execute(migration.sql).await.unwrap();
        let taken = transaction.query(TAKEN, &[&oids, &serde_json::Value::Object(state)]).await.unwrap();
        let taken: BTreeSet<String> = taken.iter().map(|row| row.get(0)).collect();
        transaction.commit().await.unwrap();
        let stated: BTreeSet<String> = match Head::read(migration.sql) {
            Ok(head) => head.locks.iter().map(|lock| lock.to_string().split(": ").next().unwrap().to_owned()).collect(),
            Err(why) => {
                wrong.push(format!("{}: {why}", migration.name));
                BTreeSet::new()
            }
        };
        if taken != stated {
            let mut lines: Vec<String> = taken.iter().map(|lock| format!("-- lock: {lock}: WHY")).collect();
            if lines.is_empty() {
                lines.push("-- lock: none".to_owned());
            }
            wrong.push(format!(
                "sql/migrations/{}.sql: its head should state, below the first line and `-- programs: from …`:\n{}",
                migration.name,
                lines.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}\n(docs/operate/upgrade.md says what these lines mean)", wrong.join("\n"));
}

#[test]
fn f9_a_migration_does_not_claim_more_programs_than_it_may() {
    for migration in MIGRATIONS {
        let head = migration.head().unwrap();
        let (name, from) = (migration.name, head.programs_from);
        assert!(from <= migration.version, "{name}: no program knows {from:04} and works on it before it is there");
        assert!(head.is_transaction || migration.sql.contains("concurrently"), "{name}: why without a transaction?");
        assert!(name.contains("_pre_") || name.contains("_post_"), "{name} says when it runs");
    }
}
