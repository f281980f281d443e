//! A wait that a marketplace asked for is one until a person ends it, whatever said so and whoever could be told of it.

use outbox::pace::Wait;
use remittance::pace::Count;
use simulator::{FaultKind, FaultRule};
use tests::aws_with_test_keys;

use super::*;

const WAITS: &str =
    "select exists (select from postmeter.pace where wait_until > clock_timestamp() + interval '50 minutes')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j10_a_person_ends_the_wait_that_a_marketplace_asked_for_and_workers_act_by_it_at_once() {
    let waits = |rule: FaultRule| rule.retry_after(86_400).times(1);
    for fault in [FaultRule::new(FaultKind::Throttle), FaultRule::new(FaultKind::Status).status(503)] {
        let stage = two_destinations().await;
        stage.aws.add_fault(waits(fault)).unwrap();
        let slow = Slow::start(&stage, aws_with_test_keys).await;
        stage.at("2024-09-18T10:10:00Z").await;
        stage.use_cores("a10", "1", "2024-09-18T10:10:00Z").await;
        stage.cut_only("2024-09-18T11:10:00Z").await;
        tests::until_true(&stage.db.client, WAITS).await;
        // it waits as long, as soon as its answer is settled
        tests::until_true(&stage.db.client, "select count(*) = 1 from postmeter.later").await;
        let (code, said) = run(&stage, &["status"]).await;
        assert!(said.contains("as the marketplace asked; `postmeter probe DESTINATION --why ...`"), "{code:?} {said}");
        let (code, said) = run(&stage, &["probe", "aws", "--why", "their support lifted it"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("aws: the wait that the marketplace asked for is over"), "{said}");
        accepted(&stage, "aws", 1).await;
        let decided = "select verb || ' ' || status_before || ' ' || status_after || ' ' || (detail ->> 'quota') from postmeter.decision";
        assert_eq!(stage.column(decided).await, ["probe waiting sending aws"]);
        let (code, said) = run(&stage, &["probe", "aws", "--why", "again"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("waits for nothing: nothing was changed"), "{said}");
        assert_eq!(stage.value("select count(*)::text from postmeter.decision").await, "1");
        slow.stop().await;
        stage.close().await;
    }
}

#[tokio::test]
async fn j9_a_wait_is_kept_until_the_fleet_could_be_told_of_it() {
    let stage = Stage::new().await;
    stage
        .sql(
            "create function no_pace() returns trigger language plpgsql as $$ begin raise exception 'no pace now'; end $$;
             create trigger no_pace before insert or update on postmeter.pace for each row execute function no_pace()",
        )
        .await;
    stage.aws.add_fault(FaultRule::new(FaultKind::Status).status(503).retry_after(86_400).times(1)).unwrap();
    stage.use_cores("a10", "1", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.value("select count(*)::text from postmeter.pace").await, "0", "nobody could be told");
    stage.sql("drop function no_pace cascade; update postmeter.later set due_at = '-infinity'").await;
    stage.work_at("2024-09-18T11:11:00Z").await;
    tests::until_true(&stage.db.client, WAITS).await;
    assert_eq!(stage.aws.calls().len(), 1, "and no call was made meanwhile");
    stage.sql("select postmeter.probe('aws', 'mira', 'they lifted it')").await;
    // another worker tells only now of what it heard before a person ended the wait
    let quota: i32 = stage.value("select id::text from postmeter.quota where name = 'aws'").await.parse().unwrap();
    let (left, long_ago) = (Duration::from_secs(3600), Duration::from_secs(10));
    let tells = |heard| outbox::pace::note(&stage.db.database, quota, Count::default(), Some(Wait { left, heard }));
    assert_eq!(tells(long_ago).await.unwrap().wait, Duration::ZERO);
    stage.work().await;
    assert_eq!(stage.remittances().await, ["18T10 accepted 1"]);
    assert!(tells(Duration::ZERO).await.unwrap().wait > Duration::from_secs(3000), "a new wait is one");
    stage.close().await;
}
