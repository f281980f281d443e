//! Five doors, the same rows.

use bytes::Bytes;
use futures_util::SinkExt;
use outbox::{NewUsage, Verdict, record_usage, record_usages};
use serde_json::json;
use tests::{Stage, q, t};

use super::{call, insert, rows};

#[tokio::test]
async fn a1_usage_identity_and_outbox_entry_appear_and_vanish_with_the_callers_own_rows() {
    let stage = Stage::new().await;
    stage.sql("create table orders (id int)").await;
    let usage = NewUsage::new("billing", "e1", "acme", "db", "cores", q("1"), t("2024-09-18T09:30:00Z"));
    let mut client = stage.db.connect().await;
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("insert into orders values (1)").await.unwrap();
        let id = record_usage(&transaction, &usage).await.unwrap();
        let inside = "select (select count(*) from postmeter.usage u where u.id = $1)
            + (select count(*) from postmeter.usage_identity i where i.usage_id = $1)
            + (select count(*) from postmeter.outbox o where o.id = $1)";
        assert_eq!(transaction.query_one(inside, &[&id]).await.unwrap().get::<_, i64>(0), 3, "all three at once");
        assert_eq!(rows(&stage).await, "0 0 0", "and nobody else sees them yet");
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        let own = stage.value("select count(*)::text from orders").await;
        let expected = if commits { ("1 1 1", "1") } else { ("0 0 0", "0") };
        assert_eq!((rows(&stage).await.as_str(), own.as_str()), expected);
    }
    stage.close().await;
}

/// A usage with every field, for a source.
fn full(source: &str) -> NewUsage {
    let mut usage = NewUsage::new(source, "e1", "acme", "db", "cores", q("2.5"), t("2024-09-18T09:30:00Z"));
    usage.request_id = Some("r-1".to_owned());
    usage.attributes = json!({"level": "gold"});
    usage
}

/// COPY of one usage of source `copy`, as CSV.
async fn copy(stage: &Stage, line: &str) -> Result<u64, tokio_postgres::Error> {
    let columns = "source, event_id, org, product, metric, quantity, used_at, request_id, attributes";
    let copy = format!("copy postmeter.outbox ({columns}) from stdin (format csv, quote '~')");
    let sink = stage.db.client.copy_in::<_, Bytes>(&copy).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from(line.to_owned())).await?;
    sink.finish().await
}

const COPIED: &str = "copy,e1,acme,db,cores,2.50,2024-09-18T11:30:00+02:00,r-1,{\"level\": \"gold\"}\n";

#[tokio::test]
async fn a3_insert_copy_function_batch_and_the_rust_client_give_the_same_rows() {
    let stage = Stage::new().await;
    stage.sql(&insert(&[("source", "'insert'")])).await;
    stage.sql(&call(&[("source", "'function'")])).await;
    assert_eq!(copy(&stage, COPIED).await.unwrap(), 1);
    let batch = json!([{"source": "batch", "event_id": "e1", "org": "acme", "product": "db", "metric": "cores",
        "quantity": "2.5", "used_at": "2024-09-18T09:30:00Z", "request_id": "r-1", "attributes": {"level": "gold"}}]);
    stage.sql(&format!("select * from postmeter.record_usage_batch('{batch}')")).await;
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    record_usage(&transaction, &full("rust")).await.unwrap();
    let verdicts = record_usages(&transaction, &[full("rust_batch")]).await.unwrap();
    assert!(matches!(verdicts[..], [Verdict::Recorded(_)]));
    transaction.commit().await.unwrap();

    assert_eq!(rows(&stage).await, "6 6 6");
    // an entry needs no evidence: what is written by a function leaves it to the usage
    let common = "event_id, org, product, metric, trim_scale(quantity), used_at, account, corrects";
    for (table, common) in
        [("usage", format!("{common}, request_id, traceparent, attributes")), ("outbox", common.into())]
    {
        let distinct = format!("select count(*)::text from (select distinct {common} from postmeter.{table}) r");
        assert_eq!(stage.value(&distinct).await, "1", "{table}");
    }
    assert_eq!(
        stage.value("select count(*)::text from postmeter.usage join postmeter.outbox using (id, source)").await,
        "6",
        "usage and entry bear one id"
    );
    stage.close().await;
}

#[tokio::test]
async fn a3_a_repeated_row_of_insert_or_copy_reports_success_and_changes_nothing() {
    let stage = Stage::new().await;
    let insert_one = insert(&[]);
    for _ in 0..2 {
        assert_eq!(stage.db.client.execute(&insert_one, &[]).await.unwrap(), 1, "ORMs count rows");
        assert_eq!(copy(&stage, COPIED).await.unwrap(), 1);
        assert_eq!(rows(&stage).await, "2 2 2");
    }
    let three = "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
        select 'billing', 'n' || least(n, 2), 'acme', 'db', 'cores', 1, '2024-09-18T09:00Z'
        from generate_series(1, 3) n";
    assert_eq!(stage.db.client.execute(three, &[]).await.unwrap(), 3, "a repeat within one statement too");
    assert_eq!(rows(&stage).await, "4 4 4");
    // also when the entry has left the outbox long ago
    stage.fold().await;
    assert_eq!(stage.db.client.execute(&insert_one, &[]).await.unwrap(), 1);
    assert_eq!(rows(&stage).await, "4 4 0");
    stage.close().await;
}

#[tokio::test]
async fn a3_the_batch_gives_each_row_its_verdict_and_what_is_refused_does_not_stop_the_rest() {
    let stage = Stage::new().await;
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    let first = record_usage(&transaction, &full("a")).await.unwrap();
    let (mut other, mut negative) = (full("a"), full("c"));
    other.quantity = q("7");
    negative.quantity = q("-1");
    let verdicts = record_usages(&transaction, &[full("a"), full("b"), full("b"), other, negative]).await.unwrap();
    let codes: Vec<_> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Recorded(_) => "recorded".to_owned(),
            Verdict::Repeated(_) => "repeated".to_owned(),
            Verdict::Refused(refused) => format!("{} {}", refused.code, refused.field.as_deref().unwrap_or("-")),
        })
        .collect();
    assert_eq!(codes, ["repeated", "recorded", "repeated", "PM002 event_id", "PM001 quantity"]);
    assert_eq!(verdicts[0], Verdict::Repeated(first));
    transaction.commit().await.unwrap();
    assert_eq!(rows(&stage).await, "2 2 2");
    stage.close().await;
}
