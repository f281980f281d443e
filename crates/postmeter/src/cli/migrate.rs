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
    /// Only show which migrations are pending, which locks they take, and which programs work on the schema after them.
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
    let database = context.config.direct_database()?;
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
    let migrate::Migrated { applied, waits } = migrate::run(&database, migrate::MIGRATIONS).await?;
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
        output::json(&json!({ "applied": applied, "waits": waits, "purpose": purpose }))?;
    } else {
        for name in &applied {
            output::say(format!("applied {name}"));
        }
        if let Some(waits) = &waits {
            output::say(waits);
        }
        output::say(match applied.len() {
            0 if waits.is_some() => format!("nothing was applied; purpose {purpose}"),
            0 => format!("nothing to do: the schema is one that this program works on; purpose {purpose}"),
            count => format!("{count} migrations applied; purpose {purpose}"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what [`run`] would apply.
async fn plan(context: &Context, database: &Database) -> Result<ExitCode, anyhow::Error> {
    let state = migrate::state(database, migrate::MIGRATIONS).await?;
    let missing: Vec<String> = match outbox::health::missing_roles(database).await {
        // whoever may not see the roles can still read the plan
        Err(Error::Unexpected { .. }) => Vec::new(),
        other => other?,
    };
    let is_new = state.is_new(migrate::MIGRATIONS);
    let steps = state.pending.iter().map(|m| Ok((*m, m.head()?))).collect::<Result<Vec<_>, Error>>()?;
    if context.json {
        let steps: Vec<_> = steps.iter().map(|(migration, head)| as_json(migration, head)).collect();
        let names: Vec<&str> = state.pending.iter().map(|migration| migration.name).collect();
        let newer = &state.newer;
        output::json(&json!({ "pending": names, "steps": steps, "newer": newer, "earlier": state.is_earlier,
                     "missing_roles": missing }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if state.is_earlier {
        output::say(
            "the database has all migrations of before the baseline: it is compared with the baseline, which then \
             counts as applied; stop all workers before",
        );
    }
    for (migration, head) in &steps {
        let when = if migration.is_post() { "after the old programs are gone" } else { "before the new program" };
        let how = if head.is_transaction { "one transaction" } else { "statement by statement" };
        let name = migration.name;
        output::say(format!("pending {name}: {when}; {how}; programs that know {:04} work on it", head.programs_from));
        // on an empty database there is nobody whom a lock could keep out
        for lock in head.locks.iter().filter(|_| !is_new) {
            output::say(format!("    lock: {lock}"));
        }
    }
    if !missing.is_empty() {
        output::say(format!("role {} is missing: sql/roles.sql or --create-roles comes first", missing.join(", ")));
    }
    if !state.newer.is_empty() {
        output::say(format!("newer than this program, which works on it: {}", state.newer.join(", ")));
    }
    output::say(match state.pending.len() {
        0 => "nothing is pending".to_owned(),
        count if is_new => format!("{count} migrations would be applied to an empty database; nothing was changed"),
        count => format!("{count} migrations would be applied; nothing was changed"),
    });
    Ok(ExitCode::SUCCESS)
}

fn as_json(migration: &migrate::Migration, head: &migrate::Head) -> serde_json::Value {
    let lock = |lock: &migrate::Lock| json!({ "mode": lock.mode, "table": lock.table, "grows_with_rows": lock.grows, "why": lock.why });
    json!({
        "name": migration.name,
        "post": migration.is_post(),
        "transaction": head.is_transaction,
        "programs_from": head.programs_from,
        "locks": head.locks.iter().map(lock).collect::<Vec<_>>(),
    })
}
