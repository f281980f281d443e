//! I2: views keep their names, columns and types, and answer about one thing without walking over the ledger.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::{Ledger, TestDatabase, walks};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test]
async fn i2_views_keep_their_names_columns_and_types() {
    let db = TestDatabase::fresh().await;
    let columns = "select c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                   from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
                   where c.relnamespace = 'postmeter'::regnamespace and c.relkind = 'v' order by c.relname, a.attnum";
    let rows = db.client.query(columns, &[]).await.unwrap();
    let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let path = here("suite/views.txt");
    if std::env::var("POSTMETER_BLESS").is_ok_and(|what| what == "views") {
        std::fs::write(&path, there.join("\n") + "\n").unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap();
    let promised: Vec<&str> = promised.lines().collect();
    let gone: Vec<_> = promised.iter().filter(|line| !there.iter().any(|known| known == **line)).collect();
    let new: Vec<_> = there.iter().filter(|line| !promised.contains(&line.as_str())).collect();
    assert!(
        gone.is_empty() && new.is_empty() && promised == there,
        "people's queries stand on these (docs/decisions/0028-views-and-their-names.md).\ngone: {gone:#?}\nnew: {new:#?}\n\
         If it is meant: POSTMETER_BLESS=views, and a line in CHANGELOG.md."
    );
}

#[test]
fn i2_views_name_every_column() {
    let folder = here("../sql/migrations");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for view in text.split("\ncreate view ").chain(text.split("\ncreate or replace view ")).skip(1) {
            let view = view.split(";\n").next().unwrap_or_default();
            let name = view.split_whitespace().next().unwrap_or_default();
            let is_view = name.starts_with("postmeter.");
            assert!(!is_view || !(view.contains(".*") || view.contains("select *")), "{name} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn i2_whoever_asks_about_one_thing_walks_over_no_big_table() {
    let db = TestDatabase::fresh().await;
    // busy orgs make the tables large; one that is not is asked about, so that what is right is right at this size too
    let ledger = Ledger { orgs: 300, busy: 20, every: 20, asked: 299, hours: 300, tries: 3, usages: 1, further: 500 };
    ledger.write(&db.client).await;
    db.client.batch_execute("set jit = off; set max_parallel_workers_per_gather = 0").await.unwrap();
    let closed = "select count(*) from postmeter.balance where difference <> 0
                  union all select count(*) from postmeter.usage_balance where difference <> 0 or difference_usages <> 0";
    for row in db.client.query(closed, &[]).await.unwrap() {
        assert_eq!(row.get::<_, i64>(0), 0, "the ledger is one that could be");
    }
    let questions = ledger.questions(&db.client).await;
    let rows = db
        .client
        .query(
            "select relname::text from pg_class where relnamespace = 'postmeter'::regnamespace and relkind = 'v'",
            &[],
        )
        .await
        .unwrap();
    for view in rows.iter().map(|row| row.get::<_, String>(0)) {
        let is_asked = questions.iter().any(|question| question.name.starts_with(&format!("{view}, ")));
        assert!(is_asked || tests::WHOLE.contains(&view.as_str()), "nobody asks {view} about one thing");
    }
    let mut wrong = Vec::new();
    for question in questions {
        let explain = format!("explain (analyze, format json) {}", question.sql);
        let row =
            db.client.query_one(&explain, &[]).await.unwrap_or_else(|error| panic!("{}: {error:?}", question.name));
        let plan: Value = row.get(0);
        let found: Vec<String> = walks(&plan[0]["Plan"]).into_iter().map(|walk| walk.what).collect();
        if !found.is_empty() {
            wrong.push(format!("{}: {}", question.name, found.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
