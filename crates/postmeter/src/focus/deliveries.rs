//! Whether two files of a command are two deliveries of one export, and not parts of one: they say the same usage.
//!
//! Rows of a group may lie in several parts, but they do so seldom: most groups are one row. An export that was delivered
//! twice has nearly all of its groups in both files, and adding them up would bill it twice. A sample of the groups
//! shows it, in memory that does not grow with the files.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::row::Part;

/// Groups of the sample; beyond, every second one is left out.
const SAMPLE_MAX: usize = 20_000;

/// Files that are kept of a group.
const FILES_MAX: usize = 8;

/// A sample of the groups, with the files that they were met in.
#[derive(Debug, Default)]
pub struct Deliveries {
    files: HashMap<u64, Vec<u32>>,
    /// Of a group's hash, the bits that are zero in all of the sample.
    mask: u64,
}

impl Deliveries {
    /// Takes a row of a file.
    pub fn put(&mut self, part: &Part, file: u32) {
        let mut hasher = DefaultHasher::new();
        (part.begin, part.id, &part.source).hash(&mut hasher);
        let hash = hasher.finish();
        if hash & self.mask != 0 {
            return;
        }
        let files = self.files.entry(hash).or_default();
        if files.len() < FILES_MAX && !files.contains(&file) {
            files.push(file);
        }
        if self.files.len() > SAMPLE_MAX {
            self.mask = self.mask << 1 | 1;
            self.files.retain(|hash, _| hash & self.mask == 0);
        }
    }

    /// Two files of which one says more than half of its usage in the other, too.
    #[must_use]
    pub fn same(&self) -> Option<(u32, u32)> {
        let (mut of_file, mut of_both) = (HashMap::new(), HashMap::new());
        for files in self.files.values() {
            for (place, one) in files.iter().enumerate() {
                *of_file.entry(*one).or_insert(0_usize) += 1;
                for other in &files[..place] {
                    *of_both.entry((*other.min(one), *other.max(one))).or_insert(0_usize) += 1;
                }
            }
        }
        let is_same = |(one, other): &(u32, u32), both: usize| both * 2 > of_file[one].min(of_file[other]);
        of_both.into_iter().filter(|(pair, both)| is_same(pair, *both)).map(|(pair, _)| pair).min()
    }
}
