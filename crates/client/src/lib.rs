#![doc = include_str!("../README.md")]
#![deny(clippy::incompatible_msrv)]

mod error;
mod row;
mod status;
mod usage;
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
mod wire;

#[cfg(feature = "sqlx")]
pub mod sqlx;
#[cfg(feature = "tokio-postgres")]
pub mod tokio_postgres;

pub use error::{Error, Refused};
pub use postmeter_quantity::{Quantity, QuantityError};
pub use row::BatchRow;
pub use status::{NewStatus, Tracked};
pub use usage::{NewUsage, Verdict};
// types of the fields, so that a service need not depend on their crates
pub use {jiff, serde_json, uuid};

#[cfg(feature = "tokio-postgres")]
#[doc(inline)]
pub use self::tokio_postgres::{record_usage, record_usages, track, track_batch};
