//! The marketplace of the demo: the simulator, on the demo's clock, behind a network that loses things.

use jiff::Timestamp;
use simulator::{Clock, FaultKind, FaultRule, Running, Settings, Simulator};
use tokio::net::TcpListener;

/// The simulated AWS.
pub struct Market(Running);

impl Market {
    pub async fn open(now: Timestamp) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self(Simulator::start(listener, Settings { clock: Clock::running_from(now), ..Settings::default() })?))
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    pub fn clock(&self, to: Timestamp) {
        self.0.set_clock(Clock::running_from(to));
    }

    /// From now on some answers are lost after the work was done, some requests before, some records stay unprocessed.
    pub fn lose_answers(&self) -> anyhow::Result<()> {
        self.0.add_fault(FaultRule::new(FaultKind::LoseResponse).probability(0.08, 1))?;
        self.0.add_fault(FaultRule::new(FaultKind::LoseRequest).probability(0.04, 2))?;
        self.0.add_fault(FaultRule::new(FaultKind::Unprocessed).probability(0.04, 3))?;
        Ok(())
    }

    /// The network is well again.
    pub fn lose_no_more(&self) {
        self.0.clear_faults();
    }

    /// What it holds: canonical key and quantity, in order of keys.
    pub fn record(&self) -> Vec<(String, String)> {
        let line = |accepted: &simulator::Accepted| {
            let key = &accepted.key;
            let canonical =
                format!("aws/{}/{}/{}/{}/{}", key.region, key.product, key.customer, key.dimension, key.hour);
            (canonical, accepted.quantity.normalize().to_string())
        };
        let mut record: Vec<_> = self.0.record().iter().map(line).collect();
        record.sort();
        record
    }

    /// Requests and answers that the network lost.
    pub fn lost(&self) -> (u64, u64) {
        let counters = self.0.counters();
        (counters.requests_lost, counters.responses_lost)
    }

    pub async fn close(self) {
        self.0.shutdown().await;
    }
}
