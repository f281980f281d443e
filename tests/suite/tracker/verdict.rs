//! H5 to H7: the verdict goes by service and source, counts every message, and knows one order.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use outbox::requests::{Page, StatusFilter, StatusSort, gather, statuses, way};
use outbox::track::NewStatus;
use tests::{Dice, TestDatabase, Word, model_verdict, t};

use super::{record, tracker, value};

const VERDICT: &str = "select format('%s %s %s', outcome, failed_service, open_services) from postmeter.request";

/// `service[:source] status`, a second after the one before it.
fn script(request: &str, words: &[&str]) -> Vec<NewStatus> {
    let start = t("2026-03-10T09:00:00Z");
    let said = |(after, text): (i64, &&str)| {
        let (who, status) = text.split_once(' ').expect("two words");
        let (service, source) = who.split_once(':').unwrap_or((who, ""));
        let mut said = NewStatus::new(service, request, status);
        said.source = (!source.is_empty()).then(|| source.to_owned());
        said.date = Some(start + SignedDuration::from_secs(after));
        said
    };
    (0..).zip(words).map(said).collect()
}

async fn verdict_of(words: &[&str]) -> String {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &script("r-1", words)).await;
    gather(&db.database).await.unwrap();
    value(&db, VERDICT).await
}

#[tokio::test]
async fn h5_an_error_of_one_source_is_not_hidden_by_anothers_success() {
    let words = ["advisor:vulnerability received", "advisor:vulnerability error", "advisor:insights-client success"];
    assert_eq!(verdict_of(&words).await, "failed advisor {}");
    let words = ["advisor:vulnerability error", "advisor:insights-client success", "advisor:vulnerability success"];
    assert_eq!(verdict_of(&words).await, "succeeded  {}", "its own success ends it");
}

#[tokio::test]
async fn h5_a_source_that_hangs_is_unfinished_beside_one_that_succeeded() {
    let words =
        ["advisor:vulnerability received", "advisor:insights-client received", "advisor:insights-client success"];
    assert_eq!(verdict_of(&words).await, "open  {advisor}");
}

#[tokio::test]
async fn h5_received_again_after_a_success_is_unfinished_and_a_last_word_is_not() {
    assert_eq!(verdict_of(&["ingress received", "ingress success", "ingress received"]).await, "open  {ingress}");
    assert_eq!(verdict_of(&["ingress received", "ingress success", "ingress announced"]).await, "succeeded  {}");
    assert_eq!(verdict_of(&["ingress announced"]).await, "open  {ingress}", "it said something and never finished");
}

#[tokio::test]
async fn h7_once_a_service_names_sources_what_it_began_without_one_opens_nothing() {
    // the contract's own fixture: puptoo begins without a source and ends with one
    let fixture = ["puptoo received", "puptoo:inventory received", "puptoo processing", "puptoo:inventory success"];
    assert_eq!(verdict_of(&fixture).await, "succeeded  {}");
    let failed = ["puptoo error", "puptoo:inventory received", "puptoo:inventory success"];
    assert_eq!(verdict_of(&failed).await, "failed puptoo {}", "a failure without a source counts");
    let over = ["puptoo error", "puptoo:inventory success", "puptoo success"];
    assert_eq!(verdict_of(&over).await, "succeeded  {}", "until a success without one");
}

#[tokio::test]
async fn h6_any_number_of_later_words_changes_neither_outcome_nor_org() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut first = script("r-1", &["puptoo received", "puptoo error"]);
    (first[1].org, first[1].account) = (Some("acme".to_owned()), Some("42".to_owned()));
    first[1].status_msg = Some("no space".to_owned());
    record(&db, &first).await;
    gather(&db.database).await.unwrap();
    let all = "select format('%s %s %s %s %s', outcome, failed_service, failure, org, account) from postmeter.request";
    assert_eq!(value(&db, all).await, "failed puptoo no space acme 42");
    let start = t("2026-03-10T09:10:00Z");
    for round in 0..3_i64 {
        let words: Vec<NewStatus> = (0..1000_i64)
            .map(|n| {
                let mut said = NewStatus::new("engine", "r-1", if n % 2 == 0 { "processing" } else { "success" });
                said.date = Some(start + SignedDuration::from_millis(round * 1000 + n));
                said
            })
            .collect();
        record(&db, &words).await;
        gather(&db.database).await.unwrap();
        assert_eq!(value(&db, all).await, "failed puptoo no space acme 42", "after {}", (round + 1) * 1000);
    }
    // what the state needs grows with units: two here, for 3,002 messages
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_unit").await, "2");
}

async fn verdicts(db: &TestDatabase) -> BTreeMap<String, String> {
    let sql = "select request_id, format('%s %s %s', outcome, failed_service, open_services) || coalesce(' ' || nullif(org, ''), '')
               from postmeter.request";
    db.client.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn h6_messages_with_differing_dates_give_one_verdict_in_any_order_of_arrival() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut dice = Dice(42);
    let mut expected = BTreeMap::new();
    let mut arriving: Vec<Vec<NewStatus>> = Vec::new();
    for story in 0..60 {
        // some with few units, of which each fails and succeeds more than once
        let (services, sources) = (1 + story % 3, if story % 2 == 0 { 1 } else { 4 });
        let words: Vec<Word> = (0..2 + dice.roll(11) as i64)
            .map(|second| {
                let service = ["ingress", "puptoo", "engine"][dice.roll(services)];
                let source = ["", "", "inventory", "advisor"][dice.roll(sources)];
                // in some a success comes between failures, again and again
                let status =
                    ["error", "success", "received", "announced"][dice.roll(if story % 4 == 0 { 2 } else { 4 })];
                (service, source, status, second)
            })
            .collect();
        for order in 0..6 {
            let request = format!("story-{story}-{order}");
            let said: Vec<NewStatus> = words
                .iter()
                .map(|(service, source, status, second)| {
                    let mut said = NewStatus::new(service, &request, status);
                    said.source = (!source.is_empty()).then(|| (*source).to_owned());
                    said.date = Some(t("2026-03-10T09:00:00Z") + SignedDuration::from_secs(*second));
                    // some messages say whose request it is; the latest counts
                    said.org = (second % 3 != 2).then(|| format!("org-{second}"));
                    said
                })
                .collect();
            let org = words
                .iter()
                .rev()
                .find(|word| word.3 % 3 != 2)
                .map_or_else(String::new, |word| format!(" org-{}", word.3));
            expected.insert(request, model_verdict(&words) + &org);
            arriving.push(if order == 0 { said } else { dice.shuffled(said) });
        }
    }
    // a message of each request a round, and gathered between some of the rounds
    for round in 0..13 {
        let some: Vec<NewStatus> = arriving.iter().filter_map(|said| said.get(round).cloned()).collect();
        record(&db, &some).await;
        if round % 3 != 0 {
            gather(&db.database).await.unwrap();
        }
    }
    gather(&db.database).await.unwrap();
    assert_eq!(verdicts(&db).await, expected);
    let kinds: std::collections::BTreeSet<&str> =
        expected.values().map(|verdict| verdict.split(' ').next().expect("a word")).collect();
    assert_eq!(kinds.len(), 3, "stories of every end: {kinds:?}");
    let heard = "select count(*)::text from (
            (select service, slot, n from postmeter.request_heard where n <> 0)
            except
            (select service, date_bin('5 minutes', heard_at, 'epoch'), count(*) from
                (select service, max(heard_at) as heard_at from postmeter.request_unit group by request_key, service) u
             group by 1, 2)) x";
    assert_eq!(value(&db, heard).await, "0", "a request counts once for each service");
}

#[tokio::test]
async fn h7_messages_of_one_second_are_ordered_by_number_in_verdict_list_and_way() {
    let words = ["received", "processing", "success", "received", "error", "success", "received", "success"];
    let db = tracker("2026-03-10T10:00:00Z").await;
    let date: Timestamp = t("2026-03-10T09:00:00Z");
    let mut expected = BTreeMap::new();
    // whatever a hash says, it does not say the same of all these
    for (request, length) in (0..16).map(|n| (format!("r-{n}"), 1 + n % 8)) {
        let said: Vec<NewStatus> = (0..length)
            .map(|n| {
                let mut said = NewStatus::new("ingress", &request, words[n]);
                (said.date, said.status_msg) = (Some(date), Some(format!("word {n}")));
                said
            })
            .collect();
        // one batch, or one after the other
        if expected.len() % 2 == 0 {
            record(&db, &said).await;
        } else {
            for one in said {
                record(&db, &[one]).await;
            }
        }
        let told: Vec<Word> = (0..length).map(|n| ("ingress", "", words[n], 0)).collect();
        expected.insert(request, (model_verdict(&told), (0..length).map(|n| format!("word {n}")).collect::<Vec<_>>()));
    }
    gather(&db.database).await.unwrap();
    let found = verdicts(&db).await;
    let page = Page { sort: StatusSort::Date, descending: true, offset: 0, limit: 1000 };
    let listed = statuses(&db.database, &StatusFilter::default(), &page).await.unwrap();
    for (request, (verdict, texts)) in expected {
        assert_eq!(found[&request], verdict, "{request}");
        let said = way(&db.database, &request).await.unwrap().expect("known").said;
        assert_eq!(said.iter().map(|said| said.status_msg.clone()).collect::<Vec<_>>(), texts, "{request}");
        let mut in_list: Vec<_> =
            listed.rows.iter().filter(|row| row.request_id == request).map(|row| row.status_msg.clone()).collect();
        in_list.reverse();
        assert_eq!(in_list, texts, "{request} in the list");
    }
}

#[tokio::test]
async fn h7_a_date_further_ahead_than_allowed_is_ordered_by_its_recording() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let mut early = script("r-1", &["ingress success"]);
    early[0].date = Some(t("9999-01-01T00:00:00Z"));
    record(&db, &early).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICT).await, "succeeded  {}");
    super::at(&db, "2026-03-10T10:00:05Z").await;
    let mut later = script("r-1", &["ingress error"]);
    later[0].date = Some(t("2026-03-10T10:00:05Z"));
    record(&db, &later).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICT).await, "failed ingress {}", "the year 9999 hides nothing");
    let said = way(&db.database, "r-1").await.unwrap().expect("known").said;
    assert_eq!(said.last().expect("two").status, "error", "and is not the last word");
    // within the lead a date is a date
    let mut soon = script("r-1", &["ingress success"]);
    soon[0].date = Some(t("2026-03-10T10:30:00Z"));
    record(&db, &soon).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, VERDICT).await, "succeeded  {}");
}

#[tokio::test]
async fn h5_words_that_change_are_counted_anew_in_bounded_batches() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    for number in 0..30 {
        record(&db, &script(&format!("r-{number}"), &["ingress received", "ingress stored"])).await;
    }
    gather(&db.database).await.unwrap();
    let counts = "select format('%s; %s', (select string_agg(distinct outcome, ' ') from postmeter.request),
        (select string_agg(outcome || ' ' || n, ', ' order by outcome) from (select outcome, sum(n) as n
         from postmeter.request_hour group by 1 having sum(n) <> 0) h))";
    assert_eq!(value(&db, counts).await, "open; open 30");
    let recount = "select postmeter.recount_requests(10)::text";
    assert_eq!(value(&db, recount).await, "0", "no word has changed");

    db.client.execute("update postmeter.setting set tracker_success = '{stored}'", &[]).await.unwrap();
    assert_eq!(value(&db, recount).await, "10", "a batch is bounded");
    assert_eq!(value(&db, counts).await, "open succeeded; open 20, succeeded 10");
    let newest = "select (min(id) filter (where outcome = 'succeeded') > max(id) filter (where outcome = 'open'))::text
                  from postmeter.request";
    assert_eq!(value(&db, newest).await, "true", "the newest first");
    // what is said meanwhile is computed by the new words at once
    record(&db, &script("r-0", &["ingress again"])).await;
    value(&db, "select postmeter.gather_requests(100)::text").await;
    assert_eq!(value(&db, counts).await, "open succeeded; open 19, succeeded 11");
    for left in ["10", "10", "0", "0"] {
        assert_eq!(value(&db, recount).await, left);
    }
    assert_eq!(value(&db, counts).await, "succeeded; succeeded 30");
    db.client.execute("update postmeter.setting set tracker_failure = '{stored}'", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, counts).await, "failed; failed 30", "the worker's gather does it by itself");
}

#[tokio::test]
async fn h10_an_expected_service_that_never_spoke_is_named_in_any_order_of_arrival() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let route = "insert into postmeter.route (after, status, service, within) values ('ingress', 'success', 'puptoo', '10 minutes')";
    db.client.execute(route, &[]).await.unwrap();
    for (request, words) in [
        ("never", &["ingress received", "ingress success"][..]),
        ("spoken", &["ingress success", "puptoo success"]),
        ("sourced", &["ingress success", "puptoo:inventory success"]),
        ("not-yet", &["ingress received"]),
        ("failed", &["ingress success", "engine error"]),
    ] {
        record(&db, &script(request, words)).await;
    }
    // whoever speaks before the route leads there is not awaited
    record(&db, &script("early", &["puptoo success"])).await;
    gather(&db.database).await.unwrap();
    record(&db, &script("early", &["ingress success"])).await;
    gather(&db.database).await.unwrap();
    let open = "select string_agg(request_id || ' ' || open_services::text || ' ' || missing_services::text, ', ' order by request_id)
                from postmeter.request where outcome = 'open'";
    assert_eq!(value(&db, open).await, "never {puptoo} {puptoo}, not-yet {ingress} {}");
    let unfinished = "select coalesce(string_agg(request_id || ' ' || missing_services::text, ', '), '') from postmeter.unfinished_request";
    super::at(&db, "2026-03-10T10:10:00Z").await;
    assert_eq!(value(&db, unfinished).await, "", "ten minutes have not passed since it was recorded");
    super::at(&db, "2026-03-10T10:10:01Z").await;
    assert_eq!(value(&db, unfinished).await, "never {puptoo}", "named long before setting.tracker_unfinished_after");
    record(&db, &script("never", &["puptoo received", "puptoo success"])).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, unfinished).await, "");
    assert_eq!(value(&db, "select count(*)::text from postmeter.request_awaited").await, "1", "that of the failed one");

    // a route that changes is asked of the requests that there are
    db.client.execute("update postmeter.route set service = 'advisor'", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    let advisor = "select count(*)::text from postmeter.request where missing_services = '{advisor}'";
    assert_eq!(value(&db, advisor).await, "5");
    db.client.execute("delete from postmeter.route", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, advisor).await, "0");
}

#[tokio::test]
async fn h10_a_person_closes_a_request_with_a_reason_and_a_later_word_opens_it_again() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &script("r-1", &["ingress received"])).await;
    super::at(&db, "2026-03-10T12:00:00Z").await;
    let unfinished = "select count(*)::text from postmeter.unfinished_request";
    let decisions =
        "select coalesce(string_agg(concat_ws(' ', verb, who, why, status_before, detail ->> 'request'), ', '), '')
                     from postmeter.decision_log";
    let decider = |why| outbox::corrections::Decider { who: "mira", why };
    let unsigned = outbox::corrections::close_request(&db.database, "r-1", decider("")).await.unwrap_err();
    assert!(unsigned.to_string().contains("who and why"), "{unsigned}");
    let unknown = outbox::corrections::close_request(&db.database, "r-2", decider("gone")).await.unwrap_err();
    assert!(unknown.to_string().contains("nobody said anything"), "{unknown}");
    assert_eq!(value(&db, decisions).await, "");

    // what was committed before is counted first, and does not open it again
    let closed = outbox::corrections::close_request(&db.database, "r-1", decider("lost")).await.unwrap();
    assert_eq!((closed.now.as_str(), closed.changed), ("open", true));
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, unfinished).await, "0");
    let again = outbox::corrections::close_request(&db.database, "r-1", decider("twice")).await.unwrap();
    assert!(!again.changed);
    assert_eq!(value(&db, decisions).await, "close mira lost open r-1", "one decision");
    // computing it anew is no word
    db.client.execute("update postmeter.setting set tracker_success = '{stored}'", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, unfinished).await, "0");

    record(&db, &script("r-1", &["ingress received", "ingress again"])).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, "select (closed_at is null)::text from postmeter.request").await, "true");
    super::at(&db, "2026-03-10T14:00:00Z").await;
    assert_eq!(value(&db, unfinished).await, "1");
}

#[tokio::test]
async fn j1_closing_waits_for_whoever_gathers_and_blames_no_request() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    record(&db, &script("r-1", &["ingress received"])).await;
    gather(&db.database).await.unwrap();
    let holder = db.connect().await;
    holder.batch_execute("begin; select from postmeter.gate where name = 'gather_requests' for update").await.unwrap();
    let closing = "set lock_timeout = '100ms'; select postmeter.close_request('r-1', 'mira', 'lost')";
    let refused = db.client.batch_execute(closing).await.expect_err("the gate is shut");
    assert_eq!(refused.code().expect("the server's answer").code(), "55P03");
    // services do not wait for either
    record(&db, &script("r-1", &["ingress success"])).await;
    holder.batch_execute("commit").await.unwrap();
    db.client.batch_execute(closing).await.unwrap();
    assert_eq!(value(&db, VERDICT).await, "succeeded  {}");
}

#[tokio::test]
async fn h10_the_alert_names_a_service_by_its_share_of_what_came_due_or_by_age() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    for number in 0..40 {
        record(&db, &script(&format!("done-{number}"), &["puptoo received", "puptoo success"])).await;
    }
    for number in 0..4 {
        record(&db, &script(&format!("hung-{number}"), &["ingress success", "puptoo received"])).await;
    }
    record(&db, &script("lone", &["rare received"])).await;
    gather(&db.database).await.unwrap();
    let silent =
        "select coalesce(string_agg(format('%s %s/%s %s %s', service, came_due_unfinished, came_due, old, is_silent),
                  ', ' order by service), '') from postmeter.silent_service";
    assert_eq!(value(&db, silent).await, "", "nothing came due yet");
    super::at(&db, "2026-03-10T11:00:01Z").await;
    assert_eq!(value(&db, silent).await, "puptoo 4/44 0 f, rare 1/1 0 f", "a tenth of them, and one of one, are borne");
    super::at(&db, "2026-03-10T10:00:00Z").await;
    record(&db, &script("hung-4", &["puptoo received"])).await;
    gather(&db.database).await.unwrap();
    super::at(&db, "2026-03-10T11:00:01Z").await;
    assert_eq!(value(&db, silent).await, "puptoo 5/45 0 t, rare 1/1 0 f");
    super::at(&db, "2026-03-10T12:10:00Z").await;
    assert_eq!(value(&db, silent).await, "puptoo 0/0 0 f, rare 0/0 0 f", "that hour is over");

    // what is older than an age counts always, until somebody closes it
    super::at(&db, "2026-03-11T11:00:01Z").await;
    assert_eq!(value(&db, silent).await, "puptoo 0/0 5 t, rare 0/0 1 t");
    let decider = outbox::corrections::Decider { who: "mira", why: "lost" };
    for request in ["hung-0", "hung-1", "hung-2", "hung-3", "hung-4"] {
        outbox::corrections::close_request(&db.database, request, decider).await.unwrap();
    }
    assert_eq!(value(&db, silent).await, "rare 0/0 1 t");
}

#[tokio::test]
async fn h10_a_service_that_a_route_awaits_in_vain_is_named_though_it_never_spoke() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    let route = "insert into postmeter.route (after, status, service, within) values ('ingress', 'success', 'puptoo', '10 minutes')";
    db.client.execute(route, &[]).await.unwrap();
    for number in 0..10 {
        let mut said = script(&format!("r-{number}"), &["ingress success"]);
        said[0].date = Some(t("2026-03-10T10:00:00Z"));
        record(&db, &said).await;
    }
    gather(&db.database).await.unwrap();
    super::at(&db, "2026-03-10T10:10:01Z").await;
    let silent = "select string_agg(format('%s %s/%s %s', service, came_due_unfinished, came_due, is_silent), ', ') from postmeter.silent_service";
    assert_eq!(value(&db, silent).await, "puptoo 10/10 t");
}

#[tokio::test]
async fn j2_a_request_that_cannot_be_computed_anew_keeps_no_other_from_its_new_words() {
    let db = tracker("2026-03-10T10:00:00Z").await;
    for request in ["a", "sick", "z"] {
        record(&db, &script(request, &["ingress stored"])).await;
    }
    gather(&db.database).await.unwrap();
    let sick =
        "alter table postmeter.request add constraint sick check (request_id <> 'sick' or outcome = 'open') not valid";
    db.client.batch_execute(sick).await.unwrap();
    db.client.execute("update postmeter.setting set tracker_success = '{stored}'", &[]).await.unwrap();
    gather(&db.database).await.unwrap();
    let open = "select string_agg(request_id || ' ' || outcome, ', ' order by request_id) from postmeter.request";
    assert_eq!(value(&db, open).await, "a succeeded, sick open, z succeeded");
    // once it is cured, the next word about it computes it
    db.client.batch_execute("alter table postmeter.request drop constraint sick").await.unwrap();
    record(&db, &script("sick", &["ingress announced"])).await;
    gather(&db.database).await.unwrap();
    assert_eq!(value(&db, open).await, "a succeeded, sick succeeded, z succeeded");
}
