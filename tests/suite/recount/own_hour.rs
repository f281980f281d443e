//! Moved, and accepted in the same hour.

use serde_json::json;
use tests::{Dimension, Stage};

use super::{balanced, identify, mistyped, only, product, recount, refused};

#[tokio::test]
async fn k5_a_mistyped_product_code_is_mended_and_its_hours_are_accepted_in_their_own_hours() {
    let stage = mistyped().await;
    stage.use_cores("four", "4", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 3", "18T11 rejected 4"]);
    // before the catalogue is mended there is nothing to count otherwise
    let none = recount(&stage, json!({"status": "rejected", "org": "acme"})).await;
    assert!(refused(&none).iter().all(|note| note.contains("mend the catalogue first")), "{none:?}");
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    let done = recount(&stage, json!({"status": "rejected", "org": "acme"})).await;
    assert_eq!(done.iter().map(|c| c.after.as_str()).collect::<Vec<_>>(), ["released", "released"], "{done:?}");
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3", "18T11 4"]);
    assert!(stage.their_keys().iter().all(|key| key.contains("/prod-db/")));
    balanced(&stage).await;
    // who says it again finds nothing left to do
    assert!(recount(&stage, json!({"org": "acme", "status": "rejected"})).await.is_empty());
    assert_eq!(
        stage.column("select format('%s %s %s %s', verb, status_before, status_after, who) from postmeter.decision order by id").await,
        ["recount rejected released ada", "recount rejected released ada"]
    );
    assert_eq!(
        stage
            .column(
                "select format('%s %s %s', usages, quantity, is_late) from postmeter.recounted order by delivery_id"
            )
            .await,
        ["1 3 f", "1 4 f"]
    );
    stage.close().await;
}

#[tokio::test]
async fn k5_a_mistyped_account_that_is_held_is_mended_with_its_remainders() {
    let stage = Stage::bare().await;
    stage.dimension(Dimension { rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "999999999999").await;
    only(&stage, &["prod-db"], &["111122223333"]);
    stage.at("2024-09-18T09:10:00Z").await;
    // 0.7 is nothing yet; with 0.8 it is one and a half, of which one is sent and refused; 0.2 carries on
    for (event, quantity, used_at, cut_at) in [
        ("a", "0.7", "2024-09-18T08:05:00Z", "2024-09-18T09:20:00Z"),
        ("b", "0.8", "2024-09-18T09:05:00Z", "2024-09-18T10:10:00Z"),
        ("c", "0.2", "2024-09-18T10:05:00Z", "2024-09-18T11:10:00Z"),
    ] {
        stage.use_cores(event, quantity, used_at).await;
        stage.cut_at(cut_at).await;
    }
    assert_eq!(stage.remittances().await, ["18T08 nothing_due 0", "18T09 held 1", "18T10 nothing_due 0"]);
    enter_anew(&stage).await;
    let done = recount(&stage, json!({"destination": "aws"})).await;
    assert_eq!(done.len(), 1, "{done:?}");
    stage.use_cores("d", "0.4", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    // 0.7 + 0.8 is one at nine, 0.2 + 0.4 makes it two and a tenth
    assert_eq!(stage.accepted(), ["18T09 1", "18T11 1"]);
    assert_eq!(
        stage.column("select format('%s %s', sum(used), sum(billed)) from postmeter.meter_metric mm join postmeter.meter m on m.id = mm.meter_id").await,
        ["2.1 2"]
    );
    balanced(&stage).await;
    stage.close().await;
}

/// The mistaken subscription is taken out, and the right one entered since ever: another contract.
async fn enter_anew(stage: &Stage) {
    stage.sql("create temp table was as select c.* from postmeter.cover c; delete from postmeter.cover").await;
    stage.sql("delete from postmeter.subscription").await;
    stage.subscribe("acme", "111122223333").await;
    stage.sql("insert into postmeter.cover (subscription_id, metric, quantity) select s.id, w.metric, w.quantity from was w, postmeter.subscription s").await;
}

#[tokio::test]
async fn k5_covered_usage_comes_back_to_its_cover() {
    covered(false).await;
}

#[tokio::test]
async fn k5_covered_usage_moves_to_the_cover_of_another_contract() {
    covered(true).await;
}

async fn covered(is_anew: bool) {
    let stage = Stage::new().await;
    stage.sql("insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 10 from postmeter.subscription").await;
    only(&stage, &["prod-db"], &["111122223333"]);
    identify(&stage, "acme", &product("prod-bd", "111122223333")).await;
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("eight", "8", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.use_cores("nine", "9", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 nothing_due 0", "18T11 rejected 7"]);
    if is_anew {
        enter_anew(&stage).await;
    } else {
        identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    }
    recount(&stage, json!({"destination": "aws"})).await;
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 7"], "cover 10, usage 17");
    assert_eq!(stage.value("select sum(covered)::text from postmeter.meter_metric").await, "10");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_a_correction_moves_with_what_it_corrects() {
    let stage = mistyped().await;
    stage.correct("less", "three", "-1", "2024-09-18T11:05:00Z").await;
    stage.work().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    recount(&stage, json!({"org": "acme"})).await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 2"]);
    // and so does one that comes later
    stage.correct("later", "three", "-1", "2024-09-18T11:45:00Z").await;
    stage.work().await;
    assert_eq!(stage.value("select sum(used)::text from postmeter.meter_metric").await, "1");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_what_a_release_gave_to_a_refused_hour_moves_to_its_own() {
    let stage = mistyped().await;
    // the circle: released into another hour under the same mistaken code, and refused again
    stage.sql("select * from postmeter.release('{\"org\": \"acme\"}', 'ada', 'perhaps so', false)").await;
    stage.use_cores("four", "4", "2024-09-18T11:05:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T09 rejected 3", "18T10 released 3", "18T11 rejected 4"]);
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    assert_eq!(recount(&stage, json!({"destination": "aws"})).await.len(), 2);
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3", "18T11 4"]);
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_usage_that_is_exempt_by_now_is_billed_no_more() {
    let stage = mistyped().await;
    stage
        .sql(
            "insert into postmeter.exemption (org, reason, valid_from) values ('acme', 'a test account', '2024-01-01')",
        )
        .await;
    recount(&stage, json!({"org": "acme"})).await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert!(stage.accepted().is_empty());
    assert_eq!(stage.value("select count(*)::text from postmeter.exempted").await, "1");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_two_at_the_same_time_move_it_once() {
    let stage = mistyped().await;
    identify(&stage, "acme", &product("prod-db", "111122223333")).await;
    stage.sql("begin; select * from postmeter.recount('{\"org\": \"acme\"}', 'ada', 'first', false)").await;
    let database = stage.db.another();
    let second = tokio::spawn(async move {
        let filter = json!({"org": "acme"});
        outbox::corrections::correct(
            &database,
            outbox::corrections::Verb::Recount { late: false },
            &filter,
            super::ADA,
            false,
        )
        .await
    });
    let watch = stage.db.connect().await;
    tests::until_locked(&watch, 1, || second.is_finished()).await;
    stage.sql("commit").await;
    let second = second.await.unwrap().unwrap();
    assert!(second.iter().all(|change| change.after == change.before), "{second:?}");
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    assert_eq!(stage.value("select count(*)::text from postmeter.decision where verb = 'recount'").await, "1");
    balanced(&stage).await;
    stage.close().await;
}

#[tokio::test]
async fn k5_a_named_contract_counts_it_and_the_catalogue_offers_the_command() {
    let stage = Stage::new().await;
    only(&stage, &["prod-db"], &["111122223333"]);
    let shown = tests::postmeter(&stage.db.url()).args(["catalog", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let from = "valid_from = \"2024-01-01T00:00:00Z\"";
    assert_eq!(shown.matches(from).count(), 1, "{shown}");
    let catalogue = |code: &str| shown.replace("prod-db", code).replace(from, &format!("{from}\ncontract = \"gold\""));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalogue.toml");
    let apply = |code: &str| {
        std::fs::write(&path, catalogue(code)).unwrap();
        let args = ["catalog", "apply", path.to_str().unwrap(), "--who", "ada", "--why", "as it is"];
        let output = tests::postmeter(&stage.db.url()).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let said = apply("prod-bd");
    assert!(said.contains("applied") && !said.contains("postmeter recount"), "{said}");
    stage.worker.reload().await.unwrap();
    stage.at("2024-09-18T10:10:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:05:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.remittances().await, ["18T10 rejected 3"]);
    let said = apply("prod-db");
    assert!(
        said.contains("1 refused remittance sent under an identity that the catalogue no longer has; count it again by today's: postmeter recount --destination aws --why"),
        "{said}"
    );
    stage.worker.reload().await.unwrap();
    let args = ["recount", "--destination", "aws", "--who", "ada", "--why", "mistyped", "--apply"];
    let output = tests::postmeter(&stage.db.url()).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    balanced(&stage).await;
    stage.cut_at("2024-09-18T11:40:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 3"]);
    assert_eq!(
        stage
            .column(
                "select distinct m.buyer from postmeter.meter m join postmeter.meter_metric mm on mm.meter_id = m.id"
            )
            .await,
        ["contract:db/gold"]
    );
    balanced(&stage).await;
    stage.close().await;
}
