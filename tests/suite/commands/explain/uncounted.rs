//! Usage that no remittance counts: waiting, held with each reason, exempt, given up.

use outbox::NewUsage;
use outbox::corrections::{Decider, Verb, correct_held};
use serde_json::json;
use tests::{Stage, q, t};

use super::{Told, tells, three};

#[tokio::test]
async fn i2_usage_in_the_outbox_is_explained() {
    let stage = three().await;
    let waits = "NOT BILLED YET: 3 cores of db waits in the outbox";
    let told = Told {
        answer: waits,
        says: &["goes to aws", "its own hour can be sent until 2024-09-19 09:50 UTC"],
        by_itself: "the next fold counts it with its hour",
        by_people: None,
    };
    tells("waits for its fold", &stage, "three", &told).await;
    stage.at("2024-09-19T11:00:00Z").await;
    let told = Told {
        answer: waits,
        says: &["its own hour could be sent until 2024-09-19 09:50 UTC (1 h 10 min ago), so it is late"],
        by_itself: "another hour of its month or by the destination's late_policy",
        by_people: None,
    };
    tells("waits and is late", &stage, "three", &told).await;
    stage.sql("update postmeter.destination set paused = true").await;
    let told = Told { answer: waits, says: &["which is PAUSED"], by_itself: "the next fold", by_people: None };
    tells("waits, and its destination is paused", &stage, "three", &told).await;
    stage.record("nobody's", "nobody", "cores", "2", "2024-09-19T10:10:00Z").await;
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'our own staging')").await;
    stage.record("ours", "ours", "cores", "5", "2024-09-19T10:10:00Z").await;
    let told = Told {
        answer: "NOT BILLED YET: 2 cores of db waits in the outbox",
        says: &[],
        by_itself: "the next fold holds it, as the catalogue is now: no subscription of this org and product",
        by_people: None,
    };
    tells("waits to be held", &stage, "nobody's", &told).await;
    let told = Told {
        answer: "NOT BILLED YET: 5 cores of db waits in the outbox",
        says: &[],
        by_itself: "the next fold sets it aside as exempt: our own staging",
        by_people: None,
    };
    tells("waits to be exempt", &stage, "ours", &told).await;
    stage.sql("update postmeter.destination set paused = false").await;
    stage.work_anew().await;
    let told = Told {
        answer: "NOT BILLED, ON PURPOSE: 5 cores of db; org ours is exempt (our own staging)",
        says: &[],
        by_itself: "nothing: it is accounted for and will never be sent",
        by_people: None,
    };
    tells("exempt", &stage, "ours", &told).await;
    stage.close().await;
}

/// Held usage of the org `held` and how it came to be.
async fn held(stage: &Stage, set_up: &str) {
    stage.sql(set_up).await;
    stage.record("held", "held", "cores", "2", "2024-09-18T10:10:00Z").await;
    stage.worker.reload().await.expect("the catalogue");
    stage.work_anew().await;
}

const SUBSCRIBE: &str =
    "insert into postmeter.subscription (org, account, product, destination_id, identity, valid_from)
    select 'held', account, 'db', id, identity::jsonb, '2024-01-01T00:00:00Z' from postmeter.destination, ";

#[tokio::test]
async fn i2_held_usage_is_explained_for_every_reason_of_the_catalogue() {
    let good = |account: &str, aws: &str| {
        format!(r#"('{account}', '{{"product_code": "prod-db", "customer_aws_account_id": "{aws}"}}')"#)
    };
    let two = format!(
        "{SUBSCRIBE} (values {}, {}) v(account, identity)",
        good("a", "222233334444"),
        good("b", "555566667777")
    );
    let bad = format!(r#"{SUBSCRIBE} (values ('a', '{{"product_code": "prod-db"}}')) v(account, identity)"#);
    let unmapped = format!(
        "{SUBSCRIBE} (values {}) v(account, identity); update postmeter.dimension set metric = 'gb'",
        good("a", "222233334444")
    );
    for (reason, set_up, why, cure) in [
        ("no_subscription", "select 1", "no subscription of this org and product is valid", "add the subscription"),
        ("ambiguous_subscription", &two, "several subscriptions fit", "end all but one"),
        ("invalid_subscription", &bad, "its identity in the catalogue is not right", "mend the identity"),
        ("unmapped_dimension", &unmapped, "maps no dimension to this product and metric", "add the dimension"),
    ] {
        let stage = Stage::new().await;
        stage.at("2024-09-18T10:30:00Z").await;
        held(&stage, set_up).await;
        let held = format!("held as {reason}");
        let says: &'static [&'static str] = Vec::leak(vec![&*held.leak(), "since 2024-09-18 10:30:00 UTC"]);
        let told = Told {
            answer: "NOT BILLED: 2 cores of db is held, because",
            says,
            by_itself: "nothing while its cause stands; once that is gone it goes back to the outbox by itself",
            by_people: Some(cure),
        };
        tells(reason, &stage, "held", &told).await;
        let told = Told { says: Vec::leak(vec![why]), ..told };
        tells(reason, &stage, "held", &told).await;
        stage.close().await;
    }
}

#[tokio::test]
async fn i2_held_usage_that_waits_for_a_person_is_explained_and_so_is_what_they_gave_up() {
    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    held(&stage, "select 1").await;
    // what kills workers, and what a person put aside, are real rows of another reason
    for (reason, why, to_do) in [
        ("poison", "handling it killed its worker", "postmeter retry --held-usage --usage"),
        ("by_operator", "a person put it aside", "postmeter retry --held-usage --usage"),
        ("lost_time", "may have been billed with another hour", "postmeter retry --held-usage --usage"),
        ("too_late", "no hour of its month can still take it", "postmeter retry --held-usage --usage"),
    ] {
        stage.sql(&format!("update postmeter.held set reason = '{reason}'")).await;
        let told = Told {
            answer: "NOT BILLED: 2 cores of db is held, because",
            says: Vec::leak(vec![why]),
            by_itself: "nothing: it waits for a person",
            by_people: Some(to_do),
        };
        tells(reason, &stage, "held", &told).await;
    }
    let ada = Decider { who: "ada", why: "test accounts" };
    correct_held(&stage.db.database, Verb::WriteOff, &json!({"org": "held"}), ada, false).await.unwrap();
    let told = Told {
        answer: "NOT BILLED: 2 cores of db, given up by ada (test accounts)",
        says: &["write off by ada (test accounts), held to written off"],
        by_itself: "nothing: it is final",
        by_people: None,
    };
    tells("written off", &stage, "held", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_usage_of_a_closed_month_is_explained_and_so_is_a_cause_that_is_gone() {
    let stage = Stage::new().await;
    stage.at("2024-10-01T12:00:00Z").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'the books', false)").await;
    stage.use_cores("late", "2", "2024-09-30T22:20:00Z").await;
    stage.work().await;
    let told = Told {
        answer: "NOT BILLED: 2 cores of db is held, because a person closed its month",
        says: &["held as month_closed", "it would go to aws", "its own hour could be sent until"],
        by_itself: "nothing while its cause stands",
        by_people: Some("postmeter month reopen"),
    };
    tells("month closed", &stage, "late", &told).await;
    stage.sql("delete from postmeter.closed_month").await;
    let told = Told { says: &[], by_itself: "maintenance returns it to the outbox within a minute", ..told };
    tells("its cause is gone", &stage, "late", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_a_strict_database_refuses_and_there_is_nothing_to_explain() {
    let stage = Stage::new().await;
    stage.sql("update postmeter.setting set unresolved = 'refuse'").await;
    let usage = NewUsage::new("billing", "refused", "nobody", "db", "cores", q("1"), t("2024-09-18T10:10:00Z"));
    let mut client = stage.db.connect().await;
    let transaction = client.transaction().await.unwrap();
    outbox::record_usage(&transaction, &usage).await.unwrap_err();
    drop(transaction);
    let (code, _, error) = super::run(&stage, &["explain", "billing", "refused"]);
    assert!(code == 2 && error.contains("never recorded here, or its transaction was rolled back"), "{error}");
    stage.close().await;
}
