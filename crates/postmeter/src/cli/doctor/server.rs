//! The server: reachable, of a version and with settings we can live with, and with our schema.

use outbox::Error;
use outbox::health::{self, Clock, Detached, Holder, Ledger, Limits, Lock, Partitions, Server, Told};

use super::{Round, for_people};

/// Looks; `false`: there is no schema to look further in.
pub(super) async fn look(round: &mut Round<'_>) -> Result<bool, Error> {
    let server = round.ask::<Server>("server").await?.and_then(|rows| rows.into_iter().next());
    if let Some(server) = &server {
        version(round, server);
    }
    sessions(round, server.as_ref().is_some_and(|server| server.sees_sessions)).await?;
    roles(round).await?;
    let limits = Limits::within(round.within);
    let told = outbox::migrate::state_within(&round.database, outbox::migrate::MIGRATIONS, limits).await;
    let known = match told {
        Ok(Told::Answer(state)) => Ok(state),
        Ok(told) => {
            // what can be looked at is looked at all the same
            round.take("schema", Ok(told)).await?;
            return rest(round, server.as_ref()).await.map(|()| true);
        }
        Err(error) => Err(error),
    };
    match known {
        Ok(state) if state.pending.is_empty() && state.newer.is_empty() => {
            round.ok("schema", "every migration of this program is applied, and no other")
        }
        Ok(state) if state.pending.is_empty() => {
            round.ok("schema", format!("newer than this program, which works on it: {}", state.newer.join(", ")))
        }
        Ok(state) if state.pending.iter().all(outbox::migrate::Migration::is_post) => {
            let found = format!("{} waits until the older programs are gone", state.pending[0].name);
            round.warning("schema", found, "run `postmeter migrate` when no older worker lives");
        }
        Ok(state) => {
            let is_bare = state.is_new(outbox::migrate::MIGRATIONS);
            let found = match state.pending.len() {
                _ if is_bare => "there is none".to_owned(),
                _ if state.is_earlier => "it has the migrations of before the baseline".to_owned(),
                count => format!("{count} migrations are pending"),
            };
            round.problem("schema", found, "run `postmeter migrate`");
            return Ok(!is_bare);
        }
        Err(Error::Schema(problem)) => {
            round.problem("schema", problem, "do not run workers of this program on this database")
        }
        Err(Error::Unexpected { message, .. }) => {
            round.problem("schema", message, "connect as a user with the role postmeter_reader or postmeter_operator");
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    rest(round, server.as_ref()).await?;
    Ok(true)
}

async fn roles(round: &mut Round<'_>) -> Result<(), Error> {
    let database = round.database.clone();
    let Some(missing) = round.hear("roles", health::missing_roles(&database)).await? else { return Ok(()) };
    if missing.is_empty() {
        round.ok("roles", "all roles exist");
    } else {
        let found = format!("missing: {}", missing.join(", "));
        round.problem("roles", found, "run sql/roles.sql, or `postmeter migrate --create-roles`");
    }
    Ok(())
}

/// What is looked at where there is a schema.
async fn rest(round: &mut Round<'_>, server: Option<&Server>) -> Result<(), Error> {
    let is_production = clock(round).await?;
    if let Some(server) = server {
        settings(round, server, is_production);
        if is_production {
            tuning(round, server);
        }
    }
    locks(round).await?;
    partitions(round).await?;
    months(round).await?;
    ledger(round).await
}

/// Partitions that were detached by hand: nothing in them is found, and no balance over them closes.
async fn months(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(faults) = round.ask::<Detached>("months").await? else { return Ok(()) };
    if faults.is_empty() {
        round.ok("months", "no month or day is taken out");
    }
    for Detached { parent, name, fault, attach } in faults {
        let found = match fault.as_str() {
            "detached" => format!("{name} is there and is no part of {parent}: nothing in it is found"),
            "pending" => format!("{name}: somebody began to detach it from {parent} and did not end"),
            _ => format!("{name} is gone, while other tables of the ledger have that month"),
        };
        let advice =
            attach.unwrap_or_else(|| "attach it again under that name, or restore it from a backup".to_owned());
        round.problem("months", found, advice);
    }
    Ok(())
}

/// Whole tables that others cannot read or write.
async fn locks(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(locks) = round.ask::<Lock>("locks").await? else { return Ok(()) };
    if locks.is_empty() {
        round.ok("locks", "no table is locked");
    }
    for Lock { table, session, mode, waits } in locks {
        let holds = if waits { "waits for" } else { "holds" };
        let found = format!("session {session} {holds} {mode} on {table}: what comes after it waits");
        let advice =
            format!("pg_stat_activity says what it does; if it may end: select pg_terminate_backend({session})");
        round.warning("locks", found, advice);
    }
    Ok(())
}

fn version(round: &mut Round<'_>, server: &Server) {
    let (major, name) = (server.version / 10_000, server.settings.get("server_version").cloned().unwrap_or_default());
    if (14..=18).contains(&major) {
        round.ok("server", format!("PostgreSQL {name}"));
    } else {
        round.problem("server", format!("PostgreSQL {name}: this program is tested with 14 to 18"), "use one of these");
    }
    if server.standby {
        round.problem("server", "it is a standby: nothing can be recorded or sent", "connect to the primary");
    }
    if server.remote && !server.encrypted {
        round.warning("server", "the connection crosses a network unencrypted", "add sslmode=require to the URL");
    }
}

fn settings(round: &mut Round<'_>, server: &Server, is_production: bool) {
    let before = round.findings.len();
    let is_off = |name: &str| server.settings.get(name).is_some_and(|value| value == "off");
    for name in ["fsync", "full_page_writes"] {
        if is_off(name) {
            let found =
                format!("{name} is off: a crash of the server can lose attempts that were made, and bill twice");
            if is_production {
                round.problem("durability", found, format!("{name} = on in the server's configuration"));
            } else {
                let advice = format!("{name} = on in the server's configuration, before there is money in it");
                round.warning("durability", found, advice);
            }
        }
    }
    for name in ["autovacuum", "track_counts"] {
        if is_off(name) {
            round.problem(
                "vacuum",
                format!("{name} is off: the queues' dead rows are never cleaned up"),
                format!("{name} = on in the server's configuration"),
            );
        }
    }
    if round.findings.len() == before {
        round.ok("durability", "fsync, full_page_writes and autovacuum are on");
    }
}

/// A setting, when it is set badly, what comes of it, and what to set.
type Hint = (&'static str, fn(&str) -> bool, &'static str, &'static str);

/// The settings of `docs/operate/postgres.md`; a test holds the two together.
const HINTS: &[Hint] = &[
    (
        "synchronous_commit",
        |value| value == "off",
        "a crash of the server forgets usage whose commit was answered; workers set it for themselves, services do not",
        "on",
    ),
    (
        "data_checksums",
        |value| value == "off",
        "a page that rots on disk is billed from, unnoticed",
        "on (pg_checksums)",
    ),
    (
        "idle_in_transaction_session_timeout",
        |value| value == "0",
        "a session that somebody forgot keeps dead rows from being removed, and the queues grow slow",
        "60s",
    ),
    ("autovacuum_naptime", |value| is_above(value, 60), "the queues' dead rows wait for too long", "10s"),
    ("track_activities", |value| value == "off", "nobody can see which session holds a snapshot", "on"),
    // in MB
    (
        "max_wal_size",
        |value| is_below(value, 1024),
        "checkpoints come one after the other, each writes whole pages",
        "4GB",
    ),
    // in pages of 8 kB: less than Postgres comes with
    ("shared_buffers", |value| is_below(value, 16_384), "the queues do not stay in memory", "a quarter of the memory"),
];

fn is_below(value: &str, least: i64) -> bool {
    value.parse().is_ok_and(|value: i64| value < least)
}

fn is_above(value: &str, most: i64) -> bool {
    value.parse().is_ok_and(|value: i64| value > most)
}

/// What costs time or safety, and is not wrong: `docs/operate/postgres.md` has the reasons.
fn tuning(round: &mut Round<'_>, server: &Server) {
    let before = round.findings.len();
    for (name, is_bad, effect, right) in HINTS {
        if server.settings.get(*name).is_some_and(|value| is_bad(value)) {
            // as SQL it would hold for that session alone
            let advice = format!("{name} = {right} in the server's configuration: docs/operate/postgres.md");
            round.warning("settings", format!("{name}: {effect}"), advice);
        }
    }
    if round.findings.len() == before {
        round.ok("settings", "none is set badly");
    }
}

/// A text as an SQL literal: the name of a prepared transaction may be any text.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A snapshot held open is the usual death of a queue in Postgres: no dead row behind it can be removed.
async fn sessions(round: &mut Round<'_>, sees_all: bool) -> Result<(), Error> {
    let Some(holders) = round.ask::<Holder>("snapshots").await? else { return Ok(()) };
    if !sees_all {
        let advice = "grant pg_read_all_stats (or pg_monitor) to this user";
        round.warning("snapshots", "others' sessions cannot be seen, so one may hold its snapshot for long", advice);
    } else if holders.is_empty() {
        round.ok("snapshots", "no transaction is open for more than a minute");
    }
    for Holder { what, name, owner, seconds } in holders {
        let age = seconds.map_or_else(|| "unknown time".to_owned(), for_people);
        let found = match what.as_str() {
            "slot" => format!("replication slot {name} ({owner}) is inactive and holds back clean-up"),
            "prepared" => format!("prepared transaction {name} ({owner}) is open for {age}"),
            "idle" => format!("session {name} ({owner}) is idle in transaction for {age}"),
            _ => format!("session {name} ({owner}) holds its snapshot for {age}"),
        };
        let advice = match what.as_str() {
            "slot" => format!("if nobody needs it: select pg_drop_replication_slot('{name}')"),
            "prepared" => {
                let name = literal(&name);
                format!("in its database, as its owner: commit prepared {name}, or rollback prepared {name}")
            }
            "idle" => format!(
                "select pg_terminate_backend({name}); idle_in_transaction_session_timeout in the server's \
                 configuration ends such sessions by itself"
            ),
            _ => format!("if it may end: select pg_terminate_backend({name})"),
        };
        // half an hour of a busy queue is what a claim can still bear
        if what == "slot" || seconds.is_some_and(|seconds| seconds > 1_800.0) {
            round.problem("snapshots", found, advice);
        } else {
            round.warning("snapshots", found, advice);
        }
    }
    Ok(())
}

/// Says what the database is for; `true`: production, or unknown.
async fn clock(round: &mut Round<'_>) -> Result<bool, Error> {
    let Some(clock) = round.ask::<Clock>("purpose").await?.and_then(|rows| rows.into_iter().next()) else {
        return Ok(true);
    };
    let shift = if clock.frozen {
        "; its clock stands still".to_owned()
    } else if clock.shift_seconds.abs() > 1.0 {
        let way = if clock.shift_seconds > 0.0 { "ahead" } else { "behind" };
        format!("; its clock is {} {way}", for_people(clock.shift_seconds))
    } else {
        String::new()
    };
    if clock.purpose == "production" {
        round.ok("purpose", "production");
    } else {
        // production refuses a clock that was moved
        let first = match shift.as_str() {
            "" => "",
            _ => "update postmeter.setting set clock_shift = '0', clock_frozen = null; then ",
        };
        let advice = format!("if money is meant: {first}`postmeter migrate --purpose production`");
        round.warning("purpose", format!("{}: only loopback addresses are called{shift}", clock.purpose), advice);
    }
    Ok(clock.purpose == "production")
}

async fn partitions(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(tables) = round.ask::<Partitions>("partitions").await? else { return Ok(()) };
    let lacking: Vec<&str> = tables.iter().filter(|table| !table.ahead).map(|table| table.parent.as_str()).collect();
    let spilled: Vec<&str> = tables.iter().filter(|table| table.spilled).map(|table| table.parent.as_str()).collect();
    if !lacking.is_empty() {
        round.warning(
            "partitions",
            format!("that of this month (or day) or of the next is missing: {}", lacking.join(", ")),
            "a running worker makes them; or select postmeter.create_partitions(2), \
             postmeter.create_request_partitions(2)",
        );
    }
    if !spilled.is_empty() {
        round.warning(
            "partitions",
            format!("rows went to the default partition: {}", spilled.join(", ")),
            "nothing is lost: a running worker moves them once nobody reads them for long",
        );
    }
    if lacking.is_empty() && spilled.is_empty() {
        round.ok("partitions", "there are those of this month and the next");
    }
    Ok(())
}

async fn ledger(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(ledger) = round.ask::<Ledger>("ledger").await?.and_then(|rows| rows.into_iter().next()) else {
        return Ok(());
    };
    let Some(retention) = ledger.retention else {
        round.ok("ledger", "everything is kept: no retention is set");
        return Ok(());
    };
    let before = round.findings.len();
    if let Some(unfinished) = ledger.unfinished {
        round.warning("ledger", format!("not finished: {unfinished}"), "`postmeter ledger status` shows all months");
    }
    let of_billing = ledger.billing_to_export.map(|month| format!("the remittances of {month} wait for their export"));
    let waits = ledger.to_export.map(|month| format!("{month} is finished and waits for its export"));
    for found in waits.into_iter().chain(of_billing) {
        round.warning("ledger", found, "`postmeter ledger export --all-finished --to DIR --why ...`");
    }
    let months = (ledger.to_drop > 0).then(|| format!("{} exported months may be dropped", ledger.to_drop));
    let of_billing = (ledger.billing_to_drop > 0)
        .then(|| format!("the remittances of {} exported billing months may be dropped", ledger.billing_to_drop));
    for found in months.into_iter().chain(of_billing) {
        let advice = "when the export is in a safe place: `postmeter ledger status` names them, then `postmeter ledger \
                      drop MONTH --verified DIR --why ... --apply`";
        round.warning("ledger", found, advice);
    }
    if let Some(month) = ledger.half_dropped {
        let found = format!("the remittances of {month} are dropped in part");
        let advice =
            "run it again, it goes on where it was: `postmeter ledger drop MONTH --verified DIR --why ... --apply`";
        round.warning("ledger", found, advice);
    }
    if round.findings.len() == before {
        round.ok("ledger", format!("kept for {retention}; no month waits"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_has_its_reason_on_the_page() {
        let page = include_str!("../../../../../docs/operate/postgres.md");
        for (name, ..) in HINTS {
            assert!(page.contains(&format!("| `{name}` |")), "docs/operate/postgres.md lacks {name}");
        }
    }

    #[test]
    fn a_number_is_compared_as_one() {
        assert!(is_above("61", 60) && !is_above("60", 60) && is_below("999", 1024) && !is_below("1024", 1024));
    }

    #[test]
    fn l9_a_name_in_advice_ends_no_text() {
        assert_eq!(literal("x'; drop table t --"), "'x''; drop table t --'");
    }
}
