//! `postmeter resolve`: what a marketplace holds of one remittance, of those that a filter names, or of those in a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use outbox::corrections::{self, Decided, Decider, Resolved, SHARE};
use remittance::Quantity;
use serde::Serialize;
use serde_json::{Value, json};

use super::filter::Filter;
use super::held_there::{Row, Rows};
use super::whole;
use super::{SHOWN, Signed};
use crate::cli::Context;
use crate::cli::output::{self, NEEDS_A_PERSON, Table, Wrong};
use crate::cli::status::text::count;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ResolveArgs {
    /// This remittance, by its number: it is resolved at once. Otherwise name a filter or a file.
    #[arg(value_name = "DELIVERY")]
    one: Option<i64>,
    #[command(flatten)]
    filter: Filter,
    /// What they hold, row by row (- is standard input): CSV with a line of names, or a JSON object a line, with key or
    /// receipt, and quantity (0: they hold nothing). Other columns are left alone. Of the filters only --destination.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["one", "billed", "not_billed"])]
    file: Option<PathBuf>,
    /// Write the verdict of every row to this file (CSV).
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// The marketplace holds it: it becomes accepted.
    #[arg(long, conflicts_with = "not_billed", required_unless_present_any = ["not_billed", "file"])]
    billed: bool,
    /// The marketplace does not hold it: it is sent again while its deadline allows, else it is expired.
    #[arg(long)]
    not_billed: bool,
    /// With --billed, of one remittance: how much they hold, in billing units. That counts: the rest goes back to its meter,
    /// what they hold beyond ours is credit. To be said of a conflict of which they did not say how much they hold.
    #[arg(long, requires_all = ["one", "billed"])]
    quantity: Option<Quantity>,
    #[command(flatten)]
    signed: Signed,
    /// Carry it out, for a filter or a file. Without this nothing is changed: it is only shown.
    #[arg(long, conflicts_with = "one")]
    apply: bool,
}

pub(in crate::cli) async fn resolve(context: &Context, args: ResolveArgs) -> anyhow::Result<ExitCode> {
    let filter = args.filter.json(None);
    if let Some(delivery) = args.one {
        if filter.as_object().is_some_and(|filter| !filter.is_empty()) || args.verdicts.is_some() {
            return Err(Wrong("name one remittance by its number, or a filter: not both".to_owned()).into());
        }
        return one(context, delivery, (args.billed, args.quantity), args.signed.decider()).await;
    }
    let how = How { by: args.signed.decider(), dry_run: !args.apply };
    let (report, list) = opened(args.file.as_deref(), args.verdicts.as_deref())?;
    let mut said = Outcomes { list: list.map(Verdicts::Closed), shows_all: context.json, ..Outcomes::default() };
    match report {
        Some(report) => {
            let destination = destination_alone(&filter)?;
            let rows = whole::read(Rows::open(Box::new(report))?)?;
            whole::resolve(&context.config.database()?, rows, destination.as_deref(), how, &mut said).await?;
        }
        None => {
            let database = context.config.database()?;
            // refused where it names nothing, or everything by accident
            let deliveries = corrections::dead_letters_by(&database, &filter).await?;
            said.begin()?;
            for share in deliveries.chunks(SHARE) {
                let rows: Vec<Value> =
                    share.iter().map(|id| json!({ "delivery": id, "billed": args.billed })).collect();
                let resolved = corrections::resolve_share(&database, &rows, how.by, how.dry_run).await;
                for resolved in resolved.with_context(|| said.so_far(how.dry_run))? {
                    said.take(None, resolved)?;
                }
            }
        }
    }
    said.end(args.apply)
}

/// Who decides, and whether it is carried out.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub by: Decider<'a>,
    pub dry_run: bool,
}

/// A file is not filtered, except by the destination whose report it is.
fn destination_alone(filter: &Value) -> Result<Option<String>, Wrong> {
    let fields = filter.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let others: Vec<&str> = fields.filter(|name| *name != "destination").collect();
    if others.is_empty() {
        return Ok(filter.get("destination").and_then(Value::as_str).map(str::to_owned));
    }
    Err(Wrong(format!("with --file only --destination: --{} does not go with it", others.join(", --"))))
}

/// Opens the report, and the list of verdicts. The list will be emptied, so it must not be the report, whatever it is
/// called.
fn opened(report: Option<&Path>, list: Option<&Path>) -> anyhow::Result<(Option<File>, Option<Closed>)> {
    let wrong = |path: &Path, error: io::Error| Wrong(format!("{}: {error}", path.display()));
    let report = match report {
        None => None,
        Some(path) if path == Path::new("-") => Some(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
        Some(path) if path.is_dir() => {
            return Err(Wrong(format!("--file {} is a directory: name the report in it", path.display())).into());
        }
        Some(path) => Some(File::open(path).map_err(|error| wrong(path, error))?),
    };
    let Some(path) = list else { return Ok((report, None)) };
    let list = Closed::open(path).map_err(|error| wrong(path, error))?;
    let is = list.file.metadata()?;
    if let Some(report) = &report {
        let read = report.metadata()?;
        if is.is_file() && (is.dev(), is.ino()) == (read.dev(), read.ino()) {
            let same = "is the very file that --file reads, and the verdicts would overwrite it: name another one";
            return Err(Wrong(format!("--verdicts {} {same}", path.display())).into());
        }
    }
    Ok((report, Some(list)))
}

/// A row of the file with its verdict.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(flatten)]
    resolved: Resolved,
}

/// Where the verdict of every row is written.
enum Verdicts {
    Closed(Closed),
    Open(Box<csv::Writer<Box<dyn Write>>>),
}

/// A list of verdicts that nothing was written to: what stands in it is of an earlier run, and where there was none, none
/// stays behind when the rows are refused.
struct Closed {
    file: File,
    is_new: Option<PathBuf>,
}

impl Closed {
    fn open(path: &Path) -> io::Result<Self> {
        match File::options().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { file, is_new: Some(path.to_owned()) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Self { file: File::options().write(true).open(path)?, is_new: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Empties it.
    fn emptied(&mut self) -> io::Result<File> {
        self.is_new = None;
        let file = self.file.try_clone()?;
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(file)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if let Some(path) = &self.is_new {
            // an empty file in the way hurts nobody
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The outcomes of all rows: each goes to the list of verdicts, and the first that need a person to the screen.
#[derive(Default)]
pub(super) struct Outcomes {
    verdicts: BTreeMap<String, u64>,
    /// So many become due once more.
    sent_again: u64,
    shown: Vec<Line>,
    shows_all: bool,
    list: Option<Verdicts>,
}

impl Outcomes {
    /// Empties the list of verdicts: all rows are known, and could be looked up.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        if let Some(Verdicts::Closed(list)) = &mut self.list {
            let file = list.emptied()?;
            let mut list = csv::Writer::from_writer(Box::new(io::BufWriter::new(file)) as Box<dyn Write>);
            list.write_record(["line", "key", "remittance", "verdict", "is", "becomes", "units", "note"])?;
            self.list = Some(Verdicts::Open(Box::new(list)));
        }
        Ok(())
    }

    pub fn take(&mut self, row: Option<&Row>, resolved: Resolved) -> anyhow::Result<()> {
        *self.verdicts.entry(resolved.verdict.clone()).or_default() += 1;
        let line = Line { line: row.map(|row| row.line), resolved };
        self.sent_again +=
            u64::from(line.resolved.verdict == "not_billed" && line.resolved.after.as_deref() == Some("due"));
        if let Some(Verdicts::Open(list)) = &mut self.list {
            list.write_record(cells(&line).map(|cell| disarmed(&cell))).context("the list of verdicts")?;
        }
        // a file's rows that went well are many, and nobody need look at them
        if self.shows_all || self.shown.len() < SHOWN && (row.is_none() || !line.resolved.is_settled()) {
            self.shown.push(line);
        }
        Ok(())
    }

    /// What was carried out stays so.
    pub fn so_far(&self, dry_run: bool) -> String {
        let rows: u64 = self.verdicts.values().sum();
        let done =
            if dry_run { "nothing was changed" } else { "what was resolved stays so: run it again for the rest" };
        format!("after {rows} rows: {done}")
    }

    fn end(mut self, applied: bool) -> anyhow::Result<ExitCode> {
        if let Some(Verdicts::Open(list)) = &mut self.list {
            list.flush().context("the list of verdicts")?;
        }
        let of = |words: &[&str]| words.iter().filter_map(|word| self.verdicts.get(*word)).sum::<u64>();
        let rows: u64 = self.verdicts.values().sum();
        let (changed, settled) = (of(&["billed", "not_billed"]), of(&["billed", "not_billed", "agrees"]));
        if self.shows_all {
            output::json(&json!({
                "applied": applied, "found": rows, "changed": changed, "sent_again": self.sent_again,
                "verdicts": self.verdicts,
                "rows": self.shown,
            }))?;
        } else {
            let mut table =
                Table::new(&["line", "key", "remittance", "verdict", "is", "becomes", "units", "note"], &[0, 2, 6]);
            self.shown.iter().for_each(|line| table.row(cells(line)));
            if !self.shown.is_empty() {
                output::say_all(table.lines());
                output::say("");
            }
            for (verdict, count) in &self.verdicts {
                let again = match self.sent_again {
                    again if again > 0 && verdict == "not_billed" && !applied => {
                        format!(" ({again} WOULD BE SENT AGAIN)")
                    }
                    _ => String::new(),
                };
                output::say(format!("{}: {count}{again}", verdict.replace('_', " ")));
            }
            let rows = count(i64::try_from(rows).unwrap_or(i64::MAX), "row");
            output::say(match (applied, changed) {
                (_, 0) => format!("nothing is left to do of {rows}. NOTHING WAS CHANGED."),
                (true, _) => format!("{changed} of {rows} resolved."),
                (false, _) => {
                    format!("would resolve {changed} of {rows}. NOTHING WAS CHANGED: say --apply to carry it out.")
                }
            });
        }
        Ok(if settled < rows && applied { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
    }
}

fn cells(line: &Line) -> [String; 8] {
    let Resolved { delivery, key, before, after, quantity, verdict, note } = &line.resolved;
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().replace('_', " ");
    [
        line.line.map(|line| line.to_string()).unwrap_or_default(),
        key.clone().unwrap_or_default(),
        delivery.map(|delivery| delivery.to_string()).unwrap_or_default(),
        verdict.replace('_', " "),
        text(before),
        if after == before { String::new() } else { text(after) },
        quantity.clone().unwrap_or_default(),
        note.clone().unwrap_or_default(),
    ]
}

/// A cell that does nothing but be read, on a terminal and in a spreadsheet: it would run `=1+1` as a formula.
fn disarmed(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("{guard}{}", output::plain(cell))
}

async fn one(
    context: &Context,
    delivery: i64,
    (billed, quantity): (bool, Option<Quantity>),
    by: Decider<'_>,
) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let Decided { now, changed } = match &quantity {
        Some(quantity) => corrections::resolve_quantity(&database, delivery, quantity, by).await?,
        None => corrections::resolve(&database, delivery, billed, by).await?,
    };
    if context.json {
        output::json(&json!({ "delivery": delivery, "billed": billed, "status": now, "changed": changed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !changed {
        let now = now.replace('_', " ");
        output::say(format!("remittance {delivery} was resolved so before and is {now} now: nothing was changed"));
        return Ok(ExitCode::SUCCESS);
    }
    let consequence = match now.as_str() {
        "accepted" if quantity.is_some() => "it counts as they hold it",
        "accepted" => {
            "it counts as billed, as they hold it if they said how much; else its quantity is marked as not confirmed"
        }
        "held" => "no hour of its month can take it: write it off",
        "released" => "its quantity went back to its meter, and goes with another hour",
        "due" => "it is sent again with the same bytes and key",
        _ => "its deadline has passed, so it is not sent again: release it or write it off",
    };
    output::say(format!("remittance {delivery} is now {}: {consequence}", now.replace('_', " ")));
    Ok(ExitCode::SUCCESS)
}
