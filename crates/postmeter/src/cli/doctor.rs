//! `postmeter doctor`: what an SRE would look at, with what to do about it.

mod defaults;
mod guards;
mod identities;
mod money;
mod server;
mod watch;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use outbox::health::{self, Answer, Limits, Told};
use outbox::{Database, Error};
use serde::Serialize;
use serde_json::json;

use super::Context;
use super::output::{self, NEEDS_A_PERSON};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long each question to the database may take, in seconds. Whole ledgers take longer than the default.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    within: u64,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warning,
    Problem,
}

/// Longer questions need a longer `--within`.
const ASK_AGAIN: &str = "ask again with `postmeter doctor --within 600`, at a quiet time";

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at: a stable word.
    check: &'static str,
    /// What was found.
    found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// What was found so far.
struct Round<'a> {
    context: &'a Context,
    database: Database,
    within: Duration,
    findings: Vec<Finding>,
}

impl Round<'_> {
    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.findings.push(Finding { level: Level::Ok, check, found: found.into(), advice: None });
    }

    fn warning(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding { level: Level::Warning, check, found: found.into(), advice: Some(advice.into()) });
    }

    fn problem(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.findings.push(Finding { level: Level::Problem, check, found: found.into(), advice: Some(advice.into()) });
    }

    /// Whether every meter's balance closes.
    async fn prove(&mut self) -> Result<Option<health::Unbalanced>, Error> {
        let proof = outbox::balance::prove(&self.database, self.within).await?;
        if proof.is_none() {
            let found = format!("not looked at: it takes more than {} s", self.within.as_secs());
            self.warning("balance", found, ASK_AGAIN);
        }
        Ok(proof)
    }

    /// Asks the database. What it cannot answer is a finding, and the round goes on; only a lost database ends it.
    async fn ask<T: Answer>(&mut self, check: &'static str) -> Result<Option<Vec<T>>, Error> {
        let limits = Limits::within(self.within);
        let told = health::ask(&self.database, limits).await;
        self.take(check, told).await
    }

    /// The same of what is asked otherwise.
    async fn hear<T>(
        &mut self,
        check: &'static str,
        asking: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let told = match tokio::time::timeout(self.within, asking).await {
            Err(_) => Ok(Told::Late),
            Ok(Err(Error::Retryable { code, .. })) if code == "55P03" => Ok(Told::Locked),
            Ok(Err(Error::Retryable { .. })) => Ok(Told::Late),
            Ok(told) => told.map(Told::Answer),
        };
        self.take(check, told).await
    }

    async fn take<T>(&mut self, check: &'static str, told: Result<Told<T>, Error>) -> Result<Option<T>, Error> {
        match told {
            Ok(Told::Answer(answer)) => return Ok(Some(answer)),
            Ok(Told::Locked) => {
                let who = health::who_locks(&self.database, Limits::within(Duration::from_secs(2))).await;
                let by = if who.is_empty() { String::new() } else { format!(": {who}") };
                self.problem(
                    check,
                    format!("not looked at: a table that it reads is locked{by}"),
                    "see what that session does in pg_stat_activity; if it may end: select pg_terminate_backend(pid)",
                );
            }
            Ok(told) => {
                let found = format!("not looked at: {}", told.why(self.within));
                self.warning(check, found, ASK_AGAIN);
            }
            Err(Error::Unexpected { code, message }) => self.warning(
                check,
                format!("not looked at: {message} ({code})"),
                "connect as a user with the role postmeter_reader or postmeter_operator",
            ),
            // one row of many may be why: the other questions have their answers
            Err(Error::Refused(refused)) => {
                self.warning(check, format!("not looked at: {refused} ({})", refused.code), "report this as a defect")
            }
            Err(error) => return Err(error),
        }
        Ok(None)
    }
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    database.wait(Duration::from_secs(5)).await?;
    let mut round = Round { context, database, within: Duration::from_secs(args.within), findings: Vec::new() };
    if server::look(&mut round).await? {
        guards::look(&mut round).await?;
        defaults::look(&mut round).await?;
        identities::look(&mut round).await?;
        work::look(&mut round).await?;
        watch::look(&mut round).await?;
        money::look(&mut round).await?;
    }
    report(context, &round.findings)
}

fn report(context: &Context, findings: &[Finding]) -> anyhow::Result<ExitCode> {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    if context.json {
        output::json(&json!({ "problems": problems, "warnings": warnings, "findings": findings }))?;
    } else {
        for finding in findings {
            let level = match finding.level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Problem => "PROBLEM",
            };
            output::say(format!("{level}  {:<13} {}", finding.check, finding.found));
            if let Some(advice) = &finding.advice {
                output::say(format!("{:24}→ {advice}", ""));
            }
        }
        output::say(match (problems, warnings) {
            (0, 0) => "all is well".to_owned(),
            (problems, warnings) => format!("problems: {problems}, warnings: {warnings}"),
        });
    }
    Ok(if problems > 0 { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}

/// A number of seconds as people say it.
fn for_people(seconds: f64) -> String {
    let seconds = seconds.abs();
    for (unit, length) in [("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)] {
        if seconds >= 2.0 * length {
            return format!("{:.0} {unit}", (seconds / length).floor());
        }
    }
    format!("{seconds:.0} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_one_unit() {
        let said = [3.0, 119.0, 120.0, 7_199.0, 7_200.0, 200_000.0, -200.0].map(for_people);
        assert_eq!(said, ["3 s", "119 s", "2 min", "119 min", "2 h", "2 days", "3 min"]);
    }
}
