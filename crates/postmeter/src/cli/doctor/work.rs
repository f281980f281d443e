//! Workers and destinations: whether somebody works, and can.

use std::collections::BTreeMap;

use outbox::Error;
use outbox::health::{Backlog, BadSubscriptions, Behind, Fellow, Held, Isolated, NotCut, Overdue, Suspects};

use super::{Round, for_people};

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    workers(round).await?;
    destinations(round).await?;
    subscriptions(round).await?;
    backlog(round).await?;
    held(round).await?;
    overdue(round).await?;
    isolated(round).await?;
    alerts(round).await
}

async fn workers(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(fellows) = round.ask::<Fellow>("workers").await? else { return Ok(()) };
    let of = |state: &str| fellows.iter().filter(|fellow| fellow.state == state).collect::<Vec<_>>();
    let names = |fellows: &[&Fellow]| {
        let more = if fellows.len() > 5 { format!(" and {} more", fellows.len() - 5) } else { String::new() };
        format!("{}{more}", fellows.iter().take(5).map(|fellow| fellow.name.as_str()).collect::<Vec<_>>().join(", "))
    };
    let (alive, lost, gone) = (of("alive"), of("lost"), of("taken_over"));
    if alive.is_empty() {
        round.problem("workers", "none is alive: nothing is folded, cut or sent", "run `postmeter worker`");
    } else {
        round.ok("workers", format!("{} alive: {}", alive.len(), names(&alive)));
    }
    if !lost.is_empty() {
        let silent = lost.iter().map(|fellow| fellow.silent_seconds).fold(0.0, f64::max);
        let found = format!("{} without a heartbeat, for up to {}: {}", lost.len(), for_people(silent), names(&lost));
        round.warning("workers", found, "a worker that is well takes over what they hold; see why they stopped");
    }
    if !gone.is_empty() {
        round.warning(
            "workers",
            format!("{} taken for dead within the last hour: {}", gone.len(), names(&gone)),
            "look for crashes, or for a database that was away",
        );
    }
    let ours = env!("CARGO_PKG_VERSION");
    let others: Vec<&Fellow> = alive.into_iter().filter(|fellow| fellow.version != ours).collect();
    if let Some(first) = others.first() {
        round.warning(
            "workers",
            format!("of version {}, this program is {ours}: {}", first.version, names(&others)),
            "roll out one version",
        );
    }
    Ok(())
}

async fn destinations(round: &mut Round<'_>) -> Result<(), Error> {
    let database = round.database.clone();
    let asking = async {
        let destinations = outbox::catalogue::destinations(&database).await?;
        Ok((destinations, outbox::catalogue::purpose(&database).await?))
    };
    let Some((destinations, purpose)) = round.hear("destinations", asking).await? else { return Ok(()) };
    let loopback_only = purpose != "production";
    if destinations.is_empty() {
        round.warning("destinations", "there is none", "`postmeter catalog apply FILE`: docs/catalogue.md");
    }
    for destination in &destinations {
        let name = &destination.name;
        match marketplaces::open(&destination.kind, &destination.settings) {
            Err(error) => {
                round.problem(
                    "destinations",
                    format!("{name} cannot be served: {error}"),
                    "mend it with `postmeter catalog apply FILE`",
                );
                continue;
            }
            Ok(marketplace) if loopback_only && !is_loopback(marketplace.endpoint().host_str().unwrap_or_default()) => {
                let endpoint = marketplace.endpoint();
                round.problem(
                    "destinations",
                    format!("{name} is not served: {endpoint} is called in production only"),
                    "set an endpoint on 127.0.0.1 with `postmeter catalog apply FILE`; if money is meant, see \
                     purpose above",
                );
                continue;
            }
            Ok(_) => {}
        }
        if destination.call_timeout >= round.context.config.worker.lease {
            round.problem(
                "destinations",
                format!("{name}: its call_timeout is not shorter than a worker's lease"),
                "lengthen worker.lease_seconds in the configuration of workers and of this program, or shorten \
                 call_timeout",
            );
        } else if destination.paused {
            round.warning(
                "destinations",
                format!("{name} is paused"),
                format!("when the reason is gone: `postmeter resume {name} --why ...`"),
            );
        } else if destination.shadow {
            round.ok("destinations", format!("{name} is a shadow: it counts and never calls"));
        } else if destination.dry_run {
            round.warning(
                "destinations",
                format!("{name} is on dry run: nothing is sent, nothing is billed"),
                "set dry_run = false with `postmeter catalog apply FILE`",
            );
        } else {
            round.ok("destinations", format!("{name} can be served"));
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn subscriptions(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(faults) = round.ask::<BadSubscriptions>("subscriptions").await? else { return Ok(()) };
    if faults.is_empty() {
        round.ok("subscriptions", "every identity can be used");
    }
    for BadSubscriptions { fault, count, org, product, reason } in faults {
        let of = format!("{count} (such as {org}, {product})");
        match fault.as_str() {
            "invalid" => {
                let why = reason.unwrap_or_default();
                round.problem(
                    "subscriptions",
                    format!("identity refused: {of}: {why}"),
                    "mend it with `postmeter catalog apply FILE`; its usage is held until then",
                );
            }
            "unread" => round.warning(
                "subscriptions",
                format!("identity not read yet: {of}"),
                "a running worker reads what was written by SQL",
            ),
            _ => round.warning(
                "subscriptions",
                format!("no dimension for the product: {of}"),
                "add one with `postmeter catalog apply FILE`; usage is held until then",
            ),
        }
    }
    Ok(())
}

async fn backlog(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(backlog) = round.ask::<Backlog>("outbox").await?.and_then(|rows| rows.into_iter().next()) else {
        return Ok(());
    };
    let more = if backlog.entries >= 100_000 { " or more" } else { "" };
    let oldest = backlog.oldest_seconds.unwrap_or_default();
    let found = format!("{} entries{more}, the oldest recorded {} ago", backlog.entries, for_people(oldest));
    if oldest > 3_600.0 {
        round.problem(
            "outbox",
            found,
            "folding does not keep up or does not run: see workers and their logs, add workers",
        );
    } else if oldest > 300.0 {
        round.warning("outbox", found, "usual after an import; otherwise see workers");
    } else if backlog.entries == 0 {
        round.ok("outbox", "empty");
    } else {
        round.ok("outbox", found);
    }
    for Suspects { entries } in round.ask::<Suspects>("outbox").await?.into_iter().flatten().filter(|it| it.entries > 0)
    {
        round.warning(
            "outbox",
            format!("workers died with {entries} entries in hand; these are folded apart"),
            "an entry that kills again will be held as poison; if none does, look at the workers' logs",
        );
    }
    Ok(())
}

async fn held(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(reasons) = round.ask::<Held>("held").await? else { return Ok(()) };
    if reasons.is_empty() {
        round.ok("held", "no usage is held");
    }
    for Held { reason, count, orgs, example, first_deadline_seconds } in reasons {
        let deadline = match first_deadline_seconds {
            None => String::new(),
            Some(left) if left < 0.0 => "; some can no longer be sent in their own hour".to_owned(),
            Some(left) => format!("; the first misses its deadline in {}", for_people(left)),
        };
        let advice = match reason.as_str() {
            "no_subscription" => {
                "add the subscription, or an exemption, with `postmeter catalog apply FILE`".to_owned()
            }
            "ambiguous_subscription" => {
                "end all subscriptions but one before its hour, with `postmeter catalog apply FILE`; later usage can \
                 name its account"
                    .to_owned()
            }
            "unmapped_dimension" => "add the dimension with `postmeter catalog apply FILE`".to_owned(),
            "invalid_subscription" => "mend the subscription's identity with `postmeter catalog apply FILE`".to_owned(),
            // what helps depends on its month, its deadline and the catalogue, which explain looks at
            _ => format!("`postmeter explain --usage {example}` says what a person can do about the first"),
        };
        round.problem("held", format!("{count} of {orgs} orgs: {reason}{deadline}"), advice);
    }
    Ok(())
}

async fn overdue(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(overdue) = round.ask::<Overdue>("deadlines").await? else { return Ok(()) };
    if overdue.is_empty() {
        round.ok("deadlines", "nothing that is due has missed its deadline");
    }
    for Overdue { destination, count } in overdue {
        round.problem(
            "deadlines",
            format!("{destination}: {count} are due and past their deadline"),
            "a running worker settles them as expired; see why they were not sent",
        );
    }
    let Some(behind) = round.ask::<Behind>("deadlines").await? else { return Ok(()) };
    for Behind { buyers, oldest_seconds, example, waiting } in behind {
        round.warning(
            "deadlines",
            format!(
                "{buyers} changes of subscriptions are not followed for {} (first {example}); {waiting} of them wait for older transactions",
                for_people(oldest_seconds)
            ),
            "let a worker of this version run; see `steps` for what is locked, and end transactions that stay open",
        );
    }
    Ok(())
}

/// Members of batches and whole steps that do not go through, and hours that should have been cut.
async fn isolated(round: &mut Round<'_>) -> Result<(), Error> {
    let (members, hours) = (round.ask::<Isolated>("steps").await?, round.ask::<NotCut>("steps").await?);
    let is_all = members.is_some() && hours.is_some();
    let hours = hours.into_iter().flatten().map(Isolated::from);
    let mut isolated: Vec<Isolated> = members.into_iter().flatten().chain(hours).collect();
    isolated.retain(|isolated| isolated.count > 0);
    if is_all && isolated.is_empty() {
        round.ok("steps", "nothing is set aside, locked out or late to be cut, and no step fails");
    }
    for Isolated { kind, name, count, seconds, example, why } in isolated {
        let since = for_people(seconds);
        match kind.as_str() {
            "set_aside" => round.problem(
                "steps",
                format!("{name}: {count} set aside for {since} (first {example}): {why}"),
                "mend the cause; it is tried again by itself, at once after `select postmeter.try_setbacks_again()`",
            ),
            "failing" => {
                let found = format!("{name}: {count} failing for {since} (first {example}): {why}");
                round.warning("steps", found, "it is tried again; what fails twice alone is set aside");
            }
            "locked" => round.warning(
                "steps",
                format!("{name}: {count} locked for {since} (first {example}): {why}"),
                "end that session's transaction, or the session: the rest goes on meanwhile",
            ),
            "step" => round.problem(
                "steps",
                format!("{name} failed {count} times in a row ({example}): {why}"),
                "nothing goes through this step until what the error names is mended",
            ),
            _ => round.problem(
                "deadlines",
                format!("{name}: {count} open hours should have been cut {since} ago (first {example}); {why}"),
                "see what steps and workers say above: a running worker cuts them",
            ),
        }
    }
    Ok(())
}

/// What workers saw: open alerts, rules that no process can look at, and posts that do not arrive.
async fn alerts(round: &mut Round<'_>) -> Result<(), Error> {
    let database = round.database.clone();
    let asking = async {
        let (open, blind) = (outbox::alerts::read(&database, false).await?, outbox::alerts::blind(&database).await?);
        Ok((open, blind, outbox::alerts::undelivered(&database).await?))
    };
    let Some((open, blind, undelivered)) = round.hear("alerts", asking).await? else { return Ok(()) };
    if open.is_empty() {
        round.ok("alerts", "none is open");
    }
    for alert in open {
        let found = format!("{}: {}", alert.name, alert.summary);
        let advice = "docs/operate/runbook.md, by its name";
        match alert.severity.as_str() {
            "critical" => round.problem("alerts", found, advice),
            _ => round.warning("alerts", found, advice),
        }
    }
    let mut reasons = BTreeMap::<String, Vec<String>>::new();
    for outbox::alerts::Blind { name, why } in blind {
        reasons.entry(why).or_default().push(name);
    }
    for (why, names) in reasons {
        let verb = if names.len() == 1 { "is" } else { "are" };
        let found = format!("{} {verb} not looked at: {why}", names.join(", "));
        round.warning("alerts", found, "until then nobody is told");
    }
    if let Some((_, tries, error)) = undelivered {
        let found = format!("the webhook does not take its post: {tries} tries, {error}");
        round.problem("alerts", found, "mend the receiver, or section [alerts] of the configuration");
    }
    Ok(())
}
