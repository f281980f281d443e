//! What a process of Postmeter tells about itself: its metrics, whether it lives, whether it can work.
//!
//! [`names`] is the one home of every metric: name, kind, labels, what it means. `docs/operate/metrics.md` is the same
//! table for people; a test holds the two together, and another that no other crate can make a metric. Counters and
//! histograms are of this process ([`metric`]). Gauges that say what is in the database are read at each scrape
//! ([`readings`]), so that they show what was committed, by any process.

mod codes;
mod connections;
mod health_endpoints;
mod loop_health;
pub mod metric;
pub mod names;
mod page;
mod process;
mod readings;
mod recorder;

pub use codes::Codes;
pub use connections::serve_connections;
pub use health_endpoints::{HealthEndpoints, Unready, serve};
pub use loop_health::{LoopHealth, Rest};
pub use metric::{Counter, Described, Gauge, Histogram, Kind, Reading, Sum, Total};
pub use page::Page;
pub use recorder::{Keeping, start};
