//! Why a usage is billed or not: what the ledger says, told in plain words.
//!
//! The facts come from [`outbox::report`]; here they become a [`Story`]: the answer in a sentence or two, then how it came
//! about. The command line prints stories, the HTTP API answers with them.

mod arithmetic;
mod attempts;
mod next;
pub mod plain;
mod remittance;
mod table;
pub mod text;
mod usage;
mod verdict;
mod words;

use serde::Serialize;

pub use attempts::attempts;
pub use remittance::story as of_remittance;
pub use table::Table;
pub use usage::story as of_usage;

/// What is told: the answer first, then how it came about.
#[derive(Debug, Default, Serialize)]
pub struct Story {
    /// The answer in a sentence or two.
    pub in_short: String,
    /// Titles and lines.
    pub sections: Vec<Section>,
}

/// A part of a story.
#[derive(Debug, Serialize)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// Lines for people.
    pub lines: Vec<String>,
}

impl Story {
    /// A story with its answer.
    fn new(in_short: String) -> Self {
        Self { in_short, sections: Vec::new() }
    }

    /// Adds a section, unless it has nothing to say.
    fn tell(&mut self, title: impl Into<String>, lines: Vec<String>) {
        if !lines.is_empty() {
            self.sections.push(Section { title: title.into(), lines });
        }
    }
}
