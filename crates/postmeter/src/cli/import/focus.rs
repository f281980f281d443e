//! `postmeter import focus`: usage from billing exports.
//!
//! First all files are read, and their rows sorted by what they are usage of; nothing is recorded before the last row of
//! the last file is known. Then each group of rows is recorded, or compared with what was.

mod counts;
mod listing;
mod reading;
mod recording;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use jiff::{SignedDuration, Timestamp};

use super::{NEEDS_A_PERSON, bar, moment, shift, sink, stop_on_interrupt};
use crate::cli::Context;
use crate::cli::output::Wrong;
use crate::focus::number::Decimals;
use crate::focus::row::Rules;
use crate::focus::time::Dates;
use counts::Counts;
use listing::Listing;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FocusArgs {
    /// The files of the last delivery, all of a period together; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The columns that tell usages apart, beside ChargePeriodStart, with commas between them [default: those of
    /// BillingAccountId, SubAccountId, ResourceId, SkuId, RegionId, AvailabilityZone and ConsumedUnit that are there].
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    id: Option<Vec<String>>,
    /// Record the difference where a known usage has another quantity now. Nothing of that is done while a row of the
    /// files cannot be read: then differences are only listed.
    #[arg(long)]
    apply_differences: bool,
    /// The files are parts of one delivery, though most usage of one of them is in another, too.
    #[arg(long)]
    parts: bool,
    /// What sets off decimals.
    #[arg(long, value_name = "MARK", value_enum, default_value_t)]
    decimals: Decimals,
    /// How dates with slashes are read, as in 09/18/2024; without it they are refused.
    #[arg(long, value_name = "ORDER", value_enum)]
    dates: Option<Dates>,
    /// Write the full list of rows that were not recorded to this file (CSV) instead of standard error.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Source of the usage [default: focus: and the provider of the row, as in focus:aws].
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only rows used at or after this time of the file.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Only rows used before this time of the file.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Move the file's times by whole hours, as in 17520h or 730d. Another shift makes other usage: name a --source.
    #[arg(long, value_name = "DURATION", value_parser = shift, allow_hyphen_values = true)]
    shift: Option<SignedDuration>,
}

/// What an import did.
struct Imported {
    counts: Counts,
    listing: Listing,
    /// A person stopped it.
    is_stopped: bool,
    /// Differences were to be recorded, and are only listed, because a row could not be read.
    is_held_back: bool,
}

pub(super) async fn run(context: &Context, args: &FocusArgs) -> anyhow::Result<ExitCode> {
    if let (Some(from), Some(until)) = (args.from, args.until)
        && from >= until
    {
        return Err(Wrong(format!("--from {from} is not before --until {until}")).into());
    }
    let database = context.config.database()?;
    let bar = bar(reading::size(&args.files)?);
    let listing = Listing::new(sink(args.rejects.as_deref(), &bar)?, args.files.clone())?;
    let mut imported = Imported { counts: Counts::default(), listing, is_stopped: false, is_held_back: false };
    let done = import(&database, args, &mut imported, &bar).await;
    bar.finish_and_clear();
    imported.listing.flush()?;
    done?;
    if context.json {
        report::for_programs(args, &imported)?;
    } else {
        report::for_people(args, &imported);
    }
    Ok(if imported.is_stopped {
        ExitCode::FAILURE
    } else if imported.counts.needs_a_person() {
        ExitCode::from(NEEDS_A_PERSON)
    } else {
        ExitCode::SUCCESS
    })
}

async fn import(
    database: &outbox::Database,
    args: &FocusArgs,
    imported: &mut Imported,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let rules = Rules {
        source: args.source.clone(),
        id: args.id.clone(),
        from: args.from,
        until: args.until,
        shift: args.shift.unwrap_or(SignedDuration::ZERO),
        dates: args.dates,
        decimals: args.decimals,
        parts: args.parts,
    };
    let (stop, _listening) = stop_on_interrupt();
    let read = reading::read(&args.files, &rules, imported, bar, &stop).await?;
    if imported.is_stopped {
        return Ok(());
    }
    // what a refused row says is not known: with it the difference might be another one, or none
    imported.is_held_back = args.apply_differences && imported.counts.total.refused.rows > 0;
    let apply = args.apply_differences && !imported.is_held_back;
    recording::record(database, read, &rules, apply, imported, bar, &stop).await
}
