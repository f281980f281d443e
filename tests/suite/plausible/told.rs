//! What is told of large usage: an hour's sum is an alert, its biggest usages are named, and the advice works.

use outbox::alerts;

use super::{advised, limited, run};

#[tokio::test]
async fn k13_the_sum_of_an_hour_only_alerts() {
    let stage = limited("hour_alert = 100").await;
    stage.use_cores("a", "60", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    assert!(alerts::look(&stage.db.database, &["implausible_usage"], true).await.unwrap().is_empty());
    stage.use_cores("b", "41", "2024-09-18T10:12:00Z").await;
    stage.fold().await;
    let opened = alerts::look(&stage.db.database, &["implausible_usage"], true).await.unwrap();
    let told: Vec<_> = opened.iter().map(|change| (&*change.subject, &*change.summary)).collect();
    assert_eq!(told, [("aws hours", "1 remittance of the last day counts more than hour_alert")]);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 101"], "it is billed all the same");
    assert!(alerts::look(&stage.db.database, &["implausible_usage"], true).await.unwrap().is_empty(), "it stays open");
    stage.work_at("2024-09-19T12:00:00Z").await;
    assert_eq!(
        alerts::look(&stage.db.database, &["implausible_usage"], true).await.unwrap().len(),
        1,
        "a day later it is over"
    );
    stage.close().await;
}

#[tokio::test]
async fn k13_explain_names_the_biggest_usages_and_correct_it_then_release_works() {
    let stage = limited("max_quantity = null").await;
    for (event, quantity) in [("small", "2"), ("wild", "5000000000"), ("a", "9"), ("b", "8"), ("c", "7")] {
        stage.use_cores(event, quantity, "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 held 5000000026"], "AWS takes no such number");
    let (_, explained) = run(&stage, "explain billing small");
    let biggest = explained.split("Its biggest usages\n").nth(1).and_then(|after| after.split("\n\n").next()).unwrap();
    let biggest: Vec<_> = biggest.lines().map(str::trim).collect();
    assert_eq!(
        biggest,
        [
            "5000000000 cores, usage wild of billing, org acme: 100.0 % of that metric",
            "9 cores, usage a of billing, org acme: 0.0 % of that metric",
            "8 cores, usage b of billing, org acme: 0.0 % of that metric",
            "2 cores, usage small of billing, org acme: 0.0 % of that metric"
        ]
    );
    assert!(explained.contains("record a correction of its usage"), "{explained}");
    stage.correct("less", "wild", "-4999999990", "2024-09-18T11:12:00Z").await;
    stage.fold().await;
    advised(&stage, &explained, "record a correction of its usage");
    stage.cut_at("2024-09-18T11:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T09 36"]);
    stage.close().await;
}
