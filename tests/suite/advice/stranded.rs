//! Quantity that no hour of its month can take: what must come first, and then the running hour takes it by itself.

use tests::Stage;

use super::{advice, cured, prepare};

/// Three cores of ten o'clock missed their time: cut too late, they wait for another hour, and nobody gives them one.
pub async fn deferred() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.at("2024-09-19T10:40:00Z").await;
    stage.worker.cut().await.unwrap();
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0"]);
    stage
}

const ENDED: &str = "update postmeter.subscription set valid_until = '2024-09-19T10:00:00Z'";
const CLOSED: &str = "select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)";

#[tokio::test]
async fn k11_stranded_quantity_goes_on_once_what_is_named_is_done() {
    for (now, done_before, first) in [
        ("2024-10-01T10:30:00Z", "select 1", "set late_policy to part"),
        ("2024-09-20T12:30:00Z", ENDED, "renew the subscription"),
        ("2024-10-01T10:30:00Z", ENDED, "set late_policy to part and renew the subscription"),
        ("2024-10-05T10:30:00Z", CLOSED, "reopen its month and set late_policy to part"),
    ] {
        let stage = deferred().await;
        stage.at(now).await;
        stage.sql(done_before).await;
        let advised = advice(&stage).await;
        assert_eq!(advised, format!("{first}: the running hour then takes it; else it is lost"), "{now}");
        stage.worker.maintain().await.unwrap();
        assert_eq!(advice(&stage).await, advised, "nothing moves before that");
        prepare(&stage, &advised).await;
        cured(stage, &advised, "3").await;
    }
}
