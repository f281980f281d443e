//! The command line: one module per command.

mod alerts;
mod attempts;
mod balance;
mod catalog;
mod config;
mod console;
mod correct;
mod demo;
mod doctor;
mod explain;
mod heard;
mod import;
mod judge;
mod ledger;
mod lost_time;
mod migrate;
mod month;
mod output;
mod recalculate;
mod reconcile;
mod request;
mod request_refusals;
mod shadow;
mod simulator;
mod status;
mod token;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use catalog::Catalogue;
pub use config::reference as settings_reference;
use config::{Config, GlobalArgs};

/// Reports metered usage to cloud marketplaces, with Postgres alone.
///
/// A service records usage in its own transaction; workers fold it into hours, cut each hour when it is over, call the
/// marketplace with an idempotency key, and record every attempt.
#[derive(Debug, Parser)]
#[command(
    name = "postmeter",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage or input; \
    3 done, but something needs a person, which the output names; \
    4 the database cannot be reached, or another transaction was in the way."
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Apply the migrations (or show which are pending).
    Migrate(migrate::Args),
    /// Load, show or derive the catalogue: who buys what where, and how it is counted.
    Catalog(catalog::Args),
    /// Record usage from files or from Prometheus.
    Import(import::Args),
    /// Run a worker until SIGTERM.
    Worker(worker::Args),
    /// Serve HTTP until SIGTERM: intake, reading, operating.
    Console(console::Args),
    /// Make, list and revoke the tokens that callers of the console need.
    Token(token::Args),
    /// What is where: backlog, oldest, by destination and status, at risk.
    Status(status::Args),
    /// Every attempt, with what was answered.
    Attempts(attempts::Args),
    /// Why a usage is billed or not: its whole way, and the arithmetic.
    Explain(explain::Args),
    /// One request's way: what services said, and what became of its usage.
    Request(request::Args),
    /// Which request statuses HTTP and imports refused, by hour and reason.
    RequestRefusals(request_refusals::Args),
    /// Send dead letters again, with the same bytes and key.
    Retry(correct::Args),
    /// Give the quantity of dead letters back to their meters.
    Release(correct::Args),
    /// Count the usage of dead letters again, by today's catalogue and in its own hour.
    Recount(correct::RecountArgs),
    /// Give dead letters up.
    WriteOff(correct::Args),
    /// Put aside what waits to be sent, until an operator retries it.
    Hold(correct::Args),
    /// Say whether unknown remittances were billed: one, those of a filter, or what a report says of them.
    Resolve(correct::ResolveArgs),
    /// Say what counts where a marketplace says otherwise than it was settled here.
    Judge(judge::JudgeArgs),
    /// Say what this database is: the installation, or a copy from which nothing is sent.
    Declare(judge::DeclareArgs),
    /// Stop sending to a destination: when this returns, no call begins any more; it says how many are on the wire.
    Pause(correct::PauseArgs),
    /// Send to a destination again.
    Resume(correct::PauseArgs),
    /// Try a destination now: ends the pause of its breaker, and the wait that its marketplace asked for.
    Probe(correct::ProbeArgs),
    /// Close a billing month at a destination, reopen it, or list what is open in it.
    Month(month::Args),
    /// Ask a marketplace what it holds of a day, and compare.
    Reconcile(reconcile::Args),
    /// A month from its usage, against what was billed: every difference by name.
    Recalculate(recalculate::Args),
    /// As of when the balance is proven, by month; or prove all of it anew.
    Balance(balance::Args),
    /// What a shadow would have billed, beside its live destination.
    Shadow(shadow::Args),
    /// Alerts that are open: what an SRE must know now.
    Alerts(alerts::Args),
    /// Months of the ledger: export, verify, drop, and for how long they are kept.
    Ledger(ledger::Args),
    /// Check everything an SRE would check.
    Doctor(doctor::Args),
    /// Check every setting and show its value and source; secrets are not shown.
    Config(config::Args),
    /// Run the simulated marketplaces, or simulate requests.
    Simulator(simulator::Args),
    /// A virtual day from usage to accepted remittances, on an embedded Postgres; ends by itself.
    Demo(demo::Args),
}

/// What every command gets.
struct Context {
    config: Config,
    /// Output for programs.
    json: bool,
}

/// Parses the command line and runs the command.
pub async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = async {
        let config = Config::load(&cli.global)?;
        let context = Context { config, json: cli.global.json };
        match cli.command {
            Command::Migrate(args) => migrate::run(&context, args).await,
            Command::Catalog(args) => catalog::run(&context, args).await,
            Command::Import(args) => import::run(&context, args).await,
            Command::Worker(args) => worker::run(&context, args).await,
            Command::Console(args) => console::run(&context, args).await,
            Command::Token(args) => token::run(&context, args).await,
            Command::Status(args) => status::run(&context, args).await,
            Command::Attempts(args) => attempts::run(&context, args).await,
            Command::Explain(args) => explain::run(&context, args).await,
            Command::Request(args) => request::run(&context, args).await,
            Command::RequestRefusals(args) => request_refusals::run(&context, args).await,
            Command::Retry(args) => correct::run(&context, outbox::corrections::Verb::Retry, args).await,
            Command::Release(args) => correct::run(&context, outbox::corrections::Verb::Release, args).await,
            Command::Recount(args) => correct::recount(&context, args).await,
            Command::WriteOff(args) => correct::run(&context, outbox::corrections::Verb::WriteOff, args).await,
            Command::Hold(args) => correct::run(&context, outbox::corrections::Verb::Hold, args).await,
            Command::Resolve(args) => correct::resolve(&context, args).await,
            Command::Judge(args) => judge::judge(&context, args).await,
            Command::Declare(args) => judge::declare(&context, args).await,
            Command::Pause(args) => correct::pause(&context, true, args).await,
            Command::Resume(args) => correct::pause(&context, false, args).await,
            Command::Probe(args) => correct::probe(&context, args).await,
            Command::Month(args) => month::run(&context, args).await,
            Command::Reconcile(args) => reconcile::run(&context, args).await,
            Command::Recalculate(args) => recalculate::run(&context, args).await,
            Command::Balance(args) => balance::run(&context, args).await,
            Command::Shadow(args) => shadow::run(&context, args).await,
            Command::Alerts(args) => alerts::run(&context, args).await,
            Command::Ledger(args) => ledger::run(&context, args).await,
            Command::Doctor(args) => doctor::run(&context, args).await,
            Command::Config(args) => config::run(&context, &args),
            Command::Simulator(args) => simulator::run(&context, args).await,
            Command::Demo(args) => demo::run(&context, args).await,
        }
    }
    .await;
    match result {
        Ok(code) => code,
        Err(error) => output::failure(&error),
    }
}
