//! The same usage again, from many callers at once.

use outbox::NewUsage;
use tests::{Stage, q, t};

use super::{call, insert, rows};

fn usage() -> NewUsage {
    NewUsage::new("billing", "e1", "acme", "db", "cores", q("1"), t("2024-09-18T09:30:00Z"))
}

/// Fifty callers record the same usage, 49 of them while the first has not ended its transaction.
async fn fifty_at_once(first_commits: bool) {
    let stage = Stage::new().await;
    let mut client = stage.db.connect().await;
    let first = client.transaction().await.unwrap();
    let first_id = outbox::record_usage(&first, &usage()).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..49 {
        let mut client = stage.db.connect().await;
        others.push(tokio::spawn(async move {
            let transaction = client.transaction().await.unwrap();
            let id = outbox::record_usage(&transaction, &usage()).await.unwrap();
            transaction.commit().await.unwrap();
            id
        }));
    }
    stage.until_waiting(49).await;
    if first_commits {
        first.commit().await.unwrap();
    } else {
        first.rollback().await.unwrap();
    }
    let mut ids = Vec::new();
    for other in others {
        ids.push(other.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "equal answers");
    assert_eq!(ids[0] == first_id, first_commits);
    assert_eq!(stage.column("select id::text from postmeter.usage").await, [ids[0].to_string()]);
    assert_eq!(rows(&stage).await, "1 1 1");
    stage.close().await;
}

#[tokio::test]
async fn a2_fifty_callers_at_once_get_one_usage_and_equal_answers() {
    fifty_at_once(true).await;
}

#[tokio::test]
async fn a2_fifty_callers_at_once_get_equal_answers_also_when_the_first_rolls_back() {
    fifty_at_once(false).await;
}

#[tokio::test]
async fn a2_other_content_under_a_known_id_is_refused_by_name_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.sql(&call(&[])).await;
    for change in [
        ("quantity", "2.6"),
        ("org", "'globex'"),
        ("product", "'cache'"),
        ("metric", "'gb'"),
        ("account", "'main'"),
        ("used_at", "'2024-09-18T09:30:00.000001Z'"),
    ] {
        for statement in [call(&[change]), insert(&[change])] {
            assert_eq!(stage.refusal(&statement).await, "PM002 event_id usage_identity", "{change:?}");
        }
    }
    assert_eq!(rows(&stage).await, "1 1 1");
    // the same value and the same instant in other clothes, and other labels, are the same usage
    for change in [
        ("quantity", "2.5000"),
        ("used_at", "'2024-09-18T11:30:00+02'"),
        ("request_id", "'r-2'"),
        ("attributes", "'{}'"),
    ] {
        stage.sql(&call(&[change])).await;
    }
    // two contents under one id within one statement
    let two = "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
        select 'billing', 'twice', 'acme', 'db', 'cores', n, '2024-09-18T09:00Z' from generate_series(1, 2) n";
    assert_eq!(stage.refusal(two).await, "PM002 event_id usage_identity");
    assert_eq!(rows(&stage).await, "1 1 1");
    stage.close().await;
}

#[tokio::test]
async fn a2_the_same_id_a_month_later_is_refused_and_another_source_is_independent() {
    let stage = Stage::new().await;
    stage.sql(&call(&[])).await;
    stage.fold().await;
    stage.at("2024-10-18T10:00:00Z").await;
    let later = ("used_at", "'2024-10-18T09:30:00Z'");
    assert_eq!(stage.refusal(&call(&[later])).await, "PM002 event_id usage_identity");
    stage.sql(&call(&[])).await;
    assert_eq!(rows(&stage).await, "1 1 0", "the very same, a month later, is a repeat");
    stage.sql(&call(&[later, ("source", "'console'")])).await;
    assert_eq!(rows(&stage).await, "2 2 1");
    stage.close().await;
}

#[tokio::test]
async fn a2_an_id_older_than_identities_are_kept_is_refused_as_too_old() {
    let stage = Stage::new().await;
    stage.sql(&call(&[])).await;
    stage.at("2025-11-01T10:00:00Z").await;
    assert_eq!(stage.refusal(&call(&[])).await, "PM005 used_at used_at_too_old");
    assert_eq!(rows(&stage).await, "1 1 1");
    stage.close().await;
}

#[tokio::test]
async fn a2_batches_with_the_same_ids_in_opposite_orders_do_not_deadlock() {
    let stage = Stage::new().await;
    let batch = |round: u32, order: &str| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', '{round} ' || n, 'acme', 'db', 'cores', 1, '2024-09-18T09:00Z'
             from generate_series(1, 300) n order by n {order}"
        )
    };
    for round in 1..=5 {
        let mut callers = Vec::new();
        for caller in 0..8 {
            let (client, sql) = (stage.db.connect().await, batch(round, if caller % 2 == 0 { "asc" } else { "desc" }));
            callers.push(tokio::spawn(async move { client.execute(&sql, &[]).await }));
        }
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), 300);
        }
        let once = 300 * round;
        assert_eq!(rows(&stage).await, format!("{once} {once} {once}"));
    }
    stage.close().await;
}
