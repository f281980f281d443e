//! Statements of lists, put together from closed names; values are parameters. Requests have their own composer.

use super::{Ask, Column, Filter, Kind, Statement, Test, Value};

impl Kind {
    const fn sql_type(self) -> &'static str {
        match self {
            Self::Text | Self::Word(_) | Self::Texts => "text",
            Self::Integer => "bigint",
            Self::Quantity | Self::Seconds => "numeric",
            Self::Time => "timestamptz",
            Self::Date => "date",
            Self::Flag => "boolean",
            Self::Id => "uuid",
            Self::Json => "jsonb",
        }
    }

    /// The column as text that its type reads again.
    fn text(self, name: &str) -> String {
        match self {
            Self::Text | Self::Word(_) => format!("v.{name}"),
            Self::Quantity => format!("trim_scale(v.{name})::text"),
            Self::Seconds => format!("trim_scale(extract(epoch from v.{name}))::text"),
            Self::Time => format!(r#"to_char(v.{name} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#),
            Self::Texts => format!("to_json(v.{name})::text"),
            Self::Integer | Self::Date | Self::Flag | Self::Id | Self::Json => format!("v.{name}::text"),
        }
    }
}

/// The rows of a list, in order; at most so many.
pub(super) fn rows(ask: &Ask, limit: Option<usize>) -> Statement {
    let columns: Vec<String> = ask.list.columns.iter().map(|column| column.kind.text(column.name)).collect();
    let mut statement =
        Statement { sql: format!("-- {}\nselect {}", ask.list.label, columns.join(", ")), values: vec![] };
    statement.from(ask, true);
    let direction = if ask.order.descending { "desc" } else { "asc" };
    let sorted = ask.order.column;
    let mut order = Vec::new();
    if !ask.list.key.contains(&sorted.name) || ask.list.key.len() > 1 {
        // only where there are nulls: an index serves the plain order
        let nulls = if sorted.nullable { " nulls last" } else { "" };
        order.push(format!("v.{} {direction}{nulls}", sorted.name));
    }
    order.extend(
        ask.list
            .key
            .iter()
            .filter(|name| **name != sorted.name || ask.list.key.len() == 1)
            .map(|name| format!("v.{name} {direction}")),
    );
    statement.sql += &format!(" order by {}", order.join(", "));
    if let Some(limit) = limit {
        statement.sql += &format!(" limit {limit}");
    }
    statement
}

/// How many rows there are; counting stops at `most`.
pub(super) fn count(ask: &Ask, most: Option<i64>) -> Statement {
    let mut statement =
        Statement { sql: format!("-- {}\nselect count(*) from (select", ask.list.label), values: vec![] };
    statement.from(ask, false);
    if let Some(most) = most {
        statement.sql += &format!(" limit {most}");
    }
    statement.sql += ") c";
    statement
}

impl Statement {
    fn from(&mut self, ask: &Ask, with_place: bool) {
        self.sql += &format!(" from postmeter.{} v", ask.list.view);
        let mut conditions: Vec<String> = ask.filters.iter().map(|filter| self.filter(filter)).collect();
        conditions.extend(ask.filters.iter().filter_map(|filter| self.bound(ask, filter)).collect::<Vec<_>>());
        if with_place {
            conditions.extend(self.place(ask));
        }
        if !conditions.is_empty() {
            self.sql += &format!(" where {}", conditions.join(" and "));
        }
    }

    fn value(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }

    fn filter(&mut self, filter: &Filter) -> String {
        let Filter { column, test, values } = filter;
        let (name, of) = (column.name, column.kind.sql_type());
        let one = || values.first().cloned();
        match test {
            Test::AnyOf if column.kind == Kind::Texts => {
                format!("v.{name} && ${}", self.value(Value::Many(values.clone())))
            }
            Test::AnyOf if values.len() == 1 => format!("v.{name} = ${}::{of}", self.value(Value::One(one()))),
            Test::AnyOf => format!("v.{name} = any (${}::{of}[])", self.value(Value::Many(values.clone()))),
            Test::From => format!("v.{name} >= ${}::{of}", self.value(Value::One(one()))),
            Test::Until => format!("v.{name} < ${}::{of}", self.value(Value::One(one()))),
        }
    }

    /// What a range says of the key.
    fn bound(&mut self, ask: &Ask, filter: &Filter) -> Option<String> {
        let (bound, key) = (filter.column.bound?, ask.list.key.first()?);
        let (sign, function) = match filter.test {
            Test::From => (">=", bound.from),
            Test::Until => ("<", bound.until?),
            Test::AnyOf => return None,
        };
        let value = self.value(Value::One(filter.values.first().cloned()));
        let of = filter.column.kind.sql_type();
        Some(format!("v.{key} {sign} postmeter.{function}(${value}::{of})"))
    }

    /// Rows behind a place: the comparison of (sorted, key) as the order has it, nulls last.
    fn place(&mut self, ask: &Ask) -> Option<String> {
        let place = ask.after.as_ref()?;
        let sign = if ask.order.descending { "<" } else { ">" };
        let sorted = ask.order.column;
        let of_key = |name: &&'static str| ask.list.known(name);
        let keys: Vec<&Column> = ask.list.key.iter().map(of_key).collect();
        let mut rest: Vec<(&Column, &String)> = keys.iter().copied().zip(&place.key).collect();
        if !sorted.nullable {
            let first = place.sorted.clone().unwrap_or_default();
            rest.retain(|(column, _)| column.name != sorted.name);
            let all = std::iter::once((sorted, &first)).chain(rest).collect::<Vec<_>>();
            return Some(self.behind(&all, sign));
        }
        let behind = self.behind(&rest, sign);
        let name = sorted.name;
        Some(match &place.sorted {
            None => format!("v.{name} is null and {behind}"),
            Some(value) => {
                let value = format!("${}::{}", self.value(Value::One(Some(value.clone()))), sorted.kind.sql_type());
                format!("(v.{name} {sign} {value} or v.{name} is null or (v.{name} = {value} and {behind}))")
            }
        })
    }

    fn behind(&mut self, columns: &[(&Column, &String)], sign: &str) -> String {
        let names: Vec<String> = columns.iter().map(|(column, _)| format!("v.{}", column.name)).collect();
        let values: Vec<String> = columns
            .iter()
            .map(|(column, value)| {
                format!("${}::{}", self.value(Value::One(Some((*value).clone()))), column.kind.sql_type())
            })
            .collect();
        format!("({}) {sign} ({})", names.join(", "), values.join(", "))
    }
}
