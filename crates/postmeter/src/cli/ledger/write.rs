//! Writing an export: each table's file, then the manifest; each whole or not there at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use jiff::civil::Date;
use outbox::Database;
use outbox::ledger::{Table, lines};
use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Part, Tally, digest, file_name, hex, manifest_name};
use crate::cli::output::Wrong;

/// Counts and hashes what goes through.
struct Hashed<W> {
    inner: W,
    bytes: u64,
    content: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        self.content.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a month into a folder, of the ledger or a destination's billing month; returns its manifest as it was
/// written.
pub(super) async fn month(
    database: &Database,
    to: &Path,
    destination: Option<&str>,
    month: Date,
    number: i32,
    previous: Option<String>,
) -> anyhow::Result<String> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let mut manifest = Manifest {
        format: Manifest::format_of(destination).to_owned(),
        number,
        month: month.strftime("%Y-%m").to_string(),
        destination: destination.map(str::to_owned),
        previous,
        tables: Vec::new(),
    };
    let name = manifest.stem();
    for table in manifest.wanted().unwrap_or_default() {
        manifest.tables.push(part(database, to, *table, destination, month, &name).await?);
    }
    let manifest = manifest.text();
    let temporary = to.join(format!(".{}.part", manifest_name(&name)));
    let mut file = File::create(&temporary).with_context(|| format!("{} cannot be written", temporary.display()))?;
    file.write_all(manifest.as_bytes())?;
    file.sync_all()?;
    put(&temporary, &to.join(manifest_name(&name)))?;
    File::open(to)?.sync_all()?;
    Ok(manifest)
}

async fn part(
    database: &Database,
    to: &Path,
    table: Table,
    destination: Option<&str>,
    month: Date,
    name: &str,
) -> anyhow::Result<Part> {
    let target = to.join(file_name(name, table.name()));
    let temporary = to.join(format!(".{}.part", file_name(name, table.name())));
    let file = File::create(&temporary).with_context(|| format!("{} cannot be written", temporary.display()))?;
    let hashed = Hashed { inner: BufWriter::new(file), bytes: 0, content: Sha256::new() };
    // no time and no name in its head: the same rows are the same bytes
    let mut gzip = GzBuilder::new().write(hashed, Compression::default());
    let mut tally = Tally::new(table);
    lines(database, table, destination, month, |row| {
        let line = tally.line(row).map_err(anyhow::Error::msg)?;
        gzip.write_all(line.as_bytes()).map_err(anyhow::Error::from)
    })
    .await?;
    let Hashed { inner, bytes, content } = gzip.finish()?;
    inner.into_inner()?.sync_all()?;
    put(&temporary, &target)?;
    Ok(tally.part(name, bytes, hex(&content.finalize())))
}

/// Gives a whole file its name; what bears it already must be the same.
fn put(temporary: &Path, target: &Path) -> anyhow::Result<()> {
    if !target.exists() {
        return Ok(fs::rename(temporary, target)?);
    }
    let is_same = digest_of(temporary)? == digest_of(target)?;
    fs::remove_file(temporary)?;
    if is_same {
        return Ok(());
    }
    Err(Wrong(format!("{} is there with other content: nothing is overwritten, move it away", target.display())).into())
}

/// Digest of a file, read piece by piece.
pub(super) fn digest_of(path: &Path) -> io::Result<String> {
    let mut sink = Hashed { inner: io::sink(), bytes: 0, content: Sha256::new() };
    io::copy(&mut File::open(path)?, &mut sink)?;
    Ok(hex(&sink.content.finalize()))
}

/// Digest of a manifest.
pub(super) fn digest_of_manifest(text: &str) -> String {
    digest(text.as_bytes())
}
