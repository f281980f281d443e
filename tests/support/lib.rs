//! What the suite stands on: a fresh database per test on a real Postgres, a simulated marketplace over real HTTP, and
//! a stage that puts a worker between them on one movable clock.

mod bouncer;
mod console;
mod cutter;
mod database;
mod google;
mod hostile;
mod ledger;
mod limit;
mod operation;
mod plan;
mod program;
mod skip;
mod source;
mod stage;
mod verdict;
mod wait;
mod wrapped;

pub use bouncer::Bouncer;
pub use console::{Console, Reply};
pub use cutter::Cutter;
pub use database::TestDatabase;
pub use google::{GOOGLE_SERVICE, GoogleStage};
pub use hostile::hostile;
pub use ledger::{Ledger, Question, WHOLE};
pub use limit::limit;
pub use operation::{operation, operations, settings_of};
pub use plan::{Walk, indexes, walks};
pub use program::postmeter;
pub use skip::skip;
pub use source::{schema_files, schema_source, trigger_source};
pub use stage::{Dimension, Stage, aws_with_test_keys, azure_test_client, canonical, q, quick, t};
pub use verdict::{Dice, Word, model_verdict};
pub use wait::{PATIENCE, block_until, end_of, line_of, signal, until_locked, until_true, wait_until};
pub use wrapped::{OnTheWay, Wrapped};
