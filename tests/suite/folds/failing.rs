//! J2: one entry fails whatever is done.

use super::{allocated, others_use, setbacks, until_nothing_is_kept, with_others};

/// From now on usage of thirteen cannot be allocated.
const THIRTEEN: &str = "alter table postmeter.allocation add constraint thirteen check (quantity <> 13) not valid";

#[tokio::test]
async fn j2_fold_an_entry_that_fails_is_found_set_aside_and_goes_on_once_it_is_cured() {
    let stage = with_others().await;
    for n in 0..20 {
        stage.use_cores(&format!("a{n}"), if n == 7 { "13" } else { "1" }, "2024-09-18T10:10:00Z").await;
    }
    others_use(&stage, "a", "2024-09-18T10:10:00Z").await;
    stage.sql(THIRTEEN).await;
    let folded = stage.worker.fold().await.unwrap();
    assert_eq!((folded.allocated, folded.failed), (22, 1), "all others are through in the same round");
    assert_eq!(setbacks(&stage).await, ["a7 skipped 0 failed 1 23514"]);
    let aside = "select (set_aside_at is not null)::text || ' ' || (reason like '%thirteen%') from postmeter.setback";
    assert_eq!(stage.value(aside).await, "false true", "once is not enough");
    let again = "update postmeter.setback set next_at = clock_timestamp()";
    stage.sql(again).await;
    others_use(&stage, "b", "2024-09-18T10:20:00Z").await;
    assert_eq!(stage.worker.fold().await.unwrap().allocated, 3, "it is left out of the ordinary folds");
    assert_eq!(stage.worker.fold_apart().await.unwrap().failed, 1);
    assert_eq!(stage.value(aside).await, "true true", "twice, while others passed");
    assert_eq!(stage.worker.fold_apart().await.unwrap().failed, 0, "it is not tried again before its time");
    stage.sql("alter table postmeter.allocation drop constraint thirteen; select postmeter.try_setbacks_again()").await;
    until_nothing_is_kept(&stage).await;
    assert_eq!(allocated(&stage).await, ["acme 20", "other0 2", "other1 2", "other2 2"]);
    stage.close().await;
}

#[tokio::test]
async fn j2_fold_nobody_is_set_aside_while_nobody_passes() {
    let stage = with_others().await;
    for n in 0..40 {
        stage.use_cores(&format!("a{n}"), "1", "2024-09-18T10:10:00Z").await;
    }
    stage.sql("alter table postmeter.allocation add constraint nothing check (quantity < 0) not valid").await;
    for _ in 0..3 {
        stage.worker.fold().await.unwrap();
        stage.sql("update postmeter.setback set next_at = clock_timestamp()").await;
        stage.worker.fold_apart().await.unwrap();
    }
    assert_eq!(
        stage.value("select count(*)::text from postmeter.setback where failed > 0 or set_aside_at is not null").await,
        "0"
    );
    stage.sql("alter table postmeter.allocation drop constraint nothing; select postmeter.try_setbacks_again()").await;
    until_nothing_is_kept(&stage).await;
    stage.fold().await;
    assert_eq!(allocated(&stage).await, ["acme 40"]);
    stage.close().await;
}

#[tokio::test]
async fn j2_fold_an_error_that_everybody_meets_is_the_steps() {
    let stage = with_others().await;
    stage.use_cores("a", "1", "2024-09-18T10:10:00Z").await;
    others_use(&stage, "a", "2024-09-18T10:10:00Z").await;
    stage
        .sql(
            "create function pg_temp.full() returns trigger language plpgsql as
             $$begin raise 'no space left on device' using errcode = '53100'; end$$;
             create trigger is_full before insert on postmeter.allocation for each row execute function pg_temp.full()",
        )
        .await;
    stage.worker.fold().await.unwrap_err();
    assert!(setbacks(&stage).await.is_empty(), "nobody is to blame");
    stage.sql("drop trigger is_full on postmeter.allocation").await;
    assert_eq!(stage.worker.fold().await.unwrap().allocated, 4);
    stage.close().await;
}
