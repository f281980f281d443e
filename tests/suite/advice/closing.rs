//! What the report of a month close says of each class, in a state that shows it; done, the class is gone.

use remittance::Outcome;
use tests::{Dimension, Stage, q};

use super::{done, unclear::answered};
use crate::recount::{mistyped, only};

/// The only open item of September: its class, and what to do.
async fn to_do(stage: &Stage) -> (String, String) {
    let sql = "select class || '|' || to_do from postmeter.close_report('aws', '2024-09-01')";
    let mut open = stage.column(sql).await;
    assert_eq!(open.len(), 1, "{open:?}");
    let (class, to_do) = open.pop().unwrap().split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    (class, to_do)
}

async fn nothing_is_open(stage: &Stage, class: &str) {
    let open = stage.column("select class from postmeter.close_report('aws', '2024-09-01')").await;
    assert_eq!(open, [""; 0], "{class}");
}

#[tokio::test]
async fn k11_the_close_says_what_to_do_about_remittances() {
    let unknown = || answered(Outcome::Unknown { code: "timeout".to_owned() });
    let conflict = || answered(Outcome::Conflict { shown: Some(q("7")) });
    for (class, to_do_is, commands) in [
        (
            "rejected",
            "release it before closing where an hour can take it, else write it off",
            &["release --delivery 1 --why checked --apply"][..],
        ),
        ("unknown", "look at the marketplace, then resolve it", &["resolve 1 --billed --why checked"]),
        (
            "conflict",
            "resolve it, and it counts as they hold it; write it off only if they hold nothing of it any more",
            &["resolve 1 --billed --why checked"],
        ),
        (
            "held",
            "retry it while it can be sent, else release it before closing, or write it off; resolve it first if it \
             may have been billed",
            &["retry --delivery 1 --why checked --apply"],
        ),
        ("due", "wait until it is settled", &[]),
        ("open", "wait for the cut: it is sent, or expires", &[]),
    ] {
        let stage = match class {
            "rejected" => mistyped().await,
            "unknown" => unknown().await,
            "conflict" => conflict().await,
            _ => {
                let stage = Stage::new().await;
                stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
                match class {
                    "open" => stage.fold().await,
                    _ => stage.cut_only("2024-09-18T11:10:00Z").await,
                }
                if class == "held" {
                    done(&stage, "hold --delivery 1 --why checked --apply");
                }
                stage
            }
        };
        let said = to_do(&stage).await;
        assert_eq!(said, (class.to_owned(), to_do_is.to_owned()));
        if class == "rejected" {
            only(&stage, &["prod-bd"], &["111122223333"]);
        }
        for command in commands {
            done(&stage, command);
        }
        super::later(&stage).await;
        nothing_is_open(&stage, class).await;
    }
}

#[tokio::test]
async fn k11_the_close_says_what_to_do_about_usage() {
    const WRITE_OFF: &str = "write-off --held-usage --all --why checked --apply";
    for (class, to_do_is, command) in [
        (
            "waiting",
            "let workers fold it before closing; no destination is known yet, so every destination lists it",
            "",
        ),
        ("too_late", "write it off", WRITE_OFF),
        ("month_closed", "write it off, or reopen the month", WRITE_OFF),
        ("month_closed", "write it off, or reopen the month", "month reopen aws 2024-09 --why checked --apply"),
        (
            "no_subscription",
            "mend the catalogue or write it off; no destination is known, so every destination lists it",
            WRITE_OFF,
        ),
        (
            "lost_time",
            "see whether they hold it with another hour: write it off if so, else retry it before closing",
            WRITE_OFF,
        ),
        ("unmapped_dimension", "mend its cause before closing, or write it off", "cure"),
    ] {
        let stage = Stage::new().await;
        stage.configure(if class == "too_late" { "late_policy = 'hold'" } else { "late_policy = 'part'" }).await;
        stage.at("2024-10-01T10:30:00Z").await;
        match class {
            "month_closed" => {
                stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false)").await;
            }
            "unmapped_dimension" => stage.sql("update postmeter.dimension set metric = 'gb'").await,
            _ => {}
        }
        let org = if class == "no_subscription" { "nobody" } else { "acme" };
        stage.worker.reload().await.unwrap();
        if class == "lost_time" {
            stage.configure("late_policy = 'hold'").await;
        }
        stage.record("late", org, "cores", "3", "2024-09-30T23:30:00Z").await;
        if class != "waiting" {
            stage.fold().await;
        }
        if class == "lost_time" {
            stage.sql("update postmeter.held set reason = 'lost_time'").await;
        }
        assert_eq!(to_do(&stage).await.1, to_do_is, "{class}");
        match command {
            "" => {}
            "cure" => {
                stage.sql("update postmeter.dimension set metric = 'cores'").await;
                stage.worker.reload().await.unwrap();
            }
            _ => done(&stage, command),
        }
        super::later(&stage).await;
        nothing_is_open(&stage, class).await;
    }
}

#[tokio::test]
async fn k11_the_close_says_what_to_do_about_what_no_hour_takes() {
    // given back, and its month is closed before an hour has taken it
    let stage = super::stranded::deferred().await;
    stage.at("2024-09-20T12:30:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    let released = "no hour has taken it: reopen the month while one can, or accept the loss".to_owned();
    assert_eq!(to_do(&stage).await, ("released".to_owned(), released));
    done(&stage, "month reopen aws 2024-09 --why checked --apply");
    super::later(&stage).await;
    nothing_is_open(&stage, "released").await;
    assert_eq!(stage.aws.record().len(), 1);

    // less than a unit, and credit: there is nothing to do here
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.use_cores("part", "1.5", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let remainder = "nothing: less than what can be billed, by the dimension's rounding".to_owned();
    assert_eq!(to_do(&stage).await, ("remainder".to_owned(), remainder));
    stage.correct("less", "part", "-1.5", "2024-09-18T10:05:00Z").await;
    stage.work().await;
    let credit = "credit the customer by hand; nothing negative is ever sent".to_owned();
    assert_eq!(to_do(&stage).await, ("over_billed".to_owned(), credit));
    stage.close().await;
}
