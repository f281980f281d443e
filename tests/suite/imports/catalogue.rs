//! The catalogue from a file, and a first one from an export.

use tests::Stage;

use super::{Exports, HEAD, Row, line};

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

#[tokio::test]
async fn l6_derive_survives_a_bad_row_and_says_so() {
    let stage = Stage::bare().await;
    let exports = Exports::of(&stage);
    let tax = Row { category: "Tax", unit: "Dollars", ..Row::new("disk", "1") };
    let when = Row { start: "2024-09-18 09:00:00 PST".to_owned(), ..Row::new("disk", "1") };
    let mut bytes =
        format!("{HEAD}\n{}\nshort,row\n{}\n{}\n", line(&Row::new("disk", "1")), line(&when), line(&tax)).into_bytes();
    bytes.extend_from_slice(b"\xff\xfe,acme,,,,,,,,,,,,\n");
    let path = exports.write("export.csv", bytes);
    let output = tests::postmeter(&stage.db.url()).args(["catalog", "derive", "focus"]).arg(path).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("metric = \"cores\"") && !said.contains("dollars"), "{said}");
    assert!(said.contains("# 3 cannot be read and were passed over, the first in line 3: has 2 columns"), "{said}");
    assert!(said.contains("# 1 are no usage and were passed over"), "{said}");
    stage.close().await;
}
