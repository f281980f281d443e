//! Held usage: retried or given up by a person.

use outbox::corrections::{Verb, correct_held};
use serde_json::json;
use tests::Stage;

use super::{ADA, decisions};

/// Usage of two orgs that nobody subscribed.
async fn two_held() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.record("n1", "nobody", "cores", "2.5", "2024-09-18T10:10:00Z").await;
    stage.record("n2", "somebody", "cores", "4", "2024-09-18T10:10:00Z").await;
    stage.work().await;
    stage
}

#[tokio::test]
async fn e8_held_usage_is_retried_by_filter_dry_run_first() {
    let stage = two_held().await;
    let filter = json!({"org": "nobody"});
    for verb in [Verb::Retry, Verb::WriteOff] {
        let shown = correct_held(&stage.db.database, verb, &filter, ADA, true).await.unwrap();
        assert_eq!(
            shown.iter().map(|held| (held.1.as_str(), held.2.as_str())).collect::<Vec<_>>(),
            [("no_subscription", "2.5")]
        );
    }
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "2");
    assert!(decisions(&stage).await.is_empty());
    correct_held(&stage.db.database, Verb::Retry, &filter, ADA, false).await.unwrap();
    assert!(correct_held(&stage.db.database, Verb::Retry, &filter, ADA, false).await.unwrap().is_empty(), "twice");
    assert_eq!(stage.value("select event_id from postmeter.outbox").await, "n1");
    assert_eq!(decisions(&stage).await, ["retry ada: the agreement is active now, 2.5: held -> outbox"]);
    // nothing has changed for it, so it is held again; nothing is lost on the way
    stage.work_anew().await;
    assert_eq!(stage.value("select count(*)::text from postmeter.held").await, "2");
    stage.close().await;
}

#[tokio::test]
async fn e9_held_usage_that_is_written_off_is_accounted_for_and_never_billed() {
    let stage = two_held().await;
    let filter = json!({"org": "nobody", "reason": "no_subscription"});
    correct_held(&stage.db.database, Verb::WriteOff, &filter, ADA, false).await.unwrap();
    assert!(correct_held(&stage.db.database, Verb::WriteOff, &filter, ADA, false).await.unwrap().is_empty(), "twice");
    assert_eq!(decisions(&stage).await, ["write_off ada: the agreement is active now, 2.5: held -> written_off"]);
    stage.subscribe("nobody", "444455556666").await;
    stage.subscribe("somebody", "777788889999").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 4"]);
    assert_eq!(
        stage
            .column("select org || ' ' || written_off || ' ' || allocated from postmeter.usage_balance order by 1")
            .await,
        ["nobody 2.5 0", "somebody 0 4"]
    );
    assert_eq!(
        stage.value("select whereabouts from postmeter.usage_explained where org = 'nobody'").await,
        "written_off"
    );
    // recorded again it is the same usage, and stays given up
    stage.record("n1", "nobody", "cores", "2.5", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 4"]);
    stage.close().await;
}

#[tokio::test]
async fn e8_every_filter_of_held_usage_names_what_it_says() {
    let stage = two_held().await;
    let usage = stage.value("select id::text from postmeter.usage where event_id = 'n2'").await;
    for (filter, expected) in [
        (json!({"org": "nobody"}), vec!["2.5"]),
        (json!({"product": "db"}), vec!["2.5", "4"]),
        (json!({"usage": usage}), vec!["4"]),
        (json!({"until": "2024-09-18T11:00:00Z"}), vec!["2.5", "4"]),
        (json!({"all": true}), vec!["2.5", "4"]),
    ] {
        let mut shown: Vec<_> = correct_held(&stage.db.database, Verb::Retry, &filter, ADA, true)
            .await
            .unwrap()
            .into_iter()
            .map(|held| held.2)
            .collect();
        shown.sort();
        assert_eq!(shown, expected, "{filter}");
    }
    stage.close().await;
}

#[tokio::test]
async fn e8_a_filter_of_held_usage_that_fits_nothing_is_refused() {
    let stage = two_held().await;
    for (filter, expected) in [
        (json!({"org": "nobodi"}), "PM038 org"),
        (json!({"metric": "gb"}), "PM038 metric"),
        (json!({"account": "main"}), "PM038 account"),
        (json!({"destination": "azure"}), "PM038 destination"),
        (json!({"reason": "quantity_out_of_range"}), "PM038 reason"),
        (json!({"usage": "01a1fc6f-9dd4-75e1-bbdd-28efeb6826f3"}), "PM038 usage"),
        (json!({"usage": "n2"}), "PM037 usage"),
        (json!({"reason": "too_late"}), "PM039 filter"),
        (json!({"destination": "aws"}), "PM039 filter"),
        (json!({"from": "2024-09-18T11:00:00Z"}), "PM039 filter"),
    ] {
        for verb in [Verb::Retry, Verb::WriteOff] {
            match correct_held(&stage.db.database, verb, &filter, ADA, false).await {
                Err(outbox::Error::Refused(refused)) => {
                    assert_eq!(format!("{} {}", refused.code, refused.field.unwrap_or_default()), expected, "{filter}");
                }
                other => panic!("{verb:?} {filter}: {other:?}"),
            }
        }
    }
    stage.close().await;
}
