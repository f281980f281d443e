//! `postmeter ledger`: months of the ledger, their exports, and dropping them.
//!
//! What is finished and what may be dropped is decided by functions of the schema (`0019_pre_retention`);
//! `docs/operate/ledger.md` explains them and the format.

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
    /// The months there are, and why they are not finished.
    Status,
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
    /// Write finished months into a folder, with a manifest each, read them again and record them.
    Export {
        /// The month, such as 2024-09.
        #[arg(long, value_parser = parse_month, required_unless_present = "all_finished", conflicts_with = "all_finished")]
        month: Option<Date>,
        /// Every finished month that was not exported yet.
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
    /// Drop a month that is finished and exported.
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
        Verb::Status => status(context).await,
        Verb::Retain { span, signed, .. } => retain(context, span.as_deref(), &signed).await,
        Verb::Export { month, to, signed, .. } => export(context, month, &to, &signed).await,
        Verb::Verify { dir, against_database } => verify(context, &dir, against_database).await,
        Verb::Drop { month, signed, apply, verified } => {
            let database = context.config.database()?;
            if let Some(dir) = &verified
                && let Some(code) = unverified(context, &database, month, dir).await?
            {
                return Ok(code);
            }
            drop_month(context, &database, month, &signed, apply).await
        }
    }
}

fn name(month: Date) -> String {
    month.strftime("%Y-%m").to_string()
}

async fn status(context: &Context) -> anyhow::Result<ExitCode> {
    let months = ledger::months(&context.config.database()?).await?;
    if context.json {
        output::json(&months)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["month", "bytes", "exported", "state"], &[1]);
    for month in &months {
        let state = month.dropped_at.map_or_else(
            || month.why_not.clone().unwrap_or_else(|| "finished".to_owned()),
            |at| format!("dropped {}", moment(at)),
        );
        let bytes = month.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        table.row([name(month.month), bytes, month.exported_at.map(moment).unwrap_or_default(), state]);
    }
    output::say_all(table.lines());
    Ok(ExitCode::SUCCESS)
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
    let wanted: Vec<Date> = match month {
        Some(month) => {
            let known = ledger::month(&database, month).await?;
            if let Some(why_not) =
                known.map_or_else(|| Some("there is nothing of it".to_owned()), |known| known.why_not)
            {
                return Err(Wrong(format!("{} is not exported: {why_not}", name(month))).into());
            }
            vec![month]
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
    let at = exports.iter().position(|known| known.month == month).unwrap_or(exports.len());
    let previous = at.checked_sub(1).map(|before| exports[before].digest.clone());
    let number = i32::try_from(at + 1)?;
    let text = write::month(database, to, month, number, previous).await?;
    let mut found = verify::Found::default();
    verify::month(to, &serde_json::from_str(&text)?, &mut found);
    anyhow::ensure!(found.differences.is_empty(), "what was written reads otherwise: {}", found.differences.join("; "));
    Ok(ledger::record(database, month, &text, signed.decider()).await?)
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

/// Reads the export of a month before it goes; some code: it is not what was recorded. Whether it was exported at all, the
/// database says.
async fn unverified(
    context: &Context,
    database: &Database,
    month: Date,
    dir: &Path,
) -> anyhow::Result<Option<ExitCode>> {
    let exports = ledger::exports(database).await?;
    let Some(export) = exports.iter().find(|export| export.month == month) else { return Ok(None) };
    let found = verify::one(dir, export);
    if found.differences.is_empty() {
        return Ok(None);
    }
    if context.json {
        output::json(&found)?;
    } else {
        for difference in &found.differences {
            output::say(format!("DIFFERS  {difference}"));
        }
        output::say(format!("{} is not dropped. NOTHING WAS CHANGED.", name(month)));
    }
    Ok(Some(ExitCode::from(NEEDS_A_PERSON)))
}

async fn drop_month(
    context: &Context,
    database: &Database,
    month: Date,
    signed: &Signed,
    apply: bool,
) -> anyhow::Result<ExitCode> {
    let dropped = ledger::drop_month(database, month, signed.decider(), !apply).await?;
    if context.json {
        output::json(&json!({ "applied": apply, "month": name(month), "tables": dropped }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["table", "rows", "bytes"], &[1, 2]);
    for part in &dropped {
        let bytes = part.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        table.row([part.table.clone(), part.rows.to_string(), bytes]);
    }
    output::say_all(table.lines());
    output::say("");
    output::say(if apply {
        format!("{} is dropped.", name(month))
    } else {
        format!("would drop {}. NOTHING WAS CHANGED: say --apply to carry it out.", name(month))
    });
    Ok(ExitCode::SUCCESS)
}
