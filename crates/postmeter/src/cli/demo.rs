//! `postmeter demo`.

use std::process::ExitCode;

use super::{Context, output};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stay up after the day, to try things on, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(_context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let closes = crate::demo::run(args.keep, &|line| output::say(line)).await?;
    Ok(if closes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
