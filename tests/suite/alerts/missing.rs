//! I7: silence is seen.

use tests::Stage;

use super::look;

/// An org that reported every hour for so many hours, up to and including 9 o'clock on the 19th.
async fn regular(hours: i64) -> Stage {
    let stage = Stage::new().await;
    for n in (0..hours).rev() {
        let hour = tests::t("2024-09-19T09:00:00Z") - jiff::SignedDuration::from_hours(n);
        let at = hour + jiff::SignedDuration::from_mins(30);
        stage.at(&at.to_string()).await;
        stage.use_cores(&format!("e{n}"), "1", &hour.to_string()).await;
        stage.fold().await;
    }
    stage
}

const MISSING: &str =
    "select format('%s %s %s %s', org, metric, silent_for, hours_reported) from postmeter.missing_hours";

#[tokio::test]
async fn i7_who_reported_every_hour_and_stopped_is_listed_and_alerted_and_comes_back() {
    let stage = regular(30).await;
    stage.at("2024-09-19T12:59:00Z").await;
    assert_eq!(stage.column(MISSING).await, [""; 0], "two hours of silence are none");
    stage.at("2024-09-19T13:00:00Z").await;
    assert_eq!(stage.column(MISSING).await, ["acme cores 03:00:00 30"]);
    assert!(look(&stage).await.contains(&"missing_hours aws 1".to_owned()));
    let summary = stage.value("select summary from postmeter.alert where name = 'missing_hours'").await;
    assert_eq!(summary, "1 metric of 1 org stopped reporting to aws");
    let example = super::details(&stage, "missing_hours").await["examples"][0].as_str().unwrap().to_owned();
    assert_eq!(example, "acme db cores, silent since 2024-09-19 10:00 UTC");
    stage.use_cores("back", "1", "2024-09-19T12:50:00Z").await;
    stage.fold().await;
    assert!(!look(&stage).await.iter().any(|alert| alert.starts_with("missing_hours")));
}

#[tokio::test]
async fn i7_silence_that_is_nobodys_fault_is_none() {
    let stage = regular(30).await;
    stage.at("2024-09-20T09:00:00Z").await;
    let missing = async |stage: &Stage| stage.column(MISSING).await.len();
    assert_eq!(missing(&stage).await, 1);
    for (sql, back) in [
        (
            "update postmeter.subscription set valid_until = '2024-09-19T10:00Z'",
            "update postmeter.subscription set valid_until = null",
        ),
        (
            "insert into postmeter.exemption (org, reason) values ('acme', 'a partner')",
            "delete from postmeter.exemption",
        ),
        (
            "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour)
          values (postmeter.new_id(), 'month_closed', 'acme', 'db', 'cores', 1, '2024-09-20T08:00Z')",
            "delete from postmeter.held",
        ),
    ] {
        stage.sql(sql).await;
        assert_eq!(missing(&stage).await, 0, "{sql}");
        stage.sql(back).await;
        assert_eq!(missing(&stage).await, 1, "{back}");
    }
    // what is recorded and not folded yet is no silence either: 23 hours of waiting
    stage.sql("alter table postmeter.outbox disable trigger arrived;
        insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
        values (postmeter.id_at(clock_timestamp() - interval '23 hours'), 's', 'old', 'other', 'db', 'cores', 1, '2024-09-19T10:00Z')").await;
    assert_eq!(missing(&stage).await, 0, "nobody can tell before it is folded");
}

#[tokio::test]
async fn i7_two_orgs_on_one_account_are_told_apart_and_who_rarely_reports_is_left_alone() {
    let stage = Stage::new().await;
    stage.subscribe("beta", "111122223333").await;
    for n in (0..30).rev() {
        let hour = tests::t("2024-09-19T09:00:00Z") - jiff::SignedDuration::from_hours(n);
        stage.at(&(hour + jiff::SignedDuration::from_mins(30)).to_string()).await;
        if n >= 8 {
            stage.use_cores(&format!("a{n}"), "1", &hour.to_string()).await;
        }
        stage.record(&format!("b{n}"), "beta", "cores", "1", &hour.to_string()).await;
        stage.fold().await;
    }
    stage.at("2024-09-19T10:00:00Z").await;
    let silent = stage
        .column("select org || ' ' || to_char(last_hour at time zone 'UTC', 'DD HH24') from postmeter.missing_hours")
        .await;
    assert_eq!(silent, ["acme 19 01"], "one key, two reporters");
    let rare = regular(19).await;
    rare.at("2024-09-20T09:00:00Z").await;
    assert_eq!(rare.column(MISSING).await, [""; 0], "19 hours are no habit");
}
