//! `postmeter alerts set`: a rule of the alerts, changed with who and why.

use std::process::ExitCode;

use outbox::alerts::{self, Rule};
use serde_json::json;

use crate::cli::Context;
use crate::cli::correct::Signed;
use crate::cli::output::{self, Wrong};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The alert, such as `outbox_oldest_entry`.
    name: String,
    /// critical or warning.
    #[arg(long)]
    severity: Option<String>,
    /// How often it is looked at, such as "1 minute".
    #[arg(long, value_name = "SPAN")]
    every: Option<String>,
    /// How long a thing may be so before it is an alert.
    #[arg(long, value_name = "SPAN")]
    patience: Option<String>,
    /// How long a look may take.
    #[arg(long, value_name = "SPAN")]
    within: Option<String>,
    /// false: the rule is not looked at, and its open alerts are cleared.
    #[arg(long, action = clap::ArgAction::Set)]
    enabled: Option<bool>,
    #[command(flatten)]
    signed: Signed,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let Args { name, severity, every, patience, within, enabled, signed } = args;
    let rule = Rule { severity, every, patience, within, enabled };
    if rule == Rule::default() {
        return Err(
            Wrong("say what to change: --severity, --every, --patience, --within or --enabled".to_owned()).into()
        );
    }
    let changed = alerts::set(&context.config.database()?, &name, &rule, signed.decider()).await?;
    if context.json {
        output::json(&json!({ "alert": name, "changed": changed }))?;
    } else if !changed {
        output::say(format!("{name} was so already. NOTHING WAS CHANGED."));
    } else if enabled == Some(false) {
        output::say(format!("{name} is changed and switched off: nobody looks, and what was open of it is cleared."));
    } else {
        output::say(format!("{name} is changed."));
    }
    Ok(ExitCode::SUCCESS)
}
