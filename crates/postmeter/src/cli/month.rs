//! `postmeter month`: what is open in a billing month, closing it, reopening it.
//!
//! The rules are functions of the schema (`0011_pre_month_close`); `docs/operate/month-close.md` explains them.

use std::process::ExitCode;

use clap::Subcommand;
use jiff::civil::Date;
use outbox::month::{self, How, Item};
use serde_json::json;

use super::Context;
use super::correct::Signed;
use super::output::{self, NEEDS_A_PERSON, Table};
use super::recalculate::month as parse_month;
use super::status::text::{count, moment};

/// Maximum of open items on a screen; `--json` shows all.
const SHOWN: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the open items of a month, with quantities, amounts and what to do; exit code 3 if there are any.
    Report(Which),
    /// Close a month: its figures stand still, and what comes later is held by name.
    Close {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        signed: Signed,
        /// Also while hours of the month can still be sent: what is not folded by then is held.
        #[arg(long)]
        forced: bool,
        /// Carry it out. Without this nothing is changed: it is only shown.
        #[arg(long)]
        apply: bool,
    },
    /// Open a closed month again: what was held because of it goes back to the outbox.
    Reopen {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        signed: Signed,
        /// Carry it out. Without this nothing is changed: it is only shown.
        #[arg(long)]
        apply: bool,
    },
}

/// Which month.
#[derive(Debug, clap::Args)]
struct Which {
    /// The destination, by its name.
    destination: String,
    /// The month, such as 2024-09.
    #[arg(value_parser = parse_month)]
    month: Date,
}

impl Which {
    fn name(&self) -> String {
        format!("{} of {}", self.month.strftime("%Y-%m"), self.destination)
    }
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Report(which) => report(context, &which).await,
        Verb::Close { which, signed, forced, apply } => {
            let how = How { dry_run: !apply, forced };
            close(context, &which, &signed, how).await
        }
        Verb::Reopen { which, signed, apply } => reopen(context, &which, &signed, apply).await,
    }
}

async fn report(context: &Context, which: &Which) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let items = month::report(&database, &which.destination, which.month).await?;
    let closed_at = month::closed_at(&database, &which.destination, which.month).await?;
    if context.json {
        output::json(&json!({ "destination": which.destination, "month": which.month.strftime("%Y-%m").to_string(),
                              "closed_at": closed_at, "items": items }))?;
    } else {
        show(&items);
        let closed = closed_at.map_or_else(|| "not closed".to_owned(), |at| format!("closed {}", moment(at)));
        output::say(format!("{}: {closed}, {}", which.name(), count_items(&items)));
    }
    Ok(if items.iter().any(needs_a_person) { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}

async fn close(context: &Context, which: &Which, signed: &Signed, how: How) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let was = month::closed_at(&database, &which.destination, which.month).await?;
    let items = month::close(&database, &which.destination, which.month, signed.decider(), how).await?;
    let applied = !how.dry_run;
    let refused = match (was, how) {
        (None, How { dry_run: true, forced: false }) => {
            month::sendable_until(&database, &which.destination, which.month).await?
        }
        _ => None,
    };
    if context.json {
        let changed = applied && was.is_none();
        output::json(&json!({ "applied": applied, "changed": changed, "refused_until": refused, "items": items }))?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&items);
    let (name, open) = (which.name(), count_items(&items));
    output::say(match (was, applied, refused) {
        (None, false, Some(until)) => format!(
            "{name} would be refused, {open}: hours of it can still be sent until {}. NOTHING WAS CHANGED: close it after \
             that, or say --forced.",
            moment(until)
        ),
        (Some(at), ..) => format!("{name} was closed {} already, {open}. NOTHING WAS CHANGED.", moment(at)),
        (None, true, _) => format!("{name} is closed, {open}."),
        (None, false, None) => {
            format!("would close {name}, {open}. NOTHING WAS CHANGED: say --apply to carry it out.")
        }
    });
    Ok(ExitCode::SUCCESS)
}

async fn reopen(context: &Context, which: &Which, signed: &Signed, apply: bool) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let was = month::closed_at(&database, &which.destination, which.month).await?;
    let back = month::reopen(&database, &which.destination, which.month, signed.decider(), !apply).await?;
    if context.json {
        output::json(&json!({ "applied": apply, "changed": apply && was.is_some(), "returned": back }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !back.is_empty() {
        let mut table = Table::new(&["usages", "org", "product", "metric", "quantity"], &[0, 4]);
        for row in &back {
            let (org, product, metric) = (row.org.clone(), row.product.clone(), row.metric.clone());
            table.row([row.usages.to_string(), org, product, metric, row.quantity.clone()]);
        }
        output::say_all(table.lines());
        output::say("");
    }
    let usages = count(back.iter().map(|row| row.usages).sum(), "held usage");
    let name = which.name();
    output::say(match (was, apply) {
        (None, _) => format!("{name} is not closed. NOTHING WAS CHANGED."),
        (Some(_), true) => format!("{name} is open again; {usages} went back to the outbox."),
        (Some(_), false) => format!(
            "would reopen {name} and return {usages} to the outbox. NOTHING WAS CHANGED: say --apply to carry it out."
        ),
    });
    Ok(ExitCode::SUCCESS)
}

/// Less than one billable unit needs no decision.
fn needs_a_person(item: &Item) -> bool {
    item.class != "remainder"
}

fn count_items(items: &[Item]) -> String {
    let open: i64 = items.iter().filter(|item| needs_a_person(item)).map(|item| item.items).sum();
    if open == 0 { "nothing is open".to_owned() } else { format!("open: {}", count(open, "item")) }
}

fn show(items: &[Item]) {
    if items.is_empty() {
        return;
    }
    let head = ["class", "buyer or org", "product", "dimension or metric", "items", "quantity", "amount", "what to do"];
    let mut table = Table::new(&head, &[4, 5, 6]);
    for item in items.iter().take(SHOWN) {
        let class = item.class.replace('_', " ");
        let unit = if item.unit == "billing" { "units" } else { item.metric.as_deref().unwrap_or("units") };
        table.row([
            item.reason.as_ref().map_or_else(|| class.clone(), |why| format!("{class}: {}", why.replace('_', " "))),
            item.buyer.clone().or_else(|| item.org.clone()).unwrap_or_default(),
            item.product.clone().unwrap_or_default(),
            item.dimension.clone().or_else(|| item.metric.clone()).unwrap_or_default(),
            item.items.to_string(),
            format!("{} {unit}", item.quantity),
            match (&item.amount, &item.currency) {
                (Some(amount), Some(currency)) => format!("{amount} {currency}"),
                _ => "unpriced".to_owned(),
            },
            item.to_do.clone().unwrap_or_default(),
        ]);
    }
    let more = items.len().saturating_sub(SHOWN);
    output::say_all(table.lines());
    if more > 0 {
        output::say(format!("and {more} more (--json shows all)"));
    }
    output::say("");
}
