//! What a plan reads, from `explain (analyze, format json)`.

use std::collections::BTreeSet;

use serde_json::Value;

/// Tables that grow with usage.
const BIG: [&str; 7] = ["usage", "usage_identity", "allocation", "attempt", "outcome", "delivery", "cut"];

/// A partition has its month behind its name.
fn table(relation: &str) -> Option<&'static str> {
    BIG.into_iter().find(|big| {
        relation.strip_prefix(big).is_some_and(|rest| rest.is_empty() || rest.starts_with("_2") || rest == "_default")
    })
}

fn visit(node: &Value, see: &mut dyn FnMut(&Value)) {
    see(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        visit(child, see);
    }
}

fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or_default()
}

/// A big table, or an index of it, read from end to end.
#[derive(Debug)]
pub struct Walk {
    /// The table.
    pub table: &'static str,
    /// What exactly: kind of node, rows, partition.
    pub what: String,
}

/// What it walks over.
#[must_use]
pub fn walks(plan: &Value) -> Vec<Walk> {
    let mut found = Vec::new();
    visit(plan, &mut |node| {
        let number = |key: &str| node[key].as_f64().unwrap_or_default();
        let rows = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
        let kind = text(node, "Node Type");
        let is_walk = kind == "Seq Scan"
            || kind.starts_with("Index") && node["Index Cond"].is_null() && node["Order By"].is_null();
        let relation = text(node, "Relation Name");
        if let (Some(table), true) = (table(relation), is_walk && rows > 500.0) {
            found.push(Walk { table, what: format!("{kind} of {rows} rows of {relation}") });
        }
    });
    found
}

/// The big tables that it reads through an index, in order of their names.
#[must_use]
pub fn indexes(plan: &Value) -> Vec<&'static str> {
    let mut found = BTreeSet::new();
    visit(plan, &mut |node| {
        if text(node, "Node Type").contains("Scan") && node["Actual Loops"].as_f64().unwrap_or_default() > 0.0 {
            found.extend(table(text(node, "Relation Name")));
        }
    });
    found.into_iter().collect()
}
