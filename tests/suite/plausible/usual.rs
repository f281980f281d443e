//! What is usual for an org is learned from what was counted, and held against what comes.

use tests::Stage;

use super::{held, limited, run, usage};

/// What is kept of acme's cores: by week.
async fn kept(stage: &Stage) -> Vec<String> {
    stage
        .column("select to_char(week, 'MM-DD') || ' ' || trim_scale(largest) from postmeter.usual where org = 'acme' order by week, id")
        .await
}

#[tokio::test]
async fn k13_a_new_org_is_bound_by_the_absolute_limit_only_and_one_with_a_history_by_its_usual() {
    let stage = limited("times_usual = 10, max_quantity = 100000").await;
    stage.subscribe("globex", "999922223333").await;
    // the first week: nothing is usual yet
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.use_cores("second", "40", "2024-09-18T10:11:00Z").await;
    stage.use_cores("third", "100001", "2024-09-18T10:12:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(held(&stage).await, ["third 100001 implausible, more than max_quantity 100000"]);
    assert_eq!(kept(&stage).await, ["09-16 1", "09-16 40"]);
    // from the next Monday on it is ten times the largest
    stage.at("2024-09-23T10:30:00Z").await;
    stage.use_cores("large", "400", "2024-09-23T10:10:00Z").await;
    stage.use_cores("beyond", "400.001", "2024-09-23T10:10:00Z").await;
    stage.record_as(&usage("new org", "globex", "90000", "2024-09-23T10:10:00Z")).await;
    stage.fold().await;
    assert_eq!(
        held(&stage).await,
        [
            "third 100001 implausible, more than max_quantity 100000",
            "beyond 400.001 implausible, more than times_usual 400"
        ]
    );
    // what is counted becomes usual: at once, and the smaller rows are forgotten
    stage.use_cores("larger", "4000", "2024-09-23T10:10:00Z").await;
    stage.fold().await;
    outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap();
    assert_eq!(kept(&stage).await, ["09-16 40", "09-23 4000"]);
    stage.cut_at("2024-09-23T11:10:00Z").await;
    stage.close().await;
}

#[tokio::test]
async fn k13_a_usual_that_was_forgotten_lets_nothing_go_and_a_change_of_the_factor_does() {
    let stage = limited("times_usual = 10").await;
    stage.use_cores("first", "40", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.at("2024-09-23T10:30:00Z").await;
    stage.use_cores("a", "401", "2024-09-23T10:10:00Z").await;
    stage.use_cores("b", "4001", "2024-09-23T10:10:00Z").await;
    stage.fold().await;
    assert_eq!(held(&stage).await.len(), 2);
    stage.sql("update postmeter.dimension set times_usual = 20").await;
    stage.work_anew().await;
    assert_eq!(held(&stage).await, ["b 4001 implausible, more than times_usual 400"]);
    // five weeks of silence
    stage.work_at("2024-11-05T10:30:00Z").await;
    assert_eq!(outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap(), 0);
    assert!(kept(&stage).await.is_empty());
    assert_eq!(held(&stage).await.len(), 1);
    let (code, said) = run(&stage, "write-off --held-usage --all --why gone --apply");
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn k13_without_a_rule_nothing_is_kept() {
    let stage = limited("max_quantity = 100").await;
    stage.use_cores("first", "40", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert!(kept(&stage).await.is_empty());
    stage.close().await;
}
