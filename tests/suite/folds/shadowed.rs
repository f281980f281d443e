//! J1 and J2 for the folds of shadows.

use tests::wait_until;

use crate::shadow::{shadow_subscription, stage_with_shadow};

/// Usages that the shadow has counted.
const COUNTED: &str =
    "select count(*)::text from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                       where t.shadow_of is not null";

#[tokio::test]
async fn j1_shadow_fold_what_is_locked_costs_its_org_and_nobody_else() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.subscribe("other", "200000000000").await;
    shadow_subscription(&stage, "other", "200000000000").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for org in ["acme", "other"] {
        stage.record(&format!("a {org}"), org, "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    stage.fold().await;
    stage.worker.shadow().await.unwrap();
    for org in ["acme", "other"] {
        stage.record(&format!("b {org}"), org, "cores", "1", "2024-09-18T10:20:00Z").await;
    }
    stage.fold().await;
    let holder = stage.db.connect().await;
    let lock = "begin; select from postmeter.delivery d join postmeter.meter m on m.id = d.meter_id
                where d.shadow and m.buyer like '%111122223333%' for update of d";
    holder.batch_execute(lock).await.unwrap();
    stage.worker.shadow().await.unwrap();
    assert_eq!(stage.value(COUNTED).await, "3", "the other is through in the same round");
    let kept = "select split_part(member, ':', 2) || ' ' || org from postmeter.setback where step = 'shadow_fold'";
    assert_eq!(stage.value(kept).await, "org acme");
    holder.batch_execute("commit").await.unwrap();
    wait_until("the shadow counts all", async || {
        stage.worker.shadow().await.unwrap();
        stage.value(COUNTED).await == "4"
    })
    .await;
    assert_eq!(stage.value(kept).await, "");
    stage.close().await;
}

#[tokio::test]
async fn j2_shadow_fold_a_usage_that_fails_is_found_and_goes_on_once_it_is_cured() {
    let (stage, _theirs) = stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..10 {
        stage.use_cores(&format!("a{n}"), if n == 7 { "13" } else { "1" }, "2024-09-18T10:10:00Z").await;
    }
    stage.fold().await;
    stage.sql("alter table postmeter.allocation add constraint thirteen check (quantity <> 13) not valid").await;
    stage.worker.shadow().await.unwrap();
    assert_eq!(stage.value(COUNTED).await, "9", "all others are through in the same round");
    let kept = "select code || ' ' || failed from postmeter.setback where step = 'shadow_fold'";
    assert_eq!(stage.value(kept).await, "23514 1");
    stage.sql("alter table postmeter.allocation drop constraint thirteen; select postmeter.try_setbacks_again()").await;
    wait_until("the shadow counts all", async || {
        stage.worker.shadow().await.unwrap();
        stage.value(COUNTED).await == "10"
    })
    .await;
    assert_eq!(stage.value(kept).await, "");
    stage.close().await;
}
