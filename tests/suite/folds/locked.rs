//! J1: another session holds what one member needs.

use tests::{Stage, wait_until};

use super::{allocated, others_use, setbacks, until_nothing_is_kept, with_others};

#[tokio::test]
async fn j1_fold_a_locked_meter_with_late_usage_costs_its_org_and_nobody_else() {
    let stage = with_others().await;
    stage.use_cores("on time", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("late", "2", "2024-09-18T10:20:00Z").await;
    others_use(&stage, "a", "2024-09-18T11:05:00Z").await;
    let holder = stage.db.connect().await;
    holder
        .batch_execute("set application_name = 'somebody'; begin; select from postmeter.meter for update")
        .await
        .unwrap();
    // the others' meters are not made yet
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!(
        (folded.taken, folded.returned, folded.allocated),
        (4, 1, 3),
        "the others are through in the same round"
    );
    assert_eq!(setbacks(&stage).await, ["org:acme skipped 1 failed 0 -"]);
    wait_until("the holder is named", async || {
        stage.worker.fold_apart().await.unwrap();
        let named = "select (holder like 'session % of % (somebody)')::text from postmeter.setback";
        stage.value(named).await == "true"
    })
    .await;
    others_use(&stage, "b", "2024-09-18T11:06:00Z").await;
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!((folded.taken, folded.allocated), (3, 3), "what is locked is not even taken");
    holder.batch_execute("commit").await.unwrap();
    until_nothing_is_kept(&stage).await;
    assert_eq!(allocated(&stage).await, ["acme 2", "other0 2", "other1 2", "other2 2"]);
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_an_open_update_of_a_subscription_costs_its_org_and_nobody_else() {
    let stage = with_others().await;
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    others_use(&stage, "first", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.use_cores("second", "1", "2024-09-18T10:20:00Z").await;
    others_use(&stage, "second", "2024-09-18T10:20:00Z").await;
    let holder = stage.db.connect().await;
    // its end moves deadlines later: the edit locks no remittance
    let update = "begin; update postmeter.subscription set valid_until = '2024-09-18T12:00:00Z' where org = 'acme'";
    holder.batch_execute(update).await.unwrap();
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!((folded.taken, folded.returned, folded.allocated), (4, 0, 4), "nor its org");
    assert!(setbacks(&stage).await.is_empty());
    holder.batch_execute("rollback").await.unwrap();
    until_nothing_is_kept(&stage).await;
    assert_eq!(allocated(&stage).await, ["acme 2", "other0 2", "other1 2", "other2 2"]);
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_a_meter_that_another_session_is_making_costs_its_org_and_nobody_else() {
    let stage = with_others().await;
    stage.use_cores("a", "1", "2024-09-18T10:10:00Z").await;
    others_use(&stage, "a", "2024-09-18T10:10:00Z").await;
    let holder = stage.db.connect().await;
    let make =
        "begin; insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
                select s.destination_id, s.buyer, 'cores', '2024-09-01', 'up', 0, 'round_up'
                from postmeter.subscription s where s.org = 'acme'";
    holder.batch_execute(make).await.unwrap();
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!(folded.allocated, 3, "the others are through in the same round");
    assert_eq!(setbacks(&stage).await, ["org:acme skipped 1 failed 0 -"]);
    holder.batch_execute("rollback").await.unwrap();
    until_nothing_is_kept(&stage).await;
    assert_eq!(allocated(&stage).await, ["acme 1", "other0 1", "other1 1", "other2 1"]);
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_a_locked_org_at_the_head_does_not_starve_its_shard() {
    let stage = with_others().await;
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    let neighbour = super::neighbour_of_acme(&stage).await;
    stage.subscribe(&neighbour, "300000000000").await;
    for n in 0..40 {
        stage.use_cores(&format!("a{n}"), "1", "2024-09-18T10:20:00Z").await;
    }
    stage.record("behind them", &neighbour, "cores", "1", "2024-09-18T10:20:00Z").await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.delivery for update").await.unwrap();
    let mut turns = outbox::fold::Turns::default();
    for _ in 0..2 {
        // a share is sixteen entries of a shard
        outbox::fold::fold(&stage.db.database, &mut turns, 32).await.unwrap();
    }
    assert_eq!(allocated(&stage).await, ["acme 1".to_owned(), format!("{neighbour} 1")], "in the next round");
    holder.batch_execute("commit").await.unwrap();
    until_nothing_is_kept(&stage).await;
    stage.fold().await;
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "42");
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_leaves_alone_a_remittance_whose_cut_waits_for_it() {
    let stage = with_others().await;
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.use_cores("second", "1", "2024-09-18T10:20:00Z").await;
    others_use(&stage, "a", "2024-09-18T10:20:00Z").await;
    let held_off = "insert into postmeter.setback (step, member, held_off_until)
                    select 'cut', id::text, clock_timestamp() + interval '1 hour' from postmeter.delivery";
    stage.sql(held_off).await;
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!((folded.allocated, folded.returned), (3, 1));
    stage.worker.fold_apart().await.unwrap();
    assert_eq!(allocated(&stage).await, ["acme 1", "other0 1", "other1 1", "other2 1"], "until the cut has its lock");
    stage.sql("update postmeter.setback set held_off_until = clock_timestamp() where step = 'cut'").await;
    until_nothing_is_kept(&stage).await;
    assert_eq!(allocated(&stage).await, ["acme 2", "other0 1", "other1 1", "other2 1"]);
    stage.close().await;
}

/// Late usage of one locked meter, more than a fold apart takes at once, and behind it usage of another meter of the org.
async fn more_late_usage_than_one_part(stage: &Stage) {
    stage.dimension(tests::Dimension { metric: "disks", name: "disks", ..Default::default() }).await;
    stage.use_cores("on time", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    for n in 0..10 {
        stage.use_cores(&format!("late {n}"), "1", "2024-09-18T10:20:00Z").await;
    }
}

#[tokio::test]
async fn j1_fold_a_locked_meter_with_more_late_usage_than_a_part_keeps_no_other_meter_of_its_org() {
    let stage = with_others().await;
    more_late_usage_than_one_part(&stage).await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.meter for update").await.unwrap();
    stage.fold().await;
    stage.record("another meter", "acme", "disks", "1", "2024-09-18T11:05:00Z").await;
    let disks = "select count(*)::text from postmeter.allocation a join postmeter.usage u on u.id = a.usage_id
                 where u.metric = 'disks'";
    let mut places = outbox::fold::Places::default();
    // once without waiting for the lock, and as often with
    for _ in 0..4 {
        stage.sql("update postmeter.setback set next_at = clock_timestamp()").await;
        outbox::fold::fold_apart(&stage.db.database, None, &mut places, (3, true)).await.unwrap();
        assert_eq!(setbacks(&stage).await.len(), 1, "the org is locked still, and for as long as it was");
    }
    assert_eq!(stage.value(disks).await, "1");
    holder.batch_execute("commit").await.unwrap();
    until_nothing_is_kept(&stage).await;
    while stage.worker.fold().await.unwrap().taken > 0 {}
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "0");
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "12");
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_a_place_that_was_kept_is_not_where_the_rest_ends() {
    let stage = with_others().await;
    more_late_usage_than_one_part(&stage).await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.meter for update").await.unwrap();
    stage.fold().await;
    stage.record("another meter", "acme", "disks", "1", "2024-09-18T11:05:00Z").await;
    let last =
        "select max(u.id::text) from postmeter.outbox o join postmeter.usage u on u.id = o.id where u.metric = 'cores'";
    let mut places = outbox::fold::Places::default();
    // as it stands when the round before ended there
    places.go_on("org:acme", stage.value(last).await.parse().ok());
    let kept = "select since::text from postmeter.setback where step = 'fold'";
    let since = stage.value(kept).await;
    stage.sql("update postmeter.setback set next_at = clock_timestamp()").await;
    let folded = outbox::fold::fold_apart(&stage.db.database, None, &mut places, (3, true)).await.unwrap();
    assert_eq!(folded.allocated, 1, "the other meter's");
    assert_eq!(stage.value(kept).await, since, "what goes on behind it does not make it free");
    holder.batch_execute("commit").await.unwrap();
    wait_until("all of it is through", async || {
        outbox::fold::fold_apart(&stage.db.database, None, &mut places, (3, true)).await.unwrap();
        stage.fold().await;
        stage.value("select count(*)::text from postmeter.outbox").await == "0"
    })
    .await;
    stage.close().await;
}

#[tokio::test]
async fn j1_fold_what_comes_back_to_the_outbox_waits_since_it_came() {
    let stage = with_others().await;
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.use_cores("second", "1", "2024-09-18T10:20:00Z").await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; select from postmeter.delivery for update").await.unwrap();
    assert_eq!(stage.worker.fold().await.unwrap().returned, 1);
    // it was recorded days ago, and released a quarter of an hour ago
    stage.sql("update postmeter.outbox set entered_at = clock_timestamp() - interval '15 minutes'").await;
    let limits = outbox::health::Limits::within(std::time::Duration::from_secs(30));
    let oldest = async || {
        let told = outbox::health::ask::<outbox::health::Backlog>(&stage.db.database, limits).await.unwrap();
        told.answer().unwrap()[0].oldest_seconds.unwrap()
    };
    assert!((900.0..1800.0).contains(&oldest().await), "{}", oldest().await);
    stage.worker.look(true).await.unwrap();
    let alert = "select summary from postmeter.alert where name = 'outbox_oldest_entry'";
    assert!(stage.value(alert).await.starts_with("the oldest outbox entry waits since 15 minutes"));
    // a fold that gives it back does not make it younger
    stage.sql("delete from postmeter.setback").await;
    assert_eq!(stage.worker.fold().await.unwrap().returned, 1);
    assert!(oldest().await >= 900.0);
    holder.batch_execute("rollback").await.unwrap();
    until_nothing_is_kept(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn j1_shadow_fold_leaves_alone_a_remittance_whose_cut_waits_for_it() {
    let (stage, _theirs) = crate::shadow::stage_with_shadow("1/1").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("first", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.worker.shadow().await.unwrap();
    stage.use_cores("second", "1", "2024-09-18T10:20:00Z").await;
    stage.fold().await;
    let held_off = "insert into postmeter.setback (step, member, held_off_until)
                    select 'shadow_cut', id::text, clock_timestamp() + interval '1 hour' from postmeter.delivery where shadow";
    stage.sql(held_off).await;
    stage.worker.shadow().await.unwrap();
    let counted =
        "select count(*)::text from postmeter.allocation a join postmeter.destination t on t.id = a.destination_id
                   where t.shadow_of is not null";
    assert_eq!(stage.value(counted).await, "1", "until the cut has its lock");
    stage.sql("update postmeter.setback set held_off_until = clock_timestamp() where step = 'shadow_cut'").await;
    wait_until("the shadow counts all", async || {
        stage.worker.shadow().await.unwrap();
        stage.value(counted).await == "2"
    })
    .await;
    stage.close().await;
}
