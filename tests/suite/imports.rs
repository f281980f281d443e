//! A7: a billing export is imported, stopped, imported again. And the catalogue from a file.

use std::fmt::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tests::Stage;

/// An export of so many rows, one of them without a quantity and one that takes something back.
fn export(rows: usize) -> String {
    let mut text = String::from(
        "Id,SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargePeriodEnd,ProviderName\n",
    );
    for n in 0..rows {
        let quantity = match n {
            7 => "NULL".to_owned(),
            8 => "-1".to_owned(),
            _ => format!("{}.25", n % 10),
        };
        let _ = writeln!(text, "{n},acme,Db,Cores,{quantity},2024-09-18 09:00:00,2024-09-18 10:00:00,Aws");
    }
    text
}

fn import(stage: &Stage, file: &str) -> (Option<i32>, Value) {
    let output = tests::postmeter(&stage.db.url()).args(["import", "focus", file, "--json"]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_an_import_that_is_killed_is_resumed_and_records_nothing_twice() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.csv");
    std::fs::write(&path, export(5000)).unwrap();
    let file = path.to_string_lossy().into_owned();
    let mut killed = tests::postmeter(&stage.db.url())
        .args(["import", "focus", &file])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tests::until_true(&stage.db.client, "select count(*) > 0 from postmeter.usage").await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before: u64 = stage.value("select count(*)::text from postmeter.usage").await.parse().unwrap();
    let (code, report) = import(&stage, &file);
    assert_eq!(code, Some(3), "what was listed needs a person");
    assert!(report["repeated"].as_u64().unwrap() >= before.min(1));
    assert_eq!(report["recorded"].as_u64().unwrap() + report["repeated"].as_u64().unwrap(), 4998);
    assert_eq!((report["not_usage"].as_u64(), report["corrections"].as_u64()), (Some(1), Some(1)));
    let (_, again) = import(&stage, &file);
    assert_eq!((again["recorded"].as_u64(), again["repeated"].as_u64()), (Some(0), Some(4998)));
    assert_eq!(stage.value("select count(*)::text from postmeter.usage").await, "4998");
    stage.close().await;
}

#[tokio::test]
async fn a_catalogue_file_is_applied_once_and_wrong_entries_are_refused_by_name() {
    let stage = Stage::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    let apply = |text: String| {
        std::fs::write(&path, text).unwrap();
        let output =
            tests::postmeter(&stage.db.url()).args(["catalog", "apply", &path.to_string_lossy()]).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let good = |factor: &str, account: &str| {
        format!(
            "[[destination]]\nname = \"aws\"\nkind = \"aws\"\nsettings = {{ region = \"us-east-1\", endpoint = \"{}\" }}\n\
             [[dimension]]\ndestination = \"aws\"\nproduct = \"db\"\nmetric = \"cores\"\nname = \"cores\"\nfactor = \"{factor}\"\n\
             [[subscription]]\norg = \"acme\"\nproduct = \"db\"\ndestination = \"aws\"\nvalid_from = \"2024-01-01T00:00:00Z\"\n\
             identity = {{ product_code = \"p\", customer_aws_account_id = \"{account}\" }}\n",
            stage.aws.url()
        )
    };
    let (code, said) = apply(good("0/4", "12"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("factor") && said.contains("customer_aws_account_id"), "every problem at once: {said}");
    assert_eq!(stage.value("select count(*)::text from postmeter.subscription").await, "0");
    let (code, said) = apply(good("1/4", "111122223333"));
    assert_eq!(code, Some(0), "{said}");
    let changes = stage.value("select count(*)::text from postmeter.catalogue_change").await;
    let (code, said) = apply(good("1/4", "111122223333"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        stage.value("select count(*)::text from postmeter.catalogue_change").await,
        changes,
        "the same file again changes nothing"
    );
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("twenty", "20", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 5"]);
    stage.close().await;
}
