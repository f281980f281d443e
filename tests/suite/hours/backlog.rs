//! A backlog at the hour's end.

use outbox::fold::{Turns, fold};
use tests::Stage;

/// Fills the outbox with one org's usage of ten o'clock.
async fn backlog(usages: u32) -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:59:00Z").await;
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', n::text, 'acme', 'db', 'cores', 1, '2024-09-18T10:10Z'
             from generate_series(1, {usages}) n"
        ))
        .await;
    stage
}

#[tokio::test]
async fn c7_an_hour_is_not_cut_while_its_entries_wait_so_none_becomes_late() {
    let stage = backlog(3000).await;
    let mut turns = Turns::default();
    let mut left = 3000;
    stage.at("2024-09-18T11:30:00Z").await;
    while left > 0 {
        left -= fold(&stage.db.database, &mut turns, 500).await.unwrap().allocated;
        stage.at("2024-09-18T12:30:00Z").await;
        let cut = stage.worker.cut().await.unwrap();
        assert_eq!(cut.cut, usize::from(left == 0), "{left} entries wait");
        assert_eq!(cut.forced, 0);
    }
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 3000"]);
    stage.close().await;
}

#[tokio::test]
async fn c7_a_lead_before_the_deadline_it_is_cut_all_the_same_and_said_so() {
    let stage = backlog(600).await;
    let mut turns = Turns::default();
    assert_eq!(fold(&stage.db.database, &mut turns, 400).await.unwrap().allocated, 200, "a tenant gets half a fold");
    // deadline 09:50 the next day, lead half an hour
    stage.at("2024-09-19T09:19:59Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    stage.at("2024-09-19T09:20:00Z").await;
    let cut = stage.worker.cut().await.unwrap();
    assert_eq!((cut.cut, cut.forced), (1, 1));
    stage.work().await;
    stage.cut_at("2024-09-19T09:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 200", "19T08 400"], "the rest went to the newest closed hour");
    stage.close().await;
}

#[tokio::test]
async fn c7_entries_of_others_and_of_other_hours_do_not_keep_an_hour_open() {
    let stage = backlog(1).await;
    stage.subscribe("globex", "444455556666").await;
    stage.work().await;
    stage.at("2024-09-18T11:10:00Z").await;
    stage.record("theirs", "globex", "cores", "1", "2024-09-18T10:20:00Z").await;
    stage.record("nobody's", "nobody", "cores", "1", "2024-09-18T10:20:00Z").await;
    stage.use_cores("next hour's", "1", "2024-09-18T11:05:00Z").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1", "18T11 1", "18T10 1"]);
    stage.close().await;
}
