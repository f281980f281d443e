//! What alerts watch, asked now: also where no worker looks, and no Prometheus does.

use std::time::Instant;

use outbox::{Error, measure};

use super::{Round, for_people};

/// AWS refuses signatures that are some minutes off.
const SKEW_MAX: f64 = 60.0;

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    skew(round).await?;
    breakers(round).await?;
    forecast(round).await?;
    keys(round).await?;
    requests(round).await
}

/// The machine's own time: how far it is off is what is asked, nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "the wall clock itself is measured")]
fn wall_clock() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

async fn skew(round: &mut Round<'_>) -> Result<(), Error> {
    let before = (wall_clock(), Instant::now());
    let Some(clock) = round.ask::<measure::Clock>("clock").await?.and_then(|rows| rows.into_iter().next()) else {
        return Ok(());
    };
    let skew = before.0 + before.1.elapsed().as_secs_f64() / 2.0 - clock.seconds;
    if skew.abs() > SKEW_MAX {
        let way = if skew > 0.0 { "ahead of" } else { "behind" };
        let found = format!("this machine's is {} {way} the database's", for_people(skew));
        round.warning("clock", found, "synchronise it: AWS refuses signatures that are minutes off");
    } else {
        round.ok("clock", "this machine's is that of the database");
    }
    Ok(())
}

async fn breakers(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(destinations) = round.ask::<measure::Destinations>("breakers").await? else { return Ok(()) };
    let before = round.findings.len();
    for destination in destinations.into_iter().filter(|destination| destination.is_open) {
        let name = &destination.destination;
        let deadline = destination.deadline_seconds.map_or_else(String::new, |left| match left {
            left if left < 0.0 => "; a deadline has passed".to_owned(),
            left => format!("; the first deadline is in {}", for_people(left)),
        });
        let found = format!("{name} is down: nothing but a probe is sent{deadline}");
        let advice = format!("`postmeter status` says why; when the cause is gone: `postmeter probe {name} --why ...`");
        match destination.deadline_seconds {
            Some(left) if left < 3_600.0 => round.problem("breakers", found, advice),
            _ => round.warning("breakers", found, advice),
        }
    }
    if round.findings.len() == before {
        round.ok("breakers", "no destination is down");
    }
    Ok(())
}

async fn forecast(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(forecast) = round.ask::<measure::Forecast>("forecast").await? else { return Ok(()) };
    let before = round.findings.len();
    for measure::Forecast { destination, misses } in forecast.into_iter().filter(|line| line.misses > 0) {
        let found = format!("{destination}: {misses} will miss their deadline at the present rate");
        let advice = "resume it, if it is paused; mend it, if it is down; else raise in_flight_max or the \
                      quota's rate: view postmeter.forecast";
        round.problem("forecast", found, advice);
    }
    if round.findings.len() == before {
        round.ok("forecast", "everything that waits will be sent in time");
    }
    Ok(())
}

async fn keys(round: &mut Round<'_>) -> Result<(), Error> {
    for measure::KeysStuck { count } in round.ask::<measure::KeysStuck>("keys").await?.into_iter().flatten() {
        if count > 0 {
            let found = format!("{count} idempotency keys are held for more than a minute: their callers get 409");
            round.warning("keys", found, "see what their sessions wait for: the runbook, KeyStuck");
        } else {
            round.ok("keys", "no idempotency key is held for long");
        }
    }
    Ok(())
}

async fn requests(round: &mut Round<'_>) -> Result<(), Error> {
    for measure::Unfinished { count } in round.ask::<measure::Unfinished>("requests").await?.into_iter().flatten() {
        if count > 0 {
            let found = format!("{count} were received and never finished");
            round.warning("requests", found, "view postmeter.unfinished_request names the service that is open");
        } else {
            round.ok("requests", "each that was received was finished, or is young");
        }
    }
    Ok(())
}
