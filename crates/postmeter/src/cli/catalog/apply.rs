//! `catalog apply`: the diff, the checks, and one transaction.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use outbox::Database;
use outbox::catalogue::{Canonical, Changes, Edit, Editor, Kind, Moves, Recountable, recountable};
use outbox::corrections::Decider;
use outbox::switches::{self, Heard};
use serde_json::{Value, json};

use super::plan::{Plan, Step, plan};
use super::read::{Entry, Problem, read};
use super::{check, render, spec};
use crate::cli::heard;
use crate::cli::output::{self, NEEDS_A_PERSON, Problems, Wrong};
use crate::cli::status::text::count;

/// Lines of the difference that the decision keeps; what changed is kept whole in `postmeter.catalogue_change`.
const SIGNED: usize = 100;

/// What to do beside applying, and who decides it.
#[derive(Debug, Clone, Copy)]
pub(super) struct How<'a> {
    pub dry_run: bool,
    pub prune: bool,
    pub json: bool,
    pub by: Decider<'a>,
}

pub(super) async fn apply(database: &Database, path: &Path, how: How<'_>) -> anyhow::Result<ExitCode> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).map_err(|error| Wrong(format!("standard input: {error}")))?
    } else {
        std::fs::read_to_string(path).map_err(|error| Wrong(format!("{}: {error}", path.display())))?
    };
    let (entries, problems) = read(&text);
    outbox::migrate::check(database).await?;
    let mut editor = Editor::open(database).await?;
    let edit = editor.begin().await?;
    let (plan, findings) = look(&edit, entries, problems, how.prune).await?;
    if !findings.problems.is_empty() {
        return refuse(path, findings.problems, how.json);
    }
    let nothing = plan.changes.is_empty() && findings.readings.is_empty();
    // written to see what it moves; a dry run keeps nothing of it
    let moves = if nothing {
        Some(Moves::default())
    } else {
        edit.write(&changes(&plan, findings.readings)).await.context("the catalogue was not changed")?
    };
    if !how.json || how.dry_run {
        show(&plan, &findings.notes, moves.as_ref(), None, how)?;
    }
    if how.dry_run {
        return Ok(if plan.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEEDS_A_PERSON) });
    }
    if !nothing {
        keep(edit, &plan, how.prune, how.by).await.context("the catalogue was not changed")?;
    }
    let heard = heard(database, &plan).await.context("applied, but not whether every worker acts by it")?;
    let code = heard.as_ref().map_or(ExitCode::SUCCESS, heard::code);
    let refused = recountable(database).await.context("applied, but not what could be counted again by it")?;
    if how.json {
        let cured =
            refused.iter().map(|r| json!({ "destination": r.destination, "remittances": r.remittances })).collect();
        let done = Done { heard: heard.as_ref(), recountable: cured };
        show(&plan, &findings.notes, moves.as_ref(), Some(done), how)?;
    } else {
        output::say(match plan.changes.len() {
            0 => "nothing to change".to_owned(),
            1 => "applied: 1 entry".to_owned(),
            count => format!("applied: {count} entries"),
        });
        output::say_all(heard.iter().flat_map(heard::lines));
        output::say_all(refused.iter().map(offer));
    }
    Ok(code)
}

/// The command that counts again what was refused before the catalogue was mended.
fn offer(refused: &Recountable) -> String {
    let Recountable { destination, remittances } = refused;
    format!(
        "{} sent under an identity that the catalogue no longer has; count it again by today's: \
         postmeter recount --destination {destination} --why ... (a dry run until you say --apply)",
        count(*remittances, "refused remittance"),
    )
}

/// What there is to say once a catalogue is applied.
#[derive(Debug, Default)]
struct Done<'a> {
    heard: Option<&'a Heard>,
    recountable: Vec<Value>,
}

/// Waits until workers act by what was applied, where it changes by which rules calls are made.
pub(super) async fn heard(database: &Database, plan: &Plan) -> Result<Option<Heard>, outbox::Error> {
    let is_rule = |kind| matches!(kind, Kind::Quota | Kind::Destination);
    if !plan.changes.iter().any(|change| is_rule(change.entry.kind) && change.step != Step::Add) {
        return Ok(None);
    }
    switches::until_heard(database, None).await.map(Some)
}

/// Compares and checks; all problems there are come together.
pub(super) async fn look(
    edit: &Edit<'_>,
    entries: Vec<Entry>,
    unread: Vec<Problem>,
    prune: bool,
) -> Result<(Plan, check::Findings), outbox::Error> {
    let (plan, refused) = plan(entries, edit.load().await?, prune, edit.clock().await?);
    let mut findings = check::check(&plan);
    // of a field that could not be read, nothing more can be said
    findings
        .problems
        .retain(|problem| !unread.iter().any(|other| other.entry == problem.entry && other.field == problem.field));
    let readable = unread.is_empty();
    findings.problems.extend(unread);
    findings.problems.extend(refused);
    let counted = check::ranges(&plan);
    let months: Vec<_> = counted.iter().map(|counted| counted.months.clone()).collect();
    // a month that cannot be read was complained about, and the database would stumble over it
    if !months.is_empty() && readable {
        findings.problems.extend(check::metered(&counted, &edit.metered(&months).await?));
    }
    let destinations =
        plan.changes.iter().filter(|change| change.entry.kind == Kind::Destination && change.step != Step::Remove);
    let destinations: Vec<&Entry> = destinations.map(|change| &change.entry).collect();
    let zones: Vec<&str> =
        destinations.iter().map(|entry| entry.text("zone")).filter(|zone| !zone.is_empty()).collect();
    let unknown = if zones.is_empty() { Vec::new() } else { edit.unknown_zones(&zones).await? };
    for entry in destinations.iter().filter(|entry| unknown.iter().any(|zone| zone == entry.text("zone"))) {
        findings.problems.push(
            entry.problem(
                "zone",
                format!("is no time zone: {:?}; they look like America/Los_Angeles", entry.text("zone")),
            ),
        );
    }
    findings.problems.sort();
    findings.problems.dedup();
    Ok((plan, findings))
}

/// Keeps what was written, with the decision that it is.
pub(super) async fn keep(edit: Edit<'_>, plan: &Plan, prune: bool, by: Decider<'_>) -> Result<(), outbox::Error> {
    let diff = render::diff(plan);
    let first: Vec<&String> = diff.iter().take(SIGNED).collect();
    edit.sign(by, &json!({ "entries": diff.len(), "prune": prune, "diff": first })).await?;
    edit.commit().await
}

fn refuse(path: &Path, problems: Vec<Problem>, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&json!({ "applied": false, "problems": problems }))?;
        return Ok(ExitCode::from(2));
    }
    let count = if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    let head = format!("{}: {count}, nothing was changed:", path.display());
    Err(Problems { head, problems: problems.iter().map(ToString::to_string).collect() }.into())
}

fn show(
    plan: &Plan,
    notes: &[String],
    moves: Option<&Moves>,
    done: Option<Done<'_>>,
    how: How<'_>,
) -> anyhow::Result<()> {
    if how.json {
        let done = done.unwrap_or_default();
        let kept: Vec<String> = plan.kept.iter().map(Entry::name).collect();
        return output::json(&json!({
            "applied": !how.dry_run, "changes": render::diff_json(plan), "not_in_file": kept, "notes": notes, "moves": moves,
            "heard": done.heard, "recountable": done.recountable,
        }));
    }
    for line in render::diff(plan) {
        output::say(line);
    }
    output::say_all(render::moves(moves));
    for note in notes {
        output::say(format!("note: {note}"));
    }
    for kind in Kind::ALL {
        let kept: Vec<String> = plan.kept.iter().filter(|entry| entry.kind == kind).map(Entry::name).collect();
        if let Some(first) = kept.first() {
            let others = if kept.len() == 1 { String::new() } else { format!(" and {} more", kept.len() - 1) };
            output::say(format!("not in the file, kept (--prune removes): {first}{others}"));
        }
    }
    if how.dry_run {
        output::say(format!("dry run: nothing was changed; entries that would be: {}", plan.changes.len()));
    }
    Ok(())
}

pub(super) fn changes(plan: &Plan, readings: Vec<(serde_json::Map<String, Value>, Canonical)>) -> Changes {
    let mut changes = Changes { readings, ..Changes::default() };
    for change in &plan.changes {
        let (kind, fields) = (change.entry.kind, change.entry.fields.clone());
        debug_assert!(spec::fields(kind).iter().all(|field| fields.contains_key(field.name)), "entries are complete");
        match (change.step, change.old.as_ref().map(|old| old.id)) {
            (Step::Remove, Some(id)) => changes.remove.push((kind, id)),
            (Step::Change | Step::End, Some(id)) => changes.change.push((kind, id, fields)),
            _ => changes.add.push((kind, fields)),
        }
    }
    changes
}
