//! What the catalogue lacks or has wrong: mended by a file, as doctor says.

use std::path::Path;

use tests::{Stage, TestDatabase};

use super::super::{cured, run};
use super::{advice, carry_out, is_well, look};

/// Writes the catalogue as `catalog show` says it, with edits.
fn edited(stage: &Stage, file: &Path, edits: &[(&str, &str)]) {
    let (code, mut text) = run(stage, "catalog show");
    assert_eq!(code, 0, "{text}");
    for (from, to) in edits {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn k11_doctor_names_a_destination_that_is_not_served_and_the_catalogue_mends_it() {
    let stage = Stage::new().await;
    let (url, folder) = (stage.db.url(), tempfile::tempdir().unwrap());
    let file = folder.path().join("catalogue.toml");
    stage.let_leases_end().await;
    for (set, words, from, to) in [
        ("settings = settings - 'region'", "cannot be served", "{ endpoint", "{ region = \"us-east-1\", endpoint"),
        (
            "settings = settings || '{\"endpoint\": \"https://metering.example\"}'",
            "is called in production only",
            "https://metering.example",
            stage.aws.url().as_str(),
        ),
        ("dry_run = true", "is on dry run", "dry_run = true", "dry_run = false"),
    ] {
        stage.sql(&format!("update postmeter.destination set {set}")).await;
        let told = advice(&look(&url), "destinations", words);
        edited(&stage, &file, &[(from, to)]);
        carry_out(&stage.db, &told, file.to_str().unwrap());
        is_well(&url, &["destinations"]);
    }
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
    cured(stage, "served", "3").await;
}

/// What the file of the next test adds.
const ADDED: &str = r#"
[[subscription]]
org = "nobody"
product = "db"
destination = "aws"
identity = { product_code = "prod-db", customer_aws_account_id = "777722223333" }
valid_from = 2024-01-01T00:00:00Z

[[dimension]]
destination = "aws"
product = "db"
metric = "disks"
name = "disks"

[[dimension]]
destination = "aws"
product = "web"
metric = "hits"
name = "hits"

[[exempt]]
org = "ours"
reason = "our own"
"#;

#[tokio::test]
async fn k11_doctor_names_what_holds_usage_and_the_catalogue_frees_it() {
    let stage = Stage::new().await;
    let (url, folder) = (stage.db.url(), tempfile::tempdir().unwrap());
    let file = folder.path().join("catalogue.toml");
    stage.subscribe("beta", "222222223333").await;
    stage
        .sql(
            r#"insert into postmeter.subscription (org, product, account, destination_id, identity, valid_from)
               select a.org, a.product, a.account, t.id,
                      jsonb_build_object('product_code', 'prod-db', 'customer_aws_account_id', a.buyer),
                      a.valid_from::timestamptz
               from postmeter.destination t, (values ('twice', 'db', 'first', '333322223333', '2024-01-01'),
                   ('twice', 'db', 'second', '444422223333', '2024-02-02'),
                   ('gamma', 'web', null, '555522223333', '2024-01-01')) a(org, product, account, buyer, valid_from);
               update postmeter.subscription
               set identity = '{"product_code": "prod-db", "customer_aws_account_id": "12"}' where org = 'acme'"#,
        )
        .await;
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:10:00Z").await;
    for (org, metric) in
        [("acme", "cores"), ("beta", "disks"), ("twice", "cores"), ("nobody", "cores"), ("ours", "cores")]
    {
        stage.record(org, org, metric, "3", "2024-09-18T10:05:00Z").await;
    }
    stage.work().await;
    let named = look(&url);
    let mut told = vec![
        advice(&named, "subscriptions", "identity refused: 1 (such as acme, db)"),
        advice(&named, "subscriptions", "no dimension for the product: 1 (such as gamma, web)"),
    ];
    for held in ["1 of 1 orgs: invalid_sub", "1 of 1 orgs: unmapped", "1 of 1 orgs: ambig", "2 of 2 orgs: no_sub"] {
        told.push(advice(&named, "held", held));
    }
    edited(
        &stage,
        &file,
        &[
            ("\"12\"", "\"111122223333\""),
            ("\"2024-02-02T00:00:00Z\"", "\"2024-02-02T00:00:00Z\"\nvalid_until = 2024-09-18T10:00:00Z"),
        ],
    );
    let shown = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{shown}{ADDED}")).unwrap();
    stage.let_leases_end().await;
    for told in &told {
        carry_out(&stage.db, told, file.to_str().unwrap());
    }
    stage.work_anew().await;
    is_well(&url, &["subscriptions", "held"]);
    stage
        .sql(
            "insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'delta', product, destination_id,
                    jsonb_set(identity, '{customer_aws_account_id}', '\"888822223333\"'), valid_from
             from postmeter.subscription where org = 'beta'",
        )
        .await;
    let unread = advice(&look(&url), "subscriptions", "identity not read yet: 1 (such as delta, db)");
    assert_eq!(unread, "a running worker reads what was written by SQL");
    stage.work_anew().await;
    is_well(&url, &["subscriptions", "usage"]);
    cured(stage, "held by the catalogue", "12").await;
}

#[tokio::test]
async fn k11_doctor_leads_from_an_empty_database_to_one_that_can_be_served() {
    let db = TestDatabase::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalogue.toml");
    let text = "[[destination]]\nname = \"aws\"\nkind = \"aws\"\nsettings = { region = \"us-east-1\" }\n";
    std::fs::write(&file, text).unwrap();
    let none = advice(&look(&db.url()), "schema", "there is none");
    carry_out(&db, &none, "");
    let named = look(&db.url());
    let status = tests::postmeter(&db.url()).arg("status").output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    let line = status.lines().find(|line| line.contains("no destination yet")).unwrap_or_else(|| panic!("{status}"));
    carry_out(&db, line, file.to_str().unwrap());
    is_well(&db.url(), &["schema", "destinations", "purpose"]);
    carry_out(&db, &advice(&named, "destinations", "there is none"), file.to_str().unwrap());
}
