//! A7 and L6: billing exports are imported, stopped, refreshed and imported again. And the catalogue from a file.

mod accounted;
mod catalogue;
mod differences;
mod files;
mod identity;
mod moved;
mod older;
mod periods;
mod refreshed;
mod reopened;
mod sources;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tests::Stage;

/// A row of an export; what a test does not care about is as usual.
#[derive(Debug, Clone)]
struct Row {
    resource: String,
    quantity: String,
    start: String,
    end: String,
    provider: &'static str,
    cost: String,
    category: &'static str,
    class: &'static str,
    unit: &'static str,
}

impl Row {
    fn new(resource: &str, quantity: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            quantity: quantity.to_owned(),
            start: "2024-09-18T09:00:00Z".to_owned(),
            end: String::new(),
            provider: "Aws",
            cost: "1.5".to_owned(),
            category: "Usage",
            class: "",
            unit: "Cores",
        }
    }
}

/// The columns of our exports.
const HEAD: &str = "BillingAccountId,SubAccountId,ResourceId,SkuId,RegionId,ServiceName,ConsumedUnit,ConsumedQuantity,\
                    ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeClass,ProviderName,BilledCost";

fn line(row: &Row) -> String {
    let Row { resource, quantity, start, end, provider, cost, category, class, unit } = row;
    format!("seller,acme,{resource},sku,eu-1,Db,{unit},{quantity},{start},{end},{category},{class},{provider},{cost}")
}

fn text(rows: &[Row]) -> String {
    let mut text = format!("{HEAD}\n");
    for row in rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

/// A folder with exports, and a command that imports them.
struct Exports {
    folder: tempfile::TempDir,
    url: String,
}

impl Exports {
    fn of(stage: &Stage) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url: stage.db.url() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Imports files; the exit code, what it reported, and what it said to people.
    fn import(&self, words: &[&str], files: &[&Path]) -> (i32, Value, String) {
        let output =
            tests::postmeter(&self.url).args(["import", "focus", "--json"]).args(words).args(files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if !report.is_null() {
            every_row_ends_somewhere(&report);
        }
        (output.status.code().unwrap(), report, said)
    }

    /// Writes rows to a file and imports it.
    fn rows(&self, words: &[&str], rows: &[Row]) -> (i32, Value, String) {
        let path = self.write("rows.csv", text(rows));
        self.import(words, &[&path])
    }
}

/// Rows and sums: read = recorded + repeated + changed + skipped + refused, of each metric and of all.
fn every_row_ends_somewhere(report: &Value) {
    let ends = ["recorded", "repeated", "changed", "skipped", "refused"];
    let rows: u64 = ends.iter().map(|end| report[end].as_u64().unwrap()).sum();
    assert_eq!(report["rows"].as_u64(), Some(rows), "{report}");
    let decimal = |value: &Value| value.as_str().unwrap().parse::<rust_decimal::Decimal>().unwrap();
    for metric in report["metrics"].as_array().unwrap() {
        let counts = &metric["counts"];
        let rows: u64 = ends.iter().map(|end| counts[end]["rows"].as_u64().unwrap()).sum();
        let sum: rust_decimal::Decimal = ends.iter().map(|end| decimal(&counts[end]["quantity"])).sum();
        assert_eq!(counts["read"]["rows"].as_u64(), Some(rows), "{metric}");
        assert_eq!(decimal(&counts["read"]["quantity"]), sum, "{metric}");
    }
}

/// How many usages and corrections there are, and what they add up to.
async fn standing(stage: &Stage) -> String {
    stage.value("select count(*) || ' ' || trim_scale(coalesce(sum(quantity), 0)) from postmeter.usage").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_an_import_that_is_killed_is_resumed_and_records_nothing_twice() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows: Vec<Row> = (0..5000).map(|n| Row::new(&format!("disk-{n}"), &format!("{}.25", n % 10))).collect();
    let file = exports.write("export.csv", text(&rows));
    let mut killed = tests::postmeter(&stage.db.url())
        .args(["import", "focus"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tests::until_true(&stage.db.client, "select count(*) > 0 from postmeter.usage").await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before: u64 = stage.value("select count(*)::text from postmeter.usage").await.parse().unwrap();
    let (code, report, said) = exports.import(&[], &[&file]);
    assert_eq!(code, 0, "{said}");
    assert!(report["repeated"].as_u64().unwrap() >= before.min(1));
    assert_eq!(report["recorded"].as_u64().unwrap() + report["repeated"].as_u64().unwrap(), 5000);
    let (_, again, _) = exports.import(&[], &[&file]);
    assert_eq!((again["recorded"].as_u64(), again["repeated"].as_u64()), (Some(0), Some(5000)));
    assert_eq!(stage.value("select count(*)::text from postmeter.usage").await, "5000");
    stage.close().await;
}
