//! Held usage that needs a person: what `what_to_do` and `explain` say of it, in a state of its own for each way.

use tests::Stage;

use super::{advice, commands, cured, done, people, prepare};

/// September is over and its window too; three cores of it, `late`, came after that.
async fn too_late() -> Stage {
    let stage = Stage::new().await;
    stage.configure("late_policy = 'hold'").await;
    stage.at("2024-10-01T10:30:00Z").await;
    stage.use_cores("late", "3", "2024-09-30T23:30:00Z").await;
    stage.work().await;
    stage
}

/// The usage `late` is held, and `what_to_do` says this: each way, and each command of `explain`, is carried out.
async fn each(state: impl AsyncFn() -> Stage, what_to_do: &str, ways: &[&str]) {
    for &way in ways {
        let stage = state().await;
        let advised = advice(&stage).await;
        assert_eq!(advised, what_to_do);
        if way == "by itself" {
            prepare(&stage, &advised).await;
        } else {
            let lines = people(&stage, "explain billing late");
            let of_way = |line: &&String| line.contains(&format!("postmeter {way} "));
            let line = lines.iter().find(of_way).unwrap_or_else(|| panic!("{way}: {lines:?}"));
            if way == "retry" {
                // what must come first stands in both
                for first in ["late_policy to part", "renew the subscription"] {
                    assert_eq!(advised.contains(first), lines.iter().any(|line| line.contains(first)), "{lines:?}");
                }
                prepare(&stage, &advised).await;
            }
            done(&stage, &commands(line)[0]);
        }
        cured(stage, &format!("{what_to_do}: {way}"), if way == "write-off" { "0" } else { "3" }).await;
    }
}

#[tokio::test]
async fn k11_usage_that_is_too_late() {
    each(too_late, "write off, or set late_policy to part and retry", &["retry", "write-off"]).await;
    let state = async || {
        let stage = too_late().await;
        stage.configure("late_policy = 'part'").await;
        stage
    };
    each(state, "retry, or write off", &["retry"]).await;
    let state = async || {
        let stage = too_late().await;
        stage.sql("update postmeter.subscription set valid_until = '2024-10-01T00:00:00Z'").await;
        stage.work().await;
        stage
    };
    let what_to_do = "write off, or set late_policy to part and renew the subscription and retry";
    each(state, what_to_do, &["retry"]).await;
}

#[tokio::test]
async fn k11_usage_of_a_closed_month() {
    for (policy, what_to_do) in [
        ("hold", "write off, or set late_policy to part and reopen the month: it then goes on by itself"),
        ("part", "write off, or reopen the month: it then goes on by itself"),
    ] {
        let state = async || {
            let stage = Stage::new().await;
            stage.configure(&format!("late_policy = '{policy}'")).await;
            stage.at("2024-10-01T10:30:00Z").await;
            stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
            stage.use_cores("late", "3", "2024-09-30T23:30:00Z").await;
            stage.work().await;
            stage
        };
        each(state, what_to_do, &["by itself", "write-off"]).await;
    }
}

#[tokio::test]
async fn k11_usage_that_the_catalogue_does_not_know_for_a_day() {
    let state = async || {
        let stage = Stage::new().await;
        stage.sql("update postmeter.subscription set org = 'another'").await;
        stage.worker.reload().await.unwrap();
        stage.at("2024-09-18T10:30:00Z").await;
        stage.use_cores("late", "3", "2024-09-18T10:05:00Z").await;
        stage.work().await;
        stage.at("2024-09-19T11:30:00Z").await;
        stage
    };
    let what_to_do = "mend the catalogue: it then goes on by itself";
    each(state, what_to_do, &["write-off"]).await;
    let stage = state().await;
    assert_eq!(advice(&stage).await, what_to_do);
    stage.sql("update postmeter.subscription set org = 'acme'").await;
    stage.worker.reload().await.unwrap();
    cured(stage, what_to_do, "3").await;
}

#[tokio::test]
async fn k11_usage_that_was_put_aside() {
    // what kills workers is played elsewhere: a real row of another reason
    for (reason, what_to_do, ways) in [
        ("poison", "report it, then retry", &["retry", "write-off"][..]),
        ("by_operator", "retry when that is over", &["retry"]),
        (
            "lost_time",
            "see whether they hold it with another hour of that time: write off if so, else retry",
            &["retry"],
        ),
    ] {
        let state = async || {
            let stage = too_late().await;
            stage.configure("late_policy = 'part'").await;
            stage.sql(&format!("update postmeter.held set reason = '{reason}'")).await;
            stage
        };
        each(state, what_to_do, ways).await;
    }
}

#[tokio::test]
async fn k11_a_correction_of_what_is_not_there_any_more() {
    let stage = too_late().await;
    stage.correct("less", "late", "-1", "2024-09-30T23:30:00Z").await;
    stage.work_anew().await;
    assert_eq!(stage.column("select distinct what_to_do from postmeter.dead_letter").await.len(), 1, "both alike");
    // dropped with its month of the ledger: what it corrects is nowhere
    stage.sql("update postmeter.held set corrected_id = gen_random_uuid() where quantity < 0").await;
    let advised = stage.value("select what_to_do from postmeter.dead_letter where quantity < 0").await;
    assert_eq!(advised, "write off: what it corrects is not there any more");
    let lines = people(&stage, "explain billing less");
    let line = lines.iter().find(|line| line.contains("postmeter write-off ")).unwrap();
    done(&stage, &commands(line)[0]);
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "1");
}
