//! J4: workers die while they fold.

use std::sync::Arc;

use outbox::fold::{Turns, find_suspects, fold_as, fold_suspects};
use tests::{Stage, until_true};
use uuid::Uuid;
use worker::Worker;

const IN_HAND: usize = 200;

/// Lets a worker die with a batch in hand: nobody says goodbye for it.
async fn dies_folding(stage: &Stage, worker: &Arc<Worker>) {
    let (pausing, paused) = tokio::sync::oneshot::channel();
    let (database, id) = (stage.db.another(), worker.id());
    let folding = tokio::spawn(async move {
        let pause = async move || {
            pausing.send(()).unwrap();
            std::future::pending().await
        };
        fold_as(&database, Some(id), &mut Turns::default(), (IN_HAND, false), pause).await
    });
    paused.await.unwrap();
    folding.abort();
    folding.await.unwrap_err();
    let ended =
        "select count(*) = 0 from pg_stat_activity where datname = current_database() and state like 'idle in tr%'";
    until_true(&stage.db.client, ended).await;
}

/// Folds suspects until nobody is left to take; returns how many went through.
async fn all_suspects(worker: &Worker) -> usize {
    let mut through = 0;
    while let Some(folded) = worker.fold_suspects().await.unwrap() {
        through += folded.through();
    }
    through
}

#[tokio::test]
async fn j4_five_workers_killed_at_once_make_only_what_they_had_in_hand_suspect_once() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
        .sql(
            "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
             select 's', 'e' || n, 'acme', 'db', 'cores', 1, '2024-09-18T10:10Z' from generate_series(1, 2000) n",
        )
        .await;
    let mut dying = Vec::new();
    for _ in 0..5 {
        let worker = stage.another_worker().await;
        dies_folding(&stage, &worker).await;
        dying.push(worker);
    }
    stage.worker.beat().await.unwrap();
    for worker in &dying {
        stage.end_lease_of(worker.id()).await;
    }
    assert_eq!(stage.worker.reap().await.unwrap(), 5);
    let suspects = "select count(*) || ' in ' || count(distinct range_id) from postmeter.suspect";
    let share = stage.value(suspects).await;
    assert_eq!(
        share,
        format!("{} in {}", IN_HAND / 2, (IN_HAND / 2).div_ceil(16)),
        "once, whoever died with it, and shared out"
    );
    assert_eq!(find_suspects(&stage.db.database).await, (0, 0), "and they are looked at once");
    // everything else is folded at full pace
    let mut turns = Turns::default();
    let mut folds = 0;
    while fold_as(&stage.db.database, None, &mut turns, (1000, true), async || {}).await.unwrap().taken > 0 {
        folds += 1;
    }
    assert!(folds <= 5, "{folds} folds");
    let left = "select count(*)::text from postmeter.outbox";
    assert_eq!(stage.value(left).await, (IN_HAND / 2).to_string());
    // two workers share the ranges
    let other = stage.another_worker().await;
    let (ours, theirs) = tokio::join!(all_suspects(&stage.worker), all_suspects(&other));
    assert_eq!(ours + theirs, IN_HAND / 2);
    let over = "select ((select count(*) from postmeter.suspect) + (select count(*) from postmeter.suspect_range)
                      + (select count(*) from postmeter.outbox))::text";
    assert_eq!(stage.value(over).await, "0", "then caution is over");
    assert!(!outbox::fold::has_others(&stage.db.database).await);
    stage.close().await;
}

#[tokio::test]
async fn j4_who_dies_folding_an_org_apart_makes_nobody_else_of_its_shard_suspect() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let neighbour = super::neighbour_of_acme(&stage).await;
    for (n, org) in ["acme", &neighbour, "acme"].into_iter().enumerate() {
        stage.record(&format!("e{n}"), org, "cores", "1", "2024-09-18T10:10:00Z").await;
    }
    let worker = stage.another_worker().await;
    let ids = stage.column("select id::text from postmeter.outbox order by id").await;
    let shard = stage.value("select min(shard)::text from postmeter.outbox").await.parse().unwrap();
    let (first, last) = (ids[0].parse().unwrap(), ids[2].parse().unwrap());
    let spans = vec![outbox::workers::Span { shard, first, last }];
    let folding = outbox::workers::Folding::Apart { spans, org: Some("acme".to_owned()) };
    outbox::workers::set_folding(&stage.db.database, worker.id(), &folding).await.unwrap();
    stage.worker.beat().await.unwrap();
    stage.end_lease_of(worker.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    let suspects = "select u.org from postmeter.suspect x join postmeter.usage u on u.id = x.usage_id order by u.id";
    assert_eq!(stage.column(suspects).await, ["acme", "acme"]);
    stage.close().await;
}

/// How long a fleet takes after five workers have died while they folded, with so many entries waiting:
/// `POSTMETER_ENTRIES=40000 cargo test … j4_measure -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and takes a minute"]
async fn j4_measure_five_workers_killed_while_they_fold() {
    let many = std::env::var("POSTMETER_ENTRIES").ok().and_then(|many| many.parse().ok()).unwrap_or(40_000_u32);
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    let entries = format!(
        "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
         select 's', $1 || n, 'acme', 'db', 'cores', 1, '2024-09-18T10:10Z' from generate_series(1, {many}) n"
    );
    // the same without deaths, for comparison
    for dying in [0, 5] {
        stage.db.client.execute(&entries, &[&format!("{dying} die ")]).await.unwrap();
        let mut dead = Vec::new();
        for _ in 0..dying {
            let worker = stage.another_worker().await;
            dies_folding(&stage, &worker).await;
            dead.push(worker);
        }
        stage.worker.beat().await.unwrap();
        for worker in &dead {
            stage.end_lease_of(worker.id()).await;
        }
        let began = std::time::Instant::now();
        assert_eq!(stage.worker.reap().await.unwrap(), dying);
        let suspects = "select count(*) || ' in ' || count(distinct range_id) || ' ranges' from postmeter.suspect";
        println!("{dying} died: suspect are {}, found after {:?}", stage.value(suspects).await, began.elapsed());
        let fleet = [Arc::clone(&stage.worker), stage.another_worker().await];
        let folding = fleet.map(|worker| {
            tokio::spawn(async move {
                let (mut through, mut apart, mut is_more) = (0, 0, true);
                while is_more {
                    let folded = worker.fold().await.unwrap().through();
                    let carefully = worker.fold_apart().await.unwrap().through() + all_suspects(&worker).await;
                    (through, apart) = (through + folded, apart + carefully);
                    is_more = folded + carefully > 0;
                }
                (through, apart)
            })
        });
        let mut folded = Vec::new();
        for folding in folding {
            folded.push(folding.await.unwrap());
        }
        println!("{many} entries in {:?}, by two workers (ordinarily, apart): {folded:?}", began.elapsed());
        assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "0");
        assert_eq!(stage.value("select count(*)::text from postmeter.suspect").await, "0");
    }
}

/// Usage of thirteen kills whoever folds it: the worker stands still in the middle, and is ended from outside.
const KILLER: &str = "create function postmeter.kills() returns trigger language plpgsql as
    $$begin if new.quantity = 13 then perform pg_sleep(600); end if; return new; end$$;
    create trigger kills before insert on postmeter.allocation for each row execute function postmeter.kills()";

/// Folds as a worker until it is through or dies; `true`: it died.
async fn dies(stage: &Stage, worker: Uuid, apart: bool) -> bool {
    let database = stage.db.another();
    let sleeping =
        "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    let folding = async {
        if apart {
            fold_suspects(&database, Some(worker), async || {}).await.map(|folded| folded.is_some())
        } else {
            fold_as(&database, Some(worker), &mut Turns::default(), (IN_HAND, false), async || {}).await.map(|_| true)
        }
    };
    let died = tokio::select! {
        folded = folding => { folded.unwrap(); false }
        () = until_true(&stage.db.client, sleeping) => true,
    };
    let end = "select pg_terminate_backend(pid, 30000) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    stage.sql(end).await;
    died
}

#[tokio::test]
async fn e11_a_row_that_kills_its_folder_is_found_and_put_aside() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..60 {
        stage.use_cores(&format!("e{n}"), if n == 31 { "13" } else { "1" }, "2024-09-18T10:10:00Z").await;
    }
    stage.sql(KILLER).await;
    let (mut deaths, mut is_first) = (0, true);
    let is_held = "select count(*)::text from postmeter.held";
    for _ in 0..200 {
        if stage.value(is_held).await != "0" {
            break;
        }
        let worker = stage.another_worker().await;
        if dies(&stage, worker.id(), !is_first).await {
            deaths += 1;
            is_first = false;
            // the reaper must be well, however long the test takes
            stage.worker.beat().await.unwrap();
            stage.end_lease_of(worker.id()).await;
            assert!(stage.worker.reap().await.unwrap() >= 1);
        } else {
            outbox::workers::stop(&stage.db.database, worker.id()).await.unwrap();
        }
        assert!(deaths <= 4, "with all, with its part, twice alone");
    }
    assert_eq!(stage.value("select reason || ' ' || trim_scale(quantity) from postmeter.held").await, "poison 13");
    all_suspects(&stage.worker).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "59", "all others are through");
    assert_eq!(stage.value("select count(*)::text from postmeter.suspect_range").await, "0");
    stage.close().await;
}

#[tokio::test]
async fn j4_suspects_that_fail_but_do_not_kill_are_kept_by_name() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..40 {
        stage.use_cores(&format!("e{n}"), if n == 31 { "13" } else { "1" }, "2024-09-18T10:10:00Z").await;
    }
    stage.sql("alter table postmeter.allocation add constraint thirteen check (quantity <> 13) not valid").await;
    let worker = stage.another_worker().await;
    dies_folding(&stage, &worker).await;
    stage.worker.beat().await.unwrap();
    stage.end_lease_of(worker.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    all_suspects(&stage.worker).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.allocation").await, "39");
    assert_eq!(super::setbacks(&stage).await.len(), 1);
    assert_eq!(stage.value("select count(*)::text from postmeter.suspect_range").await, "0");
    stage.sql("alter table postmeter.allocation drop constraint thirteen; select postmeter.try_setbacks_again()").await;
    super::until_nothing_is_kept(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn j1_suspects_that_wait_for_a_lock_stay_together_and_come_after_the_others() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..40 {
        stage.use_cores(&format!("e{n}"), "1", "2024-09-18T10:10:00Z").await;
    }
    let worker = stage.another_worker().await;
    dies_folding(&stage, &worker).await;
    stage.worker.beat().await.unwrap();
    stage.end_lease_of(worker.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    let ranges = "select string_agg(r.id::text, ' ' order by r.since, r.id) from postmeter.suspect_range r";
    let before = stage.value(ranges).await;
    let holder = stage.db.connect().await;
    holder.batch_execute("begin; lock table postmeter.allocation in exclusive mode").await.unwrap();
    assert!(stage.worker.fold_suspects().await.unwrap().is_none(), "it comes back later");
    let mut behind: Vec<&str> = before.split(' ').collect();
    behind.rotate_left(1);
    assert!(behind.len() > 1, "{behind:?}");
    assert_eq!(stage.value(ranges).await, behind.join(" "), "no range is split, and another is the next");
    holder.batch_execute("commit; begin; lock table postmeter.closed_month in exclusive mode").await.unwrap();
    let error = stage.worker.fold_suspects().await.unwrap_err();
    assert!(matches!(error, outbox::Error::Shut(_)) && error.to_string().contains("session"), "{error}");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(all_suspects(&stage.worker).await, 40);
    stage.close().await;
}

#[tokio::test]
async fn j4_what_is_only_locked_does_not_wait_for_what_may_kill() {
    let stage = super::with_others().await;
    stage.use_cores("killer", "13", "2024-09-18T10:10:00Z").await;
    stage.sql(KILLER).await;
    let worker = stage.another_worker().await;
    dies_folding(&stage, &worker).await;
    stage.worker.beat().await.unwrap();
    stage.end_lease_of(worker.id()).await;
    assert_eq!(stage.worker.reap().await.unwrap(), 1);
    super::others_use(&stage, "late", "2024-09-18T10:20:00Z").await;
    let kept = "insert into postmeter.setback (step, member, org, skipped) values ('fold', 'org:other0', 'other0', 1)";
    stage.sql(kept).await;
    // it sleeps in the killer, as long as nobody ends it
    let taking = Arc::clone(&stage.worker);
    let suspect = tokio::spawn(async move {
        while taking.fold_suspects().await?.is_some() {}
        Ok::<_, outbox::Error>(())
    });
    let sleeping =
        "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    until_true(&stage.db.client, sleeping).await;
    super::until_nothing_is_kept(&stage).await;
    assert_eq!(super::allocated(&stage).await, ["other0 1"], "while the suspect is in hand still");
    suspect.abort();
    stage.sql("select pg_terminate_backend(pid, 30000) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'").await;
    stage.close().await;
}
