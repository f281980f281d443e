//! Which months a drop takes: those of two ledgers, of two remittances' months, of contracts and shadows, of older exports.

use tests::{Dimension, Stage};

use super::super::{closes, exported, finished, follow_clock, in_time, run};
use super::{LEFT, LEFTOVERS, asked, drop_words, said};

#[tokio::test]
async fn i4_an_export_without_the_remittances_does_not_drop_them_and_is_made_again() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    // as an older program has left it
    stage
        .sql(
            "alter table postmeter.month_export disable trigger append_only; delete from postmeter.month_export;
             alter table postmeter.ledger_export disable trigger append_only;
             update postmeter.ledger_export set manifest = replace(manifest, 'postmeter-ledger/2', 'postmeter-ledger/1')",
        )
        .await;
    for name in std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()) {
        if name.file_name().to_str().unwrap().starts_with("2024-09-aws") {
            std::fs::remove_file(name.path()).unwrap();
        }
    }
    let (code, told) = run(&stage, &drop_words(&folder));
    assert!(code == 0 && told.contains("2024-09 is dropped."), "{told}");
    let why = "the remittances of 2024-09 at aws stay: no export has the remittances of 2024-09 at aws. An older program \
               exported the usage of a month alone: export it again (postmeter ledger export).";
    assert!(told.contains(why), "{told}");
    assert!(!stage.column(LEFT).await.is_empty());
    assert_eq!(stage.value(LEFTOVERS).await, "1 0", "nor does its export have these");
    assert!(run(&stage, &["doctor"]).1.contains("the remittances of 2024-09 at aws wait for their export"));
    let to = folder.path().to_str().unwrap();
    let (code, told) = run(&stage, &["ledger", "export", "--month", "2024-09", "--to", to, "--why", "again"]);
    assert!(code == 0 && told.contains("the remittances of 2024-09 at aws are exported and verified"), "{told}");
    assert!(run(&stage, &["doctor"]).1.contains("the remittances of 1 exported billing months may be dropped"));
    assert_eq!(run(&stage, &drop_words(&folder)).0, 0);
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    closes(&stage).await;
}

#[tokio::test]
async fn i4_a_billing_month_goes_only_when_both_months_of_the_ledger_that_it_lives_in_are_gone() {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.configure("zone = 'America/Los_Angeles'").await;
    stage.dimension(Dimension::default()).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // October in UTC, September there
    stage.at("2024-10-01T03:30:00Z").await;
    stage.use_cores("two", "2", "2024-10-01T03:05:00Z").await;
    stage.cut_at("2024-10-01T04:10:00Z").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    assert_eq!(stage.column("select distinct month::text from postmeter.meter").await, ["2024-09-01"]);
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2026-01-01T00:00:00Z").await;
    let before = said(&stage).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    assert_eq!(run(&stage, &["ledger", "export", "--all-finished", "--to", to, "--why", "retention"]).0, 0);
    let why_not = "select why_not from postmeter.ledger_month";
    let (code, told) = run(&stage, &drop_words(&folder));
    assert!(code == 0 && !told.contains("remittances"), "{told}");
    assert_eq!(stage.value(why_not).await, "the ledger of 2024-10 is not dropped");
    let october = drop_words(&folder).map(|word| if word == "2024-09" { "2024-10" } else { word });
    let (code, told) = run(&stage, &october);
    assert!(code == 0 && told.contains("the remittances of 2024-09 at aws are dropped."), "{told}");
    assert_eq!(stage.value("select count(*)::text from postmeter.delivery").await, "0");
    assert_eq!(said(&stage).await, before);
    // neither destination nor subscription is removed as if nothing had ever been billed
    for load in [
        include_str!("../../../../sql/queries/catalogue_load_destinations.sql"),
        include_str!("../../../../sql/queries/catalogue_load_subscriptions.sql"),
    ] {
        assert_eq!(stage.column(&format!("select in_use::text from ({load}) x")).await, ["true"]);
    }
    stage.sql("begin; delete from postmeter.subscription; delete from postmeter.dimension").await;
    let removed = stage.refusal("delete from postmeter.destination").await;
    assert_eq!(removed, "23503 - dropped_month_destination_id_fkey");
    stage.sql("rollback").await;
    closes(&stage).await;
}

#[tokio::test]
async fn i4_a_remittance_that_bills_two_months_goes_with_the_later_and_nothing_of_it_is_decided_before() {
    let stage = in_time().await;
    stage.configure("late_policy = 'part'").await;
    stage.at("2024-09-30T10:30:00Z").await;
    stage.use_cores("one", "3", "2024-09-30T10:05:00Z").await;
    stage.cut_at("2024-09-30T11:10:00Z").await;
    // late: its month can take it no more, so it is a part of an hour of October
    stage.at("2024-10-03T10:30:00Z").await;
    stage.use_cores("late", "2", "2024-09-30T10:15:00Z").await;
    stage.use_cores("october", "1", "2024-10-03T10:10:00Z").await;
    stage.work().await;
    stage.cut_at("2024-10-03T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["30T10 3", "03T10 3"]);
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2026-01-01T00:00:00Z").await;
    let unfinished = "select postmeter.month_unfinished('aws', '2024-09-01')";
    assert_eq!(
        stage.value(unfinished).await,
        "remittance 2 of 2024-10 bills quantity of it, and that month is not closed"
    );
    stage.sql("select * from postmeter.close_month('aws', '2024-10-01', 'ada', 'books', false)").await;
    assert_eq!(
        stage.value("select postmeter.month_unfinished('aws', '2024-10-01')").await,
        "remittance 2 bills quantity of 2024-09, too: that month goes first"
    );
    let before = said(&stage).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    assert_eq!(run(&stage, &["ledger", "export", "--all-finished", "--to", to, "--why", "retention"]).0, 0);
    let (code, told) = run(&stage, &drop_words(&folder));
    assert!(code == 0 && !told.contains("remittances"), "its late usage is in October's ledger: {told}");
    let october = drop_words(&folder).map(|word| if word == "2024-09" { "2024-10" } else { word });
    let (code, told) = run(&stage, &october);
    assert!(code == 0 && told.contains("the remittances of 2024-09 at aws are dropped."), "{told}");
    assert_eq!(stage.column("select id::text from postmeter.delivery").await, ["2"]);
    assert_eq!(said(&stage).await, before);
    closes(&stage).await;
    stage.proven().await;
    let release = "select * from postmeter.release('{\"delivery\": 2}', 'ada', 'x', false)";
    assert_eq!(stage.refusal(release).await, "PM046 delivery remittance_dropped");
    // the later month was not exported, for the earlier had to go first
    assert_eq!(run(&stage, &["ledger", "export", "--month", "2024-10", "--to", to, "--why", "retention"]).0, 0);
    assert_eq!(run(&stage, &october).0, 0);
    assert_eq!(stage.column("select id::text from postmeter.delivery").await, Vec::<String>::new());
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    assert_eq!(said(&stage).await, before);
    closes(&stage).await;
}

#[tokio::test]
async fn i4_a_contract_of_two_buyers_and_a_shadow_leave_what_they_came_to() {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.subscribe("globex", "444455556666").await;
    stage
        .sql(
            "update postmeter.subscription set contract = 'both';
             insert into postmeter.cover (subscription_id, metric, quantity) values (1, 'cores', 2);
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max,
                 bytes_max, shadow_of, dry_run)
             select 'trial', kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max, id, true
             from postmeter.destination;
             insert into postmeter.dimension (destination_id, product, metric, name, valid_from, factor_numerator, factor_denominator,
                 rounding, decimals, month_end)
             select t.id, product, metric, d.name, valid_from, factor_numerator, factor_denominator, 'up', decimals, month_end
             from postmeter.dimension d, postmeter.destination t where t.name = 'trial';
             insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select org, product, t.id, s.identity, valid_from from postmeter.subscription s, postmeter.destination t
             where t.name = 'trial'",
        )
        .await;
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3.5", "2024-09-18T10:05:00Z").await;
    stage.record("two", "globex", "cores", "2.25", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.record("three", "globex", "cores", "1.5", "2024-09-18T11:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    // the remainder goes with the month's last hour
    stage.cut_at("2024-10-01T00:10:00Z").await;
    stage.at("2024-10-02T12:00:00Z").await;
    stage.use_cores("october", "1", "2024-10-02T11:30:00Z").await;
    stage.cut_at("2024-10-02T13:10:00Z").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2025-11-10T12:00:00Z").await;
    let contract = "select count(*)::text from postmeter.balance where buyer like 'contract:%' and month = '2024-09-01' and accepted > 0";
    assert_eq!(stage.value(contract).await, "1", "the fixture");
    let shadow = "select count(*)::text from postmeter.remittance_summary where shadow and month = '2024-09-01'";
    assert_ne!(stage.value(shadow).await, "0", "the fixture");
    stage.proven().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-10-01', 'ada', 'books', false, true)").await;
    // nobody closes a shadow's month but the drop
    let before = said(&stage).await;
    let bills = asked(&stage).await;
    stage.at("2026-01-01T00:00:00Z").await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let all = ["ledger", "export", "--all-finished", "--to", to, "--why", "retention"];
    let (code, told) = run(&stage, &all);
    assert_eq!(code, 0, "{told}");
    let (_, told) = run(&stage, &drop_words(&folder));
    assert!(!told.contains("2024-09 at aws"), "its last hour was sent in October: {told}");
    assert!(!run(&stage, &["doctor"]).1.contains("exported billing months may be dropped"));
    let (code, told) = run(&stage, &drop_words(&folder).map(|word| if word == "2024-09" { "2024-10" } else { word }));
    let told = told + &run(&stage, &["ledger", "status", "--remittances"]).1;
    assert!(code == 0 && told.contains("the remittances of 2024-09 at aws are dropped."), "{told}");
    let without = |rows: Vec<String>| -> Vec<String> {
        let closed = |row: &String| {
            !(row.contains("trial") && (row.starts_with("month_close") || row.starts_with("meter_list")))
        };
        rows.into_iter().filter(closed).collect()
    };
    assert_eq!(without(said(&stage).await), without(before));
    assert_eq!(asked(&stage).await, bills);
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    closes(&stage).await;
    stage.proven().await;
}
