//! The books: what needs a person, and whether everything recorded is somewhere.

use outbox::Error;
use outbox::health::{Contradicted, LostTime, Proven, Unsettled, UsageUnbalanced};

use super::Round;
use crate::cli::lost_time;

pub(super) async fn look(round: &mut Round<'_>) -> Result<(), Error> {
    unsettled(round).await?;
    if let Some(proven) = round.ask::<Proven>("proof").await?.and_then(|rows| rows.into_iter().next()) {
        proof(round, &proven);
    }
    asked(round).await?;
    if let Some(balance) = round.prove().await? {
        verdict(round, "balance", "meters", balance.checked, balance.open, balance.example);
    }
    if let Some(balance) = round.ask::<UsageUnbalanced>("usage").await?.and_then(|rows| rows.into_iter().next()) {
        verdict(round, "usage", "orgs' metrics", balance.checked, balance.open, balance.example);
    }
    Ok(())
}

/// As of when the workers have proven how much.
fn proof(round: &mut Round<'_>, proven: &Proven) {
    let found = super::super::balance::sentence(proven);
    if proven.unchecked {
        // only workers say as of when what was written is proven
        round.warning("proof", found, "see that a worker runs: it proves what was written every ten minutes");
    } else if proven.stale {
        round.warning(
            "proof",
            found,
            "`postmeter balance --prove` reads the whole ledger now; a running worker does in turn",
        );
    } else {
        round.ok("proof", found);
    }
}

fn verdict(round: &mut Round<'_>, check: &'static str, what: &str, checked: i64, open: i64, example: Option<String>) {
    if open == 0 {
        round.ok(check, format!("closes to zero for all {checked} {what}"));
    } else {
        let example = example.unwrap_or_default();
        round.problem(
            check,
            format!("does not close for {open} of {checked} {what}, such as {example}"),
            "usage was lost or counted twice: stop workers and report this as a defect, with a dump",
        );
    }
}

/// What a marketplace says otherwise than it was settled, and what a loss of commits leaves to people.
async fn asked(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(contradicted) = round.ask::<Contradicted>("contradictions").await? else { return Ok(()) };
    match contradicted.first() {
        Some(Contradicted { count, first: Some(first), as_theirs }) => {
            let or = if *as_theirs { " (or --theirs)" } else { "" };
            let advice = format!("compare with what they hold, then `postmeter judge {first} --ours --why ...`{or}");
            let found = format!("{count} open, the first is {first}: a marketplace says otherwise than it was settled");
            round.problem("contradictions", found, advice);
        }
        _ => round.ok("contradictions", "none is open"),
    }
    let Some(left) = round.ask::<LostTime>("lost time").await? else { return Ok(()) };
    if left.is_empty() {
        round.ok("lost time", "nothing is left of a time in which commits were lost");
    }
    for left in left {
        let found = lost_time::lines(&left).join(" ");
        round.problem("lost time", found, "docs/operate/failover.md, \"When sending was paused\"");
    }
    Ok(())
}

async fn unsettled(round: &mut Round<'_>) -> Result<(), Error> {
    let Some(rows) = round.ask::<Unsettled>("remittances").await? else { return Ok(()) };
    if rows.is_empty() {
        round.ok("remittances", "none needs a person");
    }
    for Unsettled { destination, status, count, example, maybe_billed } in rows {
        let maybe = if maybe_billed > 0 { format!(", {maybe_billed} of them maybe billed") } else { String::new() };
        let found = format!("{destination}: {count} {status}{maybe}");
        // what helps depends on its month, its deadline and the catalogue, which explain looks at
        let advice = format!(
            "`postmeter explain --delivery {example}` says what a person can do about the first; view \
             postmeter.dead_letter has all"
        );
        match status.as_str() {
            "rejected" | "expired" => round.warning("remittances", found, advice),
            _ => round.problem("remittances", found, advice),
        }
    }
    Ok(())
}
