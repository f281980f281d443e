//! `postmeter migrate`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use outbox::{Database, Error, migrate};
use serde_json::json;

use super::output::{self, Wrong};
use super::{Context, config};

/// How long it waits for a database that is just starting.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only show which migrations are pending.
    #[arg(long)]
    plan: bool,
    /// Make the roles first (sql/roles.sql); needs the right to create roles.
    #[arg(long, conflicts_with = "plan")]
    create_roles: bool,
    /// Say what the database is for. Outside production the clock may be moved and only loopback is called.
    #[arg(long, value_name = "PURPOSE", conflicts_with = "plan")]
    purpose: Option<config::Purpose>,
}

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    database.wait(PATIENCE).await?;
    if args.plan {
        return plan(context, &database).await;
    }
    if args.create_roles {
        outbox::health::create_roles(&database).await.context("the roles cannot be made")?;
    }
    let missing = outbox::health::missing_roles(&database).await?;
    if !missing.is_empty() {
        return Err(Wrong(format!(
            "role {} is missing: run sql/roles.sql as somebody who may create roles, or \
             `postmeter migrate --create-roles`",
            missing.join(", ")
        ))
        .into());
    }
    let applied = migrate::apply(&database).await?;
    if let Some(purpose) = args.purpose {
        outbox::health::set_purpose(&database, purpose.word()).await.map_err(|error| match error {
            Error::Refused(_) => anyhow::Error::from(Wrong(
                "the purpose stays as it is: the clock is moved, which production does not allow. First \
                 update postmeter.setting set clock_shift = '0', clock_frozen = null"
                    .to_owned(),
            )),
            other => other.into(),
        })?;
    }
    let purpose = outbox::catalogue::purpose(&database).await?;
    if context.json {
        output::json(&json!({ "applied": applied, "purpose": purpose }))?;
    } else {
        for name in &applied {
            output::say(format!("applied {name}"));
        }
        output::say(match applied.len() {
            0 => format!("nothing to do: the schema is this program's; purpose {purpose}"),
            count => format!("{count} migrations applied; purpose {purpose}"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what [`run`] would apply.
async fn plan(context: &Context, database: &Database) -> Result<ExitCode, anyhow::Error> {
    let pending: Vec<&str> = migrate::pending(database).await?.iter().map(|migration| migration.name).collect();
    let missing: Vec<String> = match outbox::health::missing_roles(database).await {
        // whoever may not see the roles can still read the plan
        Err(Error::Unexpected { .. }) => Vec::new(),
        other => other?,
    };
    if context.json {
        output::json(&json!({ "pending": pending, "missing_roles": missing }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for name in &pending {
        output::say(format!("pending {name}"));
    }
    if !missing.is_empty() {
        output::say(format!("role {} is missing: sql/roles.sql or --create-roles comes first", missing.join(", ")));
    }
    output::say(match pending.len() {
        0 => "nothing is pending".to_owned(),
        count => format!("{count} migrations would be applied; nothing was changed"),
    });
    Ok(ExitCode::SUCCESS)
}
