//! The rhythm of loops.

use std::time::Duration;

use telemetry::names;

use crate::Worker;

/// What is not urgent happens once in so many polls.
pub const SELDOM: u32 = 6;
/// And what costs much, once in so many.
pub const RARELY: u32 = 50;

/// The rhythm of a loop: at once while there is work, slower while there is none, slower still while the database is away.
pub struct Backoff<'a> {
    worker: &'a Worker,
    step: &'static str,
    /// How its turns are known: the step, or the destination.
    name: String,
    /// It is a destination's loop.
    is_of_destination: bool,
    failures: u32,
}

impl<'a> Backoff<'a> {
    /// A loop that does one step.
    pub fn new(worker: &'a Worker, step: &'static str) -> Self {
        names::STEP_FAILURES.add([step], 0);
        worker.options.pulse.turn(step);
        Self { worker, step, name: step.to_owned(), is_of_destination: false, failures: 0 }
    }

    /// The loop of a destination.
    pub fn of_destination(worker: &'a Worker, destination: &str) -> Self {
        names::STEP_FAILURES.add(["dispatch"], 0);
        worker.options.pulse.turn(destination);
        Self { worker, step: "dispatch", name: destination.to_owned(), is_of_destination: true, failures: 0 }
    }

    /// It went well, and pauses.
    fn turned(&mut self, pause: Duration) -> Duration {
        self.worker.options.pulse.tick_until(&self.name, pause);
        if std::mem::take(&mut self.failures) > 0 {
            match self.is_of_destination {
                true => self.worker.failures.went_well_at(self.step, &self.name),
                false => self.worker.failures.went_well(self.step),
            }
        }
        pause
    }

    /// It did something: at once again.
    pub fn reset(&mut self) -> Duration {
        self.turned(Duration::ZERO)
    }

    /// There was nothing to do.
    pub fn idle(&mut self) -> Duration {
        self.turned(self.worker.options.poll)
    }

    /// There was nothing to do, and it is looked again after so long at the latest.
    pub fn within(&mut self, longest: Duration) -> Duration {
        self.turned(self.worker.options.poll.min(longest))
    }

    /// The same, for what is not urgent.
    pub fn seldom(&mut self) -> Duration {
        self.turned(self.worker.options.poll * SELDOM)
    }

    /// The same, for what costs much.
    pub fn rarely(&mut self) -> Duration {
        self.turned(self.worker.options.poll * RARELY)
    }

    /// It failed, and is tried again.
    pub fn failed(&mut self, error: &outbox::Error) -> Duration {
        match self.is_of_destination {
            true => self.worker.failures.failed_at(self.step, &self.name, error),
            false => self.worker.failures.failed(self.step, error),
        }
        self.wait_after_failure()
    }

    /// The same, where each failure was told already.
    pub fn wait_after_failure(&mut self) -> Duration {
        self.worker.options.pulse.turn(&self.name);
        self.failures += 1;
        let pause = (Duration::from_millis(50) * (1 << self.failures.min(6))).min(Duration::from_secs(3));
        // so that workers do not come back together: in containers they all have the same process id
        pause + pause.mul_f64(rand::random_range(0.0..0.25))
    }
}

impl Drop for Backoff<'_> {
    /// A loop that has ended cannot stall. One that panicked has not ended: it stands still from now on.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.worker.options.pulse.end(&self.name);
            if self.is_of_destination {
                self.worker.failures.ended(&self.name);
            }
        }
    }
}
