//! `postmeter status`: one screen that says what is where.

pub(super) use explain::text;

use std::process::ExitCode;

use jiff::Timestamp;
use outbox::health::Isolated;
use outbox::report::{Health, HeldGroup, Missing, Overview, QuotaPace, RefusedBuyer, Standing};

use super::Context;
use super::lost_time;
use super::output::{self, NEEDS_A_PERSON, Table};
use text::{amount, count, from_now, minute, moment, shortened, span};

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Statuses in the order of life; what is final is shown for the running month.
const STATUSES: &[(&str, &str)] = &[
    ("open", "open"),
    ("due", "due"),
    ("later", "later"),
    ("in_flight", "in flight"),
    ("accepted", "accepted *"),
    ("dry_run", "dry run *"),
    ("unknown", "unknown"),
    ("conflict", "conflict"),
    ("rejected", "rejected"),
    ("expired", "expired"),
    ("held", "held"),
    ("written_off", "written off *"),
];

/// So many dimensions, reasons or workers are named on a line.
const NAMED: usize = 3;

pub(super) async fn run(context: &Context, _args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let overview = outbox::report::overview(&database).await?;
    if context.json {
        output::json(&overview)?;
    } else {
        output::say_all(screen(&overview));
    }
    Ok(if overview.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEEDS_A_PERSON) })
}

/// The whole screen, with what could not be read at its head.
fn screen(overview: &Overview) -> Vec<String> {
    let mut lines: Vec<String> =
        overview.missing.iter().map(|Missing { part, why }| format!("NOT READ {part}: {why}")).collect();
    if !lines.is_empty() {
        lines.push("         `postmeter doctor` says who holds a lock".to_owned());
    }
    let Some(backlog) = &overview.backlog else {
        // without the database's clock nothing can be said about what is late
        lines.push(format!("workers  {}", workers(overview)));
        return lines;
    };
    let clock = if backlog.is_clock_moved { ", whose clock was moved" } else { "" };
    lines.push(format!("{} ({} database{clock})", moment(backlog.now), backlog.purpose));
    lines.extend(installation(overview));
    lines.push(String::new());
    let now = backlog.now;
    let oldest = backlog
        .oldest_recorded_at
        .map(|at| format!("; the oldest was recorded {}", from_now(now, at)))
        .unwrap_or_default();
    lines.push(format!("outbox   {} waiting{oldest}", count(backlog.waiting, "usage")));
    lines.push(format!("held     {}", held(overview)));
    for (reason, groups) in by_reason(&overview.held) {
        lines.push(format!("         {}", held_reason(reason, &groups, overview)));
    }
    lines.push(format!("workers  {}", workers(overview)));
    lines.extend(overview.health.iter().map(|health| format!("breaker  {}", breaker(health))));
    for (row, isolated) in overview.isolated.iter().map(isolated).enumerate() {
        lines.push(format!("{:7}  {isolated}", if row == 0 { "steps" } else { "" }));
    }
    lines.extend(contradictions(overview));
    lines.extend(overview.lost_time.iter().flat_map(lost_time::lines));
    lines.extend(overview.refused.iter().map(|buyer| format!("refused  {}", refused(buyer))));
    lines.extend(overview.paces.iter().map(|quota| format!("pace     {}", pace(quota))));
    for (row, risk) in at_risk(overview).iter().enumerate() {
        lines.push(format!("{:7}  {risk}", if row == 0 { "at risk" } else { "" }));
    }
    lines.push(String::new());
    lines.extend(destinations(overview));
    lines
}

/// That nothing is sent from here, and what to do.
fn installation(overview: &Overview) -> Option<String> {
    let installation = overview.installation.as_ref()?;
    let doubt = installation.doubt.as_ref()?;
    Some(if installation.is_copy {
        format!("NOTHING IS SENT: {doubt}")
    } else {
        format!(
            "NOTHING IS SENT: {doubt}. Say what it is: `postmeter declare original --why ...`, or `postmeter declare \
             copy --why ...`"
        )
    })
}

/// What a marketplace says otherwise than it was settled; of many the oldest are named.
fn contradictions(overview: &Overview) -> Vec<String> {
    let open = &overview.contradictions;
    let mut lines: Vec<String> = open
        .iter()
        .take(NAMED)
        .enumerate()
        .map(|(row, one)| {
            let what = match one.delivery_id {
                Some(delivery) => format!("remittance {delivery} at {}", one.destination),
                None => format!("{} at {}", one.about, one.destination),
            };
            let head = if row == 0 { "judge" } else { "" };
            format!("{head:7}  contradiction {}, {what}: {}", one.id, one.sentence())
        })
        .collect();
    if open.len() > NAMED {
        lines.push(format!("         and {} more: view postmeter.contradiction_list", open.len() - NAMED));
    }
    lines
}

/// Nothing is not the same.
const NOT_READ: &str = "not read";

fn is_missing(overview: &Overview, part: &str) -> bool {
    overview.missing.iter().any(|missing| missing.part == part)
}

fn held(overview: &Overview) -> String {
    if is_missing(overview, "held") {
        return NOT_READ.to_owned();
    }
    match overview.held.iter().map(|group| group.usages).sum() {
        0 => "nothing".to_owned(),
        usages => format!("{}:", count(usages, "usage")),
    }
}

/// The database's time: what is late, is so by it.
fn now(overview: &Overview) -> Timestamp {
    overview.backlog.as_ref().expect("a screen without it ends before").now
}

/// Groups by reason, the most usages first.
fn by_reason(groups: &[HeldGroup]) -> Vec<(&str, Vec<&HeldGroup>)> {
    let mut reasons: Vec<(&str, Vec<&HeldGroup>)> = Vec::new();
    for group in groups {
        match reasons.iter_mut().find(|(reason, _)| *reason == group.reason) {
            Some((_, of_reason)) => of_reason.push(group),
            None => reasons.push((&group.reason, vec![group])),
        }
    }
    reasons
}

fn held_reason(reason: &str, groups: &[&HeldGroup], overview: &Overview) -> String {
    let now = now(overview);
    let usages = groups.iter().map(|group| group.usages).sum();
    let what: Vec<String> =
        groups.iter().map(|group| format!("{} {} of {}", group.quantity, group.metric, group.product)).collect();
    let deadline = groups
        .iter()
        .filter_map(|group| group.earliest_deadline)
        .min()
        .map(|at| format!(", first deadline {} ({})", minute(at), from_now(now, at)))
        .unwrap_or_default();
    format!("{}: {} ({}){deadline}", reason.replace('_', " "), count(usages, "usage"), named(&what))
}

fn workers(overview: &Overview) -> String {
    if is_missing(overview, "workers") {
        return NOT_READ.to_owned();
    }
    if overview.workers.is_empty() {
        return "NONE ALIVE: nothing is folded, cut or sent".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "seconds since a heartbeat, for people")]
    let names: Vec<String> = overview
        .workers
        .iter()
        .map(|worker| {
            format!("{} ({}, heartbeat {} ago)", worker.name, worker.version, span(worker.heartbeat_age as i64))
        })
        .collect();
    format!("{} alive: {}", overview.workers.len(), named(&names))
}

/// What does not go through while the rest goes on, in a sentence.
#[expect(clippy::cast_possible_truncation, reason = "seconds, for people")]
fn isolated(isolated: &Isolated) -> String {
    let Isolated { kind, name, count: number, seconds, example, why } = isolated;
    let since = span(*seconds as i64);
    match kind.as_str() {
        "step" => format!("{name} failed {number} times in a row ({example}): {why}"),
        "hour" => {
            format!("{name}: {} should have been cut {since} ago ({example}); {why}", count(*number, "open hour"))
        }
        state => format!("{name}: {number} {} for {since} ({example}): {why}", state.replace('_', " ")),
    }
}

/// A destination that is down or recovers, in a sentence.
#[expect(clippy::cast_possible_truncation, reason = "seconds, for people")]
fn breaker(health: &Health) -> String {
    let status = health.last_http_status.map(|status| format!("HTTP {status}"));
    let last: Vec<String> =
        [Some(health.last_outcome.replace('_', " ")), health.last_code.clone(), status].into_iter().flatten().collect();
    let (name, since, last) = (&health.destination, span(health.open_seconds as i64), last.join(", "));
    if let Some(ramp) = health.ramp {
        return format!(
            "{name} recovers: each worker may have {} at a time; it was down for up to {since} ({last})",
            count(i64::from(ramp), "call")
        );
    }
    let next = match (&health.probing, health.next_probe_seconds.map(|seconds| seconds as i64)) {
        (Some(worker), _) => format!("{worker} probes it now"),
        (None, Some(seconds @ 1..)) => format!("the next probe is in {}", span(seconds)),
        _ => "it is probed as soon as a worker has something to send".to_owned(),
    };
    format!("{name} is down since {since} ({last}): nothing is sent there and no try is spent; {next}")
}

/// A buyer whose calls are refused, in a sentence with every reading that is open.
fn refused(buyer: &RefusedBuyer) -> String {
    let RefusedBuyer { destination, buyer, code, to_blame, delivery_id, .. } = buyer;
    let (who, remittance) = (shortened(buyer, 60), format!("remittance {delivery_id}"));
    match to_blame.as_str() {
        "buyer" => format!("{destination} does not take {who} ({code}) and takes others: {remittance} is held"),
        "credential" => format!("{destination} refuses {who} ({code}) and everybody else: the credential is to blame"),
        _ => format!(
            "{destination} refuses {who} ({code}) and has taken nobody since: either this buyer may not be billed, or the \
             credential may not bill it; {remittance} is tried again"
        ),
    }
}

/// A quota that is slower than it may be, in a sentence.
#[expect(clippy::cast_possible_truncation, reason = "seconds, for people")]
fn pace(quota: &QuotaPace) -> String {
    let name = &quota.quota;
    if let Some(seconds) = quota.wait_seconds {
        let wait = span(seconds.ceil() as i64);
        return format!(
            "quota {name} waits {wait}, as the marketplace asked; `postmeter probe DESTINATION --why ...` ends that"
        );
    }
    let limit = quota.calls_per_second.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let rate = quota.rate.unwrap_or_default();
    format!("quota {name} is taken at {rate:.1}{limit} calls a second: calls are throttled or fail there")
}

/// Remittances and held usage that miss a deadline within the hour.
fn at_risk(overview: &Overview) -> Vec<String> {
    let now = now(overview);
    let first = |at: Timestamp| format!("first deadline {} ({})", minute(at), from_now(now, at));
    let mut lines: Vec<String> = overview
        .at_risk
        .iter()
        .map(|risk| {
            let worth = match (&risk.amount, &risk.quantity) {
                (Some(sum), _) => amount(Some(sum), risk.currency.as_deref()),
                (None, Some(_)) => "unpriced".to_owned(),
                (None, None) => "not cut yet".to_owned(),
            };
            format!(
                "{} {} at {}, {worth}, {}",
                count(risk.remittances, "remittance"),
                risk.status.replace('_', " "),
                risk.destination,
                first(risk.earliest_deadline)
            )
        })
        .collect();
    for (reason, groups) in by_reason(&overview.held) {
        let deadline = groups.iter().filter_map(|group| group.earliest_deadline).min();
        if let Some(deadline) = deadline.filter(|at| at.as_second() < now.as_second() + 3600) {
            lines.push(format!("held usage, {}, {}", reason.replace('_', " "), first(deadline)));
        }
    }
    for forecast in overview.forecast.iter().filter(|forecast| forecast.misses > 0) {
        let missed = forecast.first_missed_deadline.map(first).unwrap_or_default();
        let (misses, name) = (count(forecast.misses, "remittance"), &forecast.destination);
        lines.push(format!("{misses} will be too late for {name} at the present rate, {missed}"));
    }
    if lines.is_empty() {
        let is_whole = ["at_risk", "forecast", "held"].iter().all(|part| !is_missing(overview, part));
        lines.push(if is_whole { "nothing in the next hour" } else { NOT_READ }.to_owned());
    }
    lines
}

/// `a, b, c and 4 more`.
fn named(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn destinations(overview: &Overview) -> Vec<String> {
    if ["destinations", "standing"].iter().any(|part| is_missing(overview, part)) {
        return vec![format!("destinations: {NOT_READ}")];
    }
    if overview.destinations.is_empty() {
        return vec!["no destination yet: `postmeter catalog apply FILE` (docs/catalogue.md)".to_owned()];
    }
    let mut table = Table::new(&["destination", "status", "remittances", "units", "amount", "first deadline"], &[2]);
    for destination in &overview.destinations {
        let mut name = destination.destination.clone();
        for (is_so, mark) in [
            (destination.paused, " (PAUSED)"),
            (destination.shadow, " (shadow)"),
            (destination.dry_run && !destination.shadow, " (dry run)"),
        ] {
            name.push_str(if is_so { mark } else { "" });
        }
        let of_it: Vec<&Standing> =
            overview.standing.iter().filter(|s| s.destination == destination.destination).collect();
        if of_it.is_empty() {
            table.row([name, "nothing yet".to_owned()]);
            continue;
        }
        for (status, label) in STATUSES {
            let of_status: Vec<&Standing> = of_it.iter().copied().filter(|s| s.status == *status).collect();
            if !of_status.is_empty() {
                table.row(status_row(std::mem::take(&mut name), label, &of_status, overview));
            }
        }
    }
    let mut lines = table.lines();
    lines.extend([String::new(), "* of the running billing month".to_owned()]);
    lines
}

fn status_row(name: String, label: &str, standing: &[&Standing], overview: &Overview) -> [String; 6] {
    let (sums, dimensions): (Vec<&Standing>, Vec<&Standing>) = standing.iter().partition(|s| s.dimension.is_none());
    let units: Vec<String> = dimensions
        .iter()
        .filter_map(|s| Some(format!("{} {}", s.quantity.as_ref()?, shortened(s.dimension.as_ref()?, 24))))
        .collect();
    let is_cut = !units.is_empty();
    let units = if is_cut { named(&units) } else { "not cut yet".to_owned() };
    let mut amounts: Vec<String> =
        sums.iter().filter_map(|s| s.amount.as_ref().map(|sum| amount(Some(sum), s.currency.as_deref()))).collect();
    let unpriced: i64 = sums.iter().filter(|s| s.currency.is_none()).map(|s| s.remittances).sum();
    if is_cut && unpriced > 0 {
        amounts.push(format!("{unpriced} unpriced"));
    }
    let deadline = standing.iter().filter_map(|s| s.earliest_deadline).min();
    [
        name,
        label.to_owned(),
        sums.iter().map(|s| s.remittances).sum::<i64>().to_string(),
        units,
        amounts.join(" + "),
        deadline.map(|at| format!("{} ({})", minute(at), from_now(now(overview), at))).unwrap_or_default(),
    ]
}
