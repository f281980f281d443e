//! `postmeter request-refusals`: what HTTP and imports refused.

use std::process::ExitCode;

use super::Context;
use super::output::{self, Table};
use super::status::text::moment;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show at most this many, the newest first.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let listed = outbox::track::refusals(&context.config.database()?, args.limit).await?;
    if context.json {
        output::json(&listed)?;
    } else if listed.is_empty() {
        output::say("nothing was refused");
    } else {
        let mut table = Table::new(&["hour", "door", "field", "reason", "count", "said last"], &[4]);
        for row in &listed {
            table.row([
                moment(row.hour),
                row.door.clone(),
                row.field.clone(),
                row.reason.clone(),
                row.n.to_string(),
                row.said.clone(),
            ]);
        }
        output::say_all(table.lines());
    }
    Ok(ExitCode::SUCCESS)
}
