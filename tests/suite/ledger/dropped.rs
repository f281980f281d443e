//! A finished and exported month is dropped, and what it came to stays.

use outbox::NewUsage;

use super::{closes, exported, finished, run, sums};

const DROP: [&str; 5] = ["ledger", "drop", "2024-09", "--why", "retention"];

fn dropping(folder: &tempfile::TempDir) -> [&str; 8] {
    let [a, b, c, d, e] = DROP;
    [a, b, c, d, e, "--apply", "--verified", folder.path().to_str().unwrap()]
}

const THERE: &str =
    "select count(*)::text from pg_class where relname ~ '_202409$' and relispartition and relkind = 'r'";

#[tokio::test]
async fn i4_a_dropped_month_leaves_the_balances_closed_and_recalculate_says_so() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    let before = sums(&stage).await;
    let (code, said) = run(&stage, &DROP);
    assert!(code == 0 && said.contains("NOTHING WAS CHANGED"), "{said}");
    assert_eq!(stage.value(THERE).await, "4");
    let (code, said) = run(&stage, &dropping(&folder));
    assert_eq!(code, 0, "{said}");
    assert_eq!(stage.value(THERE).await, "0");
    assert_eq!(sums(&stage).await, before, "what was ever recorded and billed");
    closes(&stage).await;
    let recalculate = "select * from postmeter.recalculate('aws', '2024-09-01')";
    assert_eq!(stage.refusal(recalculate).await, "PM045 month ledger_kept");
    assert!(
        stage
            .column("select part from postmeter.recalculate('aws', '2024-10-01') where part = 'unexplained'")
            .await
            .is_empty()
    );
    assert_eq!(
        stage.column("select format('%s %s: %s', verb, who, why) from postmeter.decision order by id").await,
        [
            "close ada: books",
            "retain ada: the law says so",
            "export ada: retention",
            "export ada: retention",
            "drop ada: retention",
            "drop ada: retention"
        ],
        "of the ledger, and of the billing month"
    );
    assert_eq!(
        stage.column("select concat_ws(' ', table_name, rows, finished, why_not) from postmeter.ledger_partition where month = '2024-09-01' order by 1").await,
        ["allocation 2 t it was dropped", "attempt 1 t it was dropped", "outcome 1 t it was dropped", "usage 3 t it was dropped"]
    );
    assert_eq!(outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap(), 0, "it is not made again");
    assert_eq!(
        stage.refusal("select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)").await,
        "PM041 month ledger_finished"
    );
}

#[tokio::test]
async fn a2_after_the_drop_an_old_id_is_too_old_and_never_billed_again() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    assert_eq!(run(&stage, &dropping(&folder)).0, 0);
    let again = |event: &str, used_at: &str| {
        format!("select postmeter.record_usage('billing', '{event}', 'acme', 'db', 'cores', 3, '{used_at}')::text")
    };
    assert_eq!(stage.refusal(&again("one", "2024-09-18T10:05Z")).await, "PM005 used_at used_at_too_old");
    assert_eq!(
        stage.refusal(&again("one", "2025-11-10T11:05Z")).await,
        "PM002 event_id usage_identity",
        "other content"
    );
    let correction =
        "select postmeter.record_usage('billing', 'less', 'acme', 'db', 'cores', -1, '2024-09-18T10:05Z', null, 'one')";
    assert_eq!(stage.refusal(correction).await, "PM005 used_at used_at_too_old");
    // an intake that takes older usage takes none of before what was dropped: it could not be compared
    stage.sql("update postmeter.setting set ledger_retention = null, usage_age_max = '4000 days'").await;
    assert_eq!(stage.refusal(&again("one", "2024-09-18T10:05Z")).await, "PM005 used_at used_at_too_old");
    assert_eq!(stage.refusal(correction).await, "PM005 used_at used_at_too_old");
    stage.work_anew().await;
    assert_eq!(stage.accepted(), ["18T10 5", "02T11 1"]);
    let usage =
        NewUsage::new("billing", "fresh", "acme", "db", "cores", tests::q("1"), tests::t("2025-11-10T11:30:00Z"));
    stage.record_as(&usage).await;
    stage.cut_at("2025-11-10T12:10:00Z").await;
    assert_eq!(stage.accepted().len(), 3, "and life goes on");
    closes(&stage).await;
}

#[tokio::test]
async fn i4_nothing_is_dropped_that_was_opened_again_or_is_not_what_was_exported() {
    let stage = finished().await;
    let _folder = exported(&stage).await;
    let dropping = "select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)";
    stage.sql("select * from postmeter.reopen_month('aws', '2024-09-01', 'ada', 'a mistake', false)").await;
    assert_eq!(stage.refusal(dropping).await, "PM041 month ledger_finished");
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage
        .sql(
            "alter table postmeter.outcome_202409 disable trigger append_only;
             update postmeter.outcome_202409 set receipt = 'forged'",
        )
        .await;
    assert_eq!(stage.refusal(dropping).await, "PM043 manifest ledger_rows");
    assert_eq!(stage.value(THERE).await, "4");
}

#[tokio::test]
async fn i4_a_drop_gives_way_to_readers_and_leaves_everything_as_it_was() {
    let stage = finished().await;
    let _folder = exported(&stage).await;
    let mut reader = stage.db.connect().await;
    let reading = reader.transaction().await.unwrap();
    reading.batch_execute("select * from postmeter.usage").await.unwrap();
    let dropping = "select * from postmeter.drop_ledger_month('2024-09-01', 'x', 'y', false)";
    assert_eq!(stage.refusal(dropping).await, "55P03 - -");
    assert_eq!(stage.value(THERE).await, "4");
    assert_eq!(stage.value("select count(*)::text from postmeter.ledger_carry").await, "0");
    reading.commit().await.unwrap();
    stage.sql(dropping).await;
    assert_eq!(stage.value(THERE).await, "0");
    closes(&stage).await;
}

#[tokio::test]
async fn i4_nothing_is_dropped_whose_export_is_not_at_hand_or_was_changed() {
    let stage = finished().await;
    let folder = exported(&stage).await;
    let (code, said) = run(&stage, &[&DROP[..], &["--apply"]].concat());
    assert!(code == 2 && said.contains("--verified"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, said) = run(&stage, &dropping(&elsewhere));
    assert!(code == 3 && said.contains("DIFFERS  2024-09.manifest.json"), "{said}");
    let path = folder.path().join("2024-09-usage.ndjson.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, said) = run(&stage, &dropping(&folder));
    assert!(code == 3 && said.contains("DIFFERS  2024-09-usage.ndjson.gz"), "{said}");
    assert_eq!(stage.value(THERE).await, "4");
    // nor is a manifest recorded whose sums are not those of the rows
    stage.sql("select * from postmeter.close_month('aws', '2024-10-01', 'ada', 'books', false)").await;
    stage.at("2026-01-01T00:00:00Z").await;
    let forged = "with m as (select digest from postmeter.month_export),
        heads as (select jsonb_agg(jsonb_build_object('table', h.table_name, 'rows', h.rows, 'chain', h.chain,
                      'sums', case h.table_name when 'usage' then '{\"quantity\": \"2\"}' else h.sums end)) as tables
                  from postmeter.ledger_heads('2024-10-01') h)
        select postmeter.record_ledger_export('2024-10-01', jsonb_build_object('format', 'postmeter-ledger/1', 'month', '2024-10',
            'number', 3, 'previous', m.digest, 'tables', h.tables)::text, 'x', 'y') from m, heads h";
    assert_eq!(stage.refusal(forged).await, "PM043 manifest ledger_rows");
    stage.sql(&forged.replace("\"2\"", "\"1\"")).await;
}
