//! Sorting what does not fit into memory: sorted runs on disk, read side by side.
//!
//! Records are texts of bytes, and their order is the order of bytes; whoever puts them in begins them with what they are
//! sorted by. The files have no name, so nothing is left behind by a process that is killed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// How much is sorted in memory, with what a vector costs.
const MEMORY: usize = 64 << 20;

/// So many runs are read side by side; more are made one first.
const RUNS: usize = 64;

/// Bytes that a record costs beside its own.
const COST: usize = 32;

/// See the module.
pub struct Sorter {
    buffer: Vec<Vec<u8>>,
    bytes: usize,
    memory: usize,
    runs: Vec<File>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::new(MEMORY)
    }
}

impl Sorter {
    /// With so much memory.
    pub const fn new(memory: usize) -> Self {
        Self { buffer: Vec::new(), bytes: 0, memory, runs: Vec::new() }
    }

    /// Puts a record in.
    ///
    /// # Errors
    /// A run cannot be written.
    pub fn put(&mut self, record: Vec<u8>) -> io::Result<()> {
        self.bytes += record.len() + COST;
        self.buffer.push(record);
        if self.bytes >= self.memory { self.write_run() } else { Ok(()) }
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.buffer.sort_unstable();
        let run = write(std::mem::take(&mut self.buffer).into_iter().map(Ok))?;
        self.bytes = 0;
        self.runs.push(run);
        if self.runs.len() >= RUNS {
            let one = write(Sorted::of(std::mem::take(&mut self.runs), Vec::new())?)?;
            self.runs.push(one);
        }
        Ok(())
    }

    /// All records, in order.
    ///
    /// # Errors
    /// A run cannot be read.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        self.buffer.sort_unstable();
        Sorted::of(self.runs, self.buffer)
    }
}

fn write(records: impl Iterator<Item = io::Result<Vec<u8>>>) -> io::Result<File> {
    let mut file = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
    for record in records {
        let record = record?;
        let length = u32::try_from(record.len()).map_err(io::Error::other)?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&record)?;
    }
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// A run that is read: from disk, or what was still in memory.
enum Run {
    Disk(BufReader<File>),
    Memory(std::vec::IntoIter<Vec<u8>>),
}

impl Run {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let file = match self {
            Self::Memory(records) => return Ok(records.next()),
            Self::Disk(file) => file,
        };
        let mut length = [0; 4];
        match file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut record = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact(&mut record)?;
        Ok(Some(record))
    }
}

/// Records in order.
pub struct Sorted {
    runs: Vec<Run>,
    next: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Sorted {
    fn of(files: Vec<File>, memory: Vec<Vec<u8>>) -> io::Result<Self> {
        let mut runs: Vec<Run> =
            files.into_iter().map(|file| Run::Disk(BufReader::with_capacity(1 << 16, file))).collect();
        runs.push(Run::Memory(memory.into_iter()));
        let mut next = BinaryHeap::new();
        for (place, run) in runs.iter_mut().enumerate() {
            next.extend(run.next()?.map(|record| Reverse((record, place))));
        }
        Ok(Self { runs, next })
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, place)) = self.next.pop()?;
        match self.runs[place].next() {
            Ok(following) => self.next.extend(following.map(|record| Reverse((record, place)))),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l6_what_does_not_fit_into_memory_is_sorted_whole() {
        // a run for every few records, and more runs than are read at once
        let mut sorter = Sorter::new(200);
        let mut expected = Vec::new();
        for number in 0..2000_u32 {
            let record = format!("{:08x}", number.wrapping_mul(2_654_435_761)).into_bytes();
            expected.push(record.clone());
            sorter.put(record).unwrap();
        }
        assert!(sorter.buffer.len() < 10 && sorter.runs.len() < RUNS);
        expected.sort();
        let sorted: Vec<Vec<u8>> = sorter.sorted().unwrap().map(Result::unwrap).collect();
        assert_eq!(sorted, expected);
    }
}
