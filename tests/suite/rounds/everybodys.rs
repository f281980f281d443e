//! A lock that everybody meets is the step's: nobody is put behind for it, and the session that holds it is named. Many that
//! are locked are waited for in turns.

use outbox::Error;
use outbox::maintain::{carry, reconsider_stuck};
use outbox::rounds::Round;
use outbox::setback::{Member, Setbacks};
use tests::Stage;

use super::{holding, meter_of, ripe, setbacks};

/// A stage on which so many orgs have something to bill and no hour to bill it in.
async fn owing(orgs: u32) -> Stage {
    let stage = ripe(orgs).await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.sql("update postmeter.meter set billable = 1").await;
    stage
}

fn is_shut_by_a_console<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Shut(_)), "{error:?}");
    assert!(error.to_string().contains("a console"), "{error}");
}

#[tokio::test]
async fn j1_carry_at_a_shut_gate_of_months_names_who_shuts_it_and_blames_no_meter() {
    let stage = owing(3).await;
    let holder = holding(&stage, "lock table postmeter.closed_month in exclusive mode").await;
    is_shut_by_a_console(carry(&stage.db.database, false).await);
    assert!(setbacks(&stage).await.is_empty(), "nobody is put behind");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(carry(&stage.db.database, false).await.unwrap(), 3);
}

#[tokio::test]
async fn j1_reconsider_at_a_shut_gate_of_months_names_who_shuts_it_and_blames_nobody() {
    let stage = ripe(3).await;
    stage.configure("expired_policy = 'roll_forward'").await;
    while stage.worker.cut().await.unwrap().cut > 0 {}
    stage.sql("delete from postmeter.due; update postmeter.delivery set status = 'expired'").await;
    let holder = holding(&stage, "lock table postmeter.closed_month in exclusive mode").await;
    is_shut_by_a_console(reconsider_stuck(&stage.db.database, false).await);
    assert!(setbacks(&stage).await.is_empty(), "nobody is put behind");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(reconsider_stuck(&stage.db.database, false).await.unwrap(), 3);
}

#[tokio::test]
async fn j1_a_table_that_another_session_keeps_is_the_steps() {
    let stage = owing(40).await;
    let holder = holding(&stage, "lock table postmeter.meter in exclusive mode").await;
    is_shut_by_a_console(carry(&stage.db.database, false).await);
    assert!(setbacks(&stage).await.is_empty(), "nobody is put behind");
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(carry(&stage.db.database, false).await.unwrap(), 40);
}

#[tokio::test]
async fn j1_many_that_are_locked_are_waited_for_in_turns_and_none_starves() {
    let stage = ripe(7).await;
    let rows = format!("select from postmeter.meter where id <> {} for update", meter_of(7));
    let holder = holding(&stage, &rows).await;
    assert_eq!(stage.worker.cut().await.unwrap().cut, 1);
    // skipped once more, then two a round are waited for
    for _ in 0..4 {
        assert_eq!(stage.worker.cut().await.unwrap().cut, 0);
    }
    let named = "select count(*)::text from postmeter.setback where holder like '%a console%'";
    assert_eq!(stage.value(named).await, "6", "each had its turn");
    holder.batch_execute("commit").await.unwrap();
    while stage.worker.cut().await.unwrap().cut > 0 {}
    assert!(setbacks(&stage).await.is_empty());
    stage.work().await;
    stage.close().await;
}

#[derive(Debug, Clone, PartialEq)]
struct Named(&'static str);

impl Member for Named {
    fn id(&self) -> String {
        self.0.to_owned()
    }
}

#[tokio::test]
async fn j1_who_writes_several_setbacks_takes_them_in_the_order_of_their_key() {
    let stage = Stage::bare().await;
    // as they lie in the table, the last comes first
    stage.sql("insert into postmeter.setback (step, member, skipped) values ('cut', 'z', 1), ('cut', 'b', 1), ('cut', 'a', 1)").await;
    let other = holding(&stage, "update postmeter.setback set skipped = 2 where member = 'a'").await;
    let setbacks = Setbacks::read(&stage.db.database, "cut").await;
    let database = stage.db.another();
    let passing = tokio::spawn(async move {
        let round = Round { passed: vec![Named("z"), Named("b"), Named("a")], ..Round::default() };
        setbacks.note(&database, &round, None).await
    });
    stage.until_waiting(1).await;
    // it waits for the first, and has none of the others
    let rest = "set lock_timeout = '2s'; update postmeter.setback set skipped = 2 where member in ('b', 'z'); commit";
    other.batch_execute(rest).await.unwrap();
    passing.await.unwrap();
    assert_eq!(stage.value("select count(*)::text from postmeter.setback").await, "0");
}
