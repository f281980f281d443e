//! Corrections never bring a usage below zero.

use outbox::NewUsage;
use tests::{Stage, q, t};
use tokio_postgres::Client;

use super::{call, rows};

/// A correction of `e1`, in SQL.
fn correction(event_id: &str, quantity: &str) -> String {
    call(&[("event_id", &format!("'{event_id}'")), ("quantity", quantity), ("corrects", "'e1'")])
}

#[tokio::test]
async fn a4_a_correction_of_the_wrong_thing_is_refused_by_name() {
    let stage = Stage::new().await;
    stage.sql(&call(&[("quantity", "10")])).await;
    stage.sql(&correction("c1", "-4")).await;
    let of = |changes: &[(&str, &str)]| {
        let mut all = vec![("event_id", "'c2'"), ("quantity", "-1"), ("corrects", "'e1'")];
        all.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        all.extend_from_slice(changes);
        call(&all)
    };
    for (change, refusal) in [
        (("corrects", "'nothing'"), "PM003 corrects corrects_unknown"),
        (("source", "'console'"), "PM003 corrects corrects_unknown"),
        (("corrects", "'c1'"), "PM001 corrects corrects_correction"),
        (("org", "'globex'"), "PM001 corrects corrects_meter"),
        (("metric", "'gb'"), "PM001 corrects corrects_meter"),
        (("used_at", "'2024-08-31T23:00:00Z'"), "PM001 corrects corrects_month"),
        (("quantity", "-6.000000000000001"), "PM004 corrects corrects_below_zero"),
    ] {
        assert_eq!(stage.refusal(&of(&[change])).await, refusal, "{change:?}");
    }
    assert_eq!(rows(&stage).await, "2 2 2");
    stage.sql(&of(&[("quantity", "-6")])).await;
    assert_eq!(stage.refusal(&correction("c3", "-0.1")).await, "PM004 corrects corrects_below_zero");
    stage.sql(&of(&[("quantity", "-6")])).await;
    assert_eq!(rows(&stage).await, "3 3 3", "a repeated correction counts once");
    stage.close().await;
}

#[tokio::test]
async fn a4_a_usage_and_its_correction_may_come_in_one_statement() {
    let stage = Stage::new().await;
    let both = |less: &str| {
        format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at, corrects) values
             ('billing', 'c1', 'acme', 'db', 'cores', {less}, '2024-09-18T09:30Z', 'e1'),
             ('billing', 'e1', 'acme', 'db', 'cores', 5, '2024-09-18T09:30Z', null)"
        )
    };
    assert_eq!(stage.refusal(&both("-6")).await, "PM004 corrects corrects_below_zero");
    stage.sql(&both("-5")).await;
    stage.cut_at("2024-09-18T10:30:00Z").await;
    assert_eq!(stage.remittances().await, ["18T09 nothing_due 0"]);
    stage.close().await;
}

/// Takes six of `e1`.
async fn take_six(client: &mut Client, event_id: &str) -> Result<(), outbox::Error> {
    let mut usage = NewUsage::new("billing", event_id, "acme", "db", "cores", q("-6"), t("2024-09-18T09:30:00Z"));
    usage.corrects = Some("e1".to_owned());
    let transaction = client.transaction().await?;
    outbox::record_usage(&transaction, &usage).await?;
    Ok(transaction.commit().await?)
}

#[tokio::test]
async fn a4_two_corrections_at_once_cannot_go_below_zero() {
    for first_commits in [true, false] {
        let stage = Stage::new().await;
        stage.sql(&call(&[("quantity", "10")])).await;
        stage.sql("begin").await;
        stage.sql(&correction("c1", "-6")).await;
        let mut other = stage.db.connect().await;
        let second = tokio::spawn(async move { take_six(&mut other, "c2").await });
        // asked from a connection of its own: the stage's has a transaction open
        let watch = stage.db.connect().await;
        tests::until_locked(&watch, 1, || second.is_finished()).await;
        stage.sql(if first_commits { "commit" } else { "rollback" }).await;
        match second.await.unwrap() {
            Err(outbox::Error::Refused(refused)) if first_commits => assert_eq!(refused.code, "PM004"),
            Ok(()) if !first_commits => {}
            other => panic!("first commits: {first_commits}: {other:?}"),
        }
        assert_eq!(stage.value("select trim_scale(sum(quantity))::text from postmeter.usage").await, "4");
        stage.close().await;
    }
}
