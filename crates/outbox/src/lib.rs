//! The code of Postmeter's own programs that speaks to Postgres. No HTTP here.
//!
//! One module per verb, one file of SQL per statement (`sql/queries/`). What a service needs to record usage stands in
//! `postmeter-client`; it is re-exported here for our own doors.

pub mod alerts;
mod ask;
pub mod balance;
pub mod breaker;
pub mod catalogue;
pub mod claim;
mod connect;
pub mod corrections;
pub mod cut;
mod error;
pub mod fleet;
pub mod fold;
mod gate;
pub mod health;
pub mod import;
pub mod installation;
pub mod intake;
pub mod json;
pub mod ledger;
pub mod listing;
pub mod maintain;
pub mod measure;
pub mod migrate;
pub mod month;
pub mod outlook;
pub mod pace;
pub mod proof;
mod query;
pub mod recalculate;
pub mod reconcile;
mod record;
pub mod refusal;
pub mod report;
pub mod requests;
pub mod rounds;
pub mod setback;
pub mod settle;
mod side;
mod state;
pub mod switches;
pub mod timeline;
pub mod tokens;
pub mod track;
mod turn;
pub mod workers;

pub use connect::{Access, Connections, Database, Tls, begin};
pub use error::{Blame, Error, Refused};
pub use record::{NewUsage, Verdict, hours_of_other_recipes, record_usage, record_usages};
