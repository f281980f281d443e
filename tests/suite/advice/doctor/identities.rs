//! What doctor says of generations of identities that have not had their turn.

use tests::{Stage, until_true, wait_until};

use super::{advice, carry_out_sql, is_well, look};

/// The generations of identities are two hours late with their turn, and the older one knows a usage.
async fn late_turn() -> Stage {
    let stage = Stage::new().await;
    let late = "update postmeter.identity_generation set began_at = postmeter.clock() - interval '47 days 2 hours'";
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("one", "1", "2024-09-18T10:05:00Z").await;
    stage.sql("update postmeter.identity_generation set began_at = '2024-08-02T10:09:59Z'").await;
    assert_eq!(stage.value("select postmeter.turn_identities()::text").await, "true");
    is_well(&stage.db.url(), &["identities"]);
    stage.sql(late).await;
    stage
}

#[tokio::test]
async fn k11_doctor_names_identities_that_are_overdue_and_what_drops_them() {
    let stage = late_turn().await;
    let url = stage.db.url();
    let words = "those of before 2024-08-02T08:10:00Z could have been dropped 2 h ago: the older generation takes 0 MB";
    let overdue = advice(&look(&url), "identities", words);
    carry_out_sql(&stage.db, &overdue, "with the role postmeter_worker: ").await;
    is_well(&url, &["identities"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.usage_identity_before").await, "0");
    // a worker does the same
    stage.sql("update postmeter.identity_generation set began_at = '2024-08-02T08:10:00Z'").await;
    assert!(look(&url).iter().any(|one| one.check == "identities"));
    assert!(stage.worker.maintain_all(true).await.iter().all(|(step, _)| *step != "turn_identities"));
    is_well(&url, &["identities"]);
    // an hour is not late
    stage.sql("update postmeter.identity_generation set began_at = '2024-08-02T09:10:00Z'").await;
    is_well(&url, &["identities"]);
    stage.sql("delete from postmeter.identity_generation").await;
    let empty = advice(&look(&url), "identities", "identity_generation is empty: nobody can record");
    carry_out_sql(&stage.db, &empty, "").await;
    stage.use_cores("two", "1", "2024-09-18T10:05:00Z").await;
    is_well(&url, &["identities"]);
}

#[tokio::test]
async fn k11_doctor_names_what_was_built_on_identities_and_stops_their_turn() {
    let stage = late_turn().await;
    let url = stage.db.url();
    for (make, table, found, remedy) in [
        (
            "create view public.seen as select event_id from {}",
            "usage_identity_before",
            "view public.seen",
            "drop view public.seen",
        ),
        (
            "create materialized view public.seen as select count(*) from {}",
            "usage_identity_before",
            "materialized view public.seen",
            "drop materialized view public.seen",
        ),
        (
            "create table public.noted (source text collate \"C\", event_id text collate \"C\", \
             constraint \"is known\" foreign key (source, event_id) references {})",
            "usage_identity_before",
            "table constraint \"is known\" on public.noted",
            "alter table public.noted drop constraint \"is known\"",
        ),
        (
            "create function public.of(x {}) returns text language sql as 'select null::text'",
            "usage_identity_before",
            "function public.of(postmeter.usage_identity_before)",
            "drop function public.of(postmeter.usage_identity_before)",
        ),
        (
            "create table public.heir () inherits ({})",
            "usage_identity_before",
            "table public.heir",
            "alter table public.heir no inherit postmeter.usage_identity_before",
        ),
        (
            "create table public.pocket (\"in it\" {})",
            "usage_identity_before",
            "table column public.pocket.\"in it\"",
            "alter table public.pocket drop column \"in it\"",
        ),
        // this turn drops a column, the next one the table
        ("create view public.seen as select * from {}", "usage_identity", "view public.seen", "drop view public.seen"),
    ] {
        stage.sql(&make.replace("{}", &format!("postmeter.{table}"))).await;
        let failed = stage.worker.maintain_all(true).await;
        let failed: Vec<_> = failed.iter().map(|(step, error)| format!("{step}: {error}")).collect();
        assert!(failed.iter().any(|it| it.starts_with("turn_identities: ")), "{make}: {failed:?}");
        let advised = advice(&look(&url), "identities", &format!("{found} leans on postmeter.{table}, "));
        assert!(advised.ends_with(&format!("; then {remedy}")), "{make}: {advised}");
        carry_out_sql(&stage.db, &advised, "instead; then ").await;
        let left = look(&url);
        assert!(left.iter().all(|one| !one.found.contains("leans on")), "{make}");
    }
    assert!(stage.worker.maintain_all(true).await.iter().all(|(step, _)| *step != "turn_identities"));
    is_well(&url, &["identities"]);
    // before it is due, too: there is time to build it otherwise
    stage.sql("create view public.seen as select event_id from postmeter.usage_identity").await;
    assert!(advice(&look(&url), "identities", "view public.seen leans on").ends_with("drop view public.seen"));
}

#[tokio::test]
async fn k11_doctor_names_who_keeps_identities_from_their_turn_and_how_he_is_ended() {
    let stage = late_turn().await;
    let url = stage.db.url();
    for held in [
        "select from postmeter.usage_identity_before",
        "select from postmeter.setting for update",
        // whoever records
        "select postmeter.record_usage('s', 'open', 'acme', 'db', 'cores', 1, '2024-09-18T10:05:00Z')",
    ] {
        let holder = stage.db.connect().await;
        holder.batch_execute(&format!("begin; {held}")).await.unwrap();
        let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        assert_eq!(stage.value("select postmeter.turn_identities()::text").await, "false", "{held}");
        let words = format!("session {pid} has had a lock on postmeter.");
        wait_until("it has been in the way for longer than a turn waits", async || {
            look(&url).iter().any(|one| one.check == "identities" && one.found.starts_with(&words))
        })
        .await;
        carry_out_sql(&stage.db, &advice(&look(&url), "identities", &words), "if it may end: ").await;
        let gone = format!("select not exists (select from pg_locks where pid = {pid})");
        until_true(&stage.db.client, &gone).await;
        assert!(look(&url).iter().all(|one| !one.found.starts_with(&words)), "{held}");
    }
    let prepares = stage.db.connect().await;
    let prepared = format!("prepared in {}", stage.value("select current_database()::text").await);
    prepares
        .batch_execute(&format!("begin; select from postmeter.usage_identity; prepare transaction '{prepared}'"))
        .await
        .unwrap();
    assert_eq!(stage.value("select postmeter.turn_identities()::text").await, "false");
    let words = "a prepared transaction keeps its lock on postmeter.usage_identity";
    assert_eq!(advice(&look(&url), "identities", words), "commit it or roll it back: pg_prepared_xacts names it");
    stage.sql(&format!("rollback prepared '{prepared}'")).await;
    let overdue = advice(&look(&url), "identities", "could have been dropped");
    carry_out_sql(&stage.db, &overdue, "with the role postmeter_worker: ").await;
    is_well(&url, &["identities"]);
}
