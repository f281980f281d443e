//! Usage over HTTP: recording it, and asking where it is.

mod body;
mod cloud_event;
mod record;
mod row;
mod shape;
mod standing;
mod warn;

pub(crate) use record::{
    __path_record, __path_record_batch, __path_record_event, __path_record_events, record, record_batch, record_event,
    record_events,
};
pub(crate) use standing::{__path_find, escape, find, missing, unknown};
