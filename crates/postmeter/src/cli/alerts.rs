//! `postmeter alerts`: what an SRE must know now.

mod set;

use std::process::ExitCode;

use outbox::alerts;
use serde_json::json;

use super::Context;
use super::output::{self, NEEDS_A_PERSON, Table};
use super::status::text::moment;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Cleared ones too, the newest first.
    #[arg(long)]
    all: bool,
    /// Look at everything now, instead of reading what workers saw; says so too when no worker is alive.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Change a rule: a decision, with who and why.
    Set(set::Args),
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Verb::Set(args)) = args.verb {
        return set::run(context, args).await;
    }
    let database = context.config.database()?;
    // of workers nobody else can say that there are none
    let names: &[&str] = if args.check { alerts::NAMES } else { &[] };
    alerts::look(&database, names, true).await?;
    let (found, blind) = (alerts::read(&database, args.all).await?, alerts::blind(&database).await?);
    let undelivered = alerts::undelivered(&database).await?;
    let open = found.iter().filter(|alert| alert.cleared_at.is_none());
    let is_critical = open.clone().any(|alert| alert.severity == "critical");
    if context.json {
        let post =
            undelivered.map(|(made_at, tries, error)| json!({"made_at": made_at, "tries": tries, "error": error}));
        output::json(&json!({ "alerts": found, "blind": blind, "undelivered_post": post }))?;
    } else {
        let mut table = Table::new(&["severity", "alert", "subject", "count", "opened", "cleared", "what"], &[3]);
        for alert in &found {
            table.row([
                alert.severity.clone(),
                alert.name.clone(),
                alert.subject.clone(),
                alert.count.to_string(),
                moment(alert.opened_at),
                alert.cleared_at.map(moment).unwrap_or_default(),
                alert.summary.clone(),
            ]);
        }
        output::say_all(if table.is_empty() { vec!["no alert is open".to_owned()] } else { table.lines() });
        for alerts::Blind { name, why } in &blind {
            output::say(format!("not looked at: {name}: {why}"));
        }
        if let Some((made_at, tries, error)) = undelivered {
            output::say(format!("the webhook has not got the post of {}: {tries} tries, {error}", moment(made_at)));
        }
    }
    Ok(if is_critical { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}
