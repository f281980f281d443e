//! `docs/marketplaces.md` against the code that it shows and the capabilities that it lists.

use std::time::Duration;

use marketplaces::{capabilities, kinds};

use super::read;

#[test]
fn the_code_of_the_guide_is_code_that_compiles_and_is_called() {
    let (page, example) = (read("docs/marketplaces.md"), read("crates/marketplaces/src/example.rs"));
    let blocks: Vec<_> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        assert!(example.contains(block), "crates/marketplaces/src/example.rs has not:\n{block}");
    }
}

#[test]
fn the_table_of_capabilities_is_what_the_code_says() {
    let page = read("docs/marketplaces.md");
    let hours = |span: Option<Duration>| span.map_or("-".to_owned(), |span| format!("{} h", span.as_secs() / 3600));
    let row = |name: &str, cell: &dyn Fn(&marketplaces::Capabilities) -> String| {
        let cells: Vec<String> = kinds().iter().map(|kind| cell(&capabilities(kind).expect("a kind"))).collect();
        let line = format!("| {name} | {} |", cells.join(" | "));
        assert!(page.contains(&line), "docs/marketplaces.md should say {line}");
    };
    row("records a call, at most", &|can| can.records_max.to_string());
    row("records a call, by default", &|can| can.records_default.to_string());
    row("age limit, from the hour's start", &|can| hours(Some(can.age_limit)));
    row("after the month's end", &|can| hours(can.month_cutoff));
    row("after the subscription's end", &|can| hours(can.closing_window));
    row("billing month in", &|can| can.zone.to_owned());
    row("calls a second", &|can| can.calls_per_second.map_or("-".to_owned(), |calls| calls.to_string()));
    row("a repeated key is recognised for", &|can| match can.memory {
        None => "as long as the hour is taken".to_owned(),
        memory => hours(memory),
    });
    row("decimals", &|can| can.decimals_max.to_string());
    row("can be asked what it holds", &|can| if can.can_be_asked { "yes" } else { "no" }.to_owned());
    assert!(page.contains(&format!("| | {} |", kinds().join(" | "))), "a column for each kind");
}
