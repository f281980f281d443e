//! `postmeter explain`: why a usage is billed or not, in plain words.

use std::process::ExitCode;

use explain::Story;
use outbox::report::{self, Wanted};
use serde::Serialize;
use uuid::Uuid;

use super::Context;
use super::output::{self, Wrong};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service that recorded the usage.
    #[arg(requires = "event_id", conflicts_with_all = ["usage", "delivery"])]
    source: Option<String>,
    /// The service's own id of it.
    event_id: Option<String>,
    /// The usage with this id.
    #[arg(long, value_name = "UUID", conflicts_with = "delivery")]
    usage: Option<Uuid>,
    /// A remittance, by its number.
    #[arg(long, value_name = "N")]
    delivery: Option<i64>,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    if let Some(delivery) = args.delivery {
        let Some(report) = report::remittance(&database, delivery).await? else {
            if let Some(told) = report::told_dropped(&database, delivery).await? {
                return Err(Wrong(format!("remittance {delivery} {told}")).into());
            }
            return Err(Wrong(format!("there is no remittance {delivery}")).into());
        };
        return show(context, &explain::of_remittance(&report), &report);
    }
    let wanted = match (&args.usage, &args.source, &args.event_id) {
        (Some(id), ..) => Wanted::Id(*id),
        (None, Some(source), Some(event_id)) => Wanted::Event { source, event_id },
        _ => return Err(Wrong("say which usage: SOURCE EVENT_ID, --usage UUID or --delivery N".to_owned()).into()),
    };
    let Some(report) = report::usage(&database, wanted).await? else {
        let name = match wanted {
            Wanted::Id(id) => format!("usage {id}"),
            Wanted::Event { source, event_id } => format!("usage {event_id:?} of source {source:?}"),
        };
        if let Some(month) = report::dropped_with(&database, wanted).await? {
            let sentence = format!("belongs to the ledger of {month}, which was exported and dropped");
            return Err(Wrong(format!("{name} {sentence}: its export tells of it")).into());
        }
        let sentence = "was never recorded here, or its transaction was rolled back: nothing is known of it, so \
                        nothing of it waits or is billed";
        return Err(Wrong(format!("{name} {sentence}")).into());
    };
    show(context, &explain::of_usage(&report), &report)
}

fn show(context: &Context, story: &Story, report: &impl Serialize) -> anyhow::Result<ExitCode> {
    if context.json {
        #[derive(Serialize)]
        struct Told<'a, T> {
            #[serde(flatten)]
            story: &'a Story,
            report: &'a T,
        }
        output::json(&Told { story, report })?;
    } else {
        output::say(&story.in_short);
        for section in &story.sections {
            output::say("");
            output::say(&section.title);
            output::say_all(section.lines.iter().map(|line| format!("  {line}")));
        }
    }
    Ok(ExitCode::SUCCESS)
}
