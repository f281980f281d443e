//! The corrections of people: retry, release, recount, write off, hold, resolve, pause, resume, probe.
//!
//! What may be done and what may not is decided by functions of the schema (`0006_pre_decisions`), so that a person
//! with psql and a person with this program meet the same rules. `docs/operate/corrections.md` explains each.

mod filter;
mod held_there;
mod lines;
mod resolve;
mod whole;

use std::process::ExitCode;

use anyhow::Context as _;
use outbox::corrections::{self, Change, Decided, Decider, HeldUsage, Verb};
use outbox::switches;
use remittance::Quantity;
use serde_json::json;
use uuid::Uuid;

use super::import::Sum;
use super::output::{self, NEEDS_A_PERSON, Table, Wrong};
use super::status::text::count;
use super::{Context, heard, lost_time};
use filter::Filter;
pub(super) use resolve::{ResolveArgs, resolve};

/// Maximum of rows on a screen; `--json` shows all.
const SHOWN: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Act on held usage instead of remittances (retry and write-off only).
    #[arg(long)]
    held_usage: bool,
    /// With --held-usage: this one, by its id.
    #[arg(long, value_name = "UUID", requires = "held_usage")]
    usage: Option<Uuid>,
    #[command(flatten)]
    signed: Signed,
    /// Carry it out. Without this nothing is changed: it is only shown.
    #[arg(long)]
    apply: bool,
}

/// Who decides, and why: kept with the decision for ever.
#[derive(Debug, clap::Args)]
pub(super) struct Signed {
    /// Who decides.
    #[arg(long, env = "USER", hide_env_values = true)]
    who: String,
    /// Why, in a sentence.
    #[arg(long)]
    why: String,
}

impl Signed {
    pub fn decider(&self) -> Decider<'_> {
        Decider { who: &self.who, why: &self.why }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct RecountArgs {
    /// Where something stands in the way of its own hour, count it as late usage.
    #[arg(long)]
    late: bool,
    #[command(flatten)]
    args: Args,
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The destination, by its name.
    destination: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Debug, clap::Args)]
pub(super) struct ProbeArgs {
    /// The destination, by its name.
    destination: String,
    #[command(flatten)]
    signed: Signed,
}

pub(super) async fn recount(context: &Context, args: RecountArgs) -> anyhow::Result<ExitCode> {
    run(context, Verb::Recount { late: args.late }, args.args).await
}

pub(super) async fn run(context: &Context, verb: Verb, args: Args) -> anyhow::Result<ExitCode> {
    if args.held_usage && matches!(verb, Verb::Release | Verb::Hold | Verb::Recount { .. }) {
        let sentence = match verb {
            Verb::Hold => "held usage is held already",
            Verb::Recount { .. } => "held usage was never counted: mend the catalogue and it goes on by itself",
            _ => "held usage was never counted, so there is nothing to release: retry it or write it off",
        };
        return Err(Wrong(sentence.to_owned()).into());
    }
    let database = context.config.database()?;
    let (filter, decider) = (args.filter.json(args.usage), args.signed.decider());
    if args.held_usage {
        let usages = corrections::correct_held(&database, verb, &filter, decider, !args.apply).await?;
        return show_held(context, verb, &usages, args.filter.metric(), args.apply);
    }
    let changes = corrections::correct(&database, verb, &filter, decider, !args.apply).await?;
    let fits = if changes.is_empty() { corrections::fits(&database, &filter).await? } else { Vec::new() };
    show(context, verb, &changes, &fits, args.apply)
}

/// The verb as people say it: `retry`, `retried`.
const fn words(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Retry => ("retry", "retried"),
        Verb::Release => ("release", "released"),
        Verb::WriteOff => ("write off", "written off"),
        Verb::Hold => ("hold", "held"),
        Verb::Recount { .. } => ("recount", "recounted"),
    }
}

/// The exact sum of quantities; none if one has more digits than a quantity may have.
fn sum<'a>(quantities: impl Iterator<Item = &'a str>) -> Option<Sum> {
    let mut sum = Sum::default();
    for quantity in quantities {
        sum.add(quantity.parse::<Quantity>().ok()?);
    }
    Some(sum)
}

fn show(
    context: &Context,
    verb: Verb,
    changes: &[Change],
    fits: &[(String, i64)],
    applied: bool,
) -> anyhow::Result<ExitCode> {
    let moved: Vec<&Change> = changes.iter().filter(|change| change.after != change.before).collect();
    let units = sum(moved.iter().filter_map(|change| change.quantity.as_deref()));
    if context.json {
        output::json(&json!({
            "applied": applied,
            "found": changes.len(),
            "changed": moved.len(),
            "quantity": units,
            "changes": changes,
        }))?;
    } else if changes.is_empty() {
        output::say(nothing_left(fits));
    } else {
        output::say_all(table(changes).lines());
        more(changes.len());
        let units = units.map_or_else(String::new, |units| format!(", billing units: {units}"));
        output::say("");
        output::say(sentence(verb, applied, moved.len(), changes.len(), "remittance", &units));
    }
    let is_whole = moved.len() == changes.len();
    Ok(if applied && !is_whole { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}

/// Why a filter that fits something changes nothing.
fn nothing_left(fits: &[(String, i64)]) -> String {
    let fits: Vec<String> = fits.iter().map(|(status, n)| format!("{n} {}", status.replace('_', " "))).collect();
    let fits = if fits.is_empty() { "nothing is there".to_owned() } else { format!("it is {} now", fits.join(", ")) };
    format!("nothing is left to do for what this filter fits: {fits}. NOTHING WAS CHANGED.")
}

fn table(changes: &[Change]) -> Table {
    let mut table = Table::new(&["remittance", "key", "is", "becomes", "units", "note"], &[0, 4]);
    for change in changes.iter().take(SHOWN) {
        let is_same = change.after == change.before;
        table.row([
            change.delivery.to_string(),
            change.key.clone(),
            change.before.replace('_', " "),
            if is_same { "(unchanged)".to_owned() } else { change.after.replace('_', " ") },
            change.quantity.clone().unwrap_or_default(),
            change.note.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn show_held(
    context: &Context,
    verb: Verb,
    usages: &[HeldUsage],
    metric: Option<&str>,
    applied: bool,
) -> anyhow::Result<ExitCode> {
    if context.json {
        let rows: Vec<_> = usages
            .iter()
            .map(|(usage, reason, quantity)| json!({ "usage": usage, "reason": reason, "quantity": quantity }))
            .collect();
        output::json(&json!({ "applied": applied, "found": rows.len(), "changed": rows.len(), "held_usage": rows }))?;
    } else if usages.is_empty() {
        output::say("nothing is left to do: no held usage is left of what this filter fits. NOTHING WAS CHANGED.");
    } else {
        let mut table = Table::new(&["usage", "held as", "quantity"], &[2]);
        for (usage, reason, quantity) in usages.iter().take(SHOWN) {
            table.row([usage.to_string(), reason.clone(), quantity.clone()]);
        }
        output::say_all(table.lines());
        more(usages.len());
        // usage of several metrics has no sum
        let sum = metric.and_then(|metric| Some((sum(usages.iter().map(|(.., quantity)| quantity.as_str()))?, metric)));
        let sum = sum.map_or_else(String::new, |(sum, metric)| format!(", {sum} {metric}"));
        output::say("");
        output::say(sentence(verb, applied, usages.len(), usages.len(), "held usage", &sum));
    }
    Ok(ExitCode::SUCCESS)
}

fn more(rows: usize) {
    if rows > SHOWN {
        output::say(format!("and {} more (--json shows all)", rows - SHOWN));
    }
}

/// What was done, or would be.
fn sentence(verb: Verb, applied: bool, moved: usize, found: usize, what: &str, sum: &str) -> String {
    let (to_do, done) = words(verb);
    let found = count(i64::try_from(found).unwrap_or(i64::MAX), what);
    if applied {
        format!("{moved} of {found} {done}{sum}.")
    } else {
        format!("would {to_do} {moved} of {found}{sum}. NOTHING WAS CHANGED: say --apply to carry it out.")
    }
}

pub(super) async fn pause(context: &Context, paused: bool, args: PauseArgs) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let name = &args.destination;
    // what resuming sets going is said as it stands before
    let left = if paused { Vec::new() } else { lost_time::read(&database).await? };
    let changed = corrections::set_paused(&database, name, paused, args.signed.decider()).await?.changed;
    // also where it was paused already: whoever did it may not have waited
    let heard = if paused {
        let heard = switches::until_heard(&database, Some(name)).await;
        Some(heard.with_context(|| format!("{name} is paused, but not whether every worker acts by it"))?)
    } else {
        None
    };
    let code = heard.as_ref().map_or(ExitCode::SUCCESS, heard::code);
    if context.json {
        output::json(&json!({ "destination": name, "paused": paused, "changed": changed, "heard": heard }))?;
        return Ok(code);
    }
    output::say(match (paused, changed) {
        (true, true) => format!("{name} is paused: nothing more is sent, deadlines go on"),
        (true, false) => format!("{name} was paused already: nothing was changed"),
        (false, true) => format!("{name} is sent to again"),
        (false, false) => format!("{name} was not paused: nothing was changed"),
    });
    output::say_all(heard.iter().flat_map(heard::lines));
    output::say_all(left.iter().filter(|left| left.destination == *name).flat_map(lost_time::lines));
    Ok(code)
}

pub(super) async fn probe(context: &Context, args: ProbeArgs) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let name = &args.destination;
    let Decided { now, changed } = corrections::probe(&database, name, args.signed.decider()).await?;
    let heard = if now == "waiting" {
        let heard = switches::until_heard(&database, Some(name)).await;
        Some(heard.with_context(|| format!("the wait of {name} is over, but not whether every worker acts by it"))?)
    } else {
        None
    };
    let code = heard.as_ref().map_or(ExitCode::SUCCESS, heard::code);
    if context.json {
        output::json(&json!({ "destination": name, "breaker": now, "changed": changed, "heard": heard }))?;
        return Ok(code);
    }
    output::say(match now.as_str() {
        "open" => {
            format!("{name}: the breaker's pause is over; a worker probes it with the next remittance that is due")
        }
        "waiting" => format!(
            "{name}: the wait that the marketplace asked for is over, for all destinations of its quota; what is due is sent"
        ),
        "half_open" => format!("{name} is being probed already, or has nothing due to probe with: nothing was changed"),
        "recovering" => format!("{name} answers again and recovers by itself: nothing was changed"),
        _ => format!("{name} has no fault and waits for nothing: nothing was changed"),
    });
    // of a wait that has ended nothing is on the wire: only who has not heard is worth a word
    output::say_all(heard.iter().filter(|heard| !heard.silent.is_empty()).flat_map(heard::lines));
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e8_nothing_left_to_do_says_what_became_of_it() {
        let fits = [("accepted".to_owned(), 2), ("written_off".to_owned(), 1)];
        assert!(nothing_left(&fits).contains("it is 2 accepted, 1 written off now. NOTHING WAS CHANGED"));
    }
}
