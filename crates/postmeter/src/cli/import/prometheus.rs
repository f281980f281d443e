//! `postmeter import prometheus`: usage of whole hours, from samples by a recipe or from a range query.

mod by_query;
mod by_recipe;
mod hours;
mod number;
mod reading;
mod recipe;
mod rejects;
mod samples;
mod selector;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use outbox::{Database, Verdict};
use reqwest::Url;
use secrecy::SecretString;
use serde_json::json;
use sources::prometheus::{Access, Prometheus};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::run::{BATCH, record_patiently};
use super::tally::Tally;
use super::{NEEDS_A_PERSON, moment, output, shift, sink};
use crate::cli::Context;
use crate::cli::output::Wrong;
use hours::Hours;
use reading::{Reading, Rules, Template, Unfit};
use recipe::Recipe;
use rejects::{Reject, Rejects};
use selector::Selector;

/// A bearer token, where no file holds it.
const TOKEN: &str = "POSTMETER_PROMETHEUS_TOKEN";

/// Functions that tell something of the samples that there are, whatever time they cover.
const NOT_BY_TIME: [&str; 6] =
    ["avg_over_time", "max_over_time", "min_over_time", "last_over_time", "quantile_over_time", "present_over_time"];

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("asked").required(true).args(["query", "gauge", "counter"])))]
pub(super) struct PrometheusArgs {
    /// Address of the server, with the path before /api/v1 if there is one.
    #[arg(long, value_name = "URL")]
    url: Url,
    /// A gauge (cores that are there): its value counts times the hours for which it was scraped, as in core-hours.
    #[arg(long, value_name = "SELECTOR", requires = "interval")]
    gauge: Option<Selector>,
    /// A counter (seconds of cores that were used): what it grew by counts.
    #[arg(long, value_name = "SELECTOR", requires = "interval")]
    counter: Option<Selector>,
    /// How often the series are scraped, as in 30s: how long a sample counts. The samples must lie so far apart.
    #[arg(long, value_name = "DURATION", value_parser = hours::interval, conflicts_with = "query")]
    interval: Option<SignedDuration>,
    /// The usage of a gauge or counter is divided by this: 3600 makes hours of seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000), default_value_t = 1, conflicts_with = "query")]
    divide_by: u64,
    /// Instead, any PromQL, and its arithmetic is yours: at the end of an hour its value is that hour's usage.
    #[arg(long, value_name = "PROMQL")]
    query: Option<String>,
    /// Source of the usage: this query's name, for ever. Each query has its own.
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Org: a text in which {label} stands for the value of a series' label.
    #[arg(long, value_name = "TEXT")]
    org: Template,
    /// Product, likewise.
    #[arg(long, value_name = "TEXT")]
    product: Template,
    /// Metric, likewise.
    #[arg(long, value_name = "TEXT")]
    metric: Template,
    /// Marketplace account, likewise, for orgs that have several.
    #[arg(long, value_name = "TEXT")]
    account: Option<Template>,
    /// Begin of the first hour.
    #[arg(long, value_name = "TIME", value_parser = moment, required_unless_present = "last", conflicts_with = "last")]
    from: Option<Timestamp>,
    /// End of the last hour [default: of the last one that is over by the lag].
    #[arg(long, alias = "to", value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Instead of --from: so much before the end, in whole hours, as in 24h or 7d.
    #[arg(long, value_name = "DURATION", value_parser = shift)]
    last: Option<SignedDuration>,
    /// How long after its end an hour is first read: until then samples may still arrive.
    #[arg(long, value_name = "DURATION", value_parser = hours::lag, default_value = "10m")]
    lag: SignedDuration,
    /// Round values half up to this many decimals; below that a float's digits mean nothing.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=15), default_value_t = 6)]
    decimals: u32,
    /// File that holds a bearer token. Without one, the variable POSTMETER_PROMETHEUS_TOKEN, if it is set.
    #[arg(long, value_name = "FILE", env = "POSTMETER_PROMETHEUS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the public authorities.
    #[arg(long, value_name = "FILE", env = "POSTMETER_PROMETHEUS_TLS_AUTHORITY")]
    tls_authority: Option<PathBuf>,
    /// Write the full list of what was not recorded to this file (CSV) instead of standard error.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Ask, say what would be recorded, and leave nothing behind.
    #[arg(long)]
    dry_run: bool,
}

impl PrometheusArgs {
    /// What is asked, and what is asked for.
    fn asked(&self) -> (&'static str, &str) {
        match (&self.query, &self.gauge, &self.counter) {
            (Some(query), ..) => ("query", query),
            (_, Some(selector), _) => ("gauge", &selector.0),
            (.., Some(selector)) => ("counter", &selector.0),
            _ => unreachable!("clap wants one of them"),
        }
    }
}

pub(super) async fn run(context: &Context, args: &PrometheusArgs) -> anyhow::Result<ExitCode> {
    let server = Prometheus::new(&Access {
        url: args.url.clone(),
        token: token(args.token_file.as_deref())?,
        tls_authority: args.tls_authority.clone(),
        behind_max: args.lag - args.interval.unwrap_or_default() * 2,
    })
    .map_err(|error| Wrong(error.to_string()))?;
    let database = context.config.database()?;
    let now = outbox::maintain::clock(&database).await?;
    let hours = Hours::of(args.from, args.until, args.last, args.lag, now)?;
    let recipe = args.interval.and_then(|interval| Recipe::of(args, interval));
    if let Some(recipe) = &recipe
        && args.lag < recipe.interval * 2
    {
        return Err(Wrong(
            "--lag must be two intervals at least: an hour's last sample counts into the next".to_owned(),
        )
        .into());
    }
    if let Some(query) = &args.query {
        warn_of(query);
    }
    let bar = ProgressBar::new(hours.count().unsigned_abs());
    let template = "{bar:30} {pos} of {len} hours, {eta} left  {msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is right"));
    let mut import = Import {
        database: &database,
        server,
        args,
        rules: Rules::of(args),
        rejects: Rejects::new(sink(args.rejects.as_deref(), &bar)?)?,
        tally: Tally::default(),
        counts: Counts::default(),
        last_seen: HashMap::new(),
        series: BTreeSet::new(),
        recipe: recipe.as_ref().map(|recipe| recipe.name.clone()),
        unread: recipe::unread(&database, &args.source, hours).await?,
    };
    let stopped_at = match &recipe {
        Some(recipe) => import.read_samples(recipe, hours, &bar).await,
        None => import.read(hours, &bar).await,
    };
    bar.finish_and_clear();
    import.rejects.flush()?;
    let stopped_at = stopped_at?;
    if context.json {
        output::json(&import.for_programs(hours, stopped_at))?;
    } else {
        import.for_people(hours, stopped_at);
    }
    Ok(match stopped_at {
        Some(_) => ExitCode::FAILURE,
        None if import.counts.conflicts + import.tally.total.rejected > 0 => ExitCode::from(NEEDS_A_PERSON),
        None => ExitCode::SUCCESS,
    })
}

/// A query that overbills, as far as its text shows.
fn warn_of(query: &str) {
    if let Some(name) = NOT_BY_TIME.iter().find(|name| query.contains(*name)) {
        eprintln!(
            "{name} does not weigh by time: eight cores for ten minutes become eight for the hour, and a pod that got \
             another label counts twice; --gauge does (see docs/integrate/prometheus.md)"
        );
    }
}

fn token(file: Option<&std::path::Path>) -> anyhow::Result<Option<SecretString>> {
    let token = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| Wrong(format!("--token-file {}: {error}", path.display())))?,
        ),
        None => std::env::var(TOKEN).ok(),
    };
    let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    if token.is_none() && file.is_some() {
        return Err(Wrong("the file of --token-file is empty".to_owned()).into());
    }
    Ok(token.map(SecretString::from))
}

/// What is counted beside the tally, which counts what was recorded, repeated or rejected.
#[derive(Debug, Default)]
struct Counts {
    values: u64,
    zero: u64,
    conflicts: u64,
    missing_hours: i64,
    gaps: u64,
    gap_seconds: u64,
}

struct Import<'a> {
    database: &'a Database,
    server: Prometheus,
    args: &'a PrometheusArgs,
    rules: Rules,
    rejects: Rejects,
    tally: Tally,
    counts: Counts,
    /// The last hour that each series had a value for.
    last_seen: HashMap<Uuid, Timestamp>,
    /// The series that were seen.
    series: by_recipe::Seen,
    /// The name of the recipe, if it is one.
    recipe: Option<String>,
    /// The first hour that is read, and the first of those right before it of which no usage is known, although some is
    /// of an earlier one.
    unread: Option<(Timestamp, Timestamp)>,
}

impl Import<'_> {
    fn histogram(&mut self, hour: Timestamp, series: &str) -> anyhow::Result<()> {
        let reason = "is a histogram: ask for its count or its sum".to_owned();
        self.unfit(hour, series, Unfit { field: "value", reason }, "")
    }

    /// Lists what is no usage.
    fn unfit(&mut self, hour: Timestamp, series: &str, unfit: Unfit, event_id: &str) -> anyhow::Result<()> {
        self.tally.reject("", "");
        let Unfit { field, reason } = unfit;
        self.rejects.add(&Reject { kind: "rejected", hour, series, field, reason, event_id, gap: None })
    }

    /// Records in batches what was not recorded otherwise; the hour in which a person stopped it.
    async fn record_all(
        &mut self,
        readings: Vec<Reading>,
        stop: &CancellationToken,
        bar: &ProgressBar,
    ) -> anyhow::Result<Option<Timestamp>> {
        self.tell_unread(&readings)?;
        let readings = self.not_otherwise(readings).await?;
        for batch in readings.chunks(BATCH) {
            self.record(batch).await?;
            bar.set_message(self.message());
            if stop.is_cancelled() {
                return Ok(batch.last().map(|reading| reading.hour));
            }
        }
        Ok(None)
    }

    /// Lists the hours before the first one that may never have been read: a timer stood still for longer than --last.
    /// Said only if the first one has usage, so that a source that rests at night says it once a night.
    fn tell_unread(&mut self, readings: &[Reading]) -> anyhow::Result<()> {
        let Some((first, since)) = self.unread.filter(|(first, _)| readings.iter().any(|read| read.hour == *first))
        else {
            return Ok(());
        };
        self.unread = None;
        self.counts.missing_hours += first.duration_since(since).as_hours();
        let reason = format!(
            "the source {} has no usage from {since} until {first}, where this reading begins: if nobody read these \
             hours, read them with --from {since}",
            self.args.source
        );
        let (series, event_id) = ("", "");
        self.rejects.add(&Reject { kind: "missing", hour: since, series, field: "hours", reason, event_id, gap: None })
    }

    /// Without the hours that were recorded under another recipe or query, which are listed.
    async fn not_otherwise(&mut self, readings: Vec<Reading>) -> anyhow::Result<Vec<Reading>> {
        let hours: BTreeSet<Timestamp> = readings.iter().map(|reading| reading.hour).collect();
        let hours: Vec<_> = hours.into_iter().collect();
        let (source, query) = (&self.args.source, self.args.query.as_deref());
        let others = recipe::recorded_otherwise(self.database, source, &hours, self.recipe.as_deref(), query).await?;
        for hour in &others {
            self.tally.reject("", "");
            let reason = format!(
                "usage of this hour was recorded under another recipe or query of the source {source}, and is not \
                 recorded again: begin with --from at the first hour of this one"
            );
            let series = "";
            self.rejects.add(&Reject {
                kind: "refused",
                hour: *hour,
                series,
                field: "recipe",
                reason,
                event_id: "",
                gap: None,
            })?;
        }
        Ok(readings.into_iter().filter(|reading| !others.contains(&reading.hour)).collect())
    }

    async fn record(&mut self, readings: &[Reading]) -> anyhow::Result<()> {
        let usages: Vec<_> = readings.iter().map(|reading| reading.usage.clone()).collect();
        let verdicts = record_patiently(self.database, &usages, !self.args.dry_run).await?;
        for (Reading { hour, series, usage }, verdict) in readings.iter().zip(verdicts) {
            let refused = match verdict {
                Verdict::Recorded(_) => {
                    self.tally.take(&usage.product, &usage.metric, usage.quantity, true);
                    continue;
                }
                Verdict::Repeated(_) => {
                    self.tally.take(&usage.product, &usage.metric, usage.quantity, false);
                    continue;
                }
                Verdict::Refused(refused) => refused,
            };
            let is_conflict = refused.code == "PM002";
            let (kind, reason) = if is_conflict {
                self.counts.conflicts += 1;
                ("conflict", format!("{refused}; the query now says {}", usage.quantity))
            } else {
                self.tally.reject(&usage.product, &usage.metric);
                ("rejected", refused.to_string())
            };
            let field = refused.field.as_deref().unwrap_or(&refused.code);
            self.rejects.add(&Reject {
                kind,
                hour: *hour,
                series,
                field,
                reason,
                event_id: &usage.event_id,
                gap: None,
            })?;
        }
        Ok(())
    }

    fn message(&self) -> String {
        let total = &self.tally.total;
        let listed = total.rejected + self.counts.conflicts;
        format!("{} recorded, {} repeated, {listed} listed", total.recorded, total.repeated)
    }

    fn for_programs(&self, hours: Hours, stopped_at: Option<Timestamp>) -> serde_json::Value {
        let total = &self.tally.total;
        let metrics: Vec<_> = self
            .tally
            .metrics
            .iter()
            .map(|((product, metric), counts)| json!({ "product": product, "metric": metric, "counts": counts }))
            .collect();
        json!({
            "from": hours.from,
            "until": hours.until,
            "finished": stopped_at.is_none(),
            "stopped_at_hour": stopped_at,
            "dry_run": self.args.dry_run,
            "series": self.series.len(),
            "values": self.counts.values,
            "recorded": total.recorded,
            "repeated": total.repeated,
            "zero": self.counts.zero,
            "conflicts": self.counts.conflicts,
            "rejected": total.rejected,
            "missing_hours": self.counts.missing_hours,
            "gaps": self.counts.gaps,
            "gap_seconds": self.counts.gap_seconds,
            "metrics": metrics,
            "listed": self.rejects.groups(),
        })
    }

    fn for_people(&self, hours: Hours, stopped_at: Option<Timestamp>) {
        if hours.count() == 0 {
            output::say(format!("no whole hour since {} is over by the lag: nothing to read yet", hours.from));
            return;
        }
        let table = self.tally.table();
        if !table.is_empty() {
            output::say_all(table.lines());
            output::say("");
        }
        let (total, counts) = (&self.tally.total, &self.counts);
        output::say(format!(
            "{} to {}: {} series, {} values: {} {}, {} repeated (recorded before), {} zero, {} conflicts, {} rejected; \
             {} hours without a value, {} gaps of {} seconds in all",
            hours.from,
            hours.until,
            self.series.len(),
            counts.values,
            total.recorded,
            if self.args.dry_run { "would be recorded" } else { "recorded" },
            total.repeated,
            counts.zero,
            counts.conflicts,
            total.rejected,
            counts.missing_hours,
            counts.gaps,
            counts.gap_seconds,
        ));
        for group in self.rejects.groups() {
            output::say(format!("  {}", group.sentence()));
        }
        if self.args.dry_run {
            output::say("a dry run: NOTHING WAS RECORDED");
        }
        if let Some(hour) = stopped_at {
            output::say(format!("stopped in the hour {hour}; run the same command again to go on"));
        }
    }
}
