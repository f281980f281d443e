//! Cursors: where a page ended, as one opaque word. They hold nothing that the page did not show.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outbox::listing::{Ask, List, Order, Place};

use super::ask::order_text;
use super::value;
use crate::problem::Problem;

/// The word for a place.
pub(super) fn word(ask: &Ask, place: &Place) -> String {
    let parts = (order_text(ask.order), &place.sorted, &place.key);
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&parts).expect("texts"))
}

/// The place of a word.
pub(super) fn read(list: &List, order: Order, word: &str) -> Result<Place, Problem> {
    let wrong = || Problem::parameter("after", "after must be what a page of this list called next");
    let bytes = URL_SAFE_NO_PAD.decode(word).map_err(|_| wrong())?;
    let (sort, sorted, key): (String, Option<String>, Vec<String>) =
        serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if sort != order_text(order) {
        let detail = format!("after belongs to a page sorted by {sort}; ask with the same sort");
        return Err(Problem::parameter("after", detail));
    }
    let kind = |name: &&str| list.column(name).expect("a column of its own").kind;
    let kinds: Vec<_> = list.key.iter().map(kind).collect();
    if kinds.len() != key.len() || (sorted.is_none() && !order.column.nullable) {
        return Err(wrong());
    }
    // a moment of a cursor has microseconds: reading it must not round
    let check = |kind, text: &String| value::read(kind, text).map_err(|_| wrong());
    let key = kinds.into_iter().zip(&key).map(|(kind, text)| check(kind, text)).collect::<Result<_, _>>()?;
    let sorted = sorted.map(|text| check(order.column.kind, &text)).transpose()?;
    Ok(Place { sorted, key })
}
