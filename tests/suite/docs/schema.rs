//! `docs/own-the-schema.md` and `docs/operate.md` against a real database.

use std::collections::BTreeSet;

use tests::{Dimension, Stage, TestDatabase};

use super::{files, read, spans};

async fn names(db: &TestDatabase, sql: &str) -> BTreeSet<String> {
    db.client.query(sql, &[]).await.expect(sql).iter().map(|row| row.get(0)).collect()
}

/// Words in backticks in the first cells of a part's tables.
fn first_cells(part: &str) -> BTreeSet<String> {
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|line| line.split('|').nth(1)).flat_map(spans).collect()
}

#[tokio::test]
async fn every_table_and_view_is_described_column_by_column() {
    let db = TestDatabase::fresh().await;
    let page = read("docs/own-the-schema.md");
    let tables = page.split_once("## The tables").expect("tables").1.split("\n## ").next().expect("a part");
    let relations = "select relname::text from pg_class where relnamespace = 'postmeter'::regnamespace";
    let there = names(&db, &format!("{relations} and relkind in ('r', 'p') and not relispartition")).await;
    assert_eq!(first_cells(tables), there);
    for view in names(&db, &format!("{relations} and relkind = 'v'")).await {
        let part = page.split_once(&format!("\n### `postmeter.{view}`\n"));
        let part = part.unwrap_or_else(|| panic!("docs/own-the-schema.md does not describe {view}")).1;
        let columns = format!(
            "select attname::text from pg_attribute where attrelid = 'postmeter.{view}'::regclass and attnum > 0"
        );
        let told = first_cells(part.split("\n#").next().expect("a part"));
        assert_eq!(told, names(&db, &columns).await, "columns of {view}");
    }
}

#[tokio::test]
async fn every_query_of_the_pages_runs_for_a_reader() {
    let db = TestDatabase::fresh().await;
    db.client.batch_execute("set role postmeter_reader").await.expect("a reader");
    let pages = [
        "own-the-schema.md",
        "operate.md",
        "operate/failures.md",
        "operate/postgres.md",
        "operate/runbook.md",
        "adopt.md",
    ];
    for page in pages.map(|page| format!("docs/{page}")) {
        let text = read(&page);
        let blocks: Vec<_> = text.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{page} has queries");
        for sql in blocks {
            db.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{page}: {sql}: {error:?}"));
        }
    }
}

#[tokio::test]
async fn the_example_of_the_balance_is_what_the_views_say() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { factor: (1, 4), ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for cores in ["10", "6", "7"] {
        stage.use_cores(cores, cores, "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let usage =
        "select format('| `usage_balance` | %s | | | | | %s |', recorded, difference) from postmeter.usage_balance";
    let meter = "select format('| `balance` (denominator %s) | %s | %s | %s | %s | %s | %s |',
                 denominator, recorded, open, accepted, covered, carried, difference) from postmeter.balance";
    let page = read("docs/own-the-schema.md");
    for row in [stage.value(usage).await, stage.value(meter).await] {
        assert!(page.contains(&row), "docs/own-the-schema.md should say {row}");
    }
    stage.at("2024-09-18T11:20:00Z").await;
    stage.use_cores("one more", "1", "2024-09-18T11:15:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.use_cores("25", "1", "2024-09-18T12:05:00Z").await;
    stage.cut_at("2024-09-18T13:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6", "18T12 1"], "the next core was paid for, the one after is not");
    stage.close().await;
}

#[test]
fn every_statement_of_a_worker_has_its_rhythm_on_the_page() {
    let page = read("docs/own-the-schema.md");
    let told = first_cells(page.split_once("## Statements").expect("statements").1);
    let verbs = [
        "alerts.rs",
        "balance.rs",
        "breaker.rs",
        "claim.rs",
        "cut.rs",
        "fleet.rs",
        "fold.rs",
        "gate.rs",
        "gathering.rs",
        "installation.rs",
        "maintain.rs",
        "measure.rs",
        "pace.rs",
        "proof.rs",
        "refusal.rs",
        "refused.rs",
        "requests.rs",
        "setback.rs",
        "settle.rs",
        "switches.rs",
        "timeline.rs",
        "workers.rs",
    ];
    let parts = ["src/fold/", "src/maintain/", "src/settle/"];
    let is_theirs =
        |path: &String| verbs.iter().any(|verb| path.ends_with(verb)) || parts.iter().any(|part| path.contains(part));
    let sources = files("crates/outbox/src").into_iter().filter(is_theirs);
    let mut used: BTreeSet<String> = [
        "catalogue_destinations",
        "catalogue_unread",
        "setting",
        "health_outbox",
        "health_workers",
        "health_partitions",
        "health_balance",
        "health_isolation",
        "health_hours",
        "health_usage_balance",
        "setback_try_again",
    ]
    .map(str::to_owned)
    .into();
    for path in sources {
        let source = read(&path);
        let calls =
            source.split("query!(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        used.extend(calls.map(str::to_owned));
        let asked = source.split(" from \"").skip(1).filter_map(|rest| rest.split('"').next());
        used.extend(asked.map(str::to_owned));
    }
    assert_eq!(told, used);
}
