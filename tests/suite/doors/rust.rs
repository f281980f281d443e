//! The crate's own door.

use postmeter_client::{Error, NewUsage, Verdict, record_usage, record_usages};
use serde_json::json;
use tests::{Stage, q, t};

#[tokio::test]
async fn l4_the_rust_client_cuts_times_down_and_refuses_nul_by_item() {
    let stage = Stage::new().await;
    let mut client = stage.db.connect().await;
    let late = |id: &str| NewUsage::new("rust", id, "acme", "db", "cores", q("1"), t("2024-08-31T23:59:59.999999999Z"));
    let nul = NewUsage { org: "ac\0me".to_owned(), ..late("nul") };
    let deep = NewUsage { attributes: json!({"a": [{"b": "\0"}]}), ..late("deep") };
    let transaction = client.transaction().await.unwrap();
    let one = record_usage(&transaction, &late("one")).await.unwrap();
    assert!(matches!(record_usage(&transaction, &nul).await, Err(Error::Refused(refused)) if refused.code == "22P05"));
    let verdicts = record_usages(&transaction, &[nul, late("two"), deep, late("one")]).await.unwrap();
    transaction.commit().await.unwrap();
    let refused: Vec<_> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Refused(refused) => format!("{} {}", refused.code, refused.field.as_deref().unwrap_or("-")),
            other => format!("{other:?}").split('(').next().unwrap_or_default().to_owned(),
        })
        .collect();
    assert_eq!(refused, ["22P05 org", "Recorded", "22P05 attributes", "Repeated"]);
    assert_eq!(verdicts[3], Verdict::Repeated(one));
    let times = "select string_agg(distinct (used_at at time zone 'UTC')::text, ' ') from postmeter.usage";
    let last = "2024-08-31 23:59:59.999999";
    assert_eq!(stage.value(times).await, last, "the last moment of a month stays in it");
    stage.close().await;
}
