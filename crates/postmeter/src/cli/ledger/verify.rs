//! Verifying an export without a database: every byte of it is what the rows and the manifests before make it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use flate2::read::GzDecoder;
use outbox::ledger::Table;
use serde::Serialize;

use super::manifest::{Manifest, Part, Tally, file_name, manifest_name, stem};
use super::write::{digest_of, digest_of_manifest};

/// What verifying came to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Found {
    pub months: usize,
    pub rows: u64,
    /// The first difference of each file.
    pub differences: Vec<String>,
    /// Digests of the manifests by number.
    #[serde(skip)]
    pub digests: Vec<(i32, String)>,
}

/// Reads a folder.
///
/// # Errors
/// It cannot be read at all.
pub(super) fn folder(folder: &Path) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let mut names: Vec<String> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    names.sort();
    let mut manifests: Vec<(Manifest, String)> = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".manifest.json") && !name.starts_with('.')) {
        match manifest(folder, name) {
            Ok(read) => manifests.push(read),
            Err(why) => found.differences.push(format!("{name}: {why}")),
        }
    }
    manifests.sort_by_key(|(manifest, _)| manifest.number);
    let mut before: (i32, Option<String>) = (0, None);
    for (manifest, digest) in &manifests {
        let name = manifest_name(&manifest.stem());
        if manifest.number != before.0 + 1 {
            let missing = before.0 + 1;
            found.differences.push(format!("export {missing} is missing: {name} is export {}", manifest.number));
        } else if manifest.previous != before.1 {
            found
                .differences
                .push(format!("{name}: does not follow the manifest of export {}, which was changed", before.0));
        }
        before = (manifest.number, Some(digest.clone()));
        found.months += 1;
        found.digests.push((manifest.number, digest.clone()));
        month(folder, manifest, &mut found);
    }
    let known = |name: &String| manifests.iter().any(|(m, _)| m.tables.iter().any(|part| part.file == *name));
    for name in names.iter().filter(|name| name.ends_with(".ndjson.gz") && !name.starts_with('.') && !known(name)) {
        found.differences.push(format!("{name}: no manifest names it"));
    }
    if found.months == 0 && found.differences.is_empty() {
        found.differences.push("there is no manifest".to_owned());
    }
    Ok(found)
}

/// One month of a folder, by the digest that was recorded.
pub(super) fn one(folder: &Path, export: &outbox::ledger::Export) -> Found {
    let mut found = Found::default();
    let name = manifest_name(&stem_of(export));
    match manifest(folder, &name) {
        Ok((manifest, digest)) if digest == export.digest => month(folder, &manifest, &mut found),
        Ok(_) => found.differences.push(format!("{name}: it is not the one that the database recorded")),
        Err(why) => found.differences.push(format!("{name}: {why}")),
    }
    found.months = 1;
    found
}

fn stem_of(export: &outbox::ledger::Export) -> String {
    stem(&export.month.strftime("%Y-%m").to_string(), export.destination.as_deref(), export.number)
}

fn manifest(folder: &Path, name: &str) -> Result<(Manifest, String), String> {
    let text = fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| format!("line {}: {error}", error.line()))?;
    if manifest.wanted().is_none() {
        return Err(format!("its format is {:?}, and no format of ours", manifest.format));
    }
    if manifest_name(&manifest.stem()) != name {
        return Err(format!("it says that it is of {}", manifest.stem()));
    }
    let again = manifest.text();
    if again != text {
        let line = again.lines().zip(text.lines()).take_while(|(left, right)| left == right).count() + 1;
        return Err(format!("line {line}: it was written otherwise"));
    }
    let digest = digest_of_manifest(&text);
    Ok((manifest, digest))
}

/// The files of a month.
pub(super) fn month(folder: &Path, manifest: &Manifest, found: &mut Found) {
    let names: Vec<&str> = manifest.tables.iter().map(|part| part.table.as_str()).collect();
    let (stem, wanted) = (manifest.stem(), manifest.wanted().unwrap_or_default());
    if names != wanted.iter().map(|table| table.name()).collect::<Vec<_>>() {
        found.differences.push(format!("{}: it does not have its {} tables", manifest_name(&stem), wanted.len()));
        return;
    }
    for (table, part) in wanted.iter().zip(&manifest.tables) {
        match file(folder, *table, &stem, part) {
            Ok(rows) => found.rows += rows,
            Err(why) => found.differences.push(format!("{}: {why}", file_name(&stem, table.name()))),
        }
    }
}

/// One file against what its manifest says; the number of its rows.
fn file(folder: &Path, table: Table, stem: &str, part: &Part) -> Result<u64, String> {
    let path = folder.join(file_name(stem, table.name()));
    let file = File::open(&path).map_err(|error| error.to_string())?;
    let compressed_bytes = file.metadata().map_err(|error| error.to_string())?.len();
    let mut lines = BufReader::new(GzDecoder::new(file));
    let mut tally = Tally::new(table);
    let mut line = String::new();
    let mut number: u64 = 0;
    loop {
        number += 1;
        line.clear();
        // no line is longer than all of them
        let read = lines.by_ref().take(part.bytes.saturating_add(1)).read_line(&mut line);
        if read.map_err(|error| format!("line {number}: it cannot be read: {error}"))? == 0 {
            break;
        }
        let row = line
            .strip_prefix("{\"check\":\"")
            .and_then(|rest| rest.get(32..)?.strip_prefix("\",\"row\":")?.strip_suffix("}\n"))
            .ok_or_else(|| format!("line {number}: it is no line of an export"))?;
        let expected = tally.line(row).map_err(|why| format!("line {number}: {why}"))?;
        if expected != line {
            return Err(format!("line {number}: it, or a line before it, was changed, removed or moved"));
        }
    }
    let compressed = digest_of(&path).map_err(|error| error.to_string())?;
    let is = tally.part(stem, compressed_bytes, compressed);
    if is == *part {
        return Ok(part.rows);
    }
    Err(if is.rows != part.rows {
        format!("line {}: {} rows, and the manifest says {}", is.rows.min(part.rows) + 1, is.rows, part.rows)
    } else if is.sums != part.sums {
        format!("its sums are {:?}, and the manifest says {:?}", is.sums, part.sums)
    } else if is.chain != part.chain {
        "its rows are others than the manifest's, though they fit each other".to_owned()
    } else if is.compressed_sha256 != part.compressed_sha256 || is.compressed_bytes != part.compressed_bytes {
        "its rows are the manifest's, but the compressed file was changed".to_owned()
    } else {
        format!("the manifest says otherwise of it: {part:?}, and it is {is:?}")
    })
}

/// Differences to what the database has recorded.
pub(super) fn against(found: &mut Found, exports: &[outbox::ledger::Export]) {
    for export in exports {
        let month = stem_of(export);
        match found.digests.iter().find(|(number, _)| *number == export.number) {
            Some((_, digest)) if *digest == export.digest => {}
            Some(_) => {
                found.differences.push(format!("{month}: its manifest is not the one that the database recorded"))
            }
            None => found.differences.push(format!("{month}: the database recorded its export, and it is not here")),
        }
    }
    for (number, _) in found.digests.iter().filter(|(number, _)| !exports.iter().any(|e| e.number == *number)) {
        found.differences.push(format!("export {number}: the database does not know it"));
    }
}
