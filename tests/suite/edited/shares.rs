//! What an edit moves goes in shares, while folds and cuts run and workers die.

use super::*;

/// A stage on which acme's hour counts so many cores of ten, one each.
async fn many(usages: u32) -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
        .sql(&format!(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 'billing', 'of ' || n, 'acme', 'db', 'cores', 1, '2024-09-18T10:05Z' from generate_series(1, {usages}) n"
        ))
        .await;
    stage.fold().await;
    stage
}

#[tokio::test]
async fn k2_three_thousand_usages_move_in_shares_while_folds_and_cuts_run() {
    let stage = many(3000).await;
    identify(&stage, "acme", &account("444455556666")).await;
    stage.at("2024-09-18T11:10:00Z").await;
    let other = stage.another_worker().await;
    // one dies with marks in hand: for half a minute nobody else takes them
    stage.sql("update postmeter.catalogue_mark set next_at = clock_timestamp() + interval '30 seconds'").await;
    assert_eq!(return_marked(&stage.db.database).await.unwrap(), Default::default());
    stage.sql("update postmeter.catalogue_mark set next_at = clock_timestamp()").await;
    wait_until("all of it is counted for the new buyer", async || {
        let (returned, folded, cut, more) = tokio::join!(
            return_marked(&stage.db.database),
            stage.worker.fold(),
            other.cut(),
            return_marked(&stage.db.database)
        );
        returned.unwrap();
        folded.unwrap();
        cut.unwrap();
        more.unwrap();
        places(&stage).await == ["counted aws/us-east-1/prod-db/444455556666 cores 3000"]
    })
    .await;
    stage.cut_at("2024-09-18T11:20:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 3000"]);
    stage.close().await;
}

#[tokio::test]
async fn j1_marked_skips_a_locked_remittance_and_returns_the_rest() {
    let stage = many(3).await;
    stage.subscribe("other", "777788889999").await;
    stage.record("other", "other", "cores", "5", "2024-09-18T10:05:00Z").await;
    stage.fold().await;
    let holder = stage.db.connect().await;
    holder
        .batch_execute(
            "begin; select from postmeter.delivery d join postmeter.meter m on m.id = d.meter_id
             where m.buyer like '%/777788889999' for update of d",
        )
        .await
        .unwrap();
    identify(&stage, "other", &account("444455556666")).await;
    identify(&stage, "acme", &account("555566667777")).await;
    let (mut returned, mut last) = (0, return_marked(&stage.db.database).await.unwrap());
    while last.has_more {
        returned += last.usages;
        last = return_marked(&stage.db.database).await.unwrap();
    }
    assert_eq!(returned, 3, "an edit waits for nobody's lock, and one keeps no other from its turn");
    assert_eq!(stage.value("select string_agg(step, ', ') from postmeter.setback").await, "marked");
    holder.batch_execute("rollback").await.unwrap();
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 5", "18T10 555566667777 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j2_marked_sets_aside_the_usage_that_fails() {
    let stage = many(5).await;
    stage
        .sql(
            "do $$ begin execute format('alter table postmeter.outbox add constraint sick check (event_id <> %L or not returned) not valid',
                                        'of 3'); end $$",
        )
        .await;
    identify(&stage, "acme", &account("444455556666")).await;
    assert_eq!(return_marked(&stage.db.database).await.unwrap().usages, 4);
    assert_eq!(
        stage.value("select format('%s %s: %s', step, failed, code) from postmeter.setback").await,
        "marked 1: 23514"
    );
    stage.sql("alter table postmeter.outbox drop constraint sick; select postmeter.try_setbacks_again()").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 5"]);
    stage.close().await;
}

#[tokio::test]
async fn k2_a_fold_that_began_before_the_edit_does_not_leave_its_usage_with_the_old_buyer() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("usage", "10", "2024-09-18T10:05:00Z").await;
    let mut turns = outbox::fold::Turns::default();
    let folded = outbox::fold::fold_with(&stage.db.another(), &mut turns, 100, async || {
        // it knows where its usage goes; meanwhile
        identify(&stage, "acme", &account("444455556666")).await;
        while return_marked(&stage.db.database).await.unwrap().has_more {}
        assert_ne!(stage.value(MARKS).await, "0", "the mark waits for it");
    })
    .await
    .unwrap();
    assert_eq!(folded.allocated, 1);
    wait_until("what was folded by the old catalogue goes back", async || {
        return_marked(&stage.db.database).await.unwrap().usages == 1
    })
    .await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(sent(&stage), ["18T10 444455556666 10"]);
    stage.close().await;
}
