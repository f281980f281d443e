//! `postmeter attempts`: the ledger.

use std::process::ExitCode;

use outbox::report::{Attempt, AttemptFilter};

use super::Context;
use super::output::{self, Table};
use super::status::text::{moment, shortened};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of this remittance, by its number.
    #[arg(long, value_name = "N")]
    delivery: Option<i64>,
    /// Of the remittance with this key.
    #[arg(long)]
    key: Option<String>,
    /// Of remittances that count usage of this org.
    #[arg(long)]
    org: Option<String>,
    /// At this destination.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// With this outcome (accepted, unknown, rejected …; open: no answer yet).
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// The newest so many.
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
        output::say_all(table(&attempts, true).lines());
        if usize::try_from(limit).is_ok_and(|limit| limit == attempts.len()) {
            output::say(format!("the newest {limit}; there may be more (--limit)"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Attempts as a table; with their remittance where several may stand together.
pub(super) fn table(attempts: &[Attempt], with_remittance: bool) -> Table {
    let mut head =
        vec!["no.", "claimed", "outcome", "code", "units", "shown", "http", "took", "their request id", "receipt"];
    if with_remittance {
        head.splice(0..0, ["remittance", "destination"]);
    }
    let mut table = Table::new(&head, if with_remittance { &[0, 2, 6, 7, 8, 9] } else { &[0, 4, 5, 6, 7] });
    for attempt in attempts {
        let mut cells = if with_remittance {
            vec![attempt.delivery_id.to_string(), attempt.destination.clone()]
        } else {
            Vec::new()
        };
        cells.extend([
            attempt.number.to_string(),
            moment(attempt.claimed_at),
            outcome(attempt),
            attempt.code.as_deref().map(|code| shortened(code, 40)).unwrap_or_default(),
            attempt.quantity.clone().unwrap_or_default(),
            attempt.shown_quantity.clone().unwrap_or_default(),
            attempt.http_status.map(|status| status.to_string()).unwrap_or_default(),
            attempt.duration_ms.map(|ms| format!("{ms:.0} ms")).unwrap_or_default(),
            attempt.their_request_id.as_deref().map(|id| shortened(id, 40)).unwrap_or_default(),
            attempt.receipt.as_deref().map(|receipt| shortened(receipt, 40)).unwrap_or_default(),
        ]);
        table.row(cells);
    }
    table
}

/// The outcome; marked where the attempt spent none of the remittance's tries.
fn outcome(attempt: &Attempt) -> String {
    let word = attempt.outcome.replace('_', " ");
    if attempt.is_try == Some(false) { format!("{word} (no try)") } else { word }
}
