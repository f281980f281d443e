//! `postmeter token`: who may come in over HTTP.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use outbox::tokens;
use serde_json::json;

use super::Context;
use super::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and show it, once.
    Create {
        /// Name of the caller; decisions are signed with it.
        name: String,
        /// What it may do; give it several times for several.
        #[arg(long = "scope", required = true, value_enum)]
        scopes: Vec<Scope>,
        /// Limit it to one org.
        #[arg(long)]
        org: Option<String>,
        /// Who makes it.
        #[arg(long, env = "USER", hide_env_values = true)]
        who: String,
    },
    /// List every token ever made (never the token itself).
    List,
    /// Revoke a token, for ever. Consoles refuse it within 5 seconds.
    Revoke {
        /// Name of the caller.
        name: String,
        /// Who revokes it.
        #[arg(long, env = "USER", hide_env_values = true)]
        who: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// Record usage and request statuses.
    Intake,
    /// Read the ledger.
    Read,
    /// Decide, and read.
    Operate,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    match args.verb {
        Verb::Create { name, scopes, org, who } => {
            let words: Vec<String> =
                scopes.iter().filter_map(ValueEnum::to_possible_value).map(|word| word.get_name().to_owned()).collect();
            let token = ::console::new_token();
            tokens::create(&database, &name, &token, &words, org.as_deref(), &who).await?;
            if context.json {
                output::json(&json!({"name": name, "scopes": words, "org": org, "token": token}))?;
            } else {
                // the token alone, so that it can go into a file without being cut out
                output::raw(&format!("{token}\n"))?;
            }
        }
        Verb::List => list(context, &tokens::list(&database).await?)?,
        Verb::Revoke { name, who } => {
            let is_new = tokens::revoke(&database, &name, &who).await?;
            output::say(if is_new { "revoked" } else { "was revoked before" });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context, tokens: &[tokens::Listed]) -> anyhow::Result<()> {
    if context.json {
        return output::json(&tokens);
    }
    for token in tokens {
        let org = token.org.as_deref().map_or_else(String::new, |org| format!(", org {org} only"));
        let revoked = token.revoked_at.map_or_else(String::new, |at| format!(", revoked {at}"));
        output::say(format!(
            "{}: {}{org}, made {} by {}{revoked}",
            token.name,
            token.scopes.join(" "),
            token.created_at,
            token.created_by
        ));
    }
    Ok(())
}
