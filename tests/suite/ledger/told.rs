//! After a drop the views say what they said before, and a dropped usage is called dropped.

use tests::{Console, Stage};

use super::{DROPPING, exported, finished, follow_clock, run};

const SUMMARY: &str = "select concat_ws(' ', org, metric, month, status, shared, remittances, usages, used, quantity)
    from postmeter.remittance_summary order by 1";

#[tokio::test]
async fn i2_a_dropped_month_leaves_the_summary_of_remittances_as_it_was() {
    let stage = finished().await;
    let before = stage.column(SUMMARY).await;
    assert_eq!(
        before,
        ["acme cores 2024-09-01 accepted f 1 2 4.5 5", "acme cores 2024-10-01 accepted f 1 1 1 1"],
        "the fixture"
    );
    let _folder = exported(&stage).await;
    stage.sql(DROPPING).await;
    assert_eq!(stage.column(SUMMARY).await, before);
}

#[tokio::test]
async fn i2_a_remittance_of_which_half_is_dropped_still_names_all_who_are_in_it() {
    let stage = Stage::bare().await;
    follow_clock(&stage).await;
    stage.dimension(tests::Dimension::default()).await;
    for org in ["acme", "globex"] {
        stage.subscribe(org, "111122223333").await;
    }
    stage.at("2024-09-30T23:50:00Z").await;
    stage.use_cores("a", "1.5", "2024-09-30T23:40:00Z").await;
    stage.work().await;
    stage.at("2024-10-01T00:02:00Z").await;
    stage.use_cores("a late", "1", "2024-09-30T23:55:00Z").await;
    stage.record("b", "globex", "cores", "1", "2024-09-30T23:55:00Z").await;
    stage.cut_at("2024-10-01T00:20:00Z").await;
    outbox::maintain::create_partitions(&stage.db.database, 2).await.unwrap();
    // given up, so that it is listed as not sent, too
    stage.sql("update postmeter.delivery set status = 'written_off', confirmed = null").await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    stage.sql("select postmeter.set_ledger_retention('400 days', 'ada', 'the law says so')").await;
    stage.at("2025-11-10T12:00:00Z").await;
    let unsent = "select concat_ws(' ', org, metric, trim_scale(quantity), unit, hour at time zone 'UTC', item) from postmeter.unremitted order by 1";
    let before = (stage.column(SUMMARY).await, stage.column(unsent).await);
    assert_eq!(
        before.0,
        ["acme cores 2024-09-01 written_off t 1 2 2.5 4", "globex cores 2024-09-01 written_off t 1 1 1 4"],
        "the fixture"
    );
    let _folder = exported(&stage).await;
    stage.sql(DROPPING).await;
    assert_eq!((stage.column(SUMMARY).await, stage.column(unsent).await), before);
}

#[tokio::test]
async fn i1_a_dropped_usage_is_called_dropped_and_not_unknown() {
    let stage = finished().await;
    let _folder = exported(&stage).await;
    let id = stage.value("select id::text from postmeter.usage where event_id = 'one'").await;
    stage.sql(DROPPING).await;
    for words in [vec!["explain", "billing", "one"], vec!["explain", "--usage", &id]] {
        let (code, said) = run(&stage, &words);
        assert!(code == 2 && said.contains("the ledger of 2024-09, which was exported and dropped"), "{said}");
    }
    let (_, said) = run(&stage, &["explain", "billing", "none"]);
    assert!(said.contains("never recorded"), "{said}");
    let console = Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    let reply = console.get(&token, "/v1/usage/billing/one").await;
    let detail = reply.json()["detail"].to_string();
    assert!(reply.status == 404 && detail.contains("dropped with the ledger of 2024-09"), "{detail}");
    for given in [[("source", "billing"), ("event_id", "one")], [("source", ""), ("usage", id.as_str())]] {
        let sql = tests::operation("where_is_this_usage", &given);
        let row = stage.db.client.query_one(&sql, &[]).await.unwrap();
        let said: (String, String) = (row.get("whereabouts"), row.get("why"));
        assert_eq!(said, ("dropped".to_owned(), "with the ledger of 2024-09".to_owned()));
    }
}
