//! K3 and K4: contracts that the catalogue file names, from `catalog apply` to `explain`.

use serde_json::json;
use tests::{Dimension, Stage, q, t};

use super::run;

/// Applies the catalogue as it is shown, with an edit; what was said.
fn apply(stage: &Stage, from: &str, to: &str) -> String {
    let (_, shown, _) = run(stage, &["catalog", "show"]);
    let edited = shown.replace(from, to);
    assert_ne!(shown, edited, "the edit changes something: {shown}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.toml");
    std::fs::write(&path, edited).unwrap();
    let words = ["catalog", "apply", &path.to_string_lossy(), "--who", "ada", "--why", "two offers"];
    let (code, said, error) = run(stage, &words);
    assert_eq!(code, 0, "{said}{error}");
    said
}

/// acme uses cores by two accounts in an hour of the 18th, which is cut.
async fn used(stage: &Stage, hour: u32, first: &str, second: &str) {
    stage.at(&format!("2024-09-18T{hour}:10:00Z")).await;
    for (account, quantity) in [("first", first), ("second", second)] {
        let (event, time) = (format!("{account} {hour}"), t(&format!("2024-09-18T{hour}:05:00Z")));
        let mut usage = outbox::NewUsage::new("billing", &event, "acme", "db", "cores", q(quantity), time);
        usage.account = Some(account.to_owned());
        stage.record_as(&usage).await;
    }
    stage.cut_at(&format!("2024-09-18T{}:10:00Z", hour + 1)).await;
}

#[tokio::test]
async fn k3_a_contract_is_named_in_the_file_and_told_by_name() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension::default()).await;
    let buyer = json!({"product_code": "prod-db", "customer_aws_account_id": "111122223333"});
    for account in ["first", "second"] {
        let added = "insert into postmeter.subscription (org, product, account, destination_id, identity, valid_from)
                     select 'acme', 'db', $1, id, $2, '2024-01-01' from postmeter.destination";
        stage.db.client.execute(added, &[&account, &buyer]).await.unwrap();
    }
    stage.worker.reload().await.unwrap();
    let said = apply(&stage, "account = \"first\"\n", "account = \"first\"\ncontract = \"gold\"\n");
    assert!(said.contains("first, aws, 2024-01-01T00:00:00Z: contract \"none\" -> \"gold\""), "{said}");
    assert!(!said.contains("note:"), "nothing is metered yet: it counts at once\n{said}");
    used(&stage, 10, "0.5", "0.25").await;
    assert_eq!(stage.accepted(), ["18T10 2"], "one unit each");
    let said = apply(&stage, "contract = \"gold\"", "contract = \"silver\"");
    assert!(said.contains("\"silver\" instead of \"gold\", from the next month on: this month is metered"), "{said}");
    stage.sql("update postmeter.dimension set decimals = 1").await;
    used(&stage, 11, "0.75", "0.5").await;
    assert_eq!(stage.accepted(), ["18T10 2", "18T11 1"], "1.25 of gold, 0.75 of the other");
    let (_, text, _) = run(&stage, &["explain", "billing", "first 11"]);
    for words in [
        "buyer aws/us-east-1/prod-db/111122223333, counted on contract db/gold",
        ": contract db/gold, everything of the month 2024-09 so far",
        ": everything of the month 2024-09 so far",
        "the catalogue says rounded up to 1 decimal by now: that counts from the next month on",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    stage.at("2024-10-02T10:10:00Z").await;
    let mut usage = outbox::NewUsage::new("billing", "o", "acme", "db", "cores", q("0.25"), t("2024-10-02T10:05:00Z"));
    usage.account = Some("first".to_owned());
    stage.record_as(&usage).await;
    stage.cut_at("2024-10-02T11:10:00Z").await;
    assert_eq!(stage.accepted().last().unwrap(), "02T10 0.3", "October's meter has October's decimals");
    let meters = "select month || ' ' || buyer from postmeter.balance where buyer like 'contract:%' order by 1";
    assert_eq!(stage.column(meters).await, ["2024-09-01 contract:db/gold", "2024-10-01 contract:db/silver"]);
    stage.close().await;
}
