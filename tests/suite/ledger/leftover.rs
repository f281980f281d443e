//! A usage on its whole way: recorded, folded, sent, closed, exported, forgotten by two turns of identities and dropped. What
//! is left of many is what is left of few. `make leftover USAGES=10000000` says how much that is, by table.

use std::collections::BTreeMap;

use tests::{Dimension, Stage};

use super::billing::{UNREMITTED, drop_words, said};
use super::{closes, exported, follow_clock, run};

const ORGS: usize = 20;
const HOURS: usize = 10;
/// In the event id of each usage, so that it is found wherever something of it is left.
const MARK: &str = "leftover-";

/// Usages of an hour, in batches: of twenty orgs and two metrics, each hundredth exempt, each hundredth of an org that
/// nobody knows.
const RECORD: &str = "
    select count(*)::text from generate_series($1::text::bigint, $2::text::bigint, 500) low
    cross join lateral postmeter.record_usage_batch((
        select jsonb_agg(jsonb_build_object(
            'source', 'billing', 'event_id', 'leftover-' || to_char(n, 'FM000000000000'),
            'org', case n % 100 when 1 then 'ours' when 2 then 'nobody' else 'org' || n % 20 end,
            'product', 'db', 'metric', case when n % 100 > 2 and n % 7 = 0 then 'gb' else 'cores' end, 'quantity', '3',
            'used_at', to_char($3::text::timestamptz + n % 1500 * interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))
        from generate_series(low, least(low + 499, $2::text::bigint)) n)) r
    where r.verdict = $4";
/// Each hundredth is corrected.
const CORRECT: &str = "
    select count(*)::text from postmeter.record_usage_batch((
        select jsonb_agg(jsonb_build_object(
            'source', 'billing', 'event_id', 'leftover-less-' || n, 'corrects', 'leftover-' || to_char(n, 'FM000000000000'),
            'org', 'org' || n % 20, 'product', 'db', 'metric', case when n % 7 = 0 then 'gb' else 'cores' end, 'quantity', '-1',
            'used_at', to_char($3::text::timestamptz + n % 1500 * interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))
        from generate_series($1::text::bigint, $2::text::bigint) n where n % 100 = 3)) r
    where r.verdict = 'recorded'";

/// The tables that have rows of it at the end: what was closed, exported, dropped and decided, and what it came to.
const KEPT: [&str; 10] = [
    "closed_month",
    "decision",
    "dropped_meter",
    "dropped_month",
    "dropped_numbers",
    "dropped_sum",
    "ledger_carry",
    "ledger_drop",
    "ledger_export",
    "month_export",
];

/// Rows, rows that name a usage, and bytes of a table with its partitions, indexes and long values.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    rows: i64,
    marked: i64,
    bytes: i64,
}

/// Every table of the schema.
async fn sizes(stage: &Stage) -> BTreeMap<String, Size> {
    let tables = "select c.oid::regclass::text as leaf, coalesce(nullif(pg_partition_root(c.oid), 0), c.oid)::regclass::text as root
                  from pg_class c where c.relnamespace = 'postmeter'::regnamespace and c.relkind = 'r'";
    let mut sizes = BTreeMap::<String, Size>::new();
    for table in stage.db.client.query(tables, &[]).await.unwrap() {
        let (leaf, root): (String, String) = (table.get(0), table.get(1));
        let sql = format!(
            "select count(*), count(*) filter (where strpos(x::text, '{MARK}') > 0), pg_total_relation_size('{leaf}')
             from {leaf} x"
        );
        let row = stage.db.client.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{leaf}: {error:?}"));
        let size = sizes.entry(root.trim_start_matches("postmeter.").to_owned()).or_default();
        size.rows += row.get::<_, i64>(0);
        size.marked += row.get::<_, i64>(1);
        size.bytes += row.get::<_, i64>(2);
    }
    sizes
}

/// What became of so many usages: sizes before, when all were sent, and at the end.
struct Way {
    usages: usize,
    empty: BTreeMap<String, Size>,
    full: BTreeMap<String, Size>,
    left: BTreeMap<String, Size>,
}

/// Records usages in ten hours, and lets them be folded, cut and sent.
async fn sent(usages: usize) -> (Stage, BTreeMap<String, Size>) {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.dimension(Dimension { rounding: "down", factor: (1, 7), ..Dimension::default() }).await;
    stage.dimension(Dimension { metric: "gb", name: "gb", ..Dimension::default() }).await;
    for org in 0..ORGS {
        stage.subscribe(&format!("org{org}"), &(100_000_000_000 + org).to_string()).await;
    }
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'staging')").await;
    stage.sql("update postmeter.identity_generation set began_at = postmeter.clock()").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    let empty = sizes(&stage).await;
    let each = usages / HOURS;
    for hour in 0..HOURS {
        let (first, last) = ((hour * each).to_string(), ((hour + 1) * each - 1).to_string());
        let start = format!("2024-09-18T{:02}:00:00Z", hour + 10);
        stage.at(&start.replace(":00:00Z", ":30:00Z")).await;
        for verdict in ["recorded", "repeated"] {
            let row = stage.db.client.query_one(RECORD, &[&first, &last, &start, &verdict]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), each.to_string(), "{verdict}");
        }
        let corrected = stage.db.client.query_one(CORRECT, &[&first, &last, &start]).await.unwrap();
        assert_eq!(corrected.get::<_, String>(0), (each / 100).to_string());
        stage.cut_at(&format!("2024-09-18T{:02}:10:00Z", hour + 11)).await;
    }
    stage.sql("select * from postmeter.write_off_held('{\"org\": \"nobody\"}', 'ada', 'unknown', false)").await;
    (stage, empty)
}

/// The generations of identities take a turn, as with a worker, which has to be due.
async fn turned(stage: &Stage, at: &str) {
    stage.at(at).await;
    tests::wait_until("a turn", async || outbox::maintain::turn_identities(&stage.db.database).await.unwrap()).await;
}

/// The whole way, to its end; views say at the end what they said before.
async fn way(usages: usize) -> Way {
    let (stage, empty) = sent(usages).await;
    let full = sizes(&stage).await;
    let standing = "select concat_ws(' ', count(*) filter (where status in ('accepted', 'nothing_due')), count(*)) from postmeter.remittance";
    let remittances = (ORGS * 2 * HOURS).to_string();
    assert_eq!(stage.value(standing).await, format!("{remittances} {remittances}"));
    stage.at("2024-10-02T12:00:00Z").await;
    stage.work().await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    turned(&stage, "2024-11-06T12:00:00Z").await;
    turned(&stage, "2024-12-24T12:00:00Z").await;
    stage.at("2025-11-10T12:00:00Z").await;
    stage.proven().await;
    let (before, unsent) = (said(&stage).await, stage.column(UNREMITTED).await);
    let folder = exported(&stage).await;
    let (code, told) = run(&stage, &["ledger", "verify", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = run(&stage, &drop_words(&folder));
    assert_eq!(code, 0, "{told}");
    assert_eq!(said(&stage).await, before, "whole rows");
    assert_eq!(stage.column(UNREMITTED).await, unsent);
    closes(&stage).await;
    stage.proven().await;
    stage.sql("vacuum full").await;
    Way { usages, empty, full, left: sizes(&stage).await }
}

/// What is left by table, and how much a usage took of it when all was there.
fn told(way: &Way) -> String {
    let each = |bytes: i64| bytes as f64 / way.usages as f64;
    let mut lines = format!(
        "{} usages\n{:28} {:>12} {:>12} {:>10} {:>10}\n",
        way.usages, "table", "bytes a usage", "left of it", "rows left", "bytes left"
    );
    let (mut took, mut kept) = (0, 0);
    for (table, left) in &way.left {
        let (empty, full) =
            (way.empty.get(table).copied().unwrap_or_default(), way.full.get(table).copied().unwrap_or_default());
        let (grown, more, bytes) =
            (full.bytes - empty.bytes, left.rows - empty.rows, (left.bytes - empty.bytes).max(0));
        (took, kept) = (took + grown, kept + bytes);
        if grown > 0 || more != 0 {
            lines += &format!("{table:28} {:>12.1} {:>12.2} {more:>10} {bytes:>10}\n", each(grown), each(bytes));
        }
    }
    lines + &format!("{:28} {:>12.1} {:>12.2} {:>10} {kept:>10}\n", "all", each(took), each(kept), "")
}

#[tokio::test]
async fn i4_of_many_usages_that_went_their_whole_way_as_much_is_left_as_of_few() {
    let (few, many) = (way(4_000).await, way(20_000).await);
    for way in [&few, &many] {
        assert!(way.full["usage"].marked >= i64::try_from(way.usages).unwrap(), "the fixture");
        let marked: Vec<_> = way.left.iter().filter(|(_, size)| size.marked > 0).collect();
        assert!(marked.is_empty(), "something of a usage is left: {marked:?}");
    }
    println!("{}{}", told(&few), told(&many));
    let rows = |way: &Way| -> BTreeMap<String, i64> {
        let rows = way.left.iter().map(|(table, size)| (table.clone(), size.rows - way.empty[table].rows));
        rows.filter(|(_, rows)| *rows != 0).collect()
    };
    let (mut few_left, mut many_left) = (rows(&few), rows(&many));
    assert_eq!(many_left.keys().map(String::as_str).collect::<Vec<_>>(), KEPT, "only what the summary needs");
    // what people decided stays: a hundredth was written off, one by one
    for (way, left) in [(&few, &mut few_left), (&many, &mut many_left)] {
        let decided = left.remove("decision").unwrap();
        assert_eq!(decided, i64::try_from(way.usages / 100).unwrap() + 6, "decisions");
    }
    assert_eq!(many_left, few_left, "what is left grows with the usages");
}

#[tokio::test]
#[ignore = "takes as long as its size: make leftover USAGES=10000000"]
async fn soak_leftover_of_as_many_usages_as_are_wanted() {
    let usages = std::env::var("POSTMETER_USAGES").expect("POSTMETER_USAGES says how many");
    let way = way(usages.parse().expect("a number of usages")).await;
    println!("{}", told(&way));
    assert!(way.left.values().all(|size| size.marked == 0), "something of a usage is left");
    // decisions about single usages stay
    let summary = way.left.iter().filter(|(table, _)| *table != "decision");
    let bytes: i64 = summary.map(|(table, size)| (size.bytes - way.empty[table].bytes).max(0)).sum();
    assert!(bytes < 4_000_000, "what is left of {usages} usages is more than the summary of their meters: {bytes}");
}
