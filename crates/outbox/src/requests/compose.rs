//! Statements that are put together from closed lists: which filters, which order. Values are always parameters.

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::Span;
use crate::Error;
use crate::connect::Session;
use crate::query::Tx;
use crate::state::Mode;

/// A transaction that sees one moment and writes nothing. Bounds decide which partitions are read at all, so every
/// plan is made with its values.
pub(super) async fn reading(session: &mut Session) -> Result<Tx<'_>, Error> {
    reading_with(session, "").await
}

/// The same with settings of its own.
pub(super) async fn reading_with<'a>(session: &'a mut Session, settings: &str) -> Result<Tx<'a>, Error> {
    Tx::begin_as(session, Mode::Read, &format!("set local plan_cache_mode = force_custom_plan; {settings}")).await
}

/// Conditions and their parameters.
#[derive(Default)]
pub(super) struct Statement<'a> {
    conditions: Vec<String>,
    params: Vec<&'a (dyn ToSql + Sync)>,
    types: Vec<Type>,
}

impl<'a> Statement<'a> {
    /// Adds a parameter and returns its place: `$3`.
    pub fn param(&mut self, value: &'a (dyn ToSql + Sync), ty: Type) -> String {
        self.params.push(value);
        self.types.push(ty);
        format!("${}", self.params.len())
    }

    /// `column = value`, if there is a value.
    pub fn equal(&mut self, column: &'static str, value: Option<&'a String>) {
        if let Some(value) = value {
            let place = self.param(value, Type::TEXT);
            self.conditions.push(format!("{column} = {place}"));
        }
    }

    /// `column = any (values)`, if there is a list.
    pub fn any(&mut self, column: &'static str, values: Option<&'a Vec<i64>>) {
        if let Some(values) = values {
            let place = self.param(values, Type::INT8_ARRAY);
            self.conditions.push(format!("{column} = any ({place})"));
        }
    }

    /// `column = any (texts)`, if there is a list.
    pub fn any_text(&mut self, column: &'static str, values: Option<&'a Vec<String>>) {
        if let Some(values) = values {
            let place = self.param(values, Type::TEXT_ARRAY);
            self.conditions.push(format!("{column} = any ({place})"));
        }
    }

    /// A condition without a parameter.
    pub fn always(&mut self, condition: &'static str) {
        self.conditions.push(condition.to_owned());
    }

    /// A condition with one parameter, written `?`.
    pub fn condition(&mut self, template: &'static str, value: &'a (dyn ToSql + Sync), ty: Type) {
        let place = self.param(value, ty);
        self.conditions.push(template.replace('?', &place));
    }

    /// `column` within a span, as far as it has ends.
    pub fn within(&mut self, column: &'static str, span: &'a Span) {
        if let Some(from) = &span.from {
            self.condition_on(column, ">=", from);
        }
        if let Some(until) = &span.until {
            self.condition_on(column, "<", until);
        }
    }

    fn condition_on(&mut self, column: &'static str, operator: &'static str, value: &'a Timestamp) {
        let place = self.param(value, Type::TIMESTAMPTZ);
        self.conditions.push(format!("{column} {operator} {place}"));
    }

    /// `where …`, or nothing; starts the conditions anew for another part of the same statement.
    pub fn conditions(&mut self) -> String {
        let all = std::mem::take(&mut self.conditions);
        if all.is_empty() { "true".to_owned() } else { all.join(" and ") }
    }

    /// Runs it.
    pub async fn run(self, tx: &Tx<'_>, sql: &str) -> Result<Vec<Row>, Error> {
        tx.prepared(sql, &self.types, &self.params).await
    }
}

/// `a desc, b desc`.
pub(super) fn order(columns: &[&str], descending: bool) -> String {
    let direction = if descending { "desc" } else { "asc" };
    columns.iter().map(|column| format!("{column} {direction}")).collect::<Vec<_>>().join(", ")
}
