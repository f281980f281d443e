//! Words and decisions of Postmeter: what a usage, a quantity, a key, a status and an outcome are, and the one
//! pure function, [`decide`], that says what becomes of a remittance after an answer.
//!
//! No I/O, no async, no clock: the caller brings the time. Everything here can be tested on a bare laptop.

mod decide;
mod key;
mod outcome;
pub mod pace;
pub mod request;
mod retry;
mod share;
mod status;

pub use decide::{Next, Policy, Standing, decide};
pub use key::idempotency_key;
pub use outcome::{Answer, Outcome};
pub use postmeter_quantity::{Quantity, QuantityError};
pub use retry::RetrySchedule;
pub use share::Share;
pub use status::{Reason, Status, UnknownWord};
