//! `postmeter judge`: what counts where a marketplace says otherwise than it was settled here. `postmeter declare`: which
//! installation a database is.

use std::process::ExitCode;

use outbox::corrections::{self, Counts, Decided};
use outbox::installation::{self, Declared};
use serde_json::json;

use super::Context;
use super::correct::Signed;
use super::{lost_time, output};

#[derive(Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// The contradiction, by its number (`postmeter status`, `postmeter explain`).
    contradiction: i64,
    /// It is counted as they say: accepted, a conflict with their quantity, or rejected where they hold nothing.
    #[arg(long, conflicts_with = "ours", required_unless_present = "ours")]
    theirs: bool,
    /// What was settled here stands.
    #[arg(long)]
    ours: bool,
    #[command(flatten)]
    signed: Signed,
}

pub(super) async fn judge(context: &Context, args: JudgeArgs) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let (id, counts) = (args.contradiction, if args.theirs { Counts::Theirs } else { Counts::Ours });
    let Decided { now, changed } = corrections::judge(&database, id, counts, args.signed.decider()).await?;
    if context.json {
        output::json(&json!({ "contradiction": id, "theirs": args.theirs, "status": now, "changed": changed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = now.replace('_', " ");
    output::say(match (changed, args.theirs) {
        (false, _) => format!("contradiction {id} was judged so before: nothing was changed"),
        (true, true) => format!("contradiction {id} is judged as they say: its remittance is now {now}"),
        (true, false) if now.is_empty() => format!("contradiction {id} is judged: what we hold stands"),
        (true, false) => format!("contradiction {id} is judged: what was settled stands, its remittance is {now}"),
    });
    Ok(ExitCode::SUCCESS)
}

/// What a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The installation: workers send from here.
    Original,
    /// A copy: nothing is sent from here.
    Copy,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeclareArgs {
    /// What this database is.
    what: What,
    /// With original: nothing was sent by anybody since it was copied (a planned move). Without this, what may have been
    /// sent counts as possibly attempted, and every destination is paused until it is resumed.
    #[arg(long)]
    nothing_lost: bool,
    /// What it is called from now on; workers of another name do not start.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    signed: Signed,
}

pub(super) async fn declare(context: &Context, args: DeclareArgs) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    let is_original = args.what == What::Original;
    let declared = Declared { is_original, nothing_lost: args.nothing_lost, name: args.name.as_deref() };
    let changed = installation::declare(&database, declared, args.signed.decider()).await?;
    if context.json {
        output::json(&json!({ "original": is_original, "nothing_lost": args.nothing_lost, "changed": changed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::say(match (changed, args.what) {
        (false, _) => "it was so already: nothing was changed",
        (true, What::Copy) => "this database is a copy: nothing is sent from here",
        (true, What::Original) if args.nothing_lost => "this database is the installation: it is sent from here",
        (true, What::Original) => {
            "this database is the installation. What may have been sent since it was copied counts as possibly attempted, \
             and every destination that was not paused is now: compare, then resume each"
        }
    });
    if is_original && changed && !args.nothing_lost {
        output::say_all(lost_time::read(&database).await?.iter().flat_map(lost_time::lines));
    }
    Ok(ExitCode::SUCCESS)
}
