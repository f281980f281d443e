//! Corrections of usage that moves meanwhile.

use outbox::fold::{Turns, fold, fold_with};
use tests::Stage;

use super::{corrections, counted, cured, over_billed};

#[tokio::test]
async fn k1_recorded_before_its_usage_is_folded_it_waits_for_it() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    let other = stage.db.connect().await;
    other.batch_execute("begin; select from postmeter.outbox for update").await.unwrap();
    stage.correct("less", "usage", "-4", "2024-09-18T10:06:00Z").await;
    let folded = fold(&stage.db.database, &mut Turns::default(), 100).await.unwrap();
    assert_eq!((folded.taken, folded.returned, folded.allocated), (1, 1, 0), "its usage is in another's hands");
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: waiting, waiting"]);
    other.batch_execute("rollback").await.unwrap();
    let folded = fold(&stage.db.database, &mut Turns::default(), 100).await.unwrap();
    assert_eq!(folded.allocated, 2);
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_while_its_usage_is_put_aside_it_is_left_where_it_is() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.sql("insert into postmeter.setback (step, member, next_at) select 'fold', id::text, clock_timestamp() + interval '1 hour' from postmeter.outbox").await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:06:00Z").await;
    stage.fold().await;
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: waiting, waiting"]);
    stage.sql("delete from postmeter.setback").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_several_corrections_of_one_usage_each_count_once_wherever_it_is_by_then() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "20", "2024-09-18T10:05:00Z").await;
    stage.correct("waiting", "usage", "-1", "2024-09-18T10:06:00Z").await;
    stage.fold().await;
    stage.correct("open 1", "usage", "-2", "2024-09-18T10:07:00Z").await;
    stage.correct("open 2", "usage", "-3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 14"]);
    stage.correct("cut 1", "usage", "-4", "2024-09-18T11:05:00Z").await;
    stage.correct("cut 2", "usage", "-5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    assert_eq!(counted(&stage).await, ["used 5, covered 0, billed 14"]);
    assert_eq!(over_billed(&stage).await, ["2024-09 9"]);
    stage.correct("cut 3", "usage", "-5", "2024-09-18T11:06:00Z").await;
    stage.work().await;
    assert_eq!(over_billed(&stage).await, ["2024-09 14"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_its_usage_is_cut_while_it_is_folded_then_it_goes_back_and_is_counted_after_it() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T11:20:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T11:05:00Z").await;
    // the deadline comes: the hour is cut without what waits for it
    let cut = async || {
        stage.configure("lead = '23 hours'").await;
        assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    };
    let folded = fold_with(&stage.db.database, &mut Turns::default(), 100, cut).await.unwrap();
    assert_eq!((folded.returned, folded.allocated), (1, 0));
    stage.work_anew().await;
    assert_eq!(stage.accepted(), ["18T10 10"]);
    assert_eq!(over_billed(&stage).await, ["2024-09 4"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_its_usage_is_cured_while_it_is_folded_then_it_goes_back_and_follows() {
    let stage = Stage::bare().await;
    stage.subscribe("acme", "111122223333").await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:06:00Z").await;
    let cured = async || stage.dimension(tests::Dimension::default()).await;
    let folded = fold_with(&stage.db.database, &mut Turns::default(), 100, cured).await.unwrap();
    assert_eq!((folded.returned, folded.held), (1, 0));
    stage.worker.reload().await.unwrap();
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 6"]);
    stage.close().await;
}

#[tokio::test]
async fn k1_of_held_usage_it_cures_nothing_by_a_time_of_its_own() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:50:00Z").await;
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T10:30:00Z'").await;
    stage.use_cores("usage", "10", "2024-09-18T10:40:00Z").await;
    stage.correct("less", "usage", "-4", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: held, waiting"]);
    assert_eq!(cured(&stage).await, "0");
    stage.sql("update postmeter.subscription set valid_until = '2024-09-18T10:45:00Z'").await;
    assert_eq!(corrections(&stage).await, ["less of usage at 18T10: waiting, waiting"], "returned with its usage");
    stage.close().await;
}
