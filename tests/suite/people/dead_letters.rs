//! Retry and write off, by filter.

use outbox::corrections::{Decider, Verb, correct};
use serde_json::{Value, json};
use tests::Stage;

use super::{ADA, decide, decisions, rejected};

const VERBS: [Verb; 3] = [Verb::Retry, Verb::Release, Verb::WriteOff];

/// Everything that a correction could change.
async fn state(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select d::text from postmeter.delivery d union all select d::text from postmeter.due d
             union all select m::text from postmeter.meter m
             union all select c::text from postmeter.decision c order by 1",
        )
        .await
}

#[tokio::test]
async fn e8_a_dry_run_comes_first_and_shows_count_and_quantity() {
    let stage = rejected().await;
    let before = state(&stage).await;
    for verb in VERBS {
        let changes = correct(&stage.db.database, verb, &json!({"status": "rejected"}), ADA, true).await.unwrap();
        let mut quantities: Vec<_> = changes.iter().map(|change| change.quantity.clone().unwrap()).collect();
        quantities.sort();
        assert_eq!(quantities, ["3", "4"], "{verb:?}");
        assert!(changes.iter().all(|change| change.before == "rejected" && change.after != "rejected"), "{changes:?}");
    }
    // in SQL a dry run is what happens unless told otherwise
    for verb in ["retry", "release", "write_off"] {
        stage.sql(&format!("select postmeter.{verb}('{{\"all\": true}}', 'ada', 'to see')")).await;
    }
    assert_eq!(state(&stage).await, before, "nothing changed");
    stage.close().await;
}

#[tokio::test]
async fn e8_retry_leaves_a_decision_with_who_and_why_and_twice_changes_nothing_more() {
    let stage = rejected().await;
    let bytes = stage.column("select body || idempotency_key from postmeter.delivery order by id").await;
    let changes = decide(&stage, Verb::Retry, json!({"org": "acme"})).await;
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].before.as_str(), changes[0].after.as_str()), ("rejected", "due"));
    assert!(decide(&stage, Verb::Retry, json!({"org": "acme"})).await.is_empty(), "twice");
    stage.work().await;
    assert!(decide(&stage, Verb::Retry, json!({"org": "acme"})).await.is_empty(), "accepted ones are never touched");
    assert_eq!(decisions(&stage).await, ["retry ada: the agreement is active now, 3: rejected -> due"]);
    assert_eq!(stage.remittances().await, ["18T09 accepted 1", "18T10 accepted 3", "18T10 rejected 4"]);
    assert_eq!(stage.column("select body || idempotency_key from postmeter.delivery order by id").await, bytes);
    stage.close().await;
}

#[tokio::test]
async fn e8_accepted_ones_are_never_touched_even_by_everything() {
    let stage = rejected().await;
    for verb in VERBS {
        assert!(decide(&stage, verb, json!({"status": "accepted"})).await.is_empty(), "{verb:?}");
        assert!(decide(&stage, verb, json!({"org": "initech"})).await.is_empty(), "{verb:?}");
    }
    assert_eq!(decide(&stage, Verb::WriteOff, json!({"all": true})).await.len(), 2);
    assert_eq!(stage.remittances().await, ["18T09 accepted 1", "18T10 written_off 3", "18T10 written_off 4"]);
    stage.close().await;
}

#[tokio::test]
async fn e8_every_filter_names_what_it_says_and_nothing_else() {
    let stage = rejected().await;
    stage.sql("update postmeter.subscription set account = 'main' where org = 'globex'").await;
    let id = stage.value("select delivery_id::text from postmeter.remittance where quantity = 4").await;
    for (filter, expected) in [
        (json!({"org": "acme"}), vec!["3"]),
        (json!({"account": "main"}), vec!["4"]),
        (json!({"org": "acme", "account": "main"}), vec![]),
        (json!({"product": "db"}), vec!["3", "4"]),
        (json!({"product": "cache"}), vec![]),
        (json!({"metric": "cores", "org": "globex"}), vec!["4"]),
        (json!({"metric": "gb"}), vec![]),
        (json!({"destination": "aws"}), vec!["3", "4"]),
        (json!({"destination": "azure"}), vec![]),
        (json!({"status": "expired"}), vec![]),
        (json!({"reason": "poison"}), vec![]),
        (json!({"from": "2024-09-18T10:00:00Z", "until": "2024-09-18T11:00:00Z"}), vec!["3", "4"]),
        (json!({"from": "2024-09-18T11:00:00Z"}), vec![]),
        (json!({"until": "2024-09-18T10:00:00Z"}), vec![]),
        (json!({"delivery": id}), vec!["4"]),
        (json!({"all": true}), vec!["3", "4"]),
    ] {
        let changes = correct(&stage.db.database, Verb::Retry, &filter, ADA, true).await.unwrap();
        let mut quantities: Vec<_> = changes.iter().map(|change| change.quantity.clone().unwrap()).collect();
        quantities.sort();
        assert_eq!(quantities, expected, "{filter}");
    }
    stage.close().await;
}

async fn refused(stage: &Stage, filter: Value, decider: Decider<'_>) -> Vec<String> {
    let mut refusals = Vec::new();
    for verb in VERBS {
        match correct(&stage.db.database, verb, &filter, decider, false).await {
            Err(outbox::Error::Refused(refused)) => refusals.push(refused),
            other => panic!("{verb:?} {filter}: {other:?}"),
        }
    }
    for verb in [Verb::Retry, Verb::WriteOff] {
        match outbox::corrections::correct_held(&stage.db.database, verb, &filter, decider, false).await {
            Err(outbox::Error::Refused(refused)) => refusals.push(refused),
            other => panic!("held {verb:?} {filter}: {other:?}"),
        }
    }
    let mut refusals: Vec<_> =
        refusals.iter().map(|r| format!("{} {}", r.code, r.field.as_deref().unwrap_or("-"))).collect();
    refusals.dedup();
    refusals
}

#[tokio::test]
async fn e8_no_filter_an_unknown_field_and_a_nameless_decision_are_refused() {
    let stage = rejected().await;
    let before = state(&stage).await;
    for empty in [json!({}), json!({"all": false}), json!({"org": null}), json!({"org": null, "all": null})] {
        assert_eq!(refused(&stage, empty, ADA).await, ["PM031 filter"]);
    }
    assert_eq!(refused(&stage, json!({"org": "acme", "orgs": "globex"}), ADA).await, ["PM030 orgs"]);
    let all = json!({"all": true});
    assert_eq!(refused(&stage, all.clone(), Decider { who: "", why: "why not" }).await, ["PM032 who"]);
    assert_eq!(refused(&stage, all, Decider { who: "ada", why: "" }).await, ["PM032 why"]);
    assert_eq!(state(&stage).await, before);
    stage.close().await;
}

#[tokio::test]
async fn e9_write_off_closes_the_balance_and_is_not_billed_again() {
    let stage = rejected().await;
    decide(&stage, Verb::WriteOff, json!({"org": "globex"})).await;
    assert!(decide(&stage, Verb::WriteOff, json!({"org": "globex"})).await.is_empty(), "twice");
    assert_eq!(decisions(&stage).await, ["write_off ada: the agreement is active now, 4: rejected -> written_off"]);
    stage.record("more", "globex", "cores", "2", "2024-09-18T11:15:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(
        stage
            .column(
                "select concat_ws(' ', accepted, written_off, difference) from postmeter.balance
                 order by written_off, accepted"
            )
            .await,
        ["0 0 0", "1 0 0", "2 4 0"],
        "acme is rejected still, initech was fine"
    );
    stage.close().await;
}

#[tokio::test]
async fn e8_what_can_no_longer_be_sent_says_so_instead_of_being_retried() {
    let stage = rejected().await;
    stage.at("2024-09-19T11:00:00Z").await;
    let changes = decide(&stage, Verb::Retry, json!({"org": "acme"})).await;
    assert_eq!((changes[0].before.as_str(), changes[0].after.as_str()), ("rejected", "rejected"));
    assert!(changes[0].note.as_deref().unwrap().contains("deadline"), "{changes:?}");
    assert!(decisions(&stage).await.is_empty());
    stage.close().await;
}

#[tokio::test]
async fn e8_two_people_who_retry_at_once_send_it_once() {
    let stage = rejected().await;
    let mut people = Vec::new();
    for _ in 0..6 {
        let database = stage.db.another();
        people.push(tokio::spawn(async move {
            correct(&database, Verb::Retry, &json!({"all": true}), ADA, false).await.unwrap().len()
        }));
    }
    let mut retried = 0;
    for person in people {
        retried += person.await.unwrap();
    }
    assert_eq!(retried, 2);
    assert_eq!(decisions(&stage).await.len(), 2);
    stage.work().await;
    assert_eq!(stage.aws.record().len(), 3);
    stage.close().await;
}
