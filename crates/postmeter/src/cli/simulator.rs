//! `postmeter simulator`.

mod requests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use simulator::{Settings, Simulator};
use tokio::net::TcpListener;

use super::output::{self, Wrong};
use super::{Context, worker};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Settings of the simulator (TOML, or JSON if the name ends so): docs/simulator.md.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Record what services say about made-up requests, eleven messages each.
    Requests(requests::Args),
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    if let Some(What::Requests(args)) = &args.what {
        return requests::run(context, args).await;
    }
    let settings = args.settings.as_deref().map(read).transpose()?.unwrap_or_default();
    let stop = worker::stop_at_signal()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| Wrong(format!("cannot listen on {}: {error}", args.listen)))?;
    let running = Simulator::start(listener, settings).map_err(|error| Wrong(error.to_string()))?;
    let url = running.url();
    if context.json {
        output::json(&json!({ "endpoint": url, "admin": format!("{url}/_simulator") }))?;
    } else {
        output::say(format!("AWS Marketplace Metering and Azure's marketplace metering are simulated at {url}"));
        output::say(format!("  as a destination:  settings = {{ region = \"us-east-1\", endpoint = \"{url}\" }}"));
        output::say(format!("  what it accepted:  curl {url}/_simulator/record    (docs/simulator.md has the rest)"));
        output::say("Ctrl-C ends it; its record is gone then.");
    }
    stop.cancelled().await;
    running.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Reads the settings; an unknown field is refused by name.
fn read(path: &Path) -> Result<Settings, Wrong> {
    let wrong = |problem: String| Wrong(format!("simulator settings {}: {}", path.display(), problem.trim_end()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
    } else {
        toml::from_str(&text).map_err(|error| wrong(error.to_string()))
    }
}
