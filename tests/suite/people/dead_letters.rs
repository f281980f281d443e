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
        let filter = json!({"destination": "aws", "status": "rejected"});
        let changes = correct(&stage.db.database, verb, &filter, ADA, true).await.unwrap();
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
async fn e8_what_also_counts_usage_outside_the_filter_is_given_up_by_name_only() {
    let stage = Stage::new().await;
    // one buyer, two orgs
    stage.subscribe("beta", "111122223333").await;
    super::refuse_all(&stage, true);
    stage.use_cores("ours", "3", "2024-09-18T10:10:00Z").await;
    stage.record("theirs", "beta", "cores", "4", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 7"]);
    let before = state(&stage).await;
    for verb in [Verb::Release, Verb::WriteOff] {
        for filter in [json!({"org": "acme"}), json!({"org": "beta", "metric": "cores"})] {
            let changes = decide(&stage, verb, filter).await;
            assert_eq!((changes.len(), changes[0].after.as_str()), (1, "rejected"), "{verb:?}");
            assert!(changes[0].note.as_ref().unwrap().contains("outside the filter"), "{changes:?}");
        }
    }
    assert_eq!(state(&stage).await, before, "nothing changed");
    // its quantity in another hour is theirs still, though no usage of theirs was counted there
    let delivery = stage.value("select delivery_id::text from postmeter.remittance").await;
    let released = decide(&stage, Verb::Release, json!({"delivery": delivery})).await;
    assert_eq!(released[0].after, "released");
    stage.use_cores("more", "1", "2024-09-18T09:20:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    let changes = decide(&stage, Verb::WriteOff, json!({"org": "acme"})).await;
    let kept = changes.iter().filter(|change| change.after == "rejected").count();
    assert_eq!(kept, 1, "{changes:?}");
    let all = decide(&stage, Verb::WriteOff, json!({"metric": "cores"})).await;
    assert!(!all.is_empty() && all.iter().all(|change| change.after == "written_off"), "all of it is meant: {all:?}");
    stage.close().await;
}

#[tokio::test]
async fn e8_accepted_ones_are_never_touched_even_by_everything() {
    let stage = rejected().await;
    for verb in VERBS {
        assert_eq!(refusal(&stage, verb, json!({"status": "accepted"})).await, "PM038 status", "{verb:?}");
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
        (json!({"product": "db", "destination": "aws"}), vec!["3", "4"]),
        (json!({"metric": "cores", "org": "globex"}), vec!["4"]),
        (json!({"destination": "aws"}), vec!["3", "4"]),
        (json!({"from": "2024-09-18T10:00:00Z", "until": "2024-09-18T11:00:00Z", "all": true}), vec!["3", "4"]),
        (json!({"delivery": id}), vec!["4"]),
        (json!({"delivery": id.parse::<i64>().unwrap()}), vec!["4"]),
        (json!({"all": true}), vec!["3", "4"]),
        (json!({"org": "initech"}), vec![]),
    ] {
        let changes = correct(&stage.db.database, Verb::Retry, &filter, ADA, true).await.unwrap();
        let mut quantities: Vec<_> = changes.iter().map(|change| change.quantity.clone().unwrap()).collect();
        quantities.sort();
        assert_eq!(quantities, expected, "{filter}");
    }
    stage.close().await;
}

/// How a correction is refused, as `code field`.
async fn refusal(stage: &Stage, verb: Verb, filter: Value) -> String {
    match correct(&stage.db.database, verb, &filter, ADA, false).await {
        Err(outbox::Error::Refused(refused)) => format!("{} {}", refused.code, refused.field.unwrap_or_default()),
        other => panic!("{verb:?} {filter}: {other:?}"),
    }
}

#[tokio::test]
async fn e8_a_filter_that_fits_nothing_is_refused_and_names_what_does_not_exist() {
    let stage = rejected().await;
    stage.sql("update postmeter.subscription set account = 'main' where org = 'globex'").await;
    let before = state(&stage).await;
    for (filter, expected) in [
        (json!({"org": "acmee"}), "PM038 org"),
        (json!({"org": "acme", "product": "cache"}), "PM038 product"),
        (json!({"metric": "gb"}), "PM038 metric"),
        (json!({"destination": "azure"}), "PM038 destination"),
        (json!({"account": "mian"}), "PM038 account"),
        (json!({"delivery": 4711}), "PM038 delivery"),
        (json!({"status": "rejectd", "all": true}), "PM038 status"),
        (json!({"reason": "poisoned"}), "PM038 reason"),
        (json!({"org": "%"}), "PM038 org"),
        (json!({"org": "ACME"}), "PM038 org"),
        (json!({"org": "acme", "account": "main"}), "PM039 filter"),
        (json!({"status": "expired"}), "PM039 filter"),
        (json!({"reason": "poison"}), "PM039 filter"),
        (json!({"from": "2024-09-18T11:00:00Z"}), "PM039 filter"),
        (json!({"until": "2024-09-18T09:00:00Z"}), "PM039 filter"),
    ] {
        for verb in VERBS {
            assert_eq!(refusal(&stage, verb, filter.clone()).await, expected, "{verb:?} {filter}");
        }
    }
    assert_eq!(refusal(&stage, Verb::Hold, json!({"status": "rejected", "all": true})).await, "PM038 status");
    assert_eq!(refusal(&stage, Verb::Hold, json!({"org": "nobody"})).await, "PM038 org");
    for (filter, hint) in [
        (json!({"org": "acmee"}), "Did you mean 'acme'?"),
        (
            json!({"org": "acme*"}),
            "A value is matched whole: there are no patterns. For everything say {\"all\": true}.",
        ),
        (json!({"metric": "gb"}), "Neither the catalogue nor held usage knows it."),
    ] {
        let error = correct(&stage.db.database, Verb::Retry, &filter, ADA, true).await.unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert_eq!(state(&stage).await, before);
    stage.close().await;
}

#[tokio::test]
async fn e8_a_filter_that_cannot_be_meant_or_leaves_nothing_out_is_refused() {
    let stage = rejected().await;
    let before = state(&stage).await;
    for (filter, expected) in [
        (json!({"org": ""}), "PM037 org"),
        (json!({"org": "acme", "product": " \t\n"}), "PM037 product"),
        (json!({"org": ["acme"]}), "PM037 org"),
        (json!({"all": "true"}), "PM037 all"),
        (json!({"delivery": "1 or 2"}), "PM037 delivery"),
        (json!({"from": "yesterday morning"}), "PM037 from"),
        (json!({"from": "2024-09-18T11:00:00Z", "until": "2024-09-18T10:00:00Z", "all": true}), "PM037 until"),
        (json!({"from": "2024-09-18T11:00:00Z", "until": "2024-09-18T11:00:00Z"}), "PM037 until"),
        // by accident everything there is
        (json!({"status": "rejected"}), "PM031 filter"),
        (json!({"product": "db"}), "PM031 filter"),
        (json!({"metric": "cores", "from": "2000-01-01T00:00:00Z"}), "PM031 filter"),
        (json!({"until": "2999-01-01T00:00:00Z"}), "PM031 filter"),
    ] {
        for verb in VERBS {
            assert_eq!(refusal(&stage, verb, filter.clone()).await, expected, "{verb:?} {filter}");
        }
    }
    assert_eq!(state(&stage).await, before);
    // one of several is left out: the filter says something
    decide(&stage, Verb::WriteOff, json!({"org": "globex"})).await;
    assert_eq!(
        decide(&stage, Verb::Retry, json!({"status": "rejected"})).await.len(),
        1,
        "a single one needs no scope"
    );
    stage.close().await;
}

#[tokio::test]
async fn e8_the_second_run_of_a_correction_finds_nothing_left_to_do_and_says_what_became_of_it() {
    let stage = rejected().await;
    let filters = [
        json!({"org": "acme"}),
        json!({"destination": "aws", "status": "rejected"}),
        json!({"status": "rejected", "from": "2024-09-18T10:00:00Z"}),
        json!({"all": true}),
    ];
    decide(&stage, Verb::WriteOff, json!({"all": true})).await;
    let before = state(&stage).await;
    for filter in &filters {
        for verb in VERBS {
            assert!(decide(&stage, verb, filter.clone()).await.is_empty(), "{verb:?} {filter}");
        }
    }
    assert_eq!(state(&stage).await, before);
    let fits = outbox::corrections::fits(&stage.db.database, &json!({"all": true})).await.unwrap();
    assert_eq!(fits, [("accepted".to_owned(), 1), ("written_off".to_owned(), 2)]);
    let fits = outbox::corrections::fits(&stage.db.database, &filters[1]).await.unwrap();
    assert_eq!(fits, [("written_off".to_owned(), 2)], "the accepted one was never rejected");
    stage.close().await;
}

#[tokio::test]
async fn e8_the_reason_that_somebody_decided_about_is_remembered() {
    let stage = Stage::new().await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    decide(&stage, Verb::Hold, json!({"org": "acme"})).await;
    assert!(decide(&stage, Verb::Hold, json!({"org": "acme"})).await.is_empty(), "twice");
    decide(&stage, Verb::Retry, json!({"reason": "by_operator"})).await;
    assert!(decide(&stage, Verb::Retry, json!({"reason": "by_operator"})).await.is_empty(), "twice");
    assert_eq!(refusal(&stage, Verb::Retry, json!({"reason": "poison"})).await, "PM039 filter");
    stage.work().await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
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
