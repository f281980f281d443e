//! What a query string asks of a list.

use http::{HeaderMap, header};
use outbox::listing::{Ask, Column, Count, Filter, List, Order, Place, Test};

use super::write::Format;
use super::{cursor, value};
use crate::problem::Problem;

/// Rows of a page unless somebody asks.
pub(super) const LIMIT: usize = 50;
/// Rows of a page at most.
pub(super) const LIMIT_MAX: usize = 1000;
/// Values of one filter at most.
pub(super) const VALUES_MAX: usize = 100;

/// What was asked, checked.
pub(super) struct Asked {
    list: &'static List,
    filters: Vec<Filter>,
    order: Order,
    after: Option<Place>,
    pub limit: usize,
    pub count: Option<Count>,
    pub format: Format,
    /// A parameter that is for pages.
    paging: Option<String>,
}

/// Parameters of pages.
const OF_PAGES: [&str; 3] = ["after", "limit", "count"];

impl Asked {
    pub fn read(list: &'static List, query: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut asked = Self {
            list,
            filters: Vec::new(),
            order: order(list, list.sort).expect("a list sorts by a column of its own"),
            after: None,
            limit: LIMIT,
            count: None,
            format: Format::accepted(accepted),
            paging: None,
        };
        let mut after = None;
        let mut once: Vec<String> = Vec::new();
        for (name, text) in pairs(query)? {
            let of_page = OF_PAGES.contains(&name.as_str());
            let is_filter = asked.filter(&name, &text)?;
            if !is_filter {
                if once.contains(&name) {
                    return Err(Problem::parameter(&name, format!("{name} is given twice")));
                }
                asked.set(&name, &text, &mut after)?;
                once.push(name.clone());
            }
            if of_page {
                asked.paging = Some(name);
            }
        }
        if asked.format != Format::Json {
            asked.whole_as(asked.format)?;
        }
        if let Some(text) = after {
            asked.after = Some(cursor::read(list, asked.order, &text)?);
        }
        Ok(asked)
    }

    /// Everything at once: what is asked of pages is refused.
    pub fn whole_as(&mut self, format: Format) -> Result<(), Problem> {
        self.format = format;
        match &self.paging {
            Some(name) => Err(Problem::parameter(name, format!("{name} is for pages; this brings everything at once"))),
            None => Ok(()),
        }
    }

    /// A filter, if the name is one.
    fn filter(&mut self, name: &str, text: &str) -> Result<bool, Problem> {
        let Some((column, test)) = filter_of(self.list, name) else { return Ok(false) };
        let value =
            value::read(column.kind, text).map_err(|wrong| Problem::parameter(name, format!("{name} {wrong}")))?;
        let same = self.filters.iter_mut().find(|filter| filter.column.name == column.name && filter.test == test);
        match same {
            Some(_) if test != Test::AnyOf => Err(Problem::parameter(name, format!("{name} is given twice"))),
            Some(filter) if filter.values.len() >= VALUES_MAX => {
                Err(Problem::parameter(name, format!("{name} is given more than {VALUES_MAX} times")))
            }
            Some(filter) => {
                filter.values.push(value);
                Ok(true)
            }
            None => {
                self.filters.push(Filter { column, test, values: vec![value] });
                Ok(true)
            }
        }
    }

    fn set(&mut self, name: &str, text: &str, after: &mut Option<String>) -> Result<(), Problem> {
        let wrong = |expected: String| Problem::parameter(name, format!("{name} must be {expected}"));
        match name {
            "after" => *after = Some(text.to_owned()),
            "limit" => {
                let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                self.limit = limit.ok_or_else(|| wrong(format!("a whole number from 1 to {LIMIT_MAX}")))?;
            }
            "count" => {
                self.count = match text {
                    "true" => Some(Count::Bounded),
                    "exact" => Some(Count::Exact),
                    "false" => None,
                    _ => return Err(wrong("true, false or exact".to_owned())),
                }
            }
            "format" => self.format = Format::named(text).ok_or_else(|| wrong("json, csv or ndjson".to_owned()))?,
            "sort" => {
                let columns = sorts(self.list).join(", ");
                self.order = order(self.list, text)
                    .ok_or_else(|| wrong(format!("one of {columns}; with - before it for descending")))?;
            }
            _ => return Err(unknown(self.list, name)),
        }
        Ok(())
    }

    /// What the caller may see of it.
    pub fn ask_for(&self, org: Option<&str>) -> Result<Ask, Problem> {
        let mut filters = self.filters.clone();
        if let Some(org) = org {
            let Some(column) = self.list.org.and_then(|name| self.list.column(name)) else {
                return Err(Problem::forbidden(format!(
                    "the list {} cannot be limited to one org, and this token is for {org:?} only",
                    self.list.name
                )));
            };
            filters.push(Filter { column, test: Test::AnyOf, values: vec![org.to_owned()] });
        }
        Ok(Ask { list: self.list, filters, order: self.order, after: self.after.clone() })
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let uri: http::Uri =
        format!("/?{query}").parse().map_err(|_| Problem::malformed("the query string cannot be read"))?;
    let axum::extract::Query(pairs) = axum::extract::Query::try_from_uri(&uri).map_err(|rejection| {
        Problem::malformed(format!("the query string cannot be read: {}", rejection.body_text()))
    })?;
    Ok(pairs)
}

/// The column and comparison that a parameter names.
fn filter_of(list: &List, name: &str) -> Option<(&'static Column, Test)> {
    let columns: &'static [Column] = list.columns;
    columns.iter().find_map(|column| {
        let range = || column.range.then(|| name.strip_prefix(column.name)).flatten();
        match range() {
            _ if column.equal == Some(name) => Some((column, Test::AnyOf)),
            Some("_from") => Some((column, Test::From)),
            Some("_until") => Some((column, Test::Until)),
            _ => None,
        }
    })
}

/// Columns that a list can be sorted by.
pub(super) fn sorts(list: &List) -> Vec<&'static str> {
    list.columns.iter().filter(|column| column.sort).map(|column| column.name).collect()
}

/// The order of a text such as `-hour`.
pub(super) fn order(list: &List, text: &str) -> Option<Order> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let column = list.column(name).filter(|column| column.sort)?;
    Some(Order { column, descending })
}

/// The text of an order.
pub(super) fn order_text(order: Order) -> String {
    format!("{}{}", if order.descending { "-" } else { "" }, order.column.name)
}

fn unknown(list: &List, name: &str) -> Problem {
    let mut known: Vec<String> = Vec::new();
    for column in list.columns {
        known.extend(column.equal.map(str::to_owned));
        if column.range {
            known.extend([format!("{}_from", column.name), format!("{}_until", column.name)]);
        }
    }
    known.extend(["sort", "limit", "after", "count", "format"].map(str::to_owned));
    let alike = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = alike.filter(|(likeness, _)| *likeness > 0.75).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = nearest.map_or_else(String::new, |(_, known)| format!("did you mean {known}? "));
    Problem::parameter(name, format!("there is no parameter {name}; {hint}There are {}", known.join(", ")))
}
