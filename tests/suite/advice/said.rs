//! What doctor, status and the reports advise: each text is listed with the test that carries it out, or with why no
//! test can bring its state about.
//!
//! Of doctor all is covered that is given as an advice: every text in the third argument of `problem` and `warning`,
//! and in a `let advice`, which that argument may name. Of status and the reports those texts that tell what to do by
//! one of [`TELLS`]. Advice that a database's own functions give is listed beside (`listed`).

use std::collections::BTreeSet;
use std::path::Path;

use super::listed::covered;

/// What doctor advises.
const DOCTOR: &[(&str, &str)] = &[
    ("see what that session does in pg_stat_activity; if it may end: select pg_terminate_backend(pid)", LOCKED),
    ("pg_stat_activity says what it does; if it may end: select pg_terminate_backend({session})", LOCKED),
    ("connect as a user with the role postmeter_reader or postmeter_operator", SEES),
    ("grant pg_read_all_stats (or pg_monitor) to this user", SEES),
    (
        "reindex what uses it; then alter collation {collation} refresh version",
        "l9_doctor_names_a_collation_that_has_changed",
    ),
    ("alter {of} reset {name}", "l9_doctor_names_odd_defaults_and_what_resets_them"),
    ("revoke create on schema {schema} from {grantee}", "l1_doctor_names_who_may_create_where_names_are_looked_up"),
    ("somebody dropped it: run what sql/schema says of trigger {trigger} on postmeter.{table}", TRIGGERS),
    ("alter table postmeter.{table} {always} trigger {trigger}", TRIGGERS),
    (
        "drop publication {publication}, and create it for the tables that are wanted: docs/operate/replication.md",
        PUBLICATIONS,
    ),
    ("alter publication {publication} drop table postmeter.{table}", PUBLICATIONS),
    ("alter publication {publication} drop tables in schema postmeter, and name the tables", PUBLICATIONS),
    ("alter {kind} {function} set search_path = pg_catalog, pg_temp", "l1_doctor_names_functions_that_are_not_pinned"),
    (
        "docs/operate/failover.md, \"When sending was paused\"",
        "k6_a_duplicate_without_a_quantity_is_unconfirmed_until_somebody_has_looked_it_up",
    ),
    ("see that a worker runs: it proves what was written every ten minutes", LACKS),
    ("`postmeter balance --prove` reads the whole ledger now; a running worker does in turn", LACKS),
    (
        "compare with what they hold, then `postmeter judge {first} --ours --why ...`{or}",
        "k11_doctor_says_as_whose_a_contradiction_can_be_judged",
    ),
    (
        "`postmeter explain --delivery {example}` says what a person can do about the first; view \
         postmeter.dead_letter has all",
        "k11_doctor_sends_what_is_stuck_to_what_helps_it",
    ),
    ("run `postmeter migrate`", EMPTY),
    (
        "a running worker makes them; or select postmeter.create_partitions(2), postmeter.create_request_partitions(2)",
        LACKS,
    ),
    (
        "nothing is lost: a running worker moves them once nobody reads them for long",
        "i4_after_any_pause_months_are_made_and_rows_leave_the_default_partition_exactly",
    ),
    ("`postmeter ledger export --all-finished --to DIR --why ...`", LEDGER),
    (
        "when the export is in a safe place: `postmeter ledger status` names them, then `postmeter ledger drop MONTH \
         --verified DIR --why ... --apply`",
        LEDGER,
    ),
    (
        "run it again, it goes on where it was: `postmeter ledger drop MONTH --verified DIR --why ... --apply`",
        "i4_a_drop_that_was_killed_is_found_and_finished_and_the_balance_closes_at_every_moment",
    ),
    (
        "if nothing below is in the way, a running worker does it within minutes; or, with the role postmeter_worker: \
         select postmeter.turn_identities()",
        "k11_doctor_names_identities_that_are_overdue_and_what_drops_them",
    ),
    (
        "insert into postmeter.identity_generation (began_at) values (postmeter.clock())",
        "k11_doctor_names_identities_that_are_overdue_and_what_drops_them",
    ),
    (
        "let it ask postmeter.usage or postmeter.usage_of() instead; then {remedy}",
        "k11_doctor_names_what_was_built_on_identities_and_stops_their_turn",
    ),
    (
        "commit it or roll it back: pg_prepared_xacts names it",
        "k11_doctor_names_who_keeps_identities_from_their_turn_and_how_he_is_ended",
    ),
    ("if money is meant: {first}`postmeter migrate --purpose production`", LACKS),
    ("view postmeter.unfinished_request names the service that is open", "h1_received_and_never_finished_is_one_view"),
    ("`postmeter status` says why; when the cause is gone: `postmeter probe {name} --why ...`", UNSENT),
    (
        "resume it, if it is paused; mend it, if it is down; else raise in_flight_max or the quota's rate: view \
         postmeter.forecast",
        UNSENT,
    ),
    ("when the reason is gone: `postmeter resume {name} --why ...`", UNSENT),
    ("a running worker settles them as expired; see why they were not sent", UNSENT),
    ("run `postmeter worker`", GONE),
    ("a worker that is well takes over what they hold; see why they stopped", GONE),
    ("look for crashes, or for a database that was away", GONE),
    ("folding does not keep up or does not run: see workers and their logs, add workers", GONE),
    ("let a worker of this version run; see `steps` for what is locked, and end transactions that stay open", GONE),
    ("`postmeter catalog apply FILE`: docs/catalogue.md", EMPTY),
    ("mend it with `postmeter catalog apply FILE`", SERVED),
    ("set an endpoint on 127.0.0.1 with `postmeter catalog apply FILE`; if money is meant, see purpose above", SERVED),
    ("set dry_run = false with `postmeter catalog apply FILE`", SERVED),
    ("mend it with `postmeter catalog apply FILE`; its usage is held until then", HOLDS),
    ("add one with `postmeter catalog apply FILE`; usage is held until then", HOLDS),
    ("a running worker reads what was written by SQL", HOLDS),
    ("add the subscription, or an exemption, with `postmeter catalog apply FILE`", HOLDS),
    (
        "end all subscriptions but one before its hour, with `postmeter catalog apply FILE`; later usage can name its \
         account",
        HOLDS,
    ),
    ("add the dimension with `postmeter catalog apply FILE`", HOLDS),
    ("mend the subscription's identity with `postmeter catalog apply FILE`", HOLDS),
    (
        "`postmeter explain --usage {example}` says what a person can do about the first",
        "k11_doctor_sends_held_usage_to_what_helps_it",
    ),
    (
        "an entry that kills again will be held as poison; if none does, look at the workers' logs",
        "j4_five_workers_killed_at_once_make_only_what_they_had_in_hand_suspect_once",
    ),
    (
        "mend the cause; it is tried again by itself, at once after `select postmeter.try_setbacks_again()`",
        "j6_what_is_set_aside_is_an_alert_and_a_dead_letter_and_clears_when_it_is_cured",
    ),
    (
        "it is tried again; what fails twice alone is set aside",
        "j6_what_is_set_aside_is_an_alert_and_a_dead_letter_and_clears_when_it_is_cured",
    ),
    (
        "end that session's transaction, or the session: the rest goes on meanwhile",
        "j6_what_is_locked_out_is_an_alert_that_names_the_session_and_clears_when_it_is_free",
    ),
    (
        "nothing goes through this step until what the error names is mended",
        "j6_a_step_that_failed_five_times_is_an_alert_with_its_error_and_clears_when_it_goes_well",
    ),
    (
        "see what steps and workers say above: a running worker cuts them",
        "j6_an_hour_open_past_its_deadline_is_an_alert_and_clears_when_it_is_cut",
    ),
    (
        "mend the receiver, or section [alerts] of the configuration",
        "d7_a_post_that_is_not_taken_is_sent_again_later_with_its_id_and_nothing_overtakes_it",
    ),
];

const LOCKED: &str = "k11_doctor_names_a_session_that_locks_others_out_and_how_it_is_ended";
const SEES: &str = "k11_doctor_names_a_user_who_sees_too_little_and_what_shows_it_the_rest";
const TRIGGERS: &str = "l2_doctor_names_triggers_that_do_not_fire";
const PUBLICATIONS: &str = "l2_doctor_names_publications_that_send_the_outbox";
const LACKS: &str = "k11_doctor_names_what_a_database_lacks_and_how_it_is_made";
const EMPTY: &str = "k11_doctor_leads_from_an_empty_database_to_one_that_can_be_served";
const LEDGER: &str = "i4_doctor_names_the_months_that_wait";
const UNSENT: &str = "k11_doctor_names_what_nothing_is_sent_to_and_what_is_past_its_deadline";
const GONE: &str = "k11_doctor_names_workers_that_are_gone_and_what_waits_for_them";
const SERVED: &str = "k11_doctor_names_a_destination_that_is_not_served_and_the_catalogue_mends_it";
const HOLDS: &str = "k11_doctor_names_what_holds_usage_and_the_catalogue_frees_it";

/// What doctor advises in states that no test brings about, and why.
const UNMADE: &[(&str, &str)] = &[
    ("report this as a defect", "a row of ours that this program cannot read"),
    ("usage was lost or counted twice: stop workers and report this as a defect, with a dump", "a defect of ours"),
    ("ask again with `postmeter doctor --within 600`, at a quiet time", "a question that takes ten seconds"),
    ("do not run workers of this program on this database", "says what not to do"),
    ("run `postmeter migrate` when no older worker lives", "no post migration is pending in this version"),
    ("run sql/roles.sql, or `postmeter migrate --create-roles`", "roles are those of all tests of the server"),
    ("use one of these", "a server of another version"),
    ("connect to the primary", "a standby of the server"),
    ("add sslmode=require to the URL", "a connection over a network"),
    ("{name} = on in the server's configuration", "the server is that of all tests"),
    ("{name} = on in the server's configuration, before there is money in it", "the server is that of all tests"),
    ("{name} = {right} in the server's configuration: docs/operate/postgres.md", "the server is that of all tests"),
    (
        "reindex database {database}; then alter database {database} refresh collation version",
        "the C library's collations would have to change",
    ),
    ("attach it again under that name, or restore it from a backup", "what was dropped is nowhere in the database"),
    ("`postmeter ledger status` shows all months", "a question, run by the tests of the ledger"),
    ("if nobody needs it: select pg_drop_replication_slot('{name}')", "needs wal_level = logical, or a standby"),
    (
        "in its database, as its owner: commit prepared {name}, or rollback prepared {name}",
        "shows after a minute of real time",
    ),
    (
        "select pg_terminate_backend({name}); idle_in_transaction_session_timeout in the server's configuration ends \
         such sessions by itself",
        "shows after a minute of real time",
    ),
    ("if it may end: select pg_terminate_backend({name})", "shows after a minute of real time"),
    ("synchronise it: AWS refuses signatures that are minutes off", "the machine's clock"),
    ("see what their sessions wait for: the runbook, KeyStuck", "shows after a minute of real time"),
    (
        "lengthen worker.lease_seconds in the configuration of workers and of this program, or shorten call_timeout",
        "the limits of both settings keep them apart",
    ),
    ("roll out one version", "needs a program of another version"),
    ("usual after an import; otherwise see workers", "as what is older, which is tested"),
    ("until then nobody is told", "says what that means"),
    ("docs/operate/runbook.md, by its name", "leads to the runbook, whose advice has its own tests"),
];

/// What status and the reports tell somebody to do.
const REPORTS: &[(&str, &str)] = &[
    ("         `postmeter doctor` says who holds a lock", "j11_status_and_doctor_say_what_is_locked_and_show_the_rest"),
    (
        "NOTHING IS SENT: {doubt}. Say what it is: `postmeter declare original --why ...`, or `postmeter declare copy \
         --why ...`",
        "k8_a_restored_copy_sends_nothing_until_a_person_declares_it_the_original",
    ),
    (
        "quota {name} waits {wait}, as the marketplace asked; `postmeter probe DESTINATION --why ...` ends that",
        "j10_a_person_ends_the_wait_that_a_marketplace_asked_for_and_workers_act_by_it_at_once",
    ),
    ("no destination yet: `postmeter catalog apply FILE` (docs/catalogue.md)", EMPTY),
    (
        "{name}: commits were lost until {}; the last change of the catalogue that survived is of {changed}: enter \
         again what was changed after it. Once {name} is resumed, {} cut by the catalogue, and {}",
        "k6_late_usage_of_before_a_restore_and_of_the_lost_time_is_billed_once",
    ),
    (
        "postmeter resolve N --not-billed (or --billed) --why ...",
        "k6_released_quantity_of_before_a_restore_waits_for_a_person_and_goes_with_an_hour_of_after_it",
    ),
    (
        "postmeter retry (or write-off) --held-usage --reason lost_time --why ... --apply",
        "k6_late_usage_that_was_not_billed_in_the_lost_time_is_counted_once_a_person_has_said_so",
    ),
    (
        "postmeter resolve --file REPORT --why ... --apply",
        "k6_a_duplicate_without_a_quantity_is_unconfirmed_until_somebody_has_looked_it_up",
    ),
    (
        "docs/operate/failover.md says how each is found",
        "k6_released_quantity_of_before_a_restore_waits_for_a_person_and_goes_with_an_hour_of_after_it",
    ),
    ("a table that this reads is locked: try again, or see `postmeter doctor`", LOCKED),
    (
        "{name} would be refused, {open}: hours of it can still be sent until {}. NOTHING WAS CHANGED: close it after \
         that, or say --forced.",
        "c8_a_month_that_can_still_be_sent_is_not_closed_unless_forced",
    ),
    (
        "would close {name}, {open}. NOTHING WAS CHANGED: say --apply to carry it out.",
        "c8_closing_is_a_decision_a_dry_run_changes_nothing_and_twice_changes_nothing_more",
    ),
    (
        "would reopen {name} and return {usages} to the outbox. NOTHING WAS CHANGED: say --apply to carry it out.",
        "c8_usage_of_a_closed_month_is_held_by_name_and_reopening_returns_it",
    ),
    (
        "{differ} keys of {day} differ, {equal} are equal. Nothing is sent because of this: look at each.",
        "k7_a_day_of_which_they_hold_another_sum_is_a_contradiction_until_they_agree",
    ),
];

/// The same in states that no test brings about, and why.
const UNMADE_REPORTS: &[(&str, &str)] = &[
    ("{} meters; {n} lines are UNEXPLAINED: report this as a defect, with a dump", "a defect of ours"),
    ("{} cannot be asked what it holds: compare with its own reports", "says where else to look"),
];

/// What tells somebody to do something has one of these.
const TELLS: &[&str] =
    &["`", "postmeter ", "report this", "look at", "say --", "compare with", "enter again", "docs/", "close it"];

/// A source of the command line: without comments and unit tests, its lines that go on joined.
fn source(file: &str) -> String {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/postmeter/src/cli");
    let text = std::fs::read_to_string(cli.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut lines = String::new();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let is_inside = lines.ends_with('\\');
        if is_inside {
            lines.pop();
        }
        lines.push_str(if is_inside { line.trim_start() } else { line });
        lines.push_str(if line.ends_with('\\') { "" } else { "\n" });
    }
    lines.replace("'\"'", "' '")
}

/// What stands up to the end of a bracket or a statement, by the commas that stand in no inner bracket and no text.
fn parts(code: &str) -> Vec<String> {
    let (mut parts, mut depth, mut is_text, mut is_escaped) = (vec![String::new()], 0, false, false);
    for c in code.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_text => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            ')' | ']' | '}' | ';' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts
}

/// The texts in a piece of code; what a `match` compares with is none.
fn texts(code: &str) -> Vec<String> {
    let code = code.replace("\\\"", "\u{1}");
    let pieces: Vec<&str> = code.split('"').collect();
    let texts = pieces.iter().zip(pieces.iter().skip(1)).skip(1).step_by(2);
    let is_pattern = |after: &str| ["=>", "|"].iter().any(|sign| after.trim_start().starts_with(sign));
    texts.filter(|(_, after)| !is_pattern(after)).map(|(text, _)| text.replace('\u{1}', "\"")).collect()
}

/// Every advice is run by its test or has its reason.
fn listed(said: &BTreeSet<String>, run: &[(&str, &str)], unmade: &[(&str, &str)]) {
    let gone: Vec<_> = unmade.iter().filter(|(text, _)| !said.contains(*text)).collect();
    assert!(gone.is_empty(), "nobody says these any more: {gone:?}");
    let rest = said.iter().filter(|text| !unmade.iter().any(|(unmade, _)| unmade == text));
    covered(rest.cloned().collect(), run);
}

#[test]
fn k11_every_advice_of_doctor_has_its_test() {
    let files = ["doctor.rs", "doctor/defaults.rs", "doctor/guards.rs", "doctor/identities.rs", "doctor/money.rs"];
    let mut said = BTreeSet::new();
    for file in files.into_iter().chain(["doctor/server.rs", "doctor/watch.rs", "doctor/work.rs"]) {
        let code = source(file);
        for call in [".problem(", ".warning("].iter().flat_map(|verb| code.split(verb).skip(1)) {
            let advice = parts(call).get(2).map(|advice| advice.trim().to_owned()).unwrap_or_default();
            let told = texts(&advice);
            let is_named = ["advice", "ASK_AGAIN"].contains(&advice.as_str());
            assert!(is_named || !told.is_empty(), "{file}: say it there, or in a let advice: {advice}");
            said.extend(told);
        }
        for statement in ["let advice =", "ASK_AGAIN: &str ="].iter().flat_map(|start| code.split(start).skip(1)) {
            said.extend(texts(&parts(statement).join(",")));
        }
    }
    listed(&said, DOCTOR, UNMADE);
}

#[test]
fn k11_every_advice_of_status_and_the_reports_has_its_test() {
    let files = ["status.rs", "lost_time.rs", "recalculate.rs", "balance.rs", "month.rs", "reconcile.rs"];
    let said = files.iter().flat_map(|file| texts(&source(file)));
    let said = said.filter(|text| TELLS.iter().any(|word| text.contains(word))).collect();
    listed(&said, REPORTS, UNMADE_REPORTS);
}

#[test]
fn k11_no_file_of_doctor_is_left_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/postmeter/src/cli/doctor");
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        7,
        "name the new file in this test and in the one of doctor"
    );
}
