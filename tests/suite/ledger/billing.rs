//! A billing month that is closed, exported and without a ledger loses its remittances, cuts and meters; what it came to
//! stays, and nothing of it is sent, decided or billed again.

mod months;
mod refused;

use tests::{Dimension, Stage};

use super::{closes, exported, follow_clock, run};

/// What is left of September in the tables that have a row for each remittance, cut or meter.
const LEFT: &str = "select format('%s %s', t, n) from (
    select 'delivery' as t, count(*) as n from postmeter.delivery where hour < '2024-10-01'
    union all select 'cut', count(*) from postmeter.cut c where c.cut_at < '2024-10-01'
    union all select 'part', count(*) from postmeter.part
    union all select 'meter', count(*) from postmeter.meter where month = '2024-09-01'
    union all select 'metric', count(*) from postmeter.meter_metric k where not exists (select from postmeter.meter m where m.id = k.meter_id)
    union all select 'carried', count(*) from postmeter.ledger_carry where delivery_id is not null
    union all select 'proven', count(*) from postmeter.proven_meter k where not exists (select from postmeter.meter m where m.id = k.meter_id)
    union all select 'kept', count(*) from postmeter.proven_remittance k where not exists (select from postmeter.meter m where m.id = k.meter_id)
    union all select 'moved', count(*) from postmeter.balance_moved k where not exists (select from postmeter.meter m where m.id = k.meter_id)
    union all select 'anew', count(*) from postmeter.balance_anew k where not exists (select from postmeter.meter m where m.id = k.meter_id)) x
    where n > 0 order by 1";

/// What is kept for each usage beside the ledger.
const LEFTOVERS: &str =
    "select (select count(*) from postmeter.exempted) || ' ' || (select count(*) from postmeter.usage_written_off)";

/// Whole rows of the views that say what a month came to.
pub(super) async fn said(stage: &Stage) -> Vec<String> {
    let mut said = Vec::new();
    for view in ["balance", "usage_balance", "month_close", "remittance_summary", "meter_list"] {
        said.extend(
            stage.column(&format!("select '{view} ' || to_jsonb(v)::text from postmeter.{view} v order by 1")).await,
        );
    }
    said
}

/// What people ask of the month in files.
async fn asked(stage: &Stage) -> Vec<String> {
    let mut rows = Vec::new();
    for (name, org) in
        [("bill_of_org", "acme"), ("bill_of_org", "initech"), ("balance_of_org", "initech"), ("over_billed", "acme")]
    {
        let sql = tests::operation(name, &[("org", org), ("month", "2024-09-01")]);
        for row in stage
            .db
            .client
            .query(&format!("select to_jsonb(x)::text from ({}) x", sql.trim_end_matches(';')), &[])
            .await
            .unwrap()
        {
            rows.push(format!("{name} {}", row.get::<_, String>(0)));
        }
    }
    rows
}

/// What was not accepted, added up: a dropped month has no row for each remittance.
pub(super) const UNREMITTED: &str =
    "select concat_ws(' ', org, product, metric, status, unit, trim_scale(sum(quantity)))
    from postmeter.unremitted where hour < '2024-10-02' group by org, product, metric, status, unit order by 1";

pub(super) fn drop_words(folder: &tempfile::TempDir) -> [&str; 8] {
    ["ledger", "drop", "2024-09", "--why", "retention", "--apply", "--verified", folder.path().to_str().unwrap()]
}

/// Two orgs of one buyer with two metrics of one dimension, cover, credit, a refused hour that was written off, one that was
/// released into another, a correction, and an org without a marketplace: closed, and longer ago than the retention.
async fn manifold() -> Stage {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.dimension(Dimension { metric: "gb", factor: (1, 3), rounding: "down", ..Dimension::default() }).await;
    stage.sql("update postmeter.dimension set unit_price = 0.25, currency = 'USD'").await;
    for org in ["acme", "globex"] {
        stage.subscribe(org, "111122223333").await;
    }
    stage.subscribe("initech", "444455556666").await;
    stage.sql("insert into postmeter.cover (subscription_id, metric, quantity) values (1, 'cores', 0.5)").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("one", "3.5", "2024-09-18T10:05:00Z").await;
    stage.record("two", "globex", "gb", "7", "2024-09-18T10:10:00Z").await;
    stage.record("exempt", "ours", "cores", "7", "2024-09-18T10:20:00Z").await;
    stage.record("i", "initech", "cores", "4", "2024-09-18T10:20:00Z").await;
    stage.record("given up", "nobody", "cores", "1", "2024-09-18T10:20:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.sql("select * from postmeter.write_off_held('{\"org\": \"nobody\"}', 'ada', 'unknown', false)").await;
    // credit: what was billed is corrected
    stage.correct("less", "one", "-3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    super::kept::refuse_all(&stage, true);
    stage.record("i2", "initech", "cores", "5", "2024-09-18T12:20:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    stage.record("i3", "initech", "cores", "6", "2024-09-18T13:20:00Z").await;
    stage.cut_at("2024-09-18T14:10:00Z").await;
    let by = |hour: &str| {
        format!("'{{\"org\": \"initech\", \"from\": \"2024-09-18T{hour}:00Z\"}}', 'ada', 'refused', false")
    };
    stage.sql(&format!("select * from postmeter.write_off({})", by("13:00"))).await;
    super::kept::refuse_all(&stage, false);
    stage.sql(&format!("select * from postmeter.release({})", by("12:00"))).await;
    stage.cut_at("2024-09-18T15:10:00Z").await;
    stage.at("2024-10-02T12:00:00Z").await;
    stage.use_cores("october", "1", "2024-10-02T11:30:00Z").await;
    stage.cut_at("2024-10-02T13:10:00Z").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2025-11-10T12:00:00Z").await;
    stage
}

#[tokio::test]
async fn i4_a_dropped_billing_month_leaves_one_summary_and_every_view_says_what_it_said() {
    let stage = manifold().await;
    stage.proven().await;
    assert_eq!(stage.value(LEFTOVERS).await, "1 1", "the fixture");
    let (before, unsent, files) = (said(&stage).await, stage.column(UNREMITTED).await, asked(&stage).await);
    for name in ["bill_of_org", "balance_of_org", "over_billed"] {
        assert!(files.iter().any(|row| row.starts_with(name)), "the fixture: {name} in {files:?}");
    }
    assert!(unsent.iter().any(|row| row.contains("written_off")), "the fixture: {unsent:?}");
    assert!(before.iter().any(|row| row.contains("over_billed")), "the fixture: {before:?}");
    // they hold more of a day than we do, and nobody has asked why
    stage
        .sql(
            "insert into postmeter.reconciliation (destination_id, day, who) values (1, '2024-09-18', 'ada'), (1, '2024-10-02', 'ada');
             insert into postmeter.reported (reconciliation_id, buyer, dimension, state, quantity, records)
             select r.id, b.buyer, 'cores', 'Accepted', 99, 1 from postmeter.reconciliation r, (select distinct buyer from postmeter.meter) b",
        )
        .await;
    let folder = exported(&stage).await;
    let (code, told) = run(&stage, &["ledger", "drop", "2024-09", "--why", "retention"]);
    assert!(code == 0 && told.contains("would drop the remittances of 2024-09 at aws"), "{told}");
    for table in ["delivery", "cut", "part", "meter ", "meter_metric"] {
        assert!(told.contains(table), "{table}: {told}");
    }
    assert_eq!(said(&stage).await, before, "a dry run");
    let (code, told) = run(&stage, &drop_words(&folder));
    assert!(code == 0 && told.contains("the remittances of 2024-09 at aws are dropped."), "{told}");
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    assert_eq!(stage.value(LEFTOVERS).await, "0 0");
    assert_eq!(said(&stage).await, before, "whole rows");
    assert_eq!(asked(&stage).await, files);
    assert_eq!(stage.column(UNREMITTED).await, unsent);
    assert_eq!(stage.column("select distinct kind from postmeter.unremitted").await, ["dropped"]);
    closes(&stage).await;
    stage.proven().await;
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new(), "nor does a proof keep anything of it");
    assert_eq!(
        stage.column("select concat_ws(' ', destination, month, why_not, remittances_dropped) from postmeter.ledger_month order by 1").await,
        ["aws 2024-09-01 it was dropped 5", "aws 2024-10-01 the ledger of 2024-10 is not dropped"]
    );
    let compared =
        "select distinct concat_ws(' ', day, verdict, difference is null) from postmeter.reconciled order by 1";
    assert_eq!(stage.column(compared).await, ["2024-09-18 dropped t", "2024-10-02 theirs_alone f"]);
    assert_eq!(stage.value("select postmeter.note_day_contradictions('aws', '2024-09-18', 'ada')::text").await, "0");
    // what somebody decided about is named still
    let decided = "select concat_ws(' ', verb, destination, key is not null) from postmeter.decision_log where delivery_id is not null order by id";
    assert_eq!(stage.column(decided).await, ["write_off aws t", "release aws t"]);
    let (code, told) = run(&stage, &drop_words(&folder));
    assert!(code == 2 && told.contains("it was dropped, and no billing month waits to be"), "{told}");
    let (code, told) = run(&stage, &["ledger", "verify", folder.path().to_str().unwrap(), "--against-database"]);
    assert_eq!(code, 0, "{told}");
}

#[tokio::test]
async fn i4_a_drop_that_was_killed_is_found_and_finished_and_the_balance_closes_at_every_moment() {
    let stage = manifold().await;
    let before = said(&stage).await;
    let folder = exported(&stage).await;
    stage.sql(super::DROPPING).await;
    stage.sql("select * from postmeter.begin_month_drop('aws', '2024-09-01', 'ada', 'retention', false)").await;
    let share =
        "select concat_ws(' ', meters, remittances, is_done) from postmeter.drop_month_share('aws', '2024-09-01', 1)";
    let mut shares = Vec::new();
    for _ in 0..20 {
        closes(&stage).await;
        let summed = stage.column(&SUMS.replace("\n", " ")).await;
        shares.push(stage.value(share).await);
        assert_eq!(stage.column(&SUMS.replace("\n", " ")).await, summed, "after share {shares:?}");
        stage.proven().await;
        if shares.len() == 4 {
            // killed here: the command finds it and goes on
            let (_, told) = run(&stage, &["doctor"]);
            assert!(told.contains("the remittances of 2024-09 at aws are dropped in part"), "{told}");
            break;
        }
    }
    assert_eq!(shares, ["1 0 f", "1 0 f", "0 1 f", "0 1 f"]);
    let (code, told) = run(&stage, &drop_words(&folder));
    assert_eq!(code, 0, "{told}");
    assert_eq!(stage.column(LEFT).await, Vec::<String>::new());
    assert_eq!(said(&stage).await, before);
    assert!(!run(&stage, &["doctor"]).1.contains("in part"));
    // every share's numbers are known
    let known = "select n::text from generate_series(1, 9) n where postmeter.told_dropped(n) is not null";
    assert_eq!(stage.column(known).await, ["1", "2", "3", "4", "5"]);
}

/// What the summaries add up to, whatever rows they have in the middle of a drop.
const SUMS: &str = "select format('%s %s %s %s', 'summary', org, status, sum(remittances) || ' ' || sum(usages) || ' ' || sum(used) || ' ' || sum(quantity))
    from postmeter.remittance_summary group by org, status
    union all select format('close %s %s', class, sum(items) || ' ' || sum(quantity)) from postmeter.month_close group by class
    union all select format('balance %s', sum(recorded) || ' ' || sum(accepted) || ' ' || sum(carried)) from postmeter.balance
    union all select format('unremitted %s %s', status, sum(quantity)) from postmeter.unremitted group by status
    order by 1";

#[tokio::test]
async fn i4_a_drop_waits_for_nobody_and_keeps_nobody_waiting() {
    let stage = manifold().await;
    let _folder = exported(&stage).await;
    stage.sql(super::DROPPING).await;
    stage.sql("select * from postmeter.begin_month_drop('aws', '2024-09-01', 'ada', 'retention', false)").await;
    let share =
        "select concat_ws(' ', meters, remittances, is_done) from postmeter.drop_month_share('aws', '2024-09-01', 100)";
    let mut other = stage.db.connect().await;
    let holds = other.transaction().await.unwrap();
    holds.batch_execute("select from postmeter.meter where id = 1 for update").await.unwrap();
    assert_eq!(stage.value(share).await, "1 0 f", "the other meter goes");
    assert_eq!(stage.value(share).await, "0 0 f", "the one that somebody has stays");
    holds.rollback().await.unwrap();
    assert_eq!(stage.value(share).await, "1 0 f");
    let holds = other.transaction().await.unwrap();
    holds.batch_execute("select from postmeter.delivery where id = 1 for update").await.unwrap();
    // the locks of a share are those of an ordinary writer; nobody is kept from the tables
    stage.sql("begin").await;
    assert_eq!(stage.value(share).await, "0 4 f");
    let strong = "select distinct l.mode || ' ' || l.relation::regclass from pg_locks l
        where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.mode ~ 'Share|Exclusive' and l.mode not in ('RowShareLock', 'RowExclusiveLock', 'AccessShareLock')";
    assert_eq!(stage.column(strong).await, ["ExclusiveLock postmeter.balance_gate"]);
    stage.sql("commit").await;
    assert_eq!(stage.value(share).await, "0 0 f", "it is not done while one is left");
    holds.rollback().await.unwrap();
    assert_eq!(stage.value(share).await, "0 1 f");
    assert_eq!(stage.value(share).await, "0 0 t");
    assert_eq!(stage.value(share).await, "0 0 t", "twice changes nothing");
    closes(&stage).await;
}
