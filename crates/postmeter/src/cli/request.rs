//! `postmeter request`: one request's way, in plain words.

use std::process::ExitCode;

use jiff::Timestamp;
use outbox::corrections::{self, Decided, Decider};
use outbox::requests::{Request, RequestHistory};
use remittance::request::{Durations, Place, StatusTiming, hours_minutes_seconds};
use serde_json::json;

use super::Context;
use super::output::{self, Table, Wrong};
use super::status::text::span;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The request's id; a UUID in any form.
    id: String,
    /// Close it: it counts as finished until a service reports on it again.
    #[arg(long, requires = "why")]
    close: bool,
    /// Why it is closed, in a sentence.
    #[arg(long, requires = "close")]
    why: Option<String>,
    /// Who closes it.
    #[arg(long, env = "USER", hide_env_values = true)]
    who: Option<String>,
}

/// Closes it, and says what it came to.
async fn close(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let decider =
        Decider { who: args.who.as_deref().unwrap_or_default(), why: args.why.as_deref().unwrap_or_default() };
    let Decided { now, changed } = corrections::close_request(&database, &args.id, decider).await?;
    if context.json {
        output::json(&json!({ "request_id": args.id, "outcome": now, "closed": true, "changed": changed }))?;
    } else if changed {
        output::say(format!("request {} is closed ({now}); the next word about it opens it again", args.id));
    } else {
        output::say(format!("request {} was closed already: nothing was changed", args.id));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if args.close {
        return close(context, &args).await;
    }
    let database = context.config.database()?;
    let Some(way) = outbox::requests::way(&database, &args.id).await? else {
        return Err(Wrong(format!(
            "nobody ever said anything about request {:?}, or it is longer ago than that is kept",
            args.id
        ))
        .into());
    };
    let now = outbox::maintain::clock(&database).await?;
    let said: Vec<StatusTiming<'_>> = way
        .said
        .iter()
        .map(|said| StatusTiming { service: &said.service, source: &said.source, date: said.date })
        .collect();
    let durations = Durations::of(said.iter().copied());
    let open = way.request.as_ref().map(|request| request.open_services.as_slice()).unwrap_or_default();
    let place = Place::of(&said, open);
    let in_short = in_short(&args.id, &way, &durations, now);
    if context.json {
        let lengths: serde_json::Map<_, _> = durations
            .per_service
            .iter()
            .map(|(name, length)| (name.clone(), json!(hours_minutes_seconds(*length))))
            .collect();
        output::json(&json!({
            "in_short": in_short,
            "way": way,
            "durations": { "per_service": lengths, "in_services": hours_minutes_seconds(durations.in_services),
                           "total": hours_minutes_seconds(durations.total) },
            "current": place.current.map(|index| &way.said[index]),
            "last": place.last.map(|index| &way.said[index]),
            "previous": place.previous.map(|index| &way.said[index]),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(in_short);
    tell("What services said", &said_table(&way));
    tell("What Postmeter did with its usage", &steps_table(&way));
    let mut lengths = Table::new(&["service:source", "time"], &[1]);
    for (name, length) in &durations.per_service {
        lengths.row([name.clone(), hours_minutes_seconds(*length)]);
    }
    if !lengths.is_empty() {
        lengths.row(["all services".to_owned(), hours_minutes_seconds(durations.in_services)]);
        lengths.row(["first to last".to_owned(), hours_minutes_seconds(durations.total)]);
    }
    tell("Where its time went", &lengths);
    Ok(ExitCode::SUCCESS)
}

fn tell(title: &str, table: &Table) {
    if !table.is_empty() {
        output::say("");
        output::say(title);
        output::say_all(table.lines().iter().map(|line| format!("  {line}")));
    }
}

fn in_short(id: &str, way: &RequestHistory, durations: &Durations, now: Timestamp) -> String {
    let Some(request) = &way.request else {
        return if way.said.is_empty() {
            format!("Request {id}: no service said anything about it; usage names it.")
        } else {
            format!("Request {id}: {} messages; a worker will say soon what they come to.", way.said.len())
        };
    };
    let Request { request_id, org, outcome, failed_service, failure, open_services, missing_services, .. } = request;
    let of = if org.is_empty() { String::new() } else { format!(" of {org}") };
    let took = hours_minutes_seconds(durations.total);
    let silent = span((now.as_second() - request.last_recorded_at.as_second()).max(0));
    let what = match outcome.as_str() {
        "failed" => format!(
            "failed in {}{}",
            failed_service.as_deref().unwrap_or("a service"),
            failure.as_deref().filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default()
        ),
        "open" => {
            format!("is open: {}; nothing was said for {silent}", who_is_awaited(open_services, missing_services))
        }
        _ => "succeeded".to_owned(),
    };
    let what = if request.closed_at.is_some() { format!("{what}; a person closed it") } else { what };
    format!("Request {request_id}{of} {what}. From first to last message: {took}.")
}

/// Who has begun and not finished, and who never spoke though a route leads there.
fn who_is_awaited(open: &[String], missing: &[String]) -> String {
    let begun: Vec<&str> = open.iter().filter(|name| !missing.contains(name)).map(String::as_str).collect();
    let (finished, said) = match (begun.len(), missing.len()) {
        (0 | 1, 0 | 1) => ("has not finished", "has said nothing"),
        (0 | 1, _) => ("has not finished", "have said nothing"),
        (_, 0 | 1) => ("have not finished", "has said nothing"),
        _ => ("have not finished", "have said nothing"),
    };
    let told = [(begun.join(", "), finished), (missing.join(", "), said)];
    let told = told.iter().filter(|(names, _)| !names.is_empty()).map(|(names, what)| format!("{names} {what}"));
    told.collect::<Vec<_>>().join(", ")
}

/// To the millisecond: services are faster than a second.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S.%3f UTC").to_string()
}

fn name(service: &str, source: &str) -> String {
    if source.is_empty() { service.to_owned() } else { format!("{service}:{source}") }
}

fn said_table(way: &RequestHistory) -> Table {
    let mut table = Table::new(&["date", "service", "status", "message"], &[]);
    for said in &way.said {
        table.row([moment(said.date), name(&said.service, &said.source), said.status.clone(), said.status_msg.clone()]);
    }
    table
}

fn steps_table(way: &RequestHistory) -> Table {
    let mut table = Table::new(&["date", "destination", "status", "what"], &[]);
    for step in &way.steps {
        table.row([moment(step.date), step.source.clone(), step.status.clone(), step.status_msg.clone()]);
    }
    table
}
