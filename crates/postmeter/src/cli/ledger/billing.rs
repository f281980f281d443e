//! Dropping: a month of the ledger, then the remittances of the billing months that lived in it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::civil::Date;
use outbox::ledger::{Billing, BillingMonth, Dropped, Export};
use outbox::{Database, Error, ledger};
use serde_json::json;

use super::super::Context;
use super::super::correct::Signed;
use super::super::output::{self, NEEDS_A_PERSON, Table, Wrong};
use super::super::status::text::moment;
use super::{name, verify, write_one};

/// Consecutive tries while another session locks what is left, a tenth of a second apart.
const PATIENCE: u32 = 100;

/// The billing months, beside those of the ledger.
pub(super) fn status(months: &[BillingMonth]) {
    let mut table = Table::new(&["billing month", "destination", "exported", "its remittances"], &[]);
    for month in months {
        let state = match (month.dropped_at, month.begun_at) {
            (Some(at), _) => format!("dropped {}", moment(at)),
            (None, Some(at)) => format!("being dropped since {}: postmeter ledger drop goes on", moment(at)),
            (None, None) => month.why_not.clone().unwrap_or_else(|| "finished".to_owned()),
        };
        let exported = month.exported_at.map(moment).unwrap_or_default();
        table.row([name(month.of.month), month.of.destination.clone(), exported, state]);
    }
    output::say_all(table.lines());
}

/// Writes a billing month with its remittances, reads it again, and records it.
pub(super) async fn export(database: &Database, of: &Billing, to: &Path, signed: &Signed) -> anyhow::Result<String> {
    let exports = ledger::exports(database).await?;
    let text = write_one(database, Some(&of.destination), of.month, to, &exports).await?;
    Ok(ledger::record_billing(database, of, &text, signed.decider()).await?)
}

/// Drops a month of the ledger, and the remittances of billing months that lived in no other.
pub(super) struct Drop<'a> {
    pub database: &'a Database,
    pub month: Date,
    pub signed: &'a Signed,
    /// The folder with the exports; without it nothing is changed.
    pub verified: Option<&'a Path>,
}

impl Drop<'_> {
    pub async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let is_dry = self.verified.is_none();
        let exports = ledger::exports(self.database).await?;
        let known = ledger::month(self.database, self.month).await?;
        let was_dropped = known.is_some_and(|known| known.dropped_at.is_some());
        let mut tables = Vec::new();
        if !was_dropped {
            let export = exports.iter().find(|export| export.month == self.month && export.destination.is_none());
            if let Some(code) = self.differs(context, export, &format!("{} is", name(self.month)))? {
                return Ok(code);
            }
            tables = ledger::drop_month(self.database, self.month, self.signed.decider(), is_dry).await?;
        }
        let leftovers = if is_dry { 0 } else { self.leftovers().await? };
        let free = ledger::free(self.database, (is_dry && !was_dropped).then_some(self.month)).await?;
        if was_dropped && free.is_empty() && leftovers == 0 {
            let why = "it was dropped, and no billing month waits to be";
            return Err(Wrong(format!("{} is not dropped: {why}", name(self.month))).into());
        }
        if !context.json && !was_dropped {
            show(&tables);
            say_of(&name(self.month), "is", is_dry);
        }
        let (mut code, mut months) = (ExitCode::SUCCESS, Vec::new());
        for of in &free {
            match self.billing(context, of, &exports).await? {
                Ok(said) => months.push(said),
                Err(differs) => code = differs,
            }
        }
        if context.json {
            let month = name(self.month);
            output::json(&json!({ "applied": !is_dry, "month": month, "tables": tables, "billing_months": months }))?;
        }
        Ok(code)
    }

    /// What is kept for each usage beside the ledger, share by share; how many rows.
    async fn leftovers(&self) -> Result<i64, Error> {
        let mut all = 0;
        loop {
            let share = ledger::drop_leftovers(self.database, self.month).await?;
            if share == 0 {
                return Ok(all);
            }
            all += share;
        }
    }

    /// One billing month: what JSON says of it, or the exit code of an export that was changed.
    async fn billing(
        &self,
        context: &Context,
        of: &Billing,
        exports: &[Export],
    ) -> anyhow::Result<Result<serde_json::Value, ExitCode>> {
        let is_dry = self.verified.is_none();
        let month = name(of.month);
        let what = format!("the remittances of {month} at {}", of.destination);
        let is_it = |export: &&Export| export.month == of.month && export.destination.as_ref() == Some(&of.destination);
        if let Some(code) = self.differs(context, exports.iter().rev().find(is_it), &format!("{what} are"))? {
            return Ok(Err(code));
        }
        let without = is_dry.then_some(self.month);
        let tables = match ledger::begin_drop(self.database, of, self.signed.decider(), is_dry, without).await {
            Ok(tables) => tables,
            // not exported with them, or decided about since: the ledger's month goes all the same
            Err(Error::Refused(refused)) if ["PM042", "PM043"].contains(&refused.code.as_str()) => {
                let why = format!("{}. {}", refused.message, refused.hint.unwrap_or_default());
                if !context.json {
                    output::say(format!("{what} stay: {why}"));
                }
                return Ok(Ok(json!({ "month": month, "destination": of.destination, "kept": why })));
            }
            Err(error) => return Err(error.into()),
        };
        if !is_dry {
            shares(self.database, of).await?;
        }
        if !context.json {
            show(&tables);
            say_of(&what, "are", is_dry);
        }
        Ok(Ok(json!({ "month": month, "destination": of.destination, "tables": tables })))
    }

    /// Reads an export before what it holds goes; some code: it is not what was recorded. Whether there is one at all,
    /// the database says.
    fn differs(&self, context: &Context, export: Option<&Export>, what: &str) -> anyhow::Result<Option<ExitCode>> {
        let (Some(dir), Some(export)) = (self.verified, export) else { return Ok(None) };
        let found = verify::one(dir, export);
        if found.differences.is_empty() {
            return Ok(None);
        }
        if context.json {
            output::json(&found)?;
        } else {
            for difference in &found.differences {
                output::say(format!("DIFFERS  {difference}"));
            }
            output::say(format!("{what} not dropped. NOTHING WAS CHANGED."));
        }
        Ok(Some(ExitCode::from(NEEDS_A_PERSON)))
    }
}

/// Drops a billing month share by share: each is a transaction, so no session waits for more than one.
async fn shares(database: &Database, of: &Billing) -> anyhow::Result<()> {
    let mut in_vain = 0;
    while in_vain < PATIENCE {
        match ledger::drop_share(database, of).await {
            Ok(share) if share.is_done => return Ok(()),
            Ok(share) if share.meters + share.remittances > 0 => in_vain = 0,
            // what is left is locked, or somebody proves the balance
            Ok(_) | Err(Error::Retryable { .. }) => {
                in_vain += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let what = format!("the remittances of {} at {}", name(of.month), of.destination);
    Err(Wrong(format!("somebody keeps some of {what} locked: run it again, it goes on where it was")).into())
}

fn show(tables: &[Dropped]) {
    if tables.is_empty() {
        return;
    }
    let mut shown = Table::new(&["table", "rows", "bytes"], &[1, 2]);
    for part in tables {
        let bytes = part.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        shown.row([part.table.clone(), part.rows.to_string(), bytes]);
    }
    output::say_all(shown.lines());
    output::say("");
}

fn say_of(what: &str, are: &str, is_dry: bool) {
    output::say(if is_dry {
        format!("would drop {what}. NOTHING WAS CHANGED: say --apply to carry it out.")
    } else {
        format!("{what} {are} dropped.")
    });
}
