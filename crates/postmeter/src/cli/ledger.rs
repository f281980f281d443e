//! `postmeter ledger`: months of the ledger, their exports, and dropping them.
//!
//! What is finished and what may be dropped is decided by functions of the schema (`0019_pre_retention`,
//! `0058_pre_dropped_months`); `docs/operate/ledger.md` explains them and the format.

mod billing;
mod manifest;
mod verify;
mod write;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use jiff::civil::Date;
use outbox::{Database, ledger};
use serde_json::json;

use super::Context;
use super::correct::Signed;
use super::output::{self, NEEDS_A_PERSON, Table, Wrong};
use super::recalculate::month as parse_month;
use super::status::text::{count, moment};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The months there are, and why they are not finished; and which billing months still have their remittances.
    Status {
        /// The billing months only; with --json, too.
        #[arg(long)]
        remittances: bool,
    },
    /// Say for how long the ledger is kept at least.
    Retain {
        /// Such as "400 days".
        #[arg(required_unless_present = "for_ever", conflicts_with = "for_ever")]
        span: Option<String>,
        /// Keep everything.
        #[arg(long)]
        for_ever: bool,
        #[command(flatten)]
        signed: Signed,
    },
    /// Write finished months into a folder, with a manifest each, read them again and record them: usage and attempts of
    /// months of the ledger, remittances and meters of closed billing months.
    Export {
        /// The month, such as 2024-09.
        #[arg(long, value_parser = parse_month, required_unless_present = "all_finished", conflicts_with = "all_finished")]
        month: Option<Date>,
        /// Every finished month that was not exported yet, and every billing month that is closed and as old.
        #[arg(long)]
        all_finished: bool,
        /// The folder; all months go into one.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        signed: Signed,
    },
    /// Check a folder of exports, without a database: exit code 3 if a byte differs.
    Verify {
        /// The folder.
        dir: PathBuf,
        /// Compare with what the database has recorded, too.
        #[arg(long)]
        against_database: bool,
    },
    /// Drop a month that is finished and exported, and the remittances and meters of the billing months that lived in it
    /// and in no other month that is kept. What was interrupted goes on where it was.
    Drop {
        /// The month, such as 2024-09.
        #[arg(value_parser = parse_month)]
        month: Date,
        #[command(flatten)]
        signed: Signed,
        /// Carry it out. Without this nothing is changed: it is only shown.
        #[arg(long, requires = "verified")]
        apply: bool,
        /// The folder with its export: it is verified first, by the digest that the database recorded.
        #[arg(long, value_name = "DIR")]
        verified: Option<PathBuf>,
    },
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Status { remittances } => status(context, remittances).await,
        Verb::Retain { span, signed, .. } => retain(context, span.as_deref(), &signed).await,
        Verb::Export { month, to, signed, .. } => export(context, month, &to, &signed).await,
        Verb::Verify { dir, against_database } => verify(context, &dir, against_database).await,
        Verb::Drop { month, signed, apply, verified } => {
            let database = context.config.database()?;
            let drop = billing::Drop {
                database: &database,
                month,
                signed: &signed,
                verified: verified.as_deref().filter(|_| apply),
            };
            drop.run(context).await
        }
    }
}

fn name(month: Date) -> String {
    month.strftime("%Y-%m").to_string()
}

async fn status(context: &Context, only_remittances: bool) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    if only_remittances || !context.json {
        let billing = ledger::billing_months(&database).await?;
        if context.json {
            output::json(&billing)?;
            return Ok(ExitCode::SUCCESS);
        }
        if !only_remittances {
            months(&ledger::months(&database).await?);
            output::say("");
        }
        billing::status(&billing);
        return Ok(ExitCode::SUCCESS);
    }
    output::json(&ledger::months(&database).await?)?;
    Ok(ExitCode::SUCCESS)
}

fn months(months: &[ledger::Month]) {
    let mut table = Table::new(&["month", "bytes", "exported", "state"], &[1]);
    for month in months {
        let state = month.dropped_at.map_or_else(
            || month.why_not.clone().unwrap_or_else(|| "finished".to_owned()),
            |at| format!("dropped {}", moment(at)),
        );
        let bytes = month.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        table.row([name(month.month), bytes, month.exported_at.map(moment).unwrap_or_default(), state]);
    }
    output::say_all(table.lines());
}

async fn retain(context: &Context, span: Option<&str>, signed: &Signed) -> anyhow::Result<ExitCode> {
    let changed = ledger::retain(&context.config.database()?, span, signed.decider()).await?;
    if context.json {
        output::json(&json!({ "changed": changed, "retention": span }))?;
    } else {
        let kept = span.map_or_else(|| "for ever".to_owned(), |span| format!("for {span} at least"));
        let was = if changed { "" } else { " already. NOTHING WAS CHANGED" };
        output::say(format!("the ledger is kept {kept}{was}."));
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(context: &Context, month: Option<Date>, to: &Path, signed: &Signed) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let billing = ledger::to_export(&database, month).await?;
    let wanted: Vec<Date> = match month {
        Some(month) => {
            let known = ledger::month(&database, month).await?;
            match known.map_or_else(|| Some("there is nothing of it".to_owned()), |known| known.why_not) {
                // a month whose ledger is gone may have remittances still
                Some(why_not) if billing.is_empty() => {
                    return Err(Wrong(format!("{} is not exported: {why_not}", name(month))).into());
                }
                Some(_) => vec![],
                None => vec![month],
            }
        }
        None => {
            let is_next = |known: &ledger::Month| known.why_not.is_none() && known.exported_at.is_none();
            ledger::months(&database).await?.into_iter().filter(is_next).map(|known| known.month).collect()
        }
    };
    let mut exported = Vec::new();
    for month in wanted {
        let digest = export_one(&database, month, to, signed).await?;
        if !context.json {
            output::say(format!("{} is exported and verified; its manifest's digest is {digest}", name(month)));
        }
        exported.push(json!({ "month": name(month), "digest": digest }));
    }
    for of in billing {
        let digest = billing::export(&database, &of, to, signed).await?;
        let month = name(of.month);
        if !context.json {
            let what = format!("the remittances of {month} at {}", of.destination);
            output::say(format!("{what} are exported and verified; their manifest's digest is {digest}"));
        }
        exported.push(json!({ "month": month, "destination": of.destination, "digest": digest }));
    }
    if context.json {
        output::json(&exported)?;
    } else if exported.is_empty() {
        output::say("no finished month waits for its export. NOTHING WAS CHANGED.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a month, reads it again, and records it.
async fn export_one(database: &Database, month: Date, to: &Path, signed: &Signed) -> anyhow::Result<String> {
    let exports = ledger::exports(database).await?;
    let is_it = |known: &ledger::Export| known.month == month && known.destination.is_none();
    let at = exports.iter().position(is_it).unwrap_or(exports.len());
    let text = write_one(database, None, month, to, &exports[..at]).await?;
    Ok(ledger::record(database, month, &text, signed.decider()).await?)
}

/// Writes a month after those that were exported before, and reads it again; returns its manifest.
async fn write_one(
    database: &Database,
    destination: Option<&str>,
    month: Date,
    to: &Path,
    before: &[ledger::Export],
) -> anyhow::Result<String> {
    let number = i32::try_from(before.len() + 1)?;
    let previous = before.last().map(|export| export.digest.clone());
    let text = write::month(database, to, destination, month, number, previous).await?;
    let mut found = verify::Found::default();
    verify::month(to, &serde_json::from_str(&text)?, &mut found);
    anyhow::ensure!(found.differences.is_empty(), "what was written reads otherwise: {}", found.differences.join("; "));
    Ok(text)
}

async fn verify(context: &Context, dir: &Path, against_database: bool) -> anyhow::Result<ExitCode> {
    let mut found = verify::folder(dir).map_err(|error| Wrong(format!("{}: {error}", dir.display())))?;
    if against_database {
        verify::against(&mut found, &ledger::exports(&context.config.database()?).await?);
    }
    if context.json {
        output::json(&found)?;
    } else {
        for difference in &found.differences {
            output::say(format!("DIFFERS  {difference}"));
        }
        let verdict = if found.differences.is_empty() { "every byte is as it was exported" } else { "it was changed" };
        let (months, rows) = (count(i64::try_from(found.months)?, "month"), count(i64::try_from(found.rows)?, "row"));
        output::say(format!("{months}, {rows}: {verdict}"));
    }
    Ok(if found.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEEDS_A_PERSON) })
}
