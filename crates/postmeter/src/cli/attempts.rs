//! `postmeter attempts`: the ledger.

use std::process::ExitCode;

use outbox::report::AttemptFilter;

use super::Context;
use super::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only attempts of this remittance, by its number.
    #[arg(long, value_name = "N")]
    delivery: Option<i64>,
    /// Of the remittance with this key.
    #[arg(long)]
    key: Option<String>,
    /// Only attempts of remittances that count usage of this org.
    #[arg(long)]
    org: Option<String>,
    /// At this destination.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// With this outcome (accepted, unknown, rejected …; open: no answer yet).
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// Show at most this many, the newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if let Some(outcome) = args.outcome.as_deref().filter(|word| *word != "open")
        && !remittance::Outcome::WORDS.contains(&outcome)
    {
        let words = remittance::Outcome::WORDS.join(", ");
        return Err(output::Wrong(format!("{outcome:?} is no outcome; there are open, {words}")).into());
    }
    let Args { delivery, key, org, destination, outcome, limit } = args;
    let filter = AttemptFilter { delivery, key, org, destination, outcome };
    let attempts = outbox::report::attempts(&context.config.database()?, &filter, limit).await?;
    if context.json {
        output::json(&attempts)?;
    } else if attempts.is_empty() {
        output::say("no attempt");
    } else {
        output::say_all(explain::attempts(&attempts, true).lines());
        if usize::try_from(limit).is_ok_and(|limit| limit == attempts.len()) {
            output::say(format!("the newest {limit}; there may be more (--limit)"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
