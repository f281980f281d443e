//! What sessions are given before they say anything. Ours set what they rely on; services and people do not.

use outbox::Error;
use outbox::health::{Collation, DatabaseCollation, Default, Server};

use super::Round;

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    defaults(round).await?;
    collations(round).await
}

async fn defaults(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(defaults) = round.ask::<Default>("defaults").await? else { return Ok(()) };
    let before = round.findings.len();
    for Default { user, here, database, name, value } in defaults {
        let Some(effect) = effect(&name, &value) else { continue };
        let (whose, of) = match &user {
            Some(user) if here => (format!("user {user} in {database}"), format!("role {user} in database {database}")),
            Some(user) => (format!("user {user}"), format!("role {user}")),
            None => (format!("database {database}"), format!("database {database}")),
        };
        let found = format!("{whose}: {name} = {value}: {effect}");
        let advice = format!("alter {of} reset {name}");
        if name == "session_replication_role" {
            round.problem("defaults", found, advice);
        } else {
            round.warning("defaults", found, advice);
        }
    }
    if round.findings.len() == before {
        round.ok("defaults", "no user with a role of ours and not the database has odd ones");
    }
    Ok(())
}

/// Shorter than this, a limit cuts off what is usual on a busy server.
const SHORT_MS: f64 = 5_000.0;

/// What an odd default does to those who do not set their own.
fn effect(name: &str, value: &str) -> Option<&'static str> {
    let lower = value.to_lowercase();
    let is_off = ["off", "false", "no", "0"].contains(&lower.as_str());
    let (is_odd, effect) = match name.to_lowercase().as_str() {
        "default_transaction_isolation" => {
            (lower != "read committed", "services that record must expect 40001 and do their transactions again")
        }
        "default_transaction_read_only" => {
            (!is_off, "services cannot record, and a URL of several hosts takes this server for a standby")
        }
        "session_replication_role" => {
            (lower != "origin", "triggers are passed over: nothing is refused that they refuse")
        }
        "search_path" => (
            lower.contains("pg_catalog") && !lower.trim_start_matches('"').starts_with("pg_catalog"),
            "functions of other schemas answer instead of Postgres's own",
        ),
        "timezone" => (
            !["utc", "gmt", "etc/utc", "etc/gmt", "zulu", "uct"].contains(&lower.as_str()),
            "INSERT and COPY read times without a zone as that zone's",
        ),
        "datestyle" => (!lower.contains("iso"), "dates and times read and look otherwise than our documents say"),
        "intervalstyle" => (lower != "postgres", "spans look otherwise than our documents say"),
        "bytea_output" => (lower != "hex", "bytes look otherwise than our documents say"),
        "standard_conforming_strings" => (is_off, "a backslash in a text is taken for an escape"),
        "synchronous_commit" => (is_off, "a crash of the server forgets usage whose commit was answered"),
        "plan_cache_mode" => (lower == "force_generic_plan", "reports are planned without knowing what is asked for"),
        "idle_session_timeout" => (is_short(&lower), "connections of a pool are closed under it"),
        "statement_timeout" | "lock_timeout" | "transaction_timeout" | "idle_in_transaction_session_timeout" => {
            (is_short(&lower), "services' transactions and people's questions are cut off")
        }
        other => (other.starts_with("enable_") && is_off, "reports are planned without what makes them quick"),
    };
    is_odd.then_some(effect)
}

/// A span as Postgres reads it: milliseconds, or with a unit.
fn is_short(value: &str) -> bool {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit_ms = match unit.trim() {
        "us" => 0.001,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => 1.0,
    };
    number.parse::<f64>().is_ok_and(|number| number > 0.0 && number * unit_ms < SHORT_MS)
}

/// An index that was built by one order and is read by another does not find what is in it.
async fn collations(round: &mut Round<'_>) -> Result<(), Error> {
    let before = round.findings.len();
    let servers = round.ask::<Server>("server").await?.unwrap_or_default();
    if servers.first().is_some_and(|server| server.version >= 150_000) {
        for DatabaseCollation { database, then, now } in round.ask("collation").await?.unwrap_or_default() {
            round.problem(
                "collation",
                format!("database {database} was made with version {then} of its collation and is read with {now}"),
                format!("reindex database {database}; then alter database {database} refresh collation version"),
            );
        }
    }
    for Collation { collation, then, now } in round.ask("collation").await?.unwrap_or_default() {
        round.problem(
            "collation",
            format!("columns use collation {collation}, which was of version {then} and is of {now} now"),
            format!("reindex what uses it; then alter collation {collation} refresh version"),
        );
    }
    if round.findings.len() == before {
        round.ok("collation", "versions are those that indexes were made with");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_is_what_changes_what_others_mean() {
        for (name, value) in [
            ("default_transaction_isolation", "serializable"),
            ("default_transaction_read_only", "on"),
            ("session_replication_role", "replica"),
            ("search_path", "hostile, pg_catalog"),
            ("TimeZone", "Asia/Kathmandu"),
            ("DateStyle", "German, DMY"),
            ("statement_timeout", "300"),
            ("lock_timeout", "1s"),
            ("enable_indexscan", "off"),
            ("synchronous_commit", "off"),
        ] {
            assert!(effect(name, value).is_some(), "{name} = {value}");
        }
        for (name, value) in [
            ("search_path", "billing, public"),
            ("search_path", "pg_catalog, pg_temp"),
            ("role", "postmeter_migrator"),
            ("jit", "off"),
            ("work_mem", "64MB"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("statement_timeout", "0"),
            ("statement_timeout", "1min"),
            ("TimeZone", "UTC"),
        ] {
            assert_eq!(effect(name, value), None, "{name} = {value}");
        }
    }
}
