//! `postmeter config`.

use std::process::ExitCode;

use super::settings;
use crate::cli::Context;
use crate::cli::output::{self, Table};

/// Arguments of `postmeter config`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Write the table of all settings (Markdown) instead: what may be said, and what counts if nothing is.
    #[arg(long)]
    reference: bool,
}

/// Shows what counts. Whatever is unknown or malformed was refused before, and what a process would stumble over later is
/// here, so this is also the check of a configuration before it is rolled out. The database is not asked.
pub(in crate::cli) fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    if args.reference {
        output::raw(&settings::reference())?;
        return Ok(ExitCode::SUCCESS);
    }
    context.config.check()?;
    let settings = &context.config.effective;
    if context.json {
        output::json(settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["setting", "value", "from"], &[]);
    for setting in settings {
        let name = format!("{}.{}", setting.section, setting.setting);
        table.row([name, setting.value.clone().unwrap_or_default(), setting.from.clone()]);
    }
    output::say_all(table.lines());
    Ok(ExitCode::SUCCESS)
}
