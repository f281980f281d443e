//! `postmeter shadow diff`: what a shadow would have billed, beside what its live destination bills.

use std::process::ExitCode;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use outbox::report::{ShadowDiff, ShadowHour, ShadowMeter, ShadowUsage, shadow_diff};

use super::Context;
use super::output::{self, Table};

/// Maximum of hours on a screen; `--json` shows all.
const SHOWN: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// A month of a shadow beside that of its live destination, by meter, hour and usage.
    Diff {
        /// The shadow, by its name.
        shadow: String,
        /// The month, such as 2024-09; the running one if none is given.
        #[arg(long, value_parser = super::recalculate::month)]
        month: Option<Date>,
    },
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let Command::Diff { shadow, month } = args.command;
    let database = context.config.database()?;
    let destinations = outbox::catalogue::destinations(&database).await?;
    if !destinations.iter().any(|one| one.shadow && one.name == shadow) {
        let known: Vec<&str> = destinations.iter().filter(|one| one.shadow).map(|one| one.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(output::Wrong(format!("there is no shadow {shadow:?}; there are: {known}")).into());
    }
    let month = match month {
        Some(month) => month,
        None => outbox::maintain::clock(&database).await?.to_zoned(TimeZone::UTC).date().first_of_month(),
    };
    let most = if context.json { i64::MAX } else { i64::try_from(SHOWN).unwrap_or(i64::MAX) + 1 };
    let diff = shadow_diff(&database, &shadow, month, most).await?;
    if context.json {
        output::json(&diff)?;
    } else {
        output::say_all(screen(&diff, &shadow, month));
    }
    Ok(ExitCode::from(if diff.is_equal() { 0 } else { output::NEEDS_A_PERSON }))
}

fn screen(diff: &ShadowDiff, shadow: &str, month: Date) -> Vec<String> {
    let month = month.strftime("%Y-%m");
    if diff.meters.is_empty() && diff.usage.is_empty() {
        return vec![format!("{shadow} and its live destination have nothing of {month}")];
    }
    let mut parts = vec![meters(&diff.meters)];
    if !diff.hours.is_empty() {
        parts.push(hours(&diff.hours));
    }
    let strange: Vec<&ShadowUsage> =
        diff.usage.iter().filter(|usage| usage.uncounted_usages > 0 || usage.difference != "0").collect();
    if !strange.is_empty() {
        parts.push(usages(&strange));
    }
    let verdict = if diff.is_equal() {
        format!("{month}: no hour differs since the shadow began")
    } else {
        format!("{month}: they differ. Nothing of a shadow is ever sent.")
    };
    parts.push(vec![verdict]);
    parts.join(&String::new())
}

fn amount(amount: Option<&String>, currency: Option<&String>) -> String {
    amount.zip(currency).map_or_else(|| "unpriced".to_owned(), |(amount, currency)| format!("{amount} {currency}"))
}

fn meters(meters: &[ShadowMeter]) -> Vec<String> {
    let head =
        ["buyer", "dimension", "hours", "differ", "live", "shadow", "difference", "live amount", "shadow amount"];
    let mut table = Table::new(&head, &[2, 3, 4, 5, 6, 7, 8]);
    for meter in meters {
        table.row([
            meter.buyer.clone(),
            meter.dimension.clone(),
            meter.hours.to_string(),
            meter.hours_differ.to_string(),
            meter.live_quantity.clone(),
            meter.shadow_quantity.clone(),
            meter.difference.clone(),
            amount(meter.live_amount.as_ref(), meter.live_currency.as_ref()),
            amount(meter.shadow_amount.as_ref(), meter.shadow_currency.as_ref()),
        ]);
    }
    table.lines()
}

fn hours(hours: &[ShadowHour]) -> Vec<String> {
    let mut table = Table::new(&["hour", "buyer", "dimension", "live", "shadow", "difference", "verdict"], &[5]);
    let side = |status: Option<&String>, quantity: Option<&String>| match (status, quantity) {
        (None, _) => "nothing".to_owned(),
        (Some(status), None) => status.replace('_', " "),
        (Some(status), Some(quantity)) => format!("{quantity} {}", status.replace('_', " ")),
    };
    for hour in hours.iter().take(SHOWN) {
        table.row([
            hour.hour.strftime("%Y-%m-%d %H:00").to_string(),
            hour.buyer.clone(),
            hour.dimension.clone(),
            side(hour.live_status.as_ref(), hour.live_quantity.as_ref()),
            side(hour.shadow_status.as_ref(), hour.shadow_quantity.as_ref()),
            hour.difference.clone(),
            hour.verdict.replace('_', " "),
        ]);
    }
    let mut lines = table.lines();
    if hours.len() > SHOWN {
        lines.push("and more; --json shows all".to_owned());
    }
    lines
}

fn usages(usages: &[&ShadowUsage]) -> Vec<String> {
    let head = ["org", "product", "metric", "live", "shadow", "not counted by the shadow", "difference"];
    let mut table = Table::new(&head, &[3, 4, 6]);
    for usage in usages {
        let reasons = usage.reasons.as_deref().unwrap_or_default().replace('_', " ");
        let uncounted = match usage.uncounted_usages {
            0 => String::new(),
            _ => format!("{} ({reasons})", usage.uncounted_quantity),
        };
        table.row([
            usage.org.clone(),
            usage.product.clone(),
            usage.metric.clone(),
            usage.live_quantity.clone(),
            usage.shadow_quantity.clone(),
            uncounted,
            usage.difference.clone(),
        ]);
    }
    table.lines()
}
