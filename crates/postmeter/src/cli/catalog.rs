//! `postmeter catalog`: who buys what where, and how it is counted. `docs/catalogue.md` describes the file.

mod apply;
mod check;
mod derive;
mod plan;
mod read;
mod render;
mod served;
mod spec;
#[cfg(test)]
mod tests;
mod values;

pub use served::Catalogue;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use outbox::catalogue::Editor;
use outbox::corrections::Decider;
use serde_json::{Map, Value};

use super::Context;
use super::output::{self, Wrong};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the catalogue what a file says: shows the difference, then applies it, in one transaction.
    Apply {
        /// The file (TOML, docs/catalogue.md); `-` is standard input.
        file: PathBuf,
        /// Only show the difference; exit code 3 if there is one.
        #[arg(long)]
        dry_run: bool,
        /// Remove what the file does not mention (what was counted by is ended instead).
        #[arg(long)]
        prune: bool,
        /// Who decides it; the default is the name of the account that runs this.
        #[arg(long, env = "USER", hide_env_values = true, default_value = "not said")]
        who: String,
        /// Why, in a sentence: kept with the decision.
        #[arg(long, default_value = "the catalogue's file says so")]
        why: String,
    },
    /// Show the catalogue as a file that `apply` takes.
    Show,
    /// Make a first catalogue from a billing export; it is written to standard output.
    Derive {
        #[command(subcommand)]
        source: Source,
    },
}

#[derive(Debug, Subcommand)]
enum Source {
    /// From an export in the FinOps standard FOCUS (1.0 to 1.3), as `import focus` reads it.
    Focus {
        /// The export.
        file: PathBuf,
        /// What the destination is called; if not said, as the kind.
        #[arg(long)]
        destination: Option<String>,
        /// Which marketplace it is: aws, azure or google.
        #[arg(long, default_value = "aws")]
        kind: String,
        /// A setting of the destination, such as region=eu-west-1 (aws: the default is us-east-1) or
        /// `service_name=x.endpoints.y.cloud.goog` (google: must be given).
        #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
        settings: Vec<(String, String)>,
    },
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Apply { file, dry_run, prune, who, why } => {
            let how = apply::How { dry_run, prune, json: context.json, by: Decider { who: &who, why: &why } };
            apply::apply(&context.config.database()?, &file, how).await
        }
        Verb::Show => show(context).await,
        Verb::Derive { source: Source::Focus { file, destination, kind, settings } } => {
            let mut settings: Map<String, Value> =
                settings.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            if kind == "aws" && !settings.contains_key("region") {
                settings.insert("region".to_owned(), Value::from("us-east-1"));
            }
            if kind == "azure" && !settings.contains_key("credentials") && !settings.contains_key("profile") {
                settings.insert("profile".to_owned(), Value::from("main"));
            }
            // an export names no marketplace: what is given here must be usable, or the catalogue would not be
            marketplaces::open(&kind, &Value::Object(settings.clone())).map_err(|error| Wrong(error.to_string()))?;
            let destination = destination.unwrap_or_else(|| kind.clone());
            output::raw(&derive::focus(&file, derive::Target { destination, kind, settings })?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn show(context: &Context) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    outbox::migrate::check(&database).await?;
    let mut editor = Editor::open(&database).await?;
    let stored = editor.begin().await?.load().await?;
    let entries: Vec<read::Entry> = stored.iter().map(plan::stored_entry).collect();
    if context.json {
        output::json(&render::json(&entries))?;
    } else {
        output::raw(&render::toml(&entries, true))?;
    }
    Ok(ExitCode::SUCCESS)
}
