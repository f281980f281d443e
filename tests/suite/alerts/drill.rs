//! I5: each alert fired by what it is for, and cleared by what its section of the runbook says, and by nothing else.

use std::collections::BTreeSet;

use remittance::Outcome;
use tests::Stage;

use super::fired::NEXT_MONTH_IS_MISSING;
use super::{check_balance, quiet};

/// Runs the command as the person who is on call.
async fn run(stage: &Stage, words: &str) {
    let mut command = tests::postmeter(&stage.db.url());
    command.args(words.split(' ')).args(["--who", "ada", "--why", "the runbook"]);
    stage.let_leases_end().await;
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "postmeter {words}: {said}");
}

/// The one remittance is sent, and this is the answer.
async fn answered(stage: &Stage, outcome: Outcome) {
    stage.configure("tries_max = 1").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    assert_eq!(claims.len(), 1);
    stage.settle_as(stage.worker.id(), &claims, outcome).await;
}

/// Three workers in a row die with the one remittance in their hands.
async fn kill_three_workers(stage: &Stage) {
    for death in 0..3 {
        let worker = stage.another_worker().await;
        let due = stage.value("select delivery_id::text from postmeter.due").await;
        let claimed = match death {
            0 => stage.claim_as(worker.id()).await,
            _ => stage.claim_suspect_as(worker.id(), &due).await,
        };
        assert_eq!(claimed.len(), 1, "death {death}");
        stage.end_lease_of(worker.id()).await;
        stage.worker.reap().await.unwrap();
        let later = "update postmeter.setting set clock_frozen = clock_frozen + interval '10 minutes'";
        stage.sql(later).await;
        stage.worker.maintain().await.unwrap();
    }
}

/// Calls are refused, or not any more.
fn refuse_credentials(stage: &Stage, refuse: bool) {
    let mut settings = stage.aws.settings();
    settings.aws.access_keys = refuse.then(|| ("ANOTHER".to_owned(), "seller".to_owned())).into_iter().collect();
    stage.aws.set_settings(settings);
}

async fn said(stage: &Stage, status: &str) {
    crate::tracker::record(&stage.db, &[crate::tracker::said(status)]).await;
    while outbox::requests::gather(&stage.db.database).await.unwrap() > 0 {}
}

/// An alert that waits in real time waits no longer.
async fn impatient(stage: &Stage, name: &str) {
    stage.sql(&format!("update postmeter.alert_rule set patience = '0' where name = '{name}'")).await;
}

/// Every worker died some minutes ago.
const LEASES_ARE_OVER: &str = "update postmeter.worker set lease_until = clock_timestamp() - interval '2 minutes',
     heartbeat_at = clock_timestamp() - interval '3 minutes'";

/// Of two workers, one was killed ten minutes ago.
const ONE_OF_TWO_IS_LOST: &str =
    "update postmeter.worker set heartbeat_at = clock_timestamp() - interval '10 minutes', lease_until = clock_timestamp() - interval '9 minutes'
     where id = (select id from postmeter.worker order by started_at desc limit 1);
     update postmeter.worker set started_at = clock_timestamp() - interval '1 hour'";

/// Keeps everybody from every table but those that a look itself needs.
const LOCK_EVERYTHING: &str = "do $$ declare name text; begin
    for name in select c.relname from pg_class c where c.relnamespace = 'postmeter'::regnamespace and c.relkind in ('r', 'p')
                and not c.relispartition and c.relname not in ('alert', 'alert_rule', 'alert_post', 'setting') loop
        execute format('lock table postmeter.%I', name);
    end loop; end $$";

/// Lets happen what an alert is for; its subject, and a part of its sentence.
async fn fire(stage: &Stage, name: &str) -> (&'static str, &'static str) {
    match name {
        "usage_will_miss_deadline" => {
            run(stage, "pause aws").await;
            stage.at("2024-09-19T09:30:00Z").await;
            ("aws", "1 thing will miss")
        }
        "outbox_oldest_entry" => {
            stage.use_cores("waits", "1", "2024-09-18T11:05:00Z").await;
            // its age is real time
            impatient(stage, name).await;
            ("", "since 0 minutes; 1 entry")
        }
        "held_without_subscription" => {
            stage.record("whose", "globex", "cores", "1", "2024-09-18T11:05:00Z").await;
            stage.fold().await;
            stage.at("2024-09-18T12:11:00Z").await;
            ("no_subscription", "1 usage of 1 org is held")
        }
        "conflict" => {
            answered(stage, Outcome::Conflict { shown: None }).await;
            ("aws", "1 conflict at aws")
        }
        "contradiction" => {
            let claims = stage.claim_as(stage.worker.id()).await;
            stage.settle_as(stage.worker.id(), &claims, Outcome::Accepted).await;
            stage.settle_as(stage.worker.id(), &claims, Outcome::Conflict { shown: None }).await;
            outbox::maintain::review(&stage.db.database).await.unwrap();
            ("aws", "1 contradiction at aws: they say otherwise")
        }
        "unknown_unresolved" => {
            answered(stage, Outcome::Unknown { code: "timeout".to_owned() }).await;
            stage.at("2024-09-18T11:26:00Z").await;
            ("aws", "may have been billed")
        }
        "dead_letters" => {
            answered(stage, Outcome::Rejected { code: "InvalidProductCode".to_owned() }).await;
            stage.at("2024-09-18T11:21:00Z").await;
            ("aws", "1 dead letter at aws: 1 rejected")
        }
        "poison" => {
            kill_three_workers(stage).await;
            ("aws", "1 thing at aws killed workers")
        }
        "breaker_open" => {
            refuse_credentials(stage, true);
            stage.worker.send().await.unwrap();
            impatient(stage, name).await;
            ("aws", "aws is down since")
        }
        "buyer_refused" => {
            answered(stage, Outcome::Doubtful { code: "Forbidden".to_owned() }).await;
            ("aws", "either these may not be billed, or the credential")
        }
        "destination_paused" => {
            run(stage, "pause aws").await;
            stage.at("2024-09-18T12:20:00Z").await;
            ("aws", "paused by ada")
        }
        other => fire_where_all_is_concerned(stage, other).await,
    }
}

/// The same for alerts that are about no destination.
async fn fire_where_all_is_concerned(stage: &Stage, name: &str) -> (&'static str, &'static str) {
    match name {
        "timeline_went_back" => {
            stage.sql("select postmeter.timeline_went_back('ada', 'restored')").await;
            ("", "lost commits (restored); 1 destination is paused")
        }
        "installation_unclear" => {
            stage.sql("update postmeter.installation set server = 'elsewhere/1'").await;
            ("", "nothing is sent: this database was copied or restored")
        }
        "stray_entries" => {
            stage.sql(AROUND_INTAKE).await;
            stage.fold().await;
            ("", "1 entry came into the outbox around intake")
        }
        "implausible_usage" => {
            stage.sql("update postmeter.dimension set max_quantity = 100").await;
            stage.use_cores("beyond", "101", "2024-09-18T11:05:00Z").await;
            stage.fold().await;
            ("aws", "1 usage of 1 org is beyond what is plausible and held, since 2024-09-18 11:10 UTC")
        }
        "hour_not_cut" => {
            stage.use_cores("left open", "1", "2024-09-18T11:05:00Z").await;
            stage.fold().await;
            stage.at("2024-09-19T10:40:00Z").await;
            ("aws", "1 hour at aws is still open; the first deadline is")
        }
        "balance_not_zero" => {
            stage.sql("update postmeter.meter set carried = carried + 1").await;
            check_balance(stage).await;
            ("", "does not close for 1 meter or metric")
        }
        "partition_ahead_missing" => {
            stage.sql(NEXT_MONTH_IS_MISSING).await;
            ("", "usage has no partition for")
        }
        "no_worker_alive" => {
            stage.sql(LEASES_ARE_OVER).await;
            ("", "no worker is alive")
        }
        "fleet_incomplete" => {
            drop(stage.another_worker().await);
            stage.sql(ONE_OF_TWO_IS_LOST).await;
            ("worker", "1 worker is missing: 1 of 2 live")
        }
        "requests_never_finished" => {
            stage.sql("update postmeter.setting set tracker_alert_requests = 1").await;
            said(stage, "ingress r received 2024-09-18T11:05:00Z").await;
            stage.at("2024-09-18T12:20:00Z").await;
            ("ingress", "ingress: of 1 request that came due in the last hour, 1 has not finished there")
        }
        other => panic!("{other} has no drill"),
    }
}

/// Does what the alert's section of the runbook says.
async fn mend(stage: &Stage, name: &str) {
    match name {
        "usage_will_miss_deadline" | "destination_paused" | "timeline_went_back" => {
            run(stage, "resume aws").await;
            stage.work().await;
        }
        "outbox_oldest_entry" => stage.fold().await,
        "held_without_subscription" => {
            stage.subscribe("globex", "999922223333").await;
            stage.work().await;
        }
        "conflict" => run(stage, "write-off --destination aws --status conflict --apply").await,
        "unknown_unresolved" => {
            let number = stage.value("select min(id)::text from postmeter.delivery").await;
            run(stage, &format!("resolve {number} --billed")).await;
        }
        "contradiction" => run(stage, "judge 1 --ours").await,
        "installation_unclear" => run(stage, "declare copy").await,
        "dead_letters" => run(stage, "write-off --destination aws --status rejected --apply").await,
        "poison" => {
            run(stage, "retry --destination aws --reason poison --apply").await;
            stage.work().await;
        }
        "breaker_open" => {
            refuse_credentials(stage, false);
            stage.at("2024-09-18T11:20:00Z").await;
            run(stage, "probe aws").await;
            stage.work().await;
        }
        "buyer_refused" => {
            stage.at("2024-09-18T11:20:00Z").await;
            stage.work().await;
        }
        "stray_entries" => stage.sql("select postmeter.resolve_stray(1, false, 'mira', 'a drill')").await,
        "implausible_usage" => run(stage, "retry --held-usage --reason implausible --apply").await,
        "hour_not_cut" => stage.work().await,
        "balance_not_zero" => {
            // a defect has no remedy of its own; here it is taken back
            stage.sql("update postmeter.meter set carried = carried - 1").await;
            check_balance(stage).await;
        }
        "partition_ahead_missing" => assert!(stage.worker.maintain_all(true).await.is_empty()),
        "no_worker_alive" | "fleet_incomplete" => drop(stage.another_worker().await),
        "requests_never_finished" => said(stage, "ingress r success 2024-09-18T11:06:00Z").await,
        other => panic!("{other} has no drill"),
    }
}

/// An entry that no usage stands behind.
const AROUND_INTAKE: &str = "alter table postmeter.outbox disable trigger arrived;
    insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
    values ('s', 'around', 'acme', 'db', 'cores', 1, '2024-09-18T11:05Z');
    alter table postmeter.outbox enable always trigger arrived";

/// Alerts that tests of their own fire and clear.
const ELSEWHERE: [&str; 6] =
    ["missing_hours", "snapshot_pins_horizon", "key_stuck", "step_failing", "set_aside", "locked_out"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_every_alert_is_fired_by_what_it_is_for_and_cleared_by_its_runbook() {
    let elsewhere = BTreeSet::from(ELSEWHERE);
    let drills = outbox::alerts::NAMES.iter().copied().filter(|name| !elsewhere.contains(name));
    for name in drills {
        let stage = quiet().await;
        let (subject, says) = fire(&stage, name).await;
        let changes = stage.worker.look(true).await.unwrap();
        let change = changes.iter().find(|change| change.name == name).unwrap_or_else(|| panic!("{name}: {changes:?}"));
        assert!(change.opened && change.subject == subject && change.summary.contains(says), "{name}: {change:?}");
        assert!(stage.worker.look(true).await.unwrap().iter().all(|change| change.name != name), "{name}: told once");
        let open = format!("select summary from postmeter.alert where name = '{name}' and cleared_at is null");
        stays_open_while_nobody_can_look(&stage, name).await;
        heals_by_itself_as_the_page_says(&stage, name).await;
        mend(&stage, name).await;
        stage.worker.look(true).await.unwrap();
        assert_eq!(stage.column(&open).await, [""; 0], "{name} is cleared");
        let known =
            format!("select count(*)::text from postmeter.alert where name = '{name}' and cleared_at is not null");
        assert_eq!(stage.value(&known).await, "1", "{name} is remembered");
    }
}

/// J11: what cannot be looked at is not over.
async fn stays_open_while_nobody_can_look(stage: &Stage, name: &str) {
    let mut other = stage.db.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute(LOCK_EVERYTHING).await.unwrap();
    let changes = outbox::alerts::look(&stage.db.database, &[name], true).await.unwrap();
    assert!(changes.is_empty(), "{name} changed while its tables were locked: {changes:?}");
    let failure = stage.value(&format!("select failure from postmeter.alert_rule where name = '{name}'")).await;
    assert!(failure.contains("is locked"), "{name}: {failure}");
    drop(lock);
}

/// Whether workers alone cure it is what the drill's table says.
async fn heals_by_itself_as_the_page_says(stage: &Stage, name: &str) {
    if name == "no_worker_alive" {
        // there is nobody who could
        return;
    }
    let rule: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    let page = crate::docs::read("docs/operate/drill.md");
    let row = page.lines().find(|line| line.starts_with(&format!("| {rule} |"))).unwrap_or_else(|| panic!("{rule}"));
    let says = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
    assert!(["yes", "no"].contains(&says), "{row}");
    stage.worker.reload().await.unwrap();
    stage.work().await;
    stage.worker.maintain_all(true).await;
    stage.worker.look(true).await.unwrap();
    let open = format!("select count(*)::text from postmeter.alert where name = '{name}' and cleared_at is null");
    assert_eq!(if stage.value(&open).await == "0" { "yes" } else { "no" }, says, "{rule}: docs/operate/drill.md");
}

#[tokio::test]
async fn i5_the_balance_is_read_by_the_fleets_check_and_not_by_the_look() {
    let stage = quiet().await;
    stage.sql("update postmeter.meter set carried = carried + 1").await;
    assert_eq!(super::look(&stage).await, [""; 0], "nobody has checked yet");
    check_balance(&stage).await;
    assert_eq!(super::look(&stage).await, ["balance_not_zero 1"]);
    let example = super::details(&stage, "balance_not_zero").await["examples"][0].as_str().unwrap().to_owned();
    assert!(example.starts_with("aws ") && example.ends_with(": -1"), "{example}");
    // a check that is given up clears nothing; after a day of it somebody is told
    stage
        .sql("update postmeter.balance_check set seconds = 40, checked_at = clock_timestamp() - interval '25 hours'")
        .await;
    assert_eq!(super::look(&stage).await, ["balance_not_zero 1"]);
    let blind = outbox::alerts::blind(&stage.db.database).await.unwrap();
    assert!(blind.len() == 1 && blind[0].why.contains("could not be checked"), "{blind:?}");
    stage.sql("update postmeter.meter set carried = carried - 1").await;
    check_balance(&stage).await;
    assert_eq!(super::look(&stage).await, [""; 0]);
    assert!(outbox::alerts::blind(&stage.db.database).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e4_who_resumes_what_was_paused_before_commits_were_lost_is_told_of_them_too() {
    let stage = quiet().await;
    run(&stage, "pause aws").await;
    stage.at("2024-09-18T11:12:00Z").await;
    stage.sql("select postmeter.timeline_went_back('ada', 'restored')").await;
    assert_eq!(super::look(&stage).await, ["timeline_went_back 1"]);
    run(&stage, "resume aws").await;
    run(&stage, "pause aws").await;
    assert_eq!(super::look(&stage).await, [""; 0], "somebody has decided since");
    stage.close().await;
}
