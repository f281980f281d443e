//! The proof of the balance and the alerts: one that fails costs its own turn and is named.

use std::time::Duration;

use super::{meter_of, ripe};

#[tokio::test]
async fn j2_balance_names_the_meter_that_cannot_be_proven_and_proves_the_rest() {
    let stage = ripe(4).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    let sick = stage.value(&format!("select {}::text", meter_of(2))).await;
    stage.sql(&format!("update postmeter.meter set denominator = 0 where id = {sick}")).await;
    let proof = outbox::balance::prove(&stage.db.database, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!((proof.checked, proof.open), (4, 1), "{proof:?}");
    let example = proof.example.unwrap();
    assert!(example.starts_with(&format!("meter {sick} cannot be proven: division by zero")), "{example}");
    // whoever lists them asks the same
    let open = outbox::measure::check_balance(&stage.db.database, Duration::from_secs(60)).await.unwrap();
    assert_eq!(open, Some(1));
}

#[tokio::test]
async fn j2_alerts_one_rule_that_cannot_be_noted_costs_its_own_turn() {
    let stage = ripe(2).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage
        .sql(&format!(
            "update postmeter.alert_rule set patience = '0 seconds';
             delete from postmeter.due where delivery_id in (select id from postmeter.delivery where meter_id = {meter});
             update postmeter.delivery set status = 'held', reason = 'by_operator' where meter_id = {meter};
             select postmeter.pause('aws', 'ada', 'a test');
             alter table postmeter.alert add constraint sick check (name <> 'dead_letters') not valid",
            meter = meter_of(1)
        ))
        .await;
    let changes = stage.worker.look(true).await.unwrap();
    assert!(changes.iter().any(|change| change.name == "destination_paused"), "{changes:?}");
    let why = stage.value("select failure from postmeter.alert_rule where name = 'dead_letters'").await;
    assert!(why.contains("sick"), "{why}");
}
