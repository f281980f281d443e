//! Crash points: where tests kill a worker from inside, at an exact place, with no chance to clean up.
//!
//! `POSTMETER_CRASH=after_claim:3` kills the process when it passes that point for the third time. Refused on a
//! production database.

use std::sync::atomic::{AtomicU32, Ordering};

/// Every arrow between two durable states (`docs/states.md`).
pub const POINTS: &[&str] = &[
    "in_fold",
    "after_fold",
    "in_cut",
    "after_cut",
    "after_claim",
    "before_call",
    "after_call",
    "before_settle",
    "after_settle",
    "in_reap",
];

/// The point at which this process is to die, if any.
#[derive(Debug, Default)]
pub struct Crash {
    at: Option<(String, u32)>,
    passed: AtomicU32,
}

impl Crash {
    /// Reads `POSTMETER_CRASH`.
    pub fn from_environment(purpose: &str) -> Result<Self, String> {
        let Ok(text) = std::env::var("POSTMETER_CRASH") else { return Ok(Self::default()) };
        if purpose == "production" {
            return Err("POSTMETER_CRASH is set, but this database is marked production".to_owned());
        }
        let (point, count) = text.split_once(':').unwrap_or((&text, "1"));
        if !POINTS.contains(&point) {
            return Err(format!("POSTMETER_CRASH names no crash point; there are: {}", POINTS.join(", ")));
        }
        let count = count.parse().map_err(|_| format!("POSTMETER_CRASH: {count:?} is not a number"))?;
        Ok(Self { at: Some((point.to_owned(), count)), passed: AtomicU32::new(0) })
    }

    /// Dies here if this is the point.
    pub fn point(&self, point: &str) {
        if let Some((at, count)) = &self.at
            && at == point
            && self.passed.fetch_add(1, Ordering::Relaxed) + 1 >= *count
        {
            // as the kernel would: no destructor runs, no buffer is flushed
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}
