//! Usage over HTTP: recording it, and asking where it is.

mod cloud_event;
mod record;
mod row;
mod standing;

pub(crate) use record::{__path_record, record};
pub(crate) use standing::{__path_find, escape, find};
