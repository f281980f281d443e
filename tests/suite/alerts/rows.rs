//! I5, E7, F7: storms, sessions, who looks, and who is told; `drill` fires and clears each alert.

use tests::Stage;

use super::{details, look, quiet};

/// Takes the one remittance out of the queue and into a status.
fn into(status: &str, more: &str) -> String {
    format!(
        "delete from postmeter.due; update postmeter.delivery set status = '{status}', changed_at = postmeter.clock() - interval '1 day'{more}"
    )
}

const BACK: &str =
    "update postmeter.delivery set status = 'accepted', reason = null, maybe_billed = false, maybe_since = null";

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
    assert_eq!(look(&stage).await, ["dead_letters aws 10000"], "one, of ten thousand");
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
    stage.sql(&format!("select pg_terminate_backend({pid}, 60000)")).await;
    assert_eq!(look(&stage).await, [""; 0], "ended as the runbook says");
}

#[tokio::test]
async fn i5_a_key_that_a_request_holds_too_long_is_an_alert() {
    let stage = quiet().await;
    let mut holder = stage.db.connect().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.batch_execute("select pg_advisory_xact_lock(4711)").await.unwrap();
    stage.sql("update postmeter.alert_rule set patience = '0' where name = 'key_stuck'").await;
    assert_eq!(look(&stage).await, ["key_stuck 1"]);
    // ended as the runbook says, found as it says
    stage.sql("select pg_terminate_backend(l.pid, 60000) from pg_locks l where l.locktype = 'advisory' and l.granted and l.objid = 4711").await;
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
    let has_looked = async || !alerts().await["items"].as_array().unwrap().is_empty();
    tests::wait_until("it looks at once", has_looked).await;
    let alert = alerts().await["items"][0].clone();
    assert_eq!((alert["name"].as_str(), alert["severity"].as_str()), (Some("no_worker_alive"), Some("critical")));
}

#[tokio::test]
async fn i5_the_doctor_says_what_is_open_and_what_nobody_looks_at() {
    let stage = quiet().await;
    stage.sql(&into("conflict", "")).await;
    look(&stage).await;
    stage.sql("update postmeter.alert_rule set enabled = false where name = 'poison'").await;
    stage
        .sql("update postmeter.alert_rule set checked_at = '-infinity' where name in ('key_stuck', 'breaker_open')")
        .await;
    let output = tests::postmeter(&stage.db.url()).arg("doctor").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("conflict: 1 conflict at aws: they hold another quantity than ours"), "{said}");
    assert!(said.contains("poison is not looked at: switched off"), "{said}");
    assert!(said.contains("breaker_open, key_stuck are not looked at: nobody looks"), "a line for a reason: {said}");
}

#[tokio::test]
async fn i5_the_doctor_asks_what_alerts_watch_where_nobody_has_looked() {
    let stage = quiet().await;
    let doctor = || {
        let output = tests::postmeter(&stage.db.url()).arg("doctor").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = doctor();
    for line in [
        "ok       clock         this machine's is that of the database",
        "ok       breakers      no destination is down",
        "ok       forecast      everything that waits will be sent in time",
        "ok       keys          no idempotency key is held for long",
        "ok       requests      each that was received was finished",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(code, Some(0), "{said}");
    crate::tracker::record(&stage.db, &[crate::tracker::said("ingress r received 2024-09-18T10:00:00Z")]).await;
    while outbox::requests::gather(&stage.db.database).await.unwrap() > 0 {}
    let breaker = "insert into postmeter.breaker (destination_id, faults, opened_at, open_until, outcome, code, updated_at)
                   select id, 3, clock_timestamp(), clock_timestamp(), 'unavailable', '503', clock_timestamp() from postmeter.destination";
    stage.sql(&format!("{breaker}; select postmeter.pause('aws', 'ada', 'a test')")).await;
    stage.at("2024-09-19T09:30:00Z").await;
    let (code, said) = doctor();
    for line in [
        "PROBLEM  breakers      aws is down: nothing but a probe is sent; the first deadline is in 20 min",
        "`postmeter probe aws --why ...`",
        "PROBLEM  forecast      aws: 1 will miss their deadline",
        "warning  requests      1 were received and never finished",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(code, Some(3), "{said}");
}

#[tokio::test]
async fn l1_a_rule_is_changed_by_a_decision_and_by_nothing_else() {
    let stage = quiet().await;
    stage.sql(&into("conflict", "")).await;
    assert_eq!(look(&stage).await, ["conflict aws 1"]);
    let set = |words: &[&str]| {
        let mut command = tests::postmeter(&stage.db.url());
        let output = command.env("USER", "ada").args(["alerts", "set"]).args(words).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), text)
    };
    let off = ["conflict", "--enabled", "false", "--patience", "1 hour", "--why", "we know"];
    let (code, said) = set(&off);
    assert!(code == 0 && said.contains("is changed and switched off"), "{said}");
    let (code, said) = set(&off);
    assert!(code == 0 && said.contains("NOTHING WAS CHANGED"), "{said}");
    assert_eq!(look(&stage).await, [""; 0], "what was open of it is cleared");
    for (words, expected) in [
        (&["conflct", "--every", "1 s"][..], "there is no alert 'conflct' (Did you mean 'conflict'?)"),
        (&["conflict", "--severity", "mild"], "alert 'conflict' cannot have severity mild"),
        (&["conflict", "--within", "1 hour"], "alert 'conflict' cannot have within 01:00:00"),
        (&["conflict", "--every", "soon"], "soon"),
        (&["conflict"], "say what to change"),
    ] {
        let (code, said) = set(&[words, &["--why", "we know"]].concat());
        assert!(code != 0 && said.contains(expected), "{words:?}: {code} {said}");
    }
    assert_eq!(
        stage.column("select concat_ws(' | ', verb, who, why, status_before, status_after, detail) from postmeter.decision_log").await,
        ["set_alert | ada | we know | enabled true, patience 00:00:00 | enabled false, patience 01:00:00 | {\"alert\": \"conflict\"}"]
    );
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
    let set = "select postmeter.set_alert_rule('poison', 'ada', 'a test', patience => '1 minute')";
    let silently =
        ["update postmeter.alert_rule set patience = '1 minute'", "select postmeter.settle_alert_post(1, 200, null)"];
    let clear = "delete from postmeter.alert";
    let note = "select postmeter.note_alerts('poison', '[]')";
    for role in
        ["postmeter_producer", "postmeter_reader", "postmeter_worker", "postmeter_operator", "postmeter_console"]
    {
        let is_operator = ["postmeter_operator", "postmeter_console"].contains(&role);
        assert_eq!(denied(set, role).await, !is_operator, "{role}");
        assert!(denied(clear, role).await && denied(silently[0], role).await, "{role}");
        assert_eq!(denied(silently[1], role).await, role != "postmeter_worker", "{role}: posts are the workers'");
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
