//! `postmeter reconcile`: what a marketplace says it holds of a day, beside what we hold as accepted.

use std::process::ExitCode;
use std::time::Duration;

use jiff::civil::Date;
use outbox::reconcile::{Compared, Reported};

use super::Context;
use super::output::{self, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The destination to ask.
    destination: String,
    /// The day, in UTC: 2024-09-18.
    #[arg(long)]
    day: Date,
    /// Who asks, for the record.
    #[arg(long, env = "USER", default_value = "postmeter")]
    who: String,
}

/// How long the marketplace may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let destinations = outbox::catalogue::destinations(&database).await?;
    let Some(destination) = destinations.iter().find(|one| one.name == args.destination) else {
        let known: Vec<&str> = destinations.iter().map(|one| one.name.as_str()).collect();
        return Err(output::Wrong(format!(
            "there is no destination {:?}; there are: {}",
            args.destination,
            known.join(", ")
        ))
        .into());
    };
    if destination.shadow {
        let sentence = format!("{} is a shadow: nothing was ever sent from it", destination.name);
        return Err(output::Wrong(sentence).into());
    }
    let marketplace = marketplaces::open(&destination.kind, &destination.settings)?;
    if !marketplace.capabilities().can_be_asked {
        let sentence = format!("{} cannot be asked what it holds: compare with its own reports", destination.kind);
        return Err(output::Wrong(sentence).into());
    }
    let reported = marketplace.reported(args.day, PATIENCE).await.map_err(|answer| {
        let code = answer.outcome.code().unwrap_or_default().to_owned();
        anyhow::anyhow!("{} did not say: {} {code}", destination.name, answer.outcome.as_str())
    })?;
    let reported: Vec<Reported> = reported
        .into_iter()
        .map(|one| Reported {
            buyer: one.buyer,
            dimension: one.dimension,
            state: one.state,
            quantity: one.quantity,
            records: i64::try_from(one.count).unwrap_or(i64::MAX),
        })
        .collect();
    let to = (destination.id, destination.name.as_str());
    let compared = outbox::reconcile::reconcile(&database, to, args.day, &args.who, &reported).await?;
    let differ = compared.iter().filter(|one| one.verdict != "equal").count();
    if context.json {
        output::json(&compared)?;
    } else {
        output::say_all(screen(&compared, differ, &args));
    }
    Ok(ExitCode::from(if differ > 0 { output::NEEDS_A_PERSON } else { 0 }))
}

fn screen(compared: &[Compared], differ: usize, args: &Args) -> Vec<String> {
    let (name, day, equal) = (&args.destination, args.day, compared.len() - differ);
    if differ == 0 {
        return vec![format!("{name} holds of {day} what we call accepted: {equal} keys, no difference")];
    }
    let mut table =
        Table::new(&["buyer", "dimension", "ours", "theirs", "difference", "they say", "verdict"], &[2, 3, 4]);
    for one in compared.iter().filter(|one| one.verdict != "equal") {
        let nothing = || "nothing".to_owned();
        table.row([
            one.buyer.clone(),
            one.dimension.clone(),
            one.ours.clone().unwrap_or_else(nothing),
            one.theirs.clone().unwrap_or_else(nothing),
            one.difference.clone(),
            one.states.clone().unwrap_or_default(),
            one.verdict.replace('_', " "),
        ]);
    }
    let mut lines = table.lines();
    lines.push(String::new());
    lines.push(format!(
        "{differ} keys of {day} differ, {equal} are equal. Nothing is sent because of this: look at each."
    ));
    lines
}
