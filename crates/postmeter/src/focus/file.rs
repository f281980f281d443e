//! A file that is said to be an export: what it is, is told by its first bytes, whatever its name.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;

use super::bounded::Progress;
use super::rows::Rows;

/// How much of a file is looked at.
const HEAD: usize = 512;

/// An export, ready to be read.
pub struct Export {
    /// Its rows.
    pub rows: Rows,
    /// How many bytes of the file were read so far.
    pub read: Progress,
}

/// How large a file is on the disk; none: it is no file, but a pipe.
///
/// # Errors
/// It is not there, or a folder.
pub fn size(path: &Path) -> anyhow::Result<Option<u64>> {
    if path.as_os_str() == "-" {
        return Ok(None);
    }
    let about = std::fs::metadata(path)?;
    if about.is_dir() {
        bail!("is a folder");
    }
    Ok(about.is_file().then_some(about.len()))
}

/// Opens an export; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is none.
pub fn open(path: &Path) -> anyhow::Result<Export> {
    let file: Box<dyn Read + Send> =
        if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    let read = Progress::default();
    let counted = Counted { inner: file, read: read.clone() };
    let (head, whole) = peek(counted)?;
    if head.starts_with(b"PAR1") {
        return parquet(path).map(|rows| Export { rows, read });
    }
    let text: Box<dyn Read + Send> = if head.starts_with(&[0x1f, 0x8b]) {
        let (head, whole) = peek(MultiGzDecoder::new(whole)).context("it is compressed by gzip, and damaged")?;
        if head.starts_with(b"PAR1") {
            bail!("is a Parquet file inside gzip: unpack it first, Parquet is read from its end");
        }
        recognise(&head)?;
        Box::new(whole)
    } else {
        recognise(&head)?;
        Box::new(whole)
    };
    Ok(Export { rows: Rows::csv(text)?, read })
}

/// The first bytes, and a reader of all of them.
fn peek<R: Read + Send + 'static>(mut file: R) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let whole = Cursor::new(head.clone()).chain(BufReader::with_capacity(1 << 16, file));
    Ok((head, Box::new(whole)))
}

/// Names what is no text in UTF-8.
fn recognise(head: &[u8]) -> anyhow::Result<()> {
    let zeros = head.iter().filter(|byte| **byte == 0).count();
    let is_utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) || zeros * 3 > head.len();
    for (is_it, what) in [
        (head.is_empty(), "is empty: an export has a first line with the names of its columns"),
        (head.starts_with(b"PK\x03\x04"), "is a ZIP archive or a spreadsheet: unpack it, or save it as CSV in UTF-8"),
        (head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]), "is compressed by zstd: unpack it, or compress it by gzip"),
        (head.starts_with(b"BZh"), "is compressed by bzip2: unpack it, or compress it by gzip"),
        (is_utf16, "is UTF-16 text, and UTF-8 is read: iconv -f UTF-16 -t UTF-8 makes the one of the other"),
        (head.trim_ascii_start().starts_with(b"{"), "is JSON, and CSV is read"),
        (head.trim_ascii_start().starts_with(b"<"), "is XML or HTML, and CSV is read"),
    ] {
        if is_it {
            bail!("{what}");
        }
    }
    Ok(())
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path) -> anyhow::Result<Rows> {
    if path.as_os_str() == "-" {
        bail!("is a Parquet file, which is read from its end: give its name, standard input has none");
    }
    super::parquet::open(File::open(path)?).map(Rows::parquet)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Path) -> anyhow::Result<Rows> {
    bail!("is a Parquet file, and this postmeter was built without the feature parquet: export it as CSV")
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.add(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &str = "SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart\n\
                        7,AWS Lambda,GB,1,2024-09-18 22:00:00\n";

    fn opened(name: &str, bytes: &[u8]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut export = open(&path).map_err(|error| format!("{error:#}"))?;
        let mut count = 0;
        while export.rows.next().map_err(|error| format!("{error:#}"))?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn l6_gzip_is_told_by_its_bytes() {
        let whole = zipped(TEXT.as_bytes());
        assert_eq!(opened("export.csv.gz", &whole), Ok(1));
        assert_eq!(opened("export.csv", &whole), Ok(1), "under another name");
        assert_eq!(opened("export.csv.gz", TEXT.as_bytes()), Ok(1), "unpacked by somebody");
        let two = [zipped(TEXT.as_bytes()), zipped(b"8,AWS Lambda,GB,1,2024-09-18 22:00:00\n")].concat();
        assert_eq!(opened("export.csv.gz", &two), Ok(2), "members in a row");
        assert!(opened("export.csv.gz", &whole[..whole.len() - 9]).is_err(), "cut off");
        let with_mark = [b"\xef\xbb\xbf", TEXT.as_bytes()].concat();
        assert_eq!(opened("export.csv", &with_mark), Ok(1), "a byte order mark is no part of the first name");
    }

    #[test]
    fn l6_what_is_no_export_is_named_for_what_it_is() {
        let utf16: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, what) in [
            ([b"\xff\xfe", utf16.as_slice()].concat(), "UTF-16"),
            (utf16.clone(), "UTF-16"),
            (b"PK\x03\x04rest".to_vec(), "ZIP"),
            (vec![0x28, 0xb5, 0x2f, 0xfd, 1], "zstd"),
            (Vec::new(), "empty"),
            (b"{\"a\": 1}".to_vec(), "JSON"),
            (TEXT.replace(',', ";").into_bytes(), "semicolons"),
            (zipped(TEXT.replace(',', ";").as_bytes()), "semicolons"),
        ] {
            let said = opened("export.csv", &bytes).unwrap_err();
            assert!(said.contains(what), "{what}: {said}");
        }
    }
}
