//! A real billing export, replayed hour by hour: what the file says = accepted + carried + held + listed, exactly.
//!
//! `make replay FILE=export.csv`. The sums of the file are taken by Postgres from the raw text, not by our reader.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tests::Stage;

/// Runs our own command against the stage's database.
fn postmeter(stage: &Stage, args: &[&str]) -> String {
    let output = tests::postmeter(&stage.db.url()).args(args).output().expect("the postmeter command is built");
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{args:?}: {code:?} {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Loads the file as it is, a column per column, all text, and returns the hours in which something was used.
async fn load(stage: &Stage, file: &str) -> BTreeSet<Timestamp> {
    let mut reader = csv::Reader::from_path(file).expect("a CSV file");
    let wanted = ["ServiceName", "ConsumedUnit", "ConsumedQuantity", "ChargePeriodStart", "ChargeCategory"];
    let headers = reader.headers().expect("a header").clone();
    let at: Vec<usize> = wanted.iter().map(|name| headers.iter().position(|h| h == *name).expect(name)).collect();
    stage.sql("create table file (service text, unit text, quantity text, start text)").await;
    let insert = stage
        .db
        .client
        .prepare("insert into file select nullif($1, 'NULL'), nullif($2, 'NULL'), nullif($3, 'NULL'), $4")
        .await
        .expect("a table");
    let mut hours = BTreeSet::new();
    for row in reader.records() {
        let row = row.expect("a row");
        let values: Vec<&str> = at.iter().map(|n| &row[*n]).collect();
        // what is no usage is skipped by the import, and has no part in the balance
        if values[4] != "Usage" {
            continue;
        }
        stage.db.client.execute(&insert, &[&values[0], &values[1], &values[2], &values[3]]).await.expect("a row");
        let start: Timestamp = format!("{}Z", values[3].replace(' ', "T")).parse().expect("a time");
        hours.insert(start);
    }
    hours
}

#[tokio::test]
#[ignore = "needs a file: make replay FILE=export.csv"]
async fn soak_replay_of_a_focus_export_closes_at_zero() {
    let file = std::env::var("POSTMETER_FOCUS_FILE").expect("POSTMETER_FOCUS_FILE names a FOCUS export");
    let stage = Stage::bare().await;
    let hours = load(&stage, &file).await;
    let endpoint = format!("endpoint={}", stage.aws.url());
    let catalogue = postmeter(&stage, &["catalog", "derive", "focus", &file, "--setting", &endpoint]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalogue.toml");
    std::fs::write(&path, catalogue).expect("a file");
    stage.at(&hours.first().expect("a row").to_string()).await;
    postmeter(&stage, &["catalog", "apply", &path.to_string_lossy()]);
    stage.sql("update postmeter.quota set calls_per_second = null").await;
    stage.worker.reload().await.expect("the catalogue");
    let hour = SignedDuration::from_hours(1);
    for start in &hours {
        stage.at(&(*start + SignedDuration::from_mins(50)).to_string()).await;
        postmeter(
            &stage,
            &["import", "focus", &file, "--from", &start.to_string(), "--until", &(*start + hour).to_string()],
        );
        stage.cut_at(&(*start + hour + SignedDuration::from_mins(10)).to_string()).await;
    }
    let end = *hours.last().expect("a row") + SignedDuration::from_hours(3);
    stage.cut_at(&end.to_string()).await;
    report(&stage).await;
    stage.close().await;
}

/// Per metric: the file's sum, and where it is. Postgres does the sums.
const REPORT: &str = "
    with file as (
        select coalesce(trim('-' from regexp_replace(lower(replace(unit, '/', ' per ')), '[^a-z0-9]+', '-', 'g')), '') as metric,
               count(*) as rows, sum(quantity::numeric) as total, coalesce(sum(quantity::numeric) filter (where quantity::numeric < 0), 0) as negative
        from file where quantity is not null group by 1
    ), sent as (
        select d.metric, sum(b.accepted / b.denominator) as accepted, sum(b.carried / b.denominator) as carried,
               count(*) filter (where b.carried <> 0) as carrying, count(*) as meters,
               sum((b.recorded - b.accepted - b.carried - b.difference) / b.denominator) as elsewhere
        from postmeter.balance b
        join postmeter.meter m on m.id = b.meter_id
        join postmeter.meter_metric d on d.meter_id = m.id
        group by 1
    ), held as (select metric, sum(quantity) as held from postmeter.held group by 1)
    select f.metric, f.rows::text, trim_scale(f.total)::text, trim_scale(coalesce(s.accepted, 0))::text, trim_scale(coalesce(s.carried, 0))::text,
           trim_scale(coalesce(h.held, 0))::text, trim_scale(f.negative)::text, coalesce(s.carrying, 0)::text, coalesce(s.meters, 0)::text,
           trim_scale(f.total - coalesce(s.accepted, 0) - coalesce(s.carried, 0) - coalesce(h.held, 0) - f.negative)::text
    from file f left join sent s using (metric) left join held h using (metric)
    order by f.metric";

async fn report(stage: &Stage) {
    let rows = stage.db.client.query(REPORT, &[]).await.expect("a report");
    println!("metric | rows | file = accepted + carried + held + listed | meters carrying of all | difference");
    let mut differences = Vec::new();
    for row in rows {
        let cell = |n: usize| row.get::<_, String>(n);
        println!(
            "{} | {} | {} = {} + {} + {} + {} | {} of {} | {}",
            cell(0),
            cell(1),
            cell(2),
            cell(3),
            cell(4),
            cell(5),
            cell(6),
            cell(7),
            cell(8),
            cell(9)
        );
        differences.push(cell(9));
    }
    assert!(differences.iter().all(|difference| difference == "0"), "{differences:?}");
}
