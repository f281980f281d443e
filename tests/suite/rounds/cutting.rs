//! Cut: what is locked or fails keeps no other hour from being cut.

use tests::{Dimension, Stage};

use super::{cure, holding, meter_of, ripe, setbacks, sick, try_again};

#[tokio::test]
async fn j1_cut_skips_a_locked_meter_and_names_who_holds_it() {
    let stage = ripe(4).await;
    let rows = format!("select from postmeter.meter where id = {} for update", meter_of(2));
    let holder = holding(&stage, &rows).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 3, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["cut 1/0"]);
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    // skipped twice: now alone, for a second at most, and no fold takes it meanwhile
    assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    assert_eq!(setbacks(&stage).await, ["cut 3/0"]);
    let named = "select holder from postmeter.setback where held_off_until is not null";
    assert!(stage.value(named).await.contains("a console"), "{}", stage.value(named).await);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    assert!(setbacks(&stage).await.is_empty());
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j1_cut_skips_an_hour_that_a_fold_holds() {
    let stage = ripe(3).await;
    let rows = format!("select from postmeter.delivery where meter_id = {} for key share", meter_of(1));
    let holder = holding(&stage, &rows).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 2);
    let meters = "select count(*)::text from postmeter.meter where billed > 0";
    assert_eq!(stage.value(meters).await, "2", "its meter is as it was");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j1_cut_takes_all_meters_of_a_remittance_or_none() {
    let stage = ripe(3).await;
    // the first one's remittance counts on the third one's meter too
    stage
        .sql(&format!(
            "insert into postmeter.part (delivery_id, meter_id)
             select d.id, {} from postmeter.delivery d where d.meter_id = {}",
            meter_of(3),
            meter_of(1)
        ))
        .await;
    let rows = format!("select from postmeter.meter where id = {} for update", meter_of(3));
    let holder = holding(&stage, &rows).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1, "the second one's");
    assert_eq!(stage.value(&format!("select billed::text from postmeter.meter where id = {}", meter_of(1))).await, "0");
    holder.batch_execute("commit").await.unwrap();
    stage.sql("delete from postmeter.part").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j1_cut_of_an_hour_that_shares_a_meter_comes_in_the_next_transaction_of_its_round() {
    let stage = ripe(3).await;
    // the first one's remittance counts on the third one's meter too
    stage
        .sql(&format!(
            "insert into postmeter.part (delivery_id, meter_id)
             select d.id, {} from postmeter.delivery d where d.meter_id = {}",
            meter_of(3),
            meter_of(1)
        ))
        .await;
    // it was locked before: that it is passed is said of it only when it is
    stage.sql("insert into postmeter.setback (step, member, skipped) select 'cut', d.id::text, 1 from postmeter.delivery d").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 3);
    assert!(setbacks(&stage).await.is_empty());
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j1_cut_of_an_urgent_hour_waits_for_its_lock_after_it_was_skipped_once() {
    let stage = ripe(2).await;
    stage.at("2024-09-19T09:25:00Z").await;
    let rows = format!("select from postmeter.meter where id = {} for update", meter_of(1));
    let holder = holding(&stage, &rows).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    let worker = std::sync::Arc::clone(&stage.worker);
    let cutting = tokio::spawn(async move { worker.cut().await.unwrap().cut });
    stage.until_waiting(1).await;
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(cutting.await.unwrap(), 1);
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j2_cut_sets_aside_the_meter_that_fails_and_goes_on_when_it_is_cured() {
    let stage = ripe(5).await;
    sick(&stage, "meter", &meter_of(4), "id").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 4, "the others, in the same round");
    assert_eq!(setbacks(&stage).await, ["cut 0/1: 23514"]);
    // it fails once more while another passes
    stage.at("2024-09-18T12:00:00Z").await;
    stage.record("more", "org1", "cores", "1", "2024-09-18T11:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-18T12:10:00Z").await;
    try_again(&stage).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    let aside = "select set_aside_at is not null and reason like '%sick%' from postmeter.setback";
    assert_eq!(stage.value(&format!("select ({aside})::text")).await, "true");
    cure(&stage, "meter").await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1, "by itself");
    assert!(setbacks(&stage).await.is_empty());
    stage.work().await;
    stage.close().await;
}

#[tokio::test]
async fn j1_cut_takes_the_earliest_deadline_first_and_what_is_locked_leaves_room() {
    let stage = ripe(6).await;
    // the first two are near their deadline and locked: they fill the whole batch
    stage.sql("update postmeter.delivery set deadline = deadline - interval '1 hour' where id in (select min(id) from postmeter.delivery union select max(id) from postmeter.delivery)").await;
    let holder = holding(
        &stage,
        "select from postmeter.delivery where deadline < (select max(deadline) from postmeter.delivery) for update",
    )
    .await;
    let destinations = [stage.value("select id::text from postmeter.destination").await.parse().unwrap()];
    let freeze =
        |_: &outbox::cut::Sum| Ok(outbox::cut::Bytes { body: "{}".to_owned(), batch_group: "never sent".to_owned() });
    let mut cutter = outbox::cut::Cutter::live(2);
    let mut cut = Vec::new();
    for _ in 0..3 {
        cut.push(cutter.cut(&stage.db.database, &destinations, &freeze).await.unwrap().cut);
    }
    assert_eq!(cut, [0, 2, 2], "skipped ones count once, then they stand behind");
    holder.batch_execute("commit").await.unwrap();
}

/// Three metrics of one dimension whose common denominator has more digits than 64 bits.
async fn odd(factors: [(i64, i64); 3]) -> Stage {
    let stage = Stage::bare().await;
    for (metric, factor) in ["a", "b", "c"].into_iter().zip(factors) {
        stage.dimension(Dimension { metric, name: "units", factor, decimals: 6, ..Dimension::default() }).await;
    }
    stage.dimension(Dimension::default()).await;
    stage.subscribe("acme", "111122223333").await;
    stage.subscribe("globex", "444455556666").await;
    for metric in ["a", "b", "c"] {
        stage.record(metric, "acme", metric, "1000000000", "2024-09-18T10:10:00Z").await;
    }
    stage.record("healthy", "globex", "cores", "2", "2024-09-18T10:10:00Z").await;
    stage
}

#[tokio::test]
async fn j3_factors_whose_common_denominator_has_more_than_64_bits_are_exact() {
    let stage = odd([(1, 999_999_937), (1, 999_999_929), (1, 999_999_893)]).await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    // 1/0.999999937 + 1/0.999999929 + 1/0.999999893, rounded up to six decimals
    assert_eq!(stage.accepted(), ["18T10 3.000001", "18T10 2"]);
    let denominator = "select denominator::text from postmeter.balance order by denominator desc limit 1";
    assert_eq!(stage.value(denominator).await, "999999759000018810999521389");
    assert_eq!(stage.value("select count(*)::text from postmeter.balance where difference <> 0").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j3_everyday_denominators_multiply_beyond_64_bits_too() {
    let stage = Stage::bare().await;
    for (n, denominator) in [86_400, 1_000_000_000, 1 << 28, 744, 365, 7].into_iter().enumerate() {
        let metric = format!("m{n}");
        stage
            .dimension(Dimension { metric: &metric, name: "units", factor: (1, denominator), ..Dimension::default() })
            .await;
    }
    stage.subscribe("acme", "111122223333").await;
    for n in 0..6 {
        stage.record(&format!("of {n}"), "acme", &format!("m{n}"), "5", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 1"]);
    stage.close().await;
}

#[tokio::test]
async fn j5_an_hour_that_takes_long_is_cut_alone_when_the_others_are_through() {
    let stage = ripe(40).await;
    let slow = stage.value(&format!("select {}::text", meter_of(3))).await;
    stage
        .sql(&format!(
            "create function public.takes_long() returns trigger language plpgsql as
             $$begin perform pg_sleep(3); return new; end$$;
             create trigger takes_long before insert on postmeter.cut for each row
             when (new.meter_id = {slow}) execute function public.takes_long()"
        ))
        .await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 40, "in one round");
    assert!(setbacks(&stage).await.is_empty());
    let beside = async |how: &str| {
        let others = format!(
            "select count(*)::text from postmeter.cut c, postmeter.cut slow
             where slow.meter_id = {slow} and c.meter_id <> {slow} and c.xmin::text::bigint {how} slow.xmin::text::bigint"
        );
        stage.value(&others).await.parse::<usize>().unwrap()
    };
    assert_eq!(beside("=").await, 0, "it is cut alone");
    // behind all but those of its own small part, a sixteenth of the forty
    assert!(beside(">").await <= 2, "{} came behind it", beside(">").await);
    stage.work().await;
    stage.close().await;
}

/// How long an hour with so many usages takes to cut, and how long the others wait for it:
/// `POSTMETER_USAGES=1000000 cargo test … j5_measure -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures, and takes minutes"]
async fn j5_measure_an_hour_of_very_many_usages() {
    let many = std::env::var("POSTMETER_USAGES").ok().and_then(|many| many.parse().ok()).unwrap_or(1_000_000_u32);
    let stage = ripe(300).await;
    stage
        .sql(&format!(
            "insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
             select postmeter.new_id(), a.destination_id, a.delivery_id, a.meter_metric_id, a.round, 1, a.hour, a.subscription_id
             from generate_series(1, {many}) n,
                  (select * from postmeter.allocation x where x.delivery_id = (select min(id) from postmeter.delivery)) a;
             analyze postmeter.allocation"
        ))
        .await;
    let began = std::time::Instant::now();
    // watched from outside: who cuts the huge one says nothing meanwhile
    let watching = tokio::spawn({
        let client = stage.db.connect().await;
        async move {
            let left = "select count(*), bool_or(o.delivery_id = (select min(d.id) from postmeter.delivery d))
                        from postmeter.open_hour o, (select pg_sleep(0.1)) s";
            let mut last = 0;
            loop {
                let row = client.query_one(left, &[]).await.unwrap();
                let (open, huge): (i64, Option<bool>) = (row.get(0), row.get(1));
                if open != last {
                    println!("{open} open, the huge one among them: {huge:?}, after {:?}", began.elapsed());
                }
                last = open;
                if open == 0 {
                    return;
                }
            }
        }
    });
    let beside = tokio::spawn({
        let (other, client) = (stage.another_worker().await, stage.db.connect().await);
        async move {
            let left = "select count(*) from postmeter.open_hour";
            while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
                other.cut().await.unwrap();
            }
        }
    });
    while stage.value("select count(*)::text from postmeter.open_hour").await != "0" {
        stage.worker.cut().await.unwrap();
    }
    println!("all 300 hours, one of {many} usages, in {:?}", began.elapsed());
    watching.await.unwrap();
    beside.await.unwrap();
}
