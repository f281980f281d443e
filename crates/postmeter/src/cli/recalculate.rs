//! `postmeter recalculate`: a month from its usage, against what was billed, every difference by name.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use outbox::recalculate::{Part, recalculate};

use super::Context;
use super::output::{self, NEEDS_A_PERSON, Table};

/// Maximum of meters on a screen whose bill is not plainly accepted; `--json` shows all.
const SHOWN: usize = 50;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The destination, by its name.
    destination: String,
    /// The month, such as 2024-09.
    #[arg(value_parser = month)]
    month: Date,
}

/// Reads a month such as 2024-09 as its first day.
pub(super) fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| "expected a year and a month, such as 2024-09".to_owned())
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let mut report = Report::new(context.json)?;
    {
        let recalculating = recalculate(&database, &args.destination, args.month, |part| report.take(part));
        with_progress(&args, recalculating).await?;
    }
    let unexplained = report.unexplained;
    report.end()?;
    Ok(if unexplained > 0 { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}

/// Says every second, on a terminal, that it is still at it: Postgres tells nothing before the first line is there.
async fn with_progress<T>(args: &Args, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let started = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = &mut work => {
                output::progress(None);
                return done;
            }
            _ = tick.tick() => {
                let (month, seconds) = (args.month.strftime("%Y-%m"), started.elapsed().as_secs());
                output::progress(Some(&format!("recalculating {month} of {}: {seconds} s", args.destination)));
            }
        }
    }
}

/// What is kept of the lines while they come: a bounded number for a screen; for a program each is written at once.
struct Report {
    json: bool,
    lines: usize,
    unexplained: usize,
    meters: usize,
    plain: usize,
    bill: Vec<Part>,
    shown: usize,
    table: Table,
    failed: Option<anyhow::Error>,
}

impl Report {
    fn new(json: bool) -> anyhow::Result<Self> {
        if json {
            output::raw("{\"lines\": [")?;
        }
        let table = Table::new(&["buyer or org", "dimension or metric", "part", "quantity"], &[3]);
        Ok(Self {
            json,
            lines: 0,
            unexplained: 0,
            meters: 0,
            plain: 0,
            bill: Vec::new(),
            shown: 0,
            table,
            failed: None,
        })
    }

    fn take(&mut self, part: Part) {
        self.unexplained += usize::from(part.is_unexplained());
        if self.json {
            let comma = if self.lines == 0 { "\n" } else { ",\n" };
            let line = serde_json::to_string(&part).map_err(anyhow::Error::from);
            if let Err(error) = line.and_then(|line| output::raw(&format!("{comma}{}", output::plain_json(&line)))) {
                self.failed.get_or_insert(error);
            }
        } else {
            let is_new = self.bill.first().is_some_and(|first| {
                (&first.buyer, &first.dimension) != (&part.buyer, &part.dimension) || part.buyer.is_none()
            });
            if is_new {
                self.show();
            }
            self.bill.push(part);
        }
        self.lines += 1;
    }

    /// Shows what belongs to one meter, unless all of it was simply accepted.
    fn show(&mut self) {
        let lines = std::mem::take(&mut self.bill);
        self.meters += usize::from(lines.iter().any(|line| line.part == "should"));
        let plain = ["should", "accepted", "below_one_unit", "used", "corrected", "counted", "exempt", "not_given"];
        if lines.iter().all(|line| plain.contains(&line.part.as_str())) {
            self.plain += 1;
            return;
        }
        let is_strange = lines.iter().any(Part::is_unexplained);
        self.shown += 1;
        if self.shown > SHOWN && !is_strange {
            return;
        }
        for line in lines {
            let part = line.reason.as_ref().map_or_else(
                || line.part.replace('_', " "),
                |reason| format!("{}: {}", line.part.replace('_', " "), reason.replace('_', " ")),
            );
            let indent = if line.metric.is_some() { "  " } else { "" };
            self.table.row([
                line.buyer.or(line.org).unwrap_or_default(),
                format!("{indent}{}", line.metric.or(line.dimension).unwrap_or_default()),
                part,
                line.billing_units.unwrap_or(line.quantity),
            ]);
        }
    }

    fn end(mut self) -> anyhow::Result<()> {
        if self.json {
            self.failed.map_or(Ok(()), Err)?;
            return output::raw(&format!("\n], \"unexplained\": {}}}\n", self.unexplained));
        }
        self.show();
        if !self.table.is_empty() {
            output::say_all(self.table.lines());
            output::say("");
        }
        if self.shown > SHOWN {
            output::say(format!("{} more with differences; --json shows all", self.shown - SHOWN));
        }
        output::say(match self.unexplained {
            0 => format!("{} meters; nothing is unexplained", self.meters),
            n => format!("{} meters; {n} lines are UNEXPLAINED: report this as a defect, with a dump", self.meters),
        });
        Ok(())
    }
}
