//! A file of what they hold, resolved as a whole: what one row says counts only beside what all others say.
//!
//! All of it is read, and looked up without a change, before the first remittance is resolved: rows of one remittance may
//! stand far from each other and call it by different names, and of such as contradict each other none may be carried out.

use std::collections::HashMap;

use anyhow::Context as _;
use outbox::Database;
use outbox::corrections::{self, Resolved, SHARE};
use remittance::Quantity;
use serde_json::{Value, json};

use super::held_there::{Row, Rows};
use super::resolve::{How, Outcomes};

/// All rows of a file.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(mut rows: Rows) -> anyhow::Result<Vec<Row>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next().context("nothing was changed")? {
        all.push(row);
    }
    Ok(all)
}

/// Resolves what rows say, in shares, so that no transaction's length grows with the file.
pub(super) async fn resolve(
    database: &Database,
    rows: Vec<Row>,
    destination: Option<&str>,
    how: How<'_>,
    said: &mut Outcomes,
) -> anyhow::Result<()> {
    let mut verdicts: Vec<Option<Resolved>> = Vec::with_capacity(rows.len());
    for share in rows.chunks(SHARE) {
        let asks: Vec<Value> =
            share.iter().filter_map(|row| row.says.as_ref().ok()).map(|says| says.asks(destination)).collect();
        let looked_up = corrections::resolve_share(database, &asks, how.by, true).await;
        let mut looked_up = looked_up.context("nothing was changed")?.into_iter();
        verdicts.extend(share.iter().map(|row| row.says.as_ref().ok().and_then(|_| looked_up.next())));
    }
    together(&rows, &mut verdicts);
    said.begin()?;
    let mut rows = rows.into_iter().zip(verdicts);
    loop {
        let mut share: Vec<(Row, Option<Resolved>)> = rows.by_ref().take(SHARE).collect();
        if share.is_empty() {
            return Ok(());
        }
        if !how.dry_run {
            carry_out(database, &mut share, how).await.with_context(|| said.so_far(false))?;
        }
        for (row, verdict) in share {
            let verdict = verdict.unwrap_or_else(|| unread(&row));
            said.take(Some(&row), verdict)?;
        }
    }
}

/// Of rows of one remittance the first counts if all say the same, and none if they do not.
fn together(rows: &[Row], verdicts: &mut [Option<Resolved>]) {
    let mut of: HashMap<i64, Vec<usize>> = HashMap::new();
    for (index, verdict) in verdicts.iter().enumerate() {
        if let Some(Resolved { delivery: Some(delivery), .. }) = verdict.as_ref().filter(|it| it.verdict != "malformed")
        {
            of.entry(*delivery).or_default().push(index);
        }
    }
    let quantity = |index: &usize| -> Option<Quantity> { Some(rows.get(*index)?.says.as_ref().ok()?.quantity) };
    for same in of.into_values().filter(|same| same.len() > 1) {
        let agree = same.windows(2).all(|pair| quantity(&pair[0]) == quantity(&pair[1]));
        let lines: Vec<_> = same.iter().map(|index| rows[*index].line.to_string()).collect();
        for index in same.iter().skip(usize::from(agree)) {
            let Some(verdict) = &mut verdicts[*index] else { continue };
            let (word, note) = if agree {
                ("repeated", format!("line {} says the same", lines[0]))
            } else {
                let lines = lines.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
                ("contradictory", format!("lines {lines} say different things of it: none of them is carried out"))
            };
            (verdict.verdict, verdict.note, verdict.after) = (word.to_owned(), Some(note), verdict.before.clone());
        }
    }
}

/// Resolves those of a share that would change something, were locked before, or contradict what was settled, by number.
async fn carry_out(
    database: &Database,
    share: &mut [(Row, Option<Resolved>)],
    how: How<'_>,
) -> Result<(), outbox::Error> {
    let mut open = Vec::new();
    for (row, verdict) in share {
        if let (Ok(says), Some(verdict)) = (&row.says, verdict)
            && let Some(delivery) = verdict.delivery
            && (verdict.is_change() || matches!(&*verdict.verdict, "locked" | "other_quantity" | "nothing_to_resolve"))
        {
            open.push((json!({ "delivery": delivery, "quantity": says.quantity.to_string() }), verdict));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let asks: Vec<Value> = open.iter().map(|(asks, _)| asks.clone()).collect();
    let resolved = corrections::resolve_share(database, &asks, how.by, false).await?;
    for ((_, verdict), resolved) in open.into_iter().zip(resolved) {
        *verdict = resolved;
    }
    Ok(())
}

fn unread(row: &Row) -> Resolved {
    Resolved {
        delivery: None,
        key: Some(row.name.clone()).filter(|name| !name.is_empty()),
        before: None,
        after: None,
        quantity: None,
        verdict: "malformed".to_owned(),
        note: row.says.as_ref().err().cloned(),
    }
}
