//! `postmeter balance`: as of when everything recorded is proven to be somewhere, and how much of it was read when.

use std::process::ExitCode;
use std::time::Duration;

use outbox::health::{Limits, Proven, ask};
use outbox::proof::{self, Left, Month, Proof};
use outbox::{Database, Error};
use serde_json::json;

use super::Context;
use super::output::{self, NEEDS_A_PERSON, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take every proof back and read the whole ledger again now. Needs the role postmeter_operator. Whoever interrupts
    /// it leaves the rest to the workers.
    #[arg(long)]
    prove: bool,
}

/// For a proof of everything; each of its transactions is short.
const DAY: Duration = Duration::from_secs(86_400);

pub(super) async fn run(context: &Context, args: Args) -> anyhow::Result<ExitCode> {
    let database = context.config.database()?;
    database.wait(Duration::from_secs(5)).await?;
    let found = if args.prove { Some(prove(&database).await?) } else { None };
    let within = Duration::from_secs(30);
    let Some(proven) = ask::<Proven>(&database, Limits::within(within)).await?.answer().and_then(|mut rows| rows.pop())
    else {
        anyhow::bail!("a table that this reads is locked: try again, or see `postmeter doctor`");
    };
    let months = proof::months(&database).await?;
    let open = found.as_ref().map_or(proven.open.unwrap_or(0), |found| found.open);
    if context.json {
        output::json(&json!({ "open": open, "proof": proven, "months": months }))?;
    } else {
        table(&months);
        output::say(sentence(&proven));
        match found {
            Some(found) if open > 0 => {
                let example = found.example.unwrap_or_default();
                output::say(format!("does not close for {open}, such as {example}"));
            }
            Some(_) => output::say("all of it was read, and closes to zero"),
            None => {}
        }
    }
    Ok(if open > 0 { ExitCode::from(NEEDS_A_PERSON) } else { ExitCode::SUCCESS })
}

/// What the proofs are worth: as of when, and between when everything was read.
pub(super) fn sentence(proven: &Proven) -> String {
    let as_of = match &proven.checked_at {
        Some(at) => format!("proven as of {at} from what was written since the proof before"),
        None => "not proven yet".to_owned(),
    };
    let whole = match (&proven.whole_from, &proven.whole_until) {
        (Some(from), Some(until)) => format!("the whole ledger was read between {from} and {until}"),
        _ => "the whole ledger has not been read yet".to_owned(),
    };
    let again = proven.again_since.as_ref().map_or_else(String::new, |at| format!("; being read again since {at}"));
    let moved = match (proven.moved, proven.anew) {
        (0, 0) => String::new(),
        (moved, anew) => format!("; written to since: {moved} meters; to be read whole: {anew}"),
    };
    let open = match (proven.open, &proven.example) {
        (Some(open @ 1..), example) => {
            format!("; did not close for {open}, such as {}", example.as_deref().unwrap_or_default())
        }
        _ => String::new(),
    };
    format!("{as_of}; {whole}{again}{moved}{open}")
}

fn table(months: &[Month]) {
    let header =
        ["month", "destination", "meters", "proven", "moved", "anew", "open", "proven between", "and", "read since"];
    let mut table = Table::new(&header, &[2, 3, 4, 5, 6]);
    let or_none = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
    for month in months {
        table.row([
            month.month.clone(),
            month.destination.clone(),
            month.meters.to_string(),
            month.proven.to_string(),
            month.moved.to_string(),
            month.anew.to_string(),
            month.open.to_string(),
            or_none(&month.proven_from),
            or_none(&month.proven_until),
            or_none(&month.read_from),
        ]);
    }
    output::say_all(table.lines());
}

async fn prove(database: &Database) -> Result<proof::Found, Error> {
    proof::take_back(database).await?;
    let mut work = std::pin::pin!(async {
        let mut proof = Proof::new(database, DAY);
        proof.prove_moved().await?;
        proof.prove_asked().await?;
        proof.read_again(true).await?;
        proof.found().await
    });
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            done = &mut work => {
                output::progress(None);
                return done;
            }
            _ = tick.tick() => {
                let Left { meters, of_meters, usage_until } = proof::left(database).await?;
                let usage = usage_until.map_or_else(String::new, |until| format!("; usage is read up to {until}"));
                output::progress(Some(&format!("{meters} of {of_meters} meters are left{usage}")));
            }
        }
    }
}
