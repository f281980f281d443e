//! I5, E7, F7: a table of what opens each alert and what clears it.

use std::collections::BTreeSet;

use tests::Stage;

use super::{details, look};

/// One remittance that is due, and a stage without any alert.
async fn quiet() -> Stage {
    let stage = Stage::new().await;
    stage.sql("select postmeter.create_partitions(2), postmeter.create_request_partitions(7)").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("e", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    assert_eq!(look(&stage).await, [""; 0]);
    let failures = "select name || ': ' || failure from postmeter.alert_rule where failure is not null";
    assert_eq!(stage.column(failures).await, [""; 0], "each can be looked at");
    stage
}

/// Takes the one remittance out of the queue and into a status.
fn into(status: &str, more: &str) -> String {
    format!(
        "delete from postmeter.due; update postmeter.delivery set status = '{status}', changed_at = postmeter.clock() - interval '1 day'{more}"
    )
}

const BACK: &str =
    "update postmeter.delivery set status = 'accepted', reason = null, maybe_billed = false, maybe_since = null";

/// Alert, what opens it, subject, a part of its sentence, what clears it.
fn table() -> Vec<(&'static str, String, &'static str, &'static str, &'static str)> {
    let held = "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour, held_at)
                select postmeter.new_id(), 'REASON', 'acme', 'db', 'cores', 1, '2024-09-18T10:00Z', '2024-09-18T09:00Z'";
    let breaker = "insert into postmeter.breaker (destination_id, faults, opened_at, open_until, outcome, code, updated_at)
                   select id, 3, clock_timestamp() - interval '6 minutes', clock_timestamp(), 'unavailable', '503', clock_timestamp() from postmeter.destination";
    let request = "insert into postmeter.request (request_key, request_id, account, org, inventory_id, system_id, created_at, first_date,
                   last_date, last_recorded_at, statuses, kinds, outcome, open_services)
                   values ('r', 'r', '', '', '', '', '2024-09-18', '2024-09-18', '2024-09-18', '2024-09-18', 1, '{1}', 'open', '{ingress}')";
    vec![
        ("usage_will_miss_deadline", "update postmeter.destination set paused = true; update postmeter.setting set clock_frozen = '2024-09-19T09:30:00Z'".into(),
            "aws", "will miss", "update postmeter.destination set paused = false; update postmeter.setting set clock_frozen = '2024-09-18T11:10:00Z'"),
        ("outbox_oldest_entry", "alter table postmeter.outbox disable trigger arrived;
            insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
            values (postmeter.id_at(clock_timestamp() - interval '16 minutes'), 's', 'old', 'acme', 'db', 'cores', 1, '2024-09-18T10:00Z')".into(),
            "", "since 16 minutes; 1 entry", "delete from postmeter.outbox"),
        ("held_without_subscription", held.replace("REASON", "no_subscription"), "no_subscription", "1 usage of 1 org is held", "delete from postmeter.held"),
        ("conflict", into("conflict", ""), "aws", "1 conflict at aws", BACK),
        ("unknown_unresolved", into("unknown", ", maybe_billed = true, maybe_since = postmeter.clock()"), "aws", "may have been billed", BACK),
        ("dead_letters", into("rejected", ""), "aws", "1 dead letter at aws: 1 rejected", BACK),
        ("poison", held.replace("REASON", "poison"), "", "1 thing killed workers and is held", "delete from postmeter.held"),
        ("breaker_open", breaker.into(), "aws", "aws is down since", "delete from postmeter.breaker"),
        ("destination_paused", "select postmeter.pause('aws', 'ada', 'maintenance'); update postmeter.setting set clock_frozen = '2024-09-18T12:20:00Z'".into(),
            "aws", "paused by ada", "select postmeter.resume('aws', 'ada', 'over')"),
        ("timeline_went_back", "select postmeter.timeline_went_back('ada', 'restored')".into(), "", "lost commits (restored); 1 destination is paused",
            "select postmeter.resume('aws', 'ada', 'compared')"),
        ("balance_not_zero", "update postmeter.meter set carried = carried + 1".into(), "", "does not close", "update postmeter.meter set carried = carried - 1"),
        ("partition_ahead_missing", "do $$ begin execute format('drop table postmeter.usage_%s', to_char(now() at time zone 'UTC' + interval '1 month', 'YYYYMM')); end $$".into(),
            "", "usage has no partition for", "select postmeter.create_partitions(2)"),
        ("no_worker_alive", "update postmeter.worker set lease_until = clock_timestamp() - interval '2 minutes', heartbeat_at = clock_timestamp() - interval '3 minutes'".into(),
            "", "no worker is alive", "update postmeter.worker set lease_until = clock_timestamp() + interval '1 minute'"),
        ("requests_never_finished", request.into(), "", "1 request was received and never finished", "delete from postmeter.request"),
    ]
}

/// Alerts that tests of their own open and clear.
const ELSEWHERE: [&str; 3] = ["missing_hours", "snapshot_pins_horizon", "key_stuck"];

#[tokio::test]
async fn i5_every_alert_opens_for_what_it_is_for_says_it_in_a_sentence_and_clears() {
    let table = table();
    let tested: BTreeSet<&str> = table.iter().map(|row| row.0).chain(ELSEWHERE).collect();
    let all: BTreeSet<&str> = outbox::alerts::NAMES.iter().copied().collect();
    assert_eq!(tested, all, "every alert is in the table");
    for (name, opens, subject, says, clears) in table {
        let stage = quiet().await;
        stage.sql(&opens).await;
        let changes = stage.worker.look(true).await.unwrap();
        let change = changes.iter().find(|change| change.name == name).unwrap_or_else(|| panic!("{name}: {changes:?}"));
        assert!(change.opened && change.subject == subject && change.summary.contains(says), "{name}: {change:?}");
        stage.sql(clears).await;
        stage.worker.look(true).await.unwrap();
        let open = format!("select summary from postmeter.alert where name = '{name}' and cleared_at is null");
        assert_eq!(stage.column(&open).await, [""; 0], "{name} is cleared");
        let known =
            format!("select count(*)::text from postmeter.alert where name = '{name}' and cleared_at is not null");
        assert_eq!(stage.value(&known).await, "1", "{name} is remembered");
    }
}

#[tokio::test]
async fn every_alert_of_the_code_is_a_rule_of_the_schema() {
    let stage = Stage::bare().await;
    assert_eq!(stage.column("select name from postmeter.alert_rule order by name").await, outbox::alerts::NAMES);
}

#[tokio::test]
async fn e7_ten_thousand_stuck_remittances_are_one_alert_that_says_so_and_clears_with_them() {
    let stage = quiet().await;
    stage
        .sql(
            "insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, quantity, body, batch_group,
                 idempotency_key, cut_at, deadline)
             select d.destination_id, d.key || n, d.meter_id, d.hour - n * interval '1 hour', d.identity, d.product, 'due', 1, d.body,
                    d.batch_group, gen_random_uuid(), d.cut_at, d.deadline
             from postmeter.delivery d, generate_series(1, 10000) n;
             update postmeter.delivery set status = 'rejected', changed_at = postmeter.clock() - interval '1 hour' where key ~ 'Z[0-9]+$'",
        )
        .await;
    assert_eq!(look(&stage).await, ["balance_not_zero 1", "dead_letters aws 10000"][1..], "one, of ten thousand");
    let summary = "select summary from postmeter.alert where name = 'dead_letters'";
    assert_eq!(stage.value(summary).await, "10,000 dead letters at aws: 10000 rejected");
    assert_eq!(details(&stage, "dead_letters").await["examples"].as_array().unwrap().len(), 5);
    stage.sql("update postmeter.delivery set status = 'accepted' where id in (select id from postmeter.delivery where status = 'rejected' limit 4000)").await;
    assert_eq!(look(&stage).await, ["dead_letters aws 6000"], "the same row, a smaller number");
    stage.sql("update postmeter.delivery set status = 'accepted' where status = 'rejected'").await;
    assert_eq!(look(&stage).await, [""; 0]);
    assert_eq!(stage.value("select count(*)::text from postmeter.alert").await, "1");
}

#[tokio::test]
async fn f7_the_watchdog_names_the_session_that_holds_its_snapshot() {
    let stage = quiet().await;
    let holder = stage.db.connect().await;
    holder
        .batch_execute("set application_name = 'reporting'; begin isolation level repeatable read; select 1")
        .await
        .unwrap();
    assert_eq!(look(&stage).await, [""; 0], "not for a moment's");
    stage.sql("update postmeter.alert_rule set patience = '0' where name = 'snapshot_pins_horizon'").await;
    assert!(look(&stage).await.contains(&"snapshot_pins_horizon 1".to_owned()));
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let summary = stage.value("select summary from postmeter.alert where name = 'snapshot_pins_horizon'").await;
    assert!(summary.contains(&format!("session {pid} (reporting")), "{summary}");
    assert_eq!(details(&stage, "snapshot_pins_horizon").await["pid"], pid);
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(look(&stage).await, [""; 0]);
}

#[tokio::test]
async fn i5_a_key_that_a_request_holds_too_long_is_an_alert() {
    let stage = quiet().await;
    let mut holder = stage.db.connect().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.batch_execute("select pg_advisory_xact_lock(4711)").await.unwrap();
    stage.sql("update postmeter.alert_rule set patience = '0' where name = 'key_stuck'").await;
    assert_eq!(look(&stage).await, ["key_stuck 1"]);
    transaction.rollback().await.unwrap();
    assert_eq!(look(&stage).await, [""; 0]);
}

#[tokio::test]
async fn i5_what_cannot_be_looked_at_is_said_and_leaves_its_alerts_open() {
    let stage = quiet().await;
    stage.sql(&into("conflict", "")).await;
    assert_eq!(look(&stage).await, ["conflict aws 1"]);
    // neither slow nor broken questions clear anything, nor keep the others from their turn
    stage.sql("alter table postmeter.stuck rename to stuck_away").await;
    assert_eq!(look(&stage).await, ["conflict aws 1"]);
    let blind = outbox::alerts::blind(&stage.db.database).await.unwrap();
    let names: Vec<_> = blind.iter().map(|blind| blind.name.as_str()).collect();
    assert_eq!(names, ["conflict", "dead_letters", "poison", "unknown_unresolved", "usage_will_miss_deadline"]);
    stage.sql("alter table postmeter.stuck_away rename to stuck").await;
    stage.sql(BACK).await;
    assert_eq!(look(&stage).await, [""; 0]);
    assert!(outbox::alerts::blind(&stage.db.database).await.unwrap().is_empty());
}

#[tokio::test]
async fn i5_each_rule_is_looked_at_once_in_its_time_by_whichever_worker_comes_first() {
    let stage = quiet().await;
    stage.sql(&into("conflict", "")).await;
    assert!(stage.worker.look(false).await.unwrap().is_empty(), "it was just looked at");
    stage.sql("update postmeter.alert_rule set checked_at = '-infinity' where name = 'conflict'").await;
    let workers = [stage.another_worker().await, stage.another_worker().await, stage.another_worker().await];
    let looks = futures_util::future::join_all(workers.iter().map(|worker| worker.look(false))).await;
    let opened: usize = looks.into_iter().map(|changes| changes.unwrap().len()).sum();
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn i5_the_command_lists_alerts_and_its_exit_code_says_whether_one_is_critical() {
    let stage = quiet().await;
    let run = |args: &[&str]| {
        let output = tests::postmeter(&stage.db.url()).args(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&["alerts"]), (0, "no alert is open\n".to_owned()));
    stage.sql(&into("rejected", "")).await;
    let (code, text) = run(&["alerts", "--check"]);
    assert!(code == 0 && text.contains("dead_letters  aws") && text.contains("1 rejected"), "{code} {text}");
    stage.sql("update postmeter.worker set lease_until = '2020-01-01', heartbeat_at = '2020-01-01'").await;
    let (code, text) = run(&["alerts", "--check"]);
    assert!(code == 3 && text.contains("no worker is alive"), "{code} {text}");
    let (code, text) = run(&["alerts", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["alerts"][0]["name"].as_str()), (3, Some("no_worker_alive")), "critical ones first");
    assert_eq!(stage.worker.look(true).await.unwrap().len(), 0, "only its heartbeat clears it");
}

#[tokio::test]
async fn i5_the_console_says_that_no_worker_is_alive_and_lists_alerts() {
    let stage = quiet().await;
    stage
        .sql(
            "update postmeter.worker set lease_until = '2020-01-01', heartbeat_at = '2020-01-01';
             update postmeter.alert_rule set checked_at = '-infinity' where name = 'no_worker_alive'",
        )
        .await;
    let console = tests::Console::start(&stage.db).await;
    let token = console.token(&["read"]).await;
    let alerts = async || console.get(&token, "/v1/alerts?open=true").await.json();
    let look = async {
        while alerts().await["items"].as_array().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), look).await.expect("it looks at once");
    let alert = alerts().await["items"][0].clone();
    assert_eq!((alert["name"].as_str(), alert["severity"].as_str()), (Some("no_worker_alive"), Some("critical")));
}

#[tokio::test]
async fn i5_the_doctor_says_what_is_open_and_what_nobody_looks_at() {
    let stage = quiet().await;
    stage.sql(&into("conflict", "")).await;
    look(&stage).await;
    stage.sql("update postmeter.alert_rule set enabled = false where name = 'poison'").await;
    let output = tests::postmeter(&stage.db.url()).arg("doctor").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("conflict: 1 conflict at aws: they hold another quantity than ours"), "{said}");
    assert!(said.contains("poison is not looked at: switched off"), "{said}");
}

#[tokio::test]
async fn i3_who_may_look_and_who_may_set_thresholds() {
    let stage = quiet().await;
    let denied = |sql: &'static str, role: &'static str| {
        let stage = &stage;
        async move {
            let client = stage.db.connect().await;
            client.batch_execute(&format!("set role {role}")).await.unwrap();
            client.batch_execute(sql).await.is_err()
        }
    };
    let (set, clear) = ("update postmeter.alert_rule set patience = '1 minute'", "delete from postmeter.alert");
    let note = "select postmeter.note_alerts('poison', '[]')";
    for role in
        ["postmeter_producer", "postmeter_reader", "postmeter_worker", "postmeter_operator", "postmeter_console"]
    {
        let is_operator = ["postmeter_operator", "postmeter_console"].contains(&role);
        assert_eq!(denied(set, role).await, !is_operator, "{role}");
        assert!(denied(clear, role).await, "{role}");
        assert_eq!(denied(note, role).await, ["postmeter_producer", "postmeter_reader"].contains(&role), "{role}");
    }
    // each question is the worker's to ask, with its role alone
    let url = format!("{}&options=-c%20role%3Dpostmeter_worker", stage.db.url());
    let url = if stage.db.url().contains('?') { url } else { url.replacen('&', "?", 1) };
    let worker = outbox::Database::open(&outbox::Access::new(&url)).unwrap();
    outbox::alerts::look(&worker, outbox::alerts::NAMES, true).await.unwrap();
    let blind: Vec<_> = outbox::alerts::blind(&worker).await.unwrap().into_iter().map(|blind| blind.name).collect();
    assert_eq!(blind, ["key_stuck", "snapshot_pins_horizon"], "without pg_read_all_stats, and they say so");
}
