//! Lists that people and programs read page by page, or whole as they come.
//!
//! Each list is data ([`List`], in `lists.rs`): a view, its key, its columns. The statement is composed here from names
//! of that data alone; every value travels as a parameter. Its first line names the list, as in every other statement.

mod compose;
mod export;
mod lists;

use tokio_postgres::types::{ToSql, Type};

use crate::query::Tx;
use crate::{Database, Error};

pub use export::{Piece, export};
pub use lists::{LISTS, find};

/// Counting stops here unless an exact count is asked for.
pub const COUNTED_MAX: i64 = 10_000;

/// How long a page may take.
const PAGE_SECONDS: u32 = 30;

/// What a column holds, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// One of few words.
    Word(&'static [&'static str]),
    /// Several texts.
    Texts,
    /// A whole number.
    Integer,
    /// An exact decimal.
    Quantity,
    /// A span of time, in seconds.
    Seconds,
    /// A moment.
    Time,
    /// A day.
    Date,
    /// True or false.
    Flag,
    /// A UUID.
    Id,
    /// A JSON value.
    Json,
}

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the view and in answers.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, in a line.
    pub doc: &'static str,
    /// It may be null.
    pub nullable: bool,
    /// The parameter that asks for equal values, if there is one.
    pub equal: Option<&'static str>,
    /// It can be asked for by a range: `_from` (inclusive) and `_until` (exclusive).
    pub range: bool,
    /// Lists can be sorted by it.
    pub sort: bool,
    /// What a range of it says of the list's key.
    pub bound: Option<Bound>,
}

/// How the values of a column bound the key of their rows, so that a range of it does not read the whole table.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// A function of the schema: no row whose value is at or after its argument has a smaller key than it returns.
    pub from: &'static str,
    /// Likewise: every row whose value is before its argument has a smaller key than it returns.
    pub until: Option<&'static str>,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// The last segment of its path.
    pub name: &'static str,
    /// What one row is called.
    pub item: &'static str,
    /// The first line of its statements.
    pub label: &'static str,
    /// The view.
    pub view: &'static str,
    /// Columns that tell one row from all others; never null.
    pub key: &'static [&'static str],
    /// How it is sorted unless somebody asks; `-` is descending.
    pub sort: &'static str,
    /// The column that holds a row's org or orgs; `None`: it cannot be limited to an org.
    pub org: Option<&'static str>,
    /// Its columns.
    pub columns: &'static [Column],
    /// What it is, in a line.
    pub doc: &'static str,
}

impl List {
    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn known(&self, name: &str) -> &'static Column {
        self.column(name).unwrap_or_else(|| panic!("the list {} has the column {name}", self.name))
    }
}

/// How a filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Equal to one of the values; of several texts, one of them is.
    AnyOf,
    /// Not before the value.
    From,
    /// Before the value.
    Until,
}

/// A condition on a column.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The column.
    pub column: &'static Column,
    /// How it is compared.
    pub test: Test,
    /// Values, in the form that [`Kind`] has in answers.
    pub values: Vec<String>,
}

/// An order of rows.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The column; rows that are equal in it follow their key.
    pub column: &'static Column,
    /// From the largest to the smallest. Nulls come last either way.
    pub descending: bool,
}

/// Where a page begins: behind the row with these values in the sorting column and in the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Value of the sorting column.
    pub sorted: Option<String>,
    /// Values of the key.
    pub key: Vec<String>,
}

/// What is asked of a list.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The list.
    pub list: &'static List,
    /// Conditions, all of which hold.
    pub filters: Vec<Filter>,
    /// The order.
    pub order: Order,
    /// Where to begin.
    pub after: Option<Place>,
}

/// How rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Up to [`COUNTED_MAX`].
    Bounded,
    /// All of them.
    Exact,
}

/// One row: a text per column, null where it is null.
pub type Row = Vec<Option<String>>;

/// A page.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Place>,
    /// How many rows there are in all, if that was asked for, and whether that is exact.
    pub count: Option<(i64, bool)>,
}

/// Reads a page of at most `limit` rows.
///
/// # Errors
/// [`Error::Unavailable`] and [`Error::Retryable`] as for any statement; it is cancelled after 30 seconds.
pub async fn page(database: &Database, ask: &Ask, limit: usize, count: Option<Count>) -> Result<Page, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, &format!("set local statement_timeout = '{PAGE_SECONDS}s'")).await?;
    let statement = compose::rows(ask, Some(limit + 1));
    let mut rows: Vec<Row> = Vec::new();
    for row in &tx.composed(&statement.sql, &statement.params()).await? {
        rows.push((0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?);
    }
    let next = (rows.len() > limit).then(|| {
        rows.truncate(limit);
        place(ask, rows.last().expect("a page has rows"))
    });
    let count = match count {
        None => None,
        Some(how) => {
            let statement = compose::count(ask, (how == Count::Bounded).then_some(COUNTED_MAX + 1));
            let rows = tx.composed(&statement.sql, &statement.params()).await?;
            let counted: i64 = rows.first().expect("a count is one row").try_get(0)?;
            let is_exact = how == Count::Exact || counted <= COUNTED_MAX;
            Some((if is_exact { counted } else { COUNTED_MAX }, is_exact))
        }
    };
    tx.commit().await?;
    Ok(Page { rows, next, count })
}

fn place(ask: &Ask, row: &Row) -> Place {
    let value = |name: &str| {
        let at = ask.list.columns.iter().position(|column| column.name == name).expect("a column of the list");
        row[at].clone()
    };
    Place {
        sorted: value(ask.order.column.name),
        key: ask.list.key.iter().map(|name| value(name).expect("a key is never null")).collect(),
    }
}

/// A composed statement.
struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// A value of a composed statement.
enum Value {
    One(Option<String>),
    Many(Vec<String>),
}

impl Statement {
    fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.values
            .iter()
            .map(|value| match value {
                Value::One(text) => (text as &(dyn ToSql + Sync), Type::TEXT),
                Value::Many(texts) => (texts as &(dyn ToSql + Sync), Type::TEXT_ARRAY),
            })
            .collect()
    }
}
