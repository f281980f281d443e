//! A reader that gives up on a record without an end.
//!
//! One quotation mark that is never closed makes a CSV reader take the rest of the file for one field. Memory must stay
//! bounded for any file, so more than [`RECORD_MAX`] bytes since the last whole record are an error.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

/// No export comes near this; a row of the sample has about 750 bytes.
pub const RECORD_MAX: u64 = 1 << 20;

/// Bytes read so far, and up to where records were whole.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    read: Arc<AtomicU64>,
    whole: Arc<AtomicU64>,
    /// Quotation marks among them.
    marks: Arc<AtomicU64>,
    /// What they are, for telling whether two files hold the same.
    bytes: Arc<Mutex<Sha256>>,
}

impl Progress {
    /// Bytes read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// So many more were read.
    pub fn add(&self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// These were read.
    fn saw(&self, bytes: &[u8]) {
        self.add(bytes.len());
        let marks = bytes.iter().filter(|byte| **byte == b'"').count();
        self.marks.fetch_add(marks as u64, Ordering::Relaxed);
        self.bytes.lock().expect("no panic while locked").update(bytes);
    }

    /// Whether the marks come in pairs, as those do that begin, end or stand inside a quoted field.
    #[must_use]
    pub fn marks_are_paired(&self) -> bool {
        self.marks.load(Ordering::Relaxed).is_multiple_of(2)
    }

    /// SHA-256 of all that was read.
    ///
    /// # Panics
    /// Never: nobody panics while it is locked.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.bytes.lock().expect("no panic while locked").clone().finalize().into()
    }

    /// All that was read so far belongs to whole records, or to the buffer behind them.
    pub fn record_is_whole(&self) {
        self.whole.store(self.read.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    progress: Progress,
}

impl<R> Bounded<R> {
    /// Bounds `inner`; whoever parses tells `progress` about every whole record.
    pub const fn new(inner: R, progress: Progress) -> Self {
        Self { inner, progress }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let since = self.progress.read.load(Ordering::Relaxed) - self.progress.whole.load(Ordering::Relaxed);
        if since > RECORD_MAX {
            let sentence = "a record has more than 1 MiB: is a quotation mark never closed?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, sentence));
        }
        let count = self.inner.read(buffer)?;
        self.progress.saw(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a7_a_field_without_an_end_is_an_error_and_not_the_memory_of_the_machine() {
        let progress = Progress::default();
        let endless = io::repeat(b'x');
        let mut reader = csv::Reader::from_reader(Bounded::new(b"a\n\"".chain(endless), progress));
        let error = reader.records().next().unwrap().unwrap_err();
        assert!(error.to_string().contains("never closed"), "{error}");
    }

    #[test]
    fn a7_many_whole_records_are_no_long_one() {
        let progress = Progress::default();
        let text = "some text\n".repeat(300_000);
        let mut reader = csv::Reader::from_reader(Bounded::new(text.as_bytes(), progress.clone()));
        for record in reader.records() {
            record.unwrap();
            progress.record_is_whole();
        }
    }
}
