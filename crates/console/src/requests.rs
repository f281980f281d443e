//! The request tracker: services say what they do with a request, people and programs ask where it is.

mod events;
mod groups;
mod list;
mod record;
mod refused;
mod watched;
mod way;

pub(crate) use events::{__path_events, events};
pub(crate) use groups::{__path_grouped, grouped};
pub(crate) use list::{__path_list, LAST, before, list};
pub(crate) use record::{__path_record, __path_record_batch, record, record_batch};
pub(crate) use refused::Refused;
pub(crate) use watched::Watched;
pub(crate) use way::{__path_find, find};
