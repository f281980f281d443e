//! The first half of an import: every row of every file is read, and what is usage is put aside, sorted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::Imported;
use super::counts::End;
use super::listing::Line;
use super::recording::PUT_ASIDE;
use crate::cli::output::Wrong;
use crate::focus::file;
use crate::focus::groups::{Gathering, Place};
use crate::focus::identity::Rule;
use crate::focus::number::Amount;
use crate::focus::row::{Kind, Listed, Read, Rules, read as read_row};

/// So many rows are read between two looks at what a person wants.
const ROWS: u64 = 2000;

/// What all files hold.
pub(super) struct Held {
    pub gathering: Gathering,
    /// How the rows of each source are told apart.
    pub rules: HashMap<String, Rule>,
}

fn wrong(path: &Path, error: &anyhow::Error) -> anyhow::Error {
    Wrong(format!("{}: {error:#}", path.display())).into()
}

/// Bytes of all files; none: one of them is a pipe.
pub(super) fn size(files: &[PathBuf]) -> anyhow::Result<Option<u64>> {
    let mut all = Some(0);
    for path in files {
        let size = file::size(path).map_err(|error| wrong(path, &error))?;
        all = all.zip(size).map(|(all, size)| all + size);
    }
    Ok(all)
}

/// Reads the files.
///
/// # Errors
/// One cannot be read, is no export, or tells its rows apart otherwise than another one of the same source.
pub(super) async fn read(
    files: &[PathBuf],
    rules: &Rules,
    imported: &mut Imported,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> anyhow::Result<Held> {
    let mut held = Held { gathering: Gathering::default(), rules: HashMap::new() };
    let mut before = 0;
    let mut seen: HashMap<[u8; 32], &Path> = HashMap::new();
    for (number, path) in (0_u32..).zip(files) {
        let mut export = file::open(path).map_err(|error| wrong(path, &error))?;
        let columns = export.rows.columns().clone();
        let rule = Rule::of(&columns, rules.id.as_deref()).map_err(|error| wrong(path, &error))?;
        if rules.source.is_none() && !columns.has("ProviderName") && columns.has("ServiceProviderName") {
            let sentence = "has no column ProviderName (FOCUS 1.3 has ServiceProviderName in its place): name the \
                            usage's --source, the same one for ever, such as focus:aws if it was that before";
            return Err(wrong(path, &anyhow::anyhow!(sentence)));
        }
        let mut count = 0;
        while let Some(row) = export.rows.next().map_err(|error| wrong(path, &error))? {
            let place = Place { file: number, line: row.line };
            let told = match row.values {
                Ok(values) => read_row(&columns, &values, &rule, rules),
                Err(reason) => Read::Other(damaged(reason)),
            };
            take(told, place, path, &rule, &mut held, imported)?;
            count += 1;
            if count % ROWS == 0 {
                bar.set_position(before + export.read.bytes());
                tokio::task::yield_now().await;
                if stop.is_cancelled() {
                    imported.is_stopped = true;
                    return Ok(held);
                }
            }
        }
        before += export.read.bytes();
        // rows of one usage may lie in several files: so the same file twice would be twice the usage
        if count > 0
            && let Some(digest) = export.rows.digest()
            && let Some(other) = seen.insert(digest, path)
        {
            let sentence = format!("holds the same as {}: give each file once", other.display());
            return Err(wrong(path, &anyhow::anyhow!(sentence)));
        }
    }
    if !rules.parts
        && let Some((one, other)) = held.gathering.two_deliveries()
    {
        let name = |number: u32| files[number as usize].display();
        let sentence = format!(
            "{} and {} say mostly the same usage, as two deliveries of one export do, and together they would be billed twice: \
             give the last delivery alone, or --parts if both are parts of one",
            name(one),
            name(other)
        );
        return Err(Wrong(sentence).into());
    }
    Ok(held)
}

/// A row that cannot be read.
fn damaged(reason: String) -> Listed {
    let of = (String::new(), String::new());
    Listed { kind: Kind::Refused, field: "(row)".to_owned(), reason, of, amount: Amount::default() }
}

fn take(
    told: Read,
    place: Place,
    path: &Path,
    rule: &Rule,
    held: &mut Held,
    imported: &mut Imported,
) -> anyhow::Result<()> {
    let counts = &mut imported.counts;
    match told {
        Read::Outside => counts.outside += 1,
        Read::Other(listed) => {
            let of = (listed.of.0.as_str(), listed.of.1.as_str());
            counts.read(of, listed.amount);
            counts.end(of, End::from(listed.kind), 1, listed.amount);
            let Listed { kind, field, reason, amount, .. } = &listed;
            imported.listing.add(&Line {
                place,
                rows: 1,
                kind: *kind,
                field,
                reason,
                event_id: "",
                recorded: None,
                quantity: *amount,
            })?;
        }
        Read::Part(part) => {
            counts.read((&part.product, &part.metric), part.amount);
            match held.rules.get(&part.source) {
                None => drop(held.rules.insert(part.source.clone(), rule.clone())),
                Some(known) if known == rule => {}
                Some(known) => {
                    let sentence = format!(
                        "tells rows of {} apart by {}, and a file before it by {}: import them one after the other, or \
                         name with --id what both have",
                        part.source,
                        rule.columns(),
                        known.columns()
                    );
                    return Err(wrong(path, &anyhow::anyhow!(sentence)));
                }
            }
            held.gathering.put(&part, place).context(PUT_ASIDE)?;
        }
    }
    Ok(())
}
