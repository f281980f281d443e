//! The catalogue, read and checked by whoever started this console: checking one asks the marketplaces' code what an
//! identity means, and that code is not for a program that talks to the database.

use std::future::Future;
use std::pin::Pin;

use outbox::{Database, Error};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::heard::Heard;

/// A future that a trait object returns.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Reads and applies catalogues.
pub trait Catalogue: Send + Sync {
    /// The catalogue as TOML that [`Catalogue::apply`] takes.
    fn show<'a>(&'a self, database: &'a Database) -> Boxed<'a, String>;

    /// Compares a text with the catalogue, and unless it is a dry run makes the catalogue what it says.
    fn apply<'a>(&'a self, database: &'a Database, wanted: Wanted) -> Boxed<'a, Applied>;
}

/// A catalogue to apply.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// TOML (`docs/catalogue.md`).
    pub text: String,
    /// Only compare.
    pub dry_run: bool,
    /// Remove what the text does not mention.
    pub prune: bool,
    /// Who decides.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// Nothing: this is wrong with it.
    Refused(Vec<Wrong>),
    /// The difference, applied unless it was a dry run.
    Done(Difference),
}

/// Something that is wrong with a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Wrong {
    /// Line of the text; none for an entry that is only in the database.
    pub line: Option<usize>,
    /// Which entry.
    pub entry: String,
    /// Which field; empty: the entry as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// How a text differs from the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Difference {
    /// The catalogue is now what the text says.
    pub applied: bool,
    /// An object per entry: step, entry, key, and the fields that differ with their old and new values.
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Value>,
    /// The same in a line each.
    pub diff: Vec<String>,
    /// Entries that the text does not mention and that stay.
    pub not_in_file: Vec<String>,
    /// Not wrong, but somebody should know.
    pub notes: Vec<String>,
    /// Whether workers act by it, where it changes by which rules calls are made.
    pub heard: Option<Heard>,
}
