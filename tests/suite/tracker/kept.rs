//! H5 to H7: what a verdict keeps: the order of old messages, what only dropped ones said, and the first that failed.

use super::{at, record, refusal, said, tracker, value};
use outbox::requests::gather;

const VERDICTS: &str = "select string_agg(concat_ws(' ', request_id, outcome, failed_service, nullif(failure, ''),
    nullif(open_services, '{}')), ', ' order by request_id) from postmeter.request";

#[tokio::test]
async fn h6_words_that_change_lose_nothing_that_only_dropped_messages_said() {
    let db = tracker("2026-03-01T10:00:00Z").await;
    let route = "insert into postmeter.route (after, status, service, within) values ('ingress', 'stored', 'advisor', '1 hour')";
    db.client.execute(route, &[]).await.unwrap();
    record(
        &db,
        &[
            said("puptoo failed error 2026-03-01T09:00:00Z"),
            said("ingress failed success 2026-03-01T09:00:01Z"),
            said("puptoo failed announced 2026-03-24T09:00:00Z"),
            said("ingress never stored 2026-03-01T09:00:00Z"),
            said("ingress never success 2026-03-24T09:00:00Z"),
            said("ingress over success 2026-03-01T09:00:00Z"),
            said("ingress over announced 2026-03-24T09:00:00Z"),
        ],
    )
    .await;
    gather(&db.database).await.unwrap();
    let all = "failed failed puptoo, never open {advisor}, over succeeded";
    assert_eq!(value(&db, VERDICTS).await, all);
    at(&db, "2026-03-24T10:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    at(&db, "2026-04-03T10:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_status").await, "3", "their first day is gone");
    for change in [
        "update postmeter.setting set tracker_lead_max = '2 hours'",
        "update postmeter.setting set tracker_begun = '{received}'",
        "update postmeter.route set within = '2 hours'",
    ] {
        db.client.execute(change, &[]).await.unwrap();
        gather(&db.database).await.unwrap();
        assert_eq!(value(&db, VERDICTS).await, all, "{change}");
    }
    db.client.execute("delete from postmeter.route", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    let all = "failed failed puptoo, never succeeded, over succeeded";
    assert_eq!(value(&db, VERDICTS).await, all, "nobody is awaited without a route");
}

#[tokio::test]
async fn h7_what_failed_first_is_the_first_in_order_of_what_has_not_succeeded_since() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(
        &db,
        &[
            said("zeta one-second error 2026-03-10T09:00:00Z"),
            said("alpha one-second error 2026-03-10T09:00:00Z"),
            said("a again error 2026-03-10T09:00:00Z"),
            said("a again success 2026-03-10T09:01:00Z"),
            said("b again error 2026-03-10T09:02:00Z"),
            said("a again error 2026-03-10T09:03:00Z"),
            said("a late error 2026-03-10T09:00:00Z"),
            said("b late error 2026-03-10T09:02:00Z"),
            said("a late error 2026-03-10T09:03:00Z"),
            said("a late error 2026-03-10T09:04:00Z"),
        ],
    )
    .await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "again failed b, late failed a, one-second failed zeta");
    record(&db, &[said("a late success 2026-03-10T09:01:00Z")]).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "again failed b, late failed b, one-second failed zeta");
    let since = "select to_char(first_failed_at at time zone 'UTC', 'HH24:MI') from postmeter.request_unit
                 where request_key = 'late' and service = 'a'";
    assert_eq!(value(&db, since).await, "09:03", "not 09:04, which the state alone would know");
}

#[tokio::test]
async fn h7_a_failure_dated_ahead_is_the_first_after_a_late_success_by_its_recording() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let first = [said("a late error 2026-03-10T09:00:00Z"), said("a late error 9999-01-01T00:00:00Z")];
    record(&db, &first).await;
    gather(&db.database).await.unwrap();
    at(&db, "2026-03-10T10:30:00Z").await;
    record(&db, &[said("a late error 2026-03-10T10:30:00Z")]).await;
    gather(&db.database).await.unwrap();
    record(&db, &[said("a late success 2026-03-10T09:30:00Z")]).await;
    gather(&db.database).await.unwrap();
    let since = "select to_char(first_failed_at at time zone 'UTC', 'HH24:MI') from postmeter.request_unit";
    assert_eq!(value(&db, since).await, "10:00", "recorded then, whatever its date");
    // a request without such a date does not read its messages once more
    let ahead = "select dated_ahead::text from postmeter.request";
    assert_eq!(value(&db, ahead).await, "true");
    db.client.execute("update postmeter.setting set tracker_success = '{success, done}'", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    assert_eq!((value(&db, ahead).await.as_str(), value(&db, since).await.as_str()), ("true", "10:00"), "counted anew");
}

#[tokio::test]
async fn h7_a_failure_without_a_text_does_not_hide_what_the_one_before_it_said() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let text = |said: &str, text: &str| {
        let mut said = super::said(said);
        said.status_msg = Some(text.to_owned());
        said
    };
    record(&db, &[text("a r-1 error 2026-03-10T09:00:00Z", "disk full"), said("a r-1 failed 2026-03-10T09:01:00Z")])
        .await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "r-1 failed a disk full");
    record(&db, &[text("a r-1 error 2026-03-10T08:00:00Z", "too early")]).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "r-1 failed a disk full");
    record(&db, &[said("a r-1 success 2026-03-10T09:00:30Z")]).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "r-1 failed a", "that was before a success");
}

#[tokio::test]
async fn h5_words_that_change_and_change_back_leave_nothing_that_was_computed_between() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("ingress before stored")]).await;
    gather(&db.database).await.unwrap();
    db.client.execute("update postmeter.setting set tracker_success = '{stored}'", &[]).await.unwrap();
    record(&db, &[said("ingress between stored")]).await;
    value(&db, "select postmeter.gather_requests(100)::text").await;
    assert_eq!(value(&db, VERDICTS).await, "before open {ingress}, between succeeded");
    db.client.execute("update postmeter.setting set tracker_success = default", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICTS).await, "before open {ingress}, between open {ingress}");
}

#[tokio::test]
async fn h5_a_session_that_writes_intervals_otherwise_computes_nothing_anew() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("ingress r-1 received")]).await;
    gather(&db.database).await.unwrap();
    db.client.batch_execute("set intervalstyle = 'iso_8601'").await.unwrap();
    assert_eq!(value(&db, "select postmeter.recount_requests(100)::text").await, "0");
}

#[tokio::test]
async fn h7_a_lead_or_a_wait_of_more_than_a_year_is_refused_and_names_are_in_lower_case() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let lead = refusal(&db, "update postmeter.setting set tracker_lead_max = '1 year 1 day'").await;
    assert_eq!(lead, "23514  setting_tracker_lead_max_check");
    let route = |after: &str, status: &str, service: &str, within: &str| {
        format!(
            "insert into postmeter.route (after, status, service, within)
             values ('{after}', '{status}', '{service}', '{within}')"
        )
    };
    db.client.batch_execute(&route("zähler", "fertig", "prüfer", "1 year")).await.unwrap();
    assert_eq!(refusal(&db, &route("a", "b", "c", "1 year 1 second")).await, "23514  route_within_check");
    // as track lower-cases them: who writes them otherwise would wait for somebody who never speaks
    if value(&db, "select lower('Ä')").await == "ä" {
        assert_eq!(refusal(&db, &route("ZÄHLER", "b", "c", "1 hour")).await, "23514  route_after_check");
        assert_eq!(refusal(&db, &route("zÄhler", "b", "c", "1 hour")).await, "23514  route_after_check");
        assert_eq!(refusal(&db, &route("a", "Ü", "c", "1 hour")).await, "23514  route_status_check");
        assert_eq!(refusal(&db, &route("a", "b", "Ü", "1 hour")).await, "23514  route_service_check");
    }
}

#[tokio::test]
async fn h10_counts_of_a_year_that_never_comes_are_gone_with_its_messages() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &[said("a far received 9999-12-01T00:00:00Z")]).await;
    gather(&db.database).await.unwrap();
    at(&db, "2026-04-11T00:00:00Z").await;
    outbox::requests::tend(&db.database).await.unwrap();
    let left = "select format('%s %s %s %s', (select count(*) from postmeter.request_hour),
        (select count(*) from postmeter.request_count), (select count(*) from postmeter.request_status_count),
        (select count(*) from postmeter.request_message_count))";
    assert_eq!(value(&db, left).await, "0 0 0 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_who_never_spoke_is_not_told_to_have_begun() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let route =
        "insert into postmeter.route (after, status, service, within) values ('ingress', 'stored', 'puptoo', '1 hour')";
    db.client.execute(route, &[]).await.unwrap();
    record(&db, &[said("ingress r-1 stored"), said("ingress r-2 stored"), said("ingress r-2 success")]).await;
    gather(&db.database).await.unwrap();
    for (request, told) in [
        ("r-1", "Request r-1 is open: ingress has not finished, puptoo has said nothing; nothing was said for"),
        ("r-2", "Request r-2 is open: puptoo has said nothing; nothing was said for"),
    ] {
        let output = tests::postmeter(&db.url()).args(["request", request]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with(told), "{text}");
        let output = tests::postmeter(&db.url()).args(["request", request, "--json"]).output().unwrap();
        let way: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(way["way"]["request"]["missing_services"], serde_json::json!(["puptoo"]), "{way}");
    }
}
