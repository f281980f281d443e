//! The catalogue for the console: read, checked and applied as by the command line, with a signed decision.

use console::catalogue::{Applied, Boxed, Difference, Wanted, Wrong};
use outbox::catalogue::Editor;
use outbox::corrections::Decider;
use outbox::{Database, Error};
use serde_json::Value;

use super::read::{Entry, Problem, read};
use super::{apply, plan, render};

/// The catalogue as the marketplaces of this program read it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Catalogue;

impl console::catalogue::Catalogue for Catalogue {
    fn show<'a>(&'a self, database: &'a Database) -> Boxed<'a, String> {
        Box::pin(async move {
            let mut editor = Editor::open(database).await?;
            let stored = editor.begin().await?.load().await?;
            let entries: Vec<Entry> = stored.iter().map(plan::stored_entry).collect();
            Ok(render::toml(&entries, true))
        })
    }

    fn apply<'a>(&'a self, database: &'a Database, wanted: Wanted) -> Boxed<'a, Applied> {
        Box::pin(carry_out(database, wanted))
    }
}

async fn carry_out(database: &Database, wanted: Wanted) -> Result<Applied, Error> {
    let (entries, problems) = read(&wanted.text);
    let mut editor = Editor::open(database).await?;
    let edit = editor.begin().await?;
    let (plan, findings) = apply::look(&edit, entries, problems, wanted.prune).await?;
    if !findings.problems.is_empty() {
        return Ok(Applied::Refused(findings.problems.into_iter().map(wrong).collect()));
    }
    let diff = render::diff(&plan);
    let has_changes = !plan.changes.is_empty() || !findings.readings.is_empty();
    let applied = !wanted.dry_run;
    let changes = match render::diff_json(&plan) {
        Value::Array(changes) => changes,
        other => vec![other],
    };
    let mut notes = findings.notes;
    if has_changes {
        // written to see what it moves; a dry run keeps nothing of it
        notes.extend(render::moves(edit.write(&apply::changes(&plan, findings.readings)).await?.as_ref()));
        if applied {
            apply::keep(edit, &plan, wanted.prune, Decider { who: &wanted.who, why: &wanted.why }).await?;
        }
    }
    let heard = if applied { apply::heard(database, &plan).await?.map(Into::into) } else { None };
    let not_in_file = plan.kept.iter().map(Entry::name).collect();
    Ok(Applied::Done(Difference { applied, changes, diff, not_in_file, notes, heard }))
}

fn wrong(problem: Problem) -> Wrong {
    let Problem { line, entry, field, problem } = problem;
    Wrong { line, entry, field, problem }
}
