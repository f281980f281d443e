//! The HTTP door of Postmeter: services without a database connection record usage here, people and programs read the
//! ledger and decide, and clients of the request tracker find their requests. No marketplace is called from here.
//!
//! Every route is in `app.rs`; each names its scope in its documentation and asks for it in its signature, and a test
//! holds the two together. Every error is a problem document ([`problem`]).

mod app;
mod auth;
pub mod catalogue;
mod counting;
mod decide;
mod explanation;
mod extract;
mod gzip;
mod health;
pub mod heard;
mod limits;
mod lists;
mod openapi;
mod options;
mod page;
pub mod problem;
mod refusals;
mod requests;
mod serve;

mod tracker;
mod usage;

pub use auth::new_token;
pub use openapi::document;
pub use options::Options;
pub use serve::serve;
pub use tracker::Access;
