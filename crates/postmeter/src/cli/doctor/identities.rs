//! Generations of identities: whether they take their turns, and what keeps them from it.

use outbox::Error;
use outbox::health::{Identities, InTheWay};

use super::{Round, for_people};

/// A running worker tries every minute or so, and needs a moment without recording.
const PATIENCE: f64 = 3_600.0;

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(identities) = round.ask::<Identities>("identities").await?.and_then(|rows| rows.into_iter().next()) else {
        return Ok(());
    };
    let Identities { began_at: Some(began_at), overdue_seconds: Some(overdue), bytes_before, bytes } = identities
    else {
        round.problem(
            "identities",
            "postmeter.identity_generation is empty: nobody can record",
            "insert into postmeter.identity_generation (began_at) values (postmeter.clock())",
        );
        return Ok(());
    };
    let is_overdue = overdue > PATIENCE;
    if is_overdue {
        let found = format!(
            "those of before {began_at} could have been dropped {} ago: the older generation takes {} MB that it \
             need not, and the younger one, {} MB, grows",
            for_people(overdue),
            in_mb(bytes_before),
            in_mb(bytes),
        );
        let advice = "if nothing below is in the way, a running worker does it within minutes; or, with the role \
                      postmeter_worker: select postmeter.turn_identities()";
        round.warning("identities", found, advice);
    }
    let Some(blockers) = round.ask::<InTheWay>("identities").await? else { return Ok(()) };
    let mut is_well = !is_overdue;
    for blocker in blockers.into_iter().filter(|blocker| is_overdue || blocker.what == "object") {
        is_well = false;
        in_the_way(round, blocker, is_overdue);
    }
    if is_well {
        let found = format!("the younger generation is of {began_at}; both take {} MB", in_mb(bytes_before + bytes));
        round.ok("identities", found);
    }
    Ok(())
}

/// What was built by hand, or is held.
fn in_the_way(round: &mut Round<'_>, blocker: InTheWay, is_overdue: bool) {
    let InTheWay { what, name, table, seconds, remedy } = blocker;
    let open = seconds.map_or_else(|| "unknown time".to_owned(), for_people);
    match what.as_str() {
        "object" => {
            let found = format!("{name} leans on postmeter.{table}, which turns drop: it keeps them from it");
            let remedy = remedy.unwrap_or_default();
            let advice = format!("let it ask postmeter.usage or postmeter.usage_of() instead; then {remedy}");
            if is_overdue {
                round.problem("identities", found, advice);
            } else {
                round.warning("identities", found, advice);
            }
        }
        "prepared" => {
            let found = format!("a prepared transaction keeps its lock on postmeter.{table}");
            round.warning("identities", found, "commit it or roll it back: pg_prepared_xacts names it");
        }
        _ => {
            let session = name;
            let found = format!("session {session} has had a lock on postmeter.{table} for {open}");
            let advice =
                format!("pg_stat_activity says what it does; if it may end: select pg_terminate_backend({session})");
            round.warning("identities", found, advice);
        }
    }
}

fn in_mb(bytes: i64) -> i64 {
    bytes / 1_000_000
}
