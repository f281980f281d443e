//! What an import says at its end.

use serde_json::json;

use super::{FocusArgs, Imported};
use crate::cli::output;

pub(super) fn for_programs(args: &FocusArgs, imported: &Imported) -> anyhow::Result<()> {
    let counts = &imported.counts;
    let total = &counts.total;
    let metrics: Vec<_> = counts
        .metrics
        .iter()
        .map(|((product, metric), ends)| json!({ "product": product, "metric": metric, "counts": ends }))
        .collect();
    output::json(&json!({
        "files": args.files,
        "finished": !imported.is_stopped,
        "rows": total.read.rows,
        "recorded": total.recorded.rows,
        "repeated": total.repeated.rows,
        "changed": total.changed.rows,
        "skipped": total.skipped.rows,
        "refused": total.refused.rows,
        "outside": counts.outside,
        "usages": counts.usages,
        "metrics": metrics,
        "listed": imported.listing.kinds(),
    }))
}

pub(super) fn for_people(args: &FocusArgs, imported: &Imported) {
    let counts = &imported.counts;
    let table = counts.table();
    if !table.is_empty() {
        output::say_all(table.lines());
        output::say("");
    }
    let (total, usages) = (&counts.total, &counts.usages);
    let outside = if counts.outside > 0 { format!("; {} outside the hours", counts.outside) } else { String::new() };
    output::say(format!(
        "{} rows = {} recorded + {} repeated (recorded before) + {} changed + {} skipped + {} refused{outside}",
        total.read.rows,
        total.recorded.rows,
        total.repeated.rows,
        total.changed.rows,
        total.skipped.rows,
        total.refused.rows,
    ));
    output::say(format!(
        "{} usages recorded, {} known as they are, {} known with another quantity",
        usages.recorded,
        usages.repeated,
        usages.changed + usages.applied,
    ));
    for kinds in imported.listing.kinds() {
        output::say(format!("  {}", kinds.sentence()));
    }
    if let Some(path) = args.rejects.as_ref().filter(|_| !imported.listing.kinds().is_empty()) {
        output::say(format!("the full list is in {}", path.display()));
    }
    if imported.is_stopped {
        output::say("stopped before the end; run the same command again to go on");
    }
}
