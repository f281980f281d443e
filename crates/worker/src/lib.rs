//! The loops of Postmeter: fold, cut, claim, submit, settle, maintain.
//!
//! [`Worker`] is one worker process. [`Worker::run`] runs all loops until it is told to stop; the single steps are
//! public too, so that tests and the demo can take them one by one, on a clock that they move.

mod alerts;
mod breaker;
mod call;
mod call_metrics;
mod crash;
mod directory;
mod dispatch;
mod failures;
mod health;
mod heartbeat;
mod history;
mod lease;
mod open_attempts;
mod pace;
mod rhythm;
mod run;
mod settler;
mod shadow;
mod slots;
mod steps;
mod suspect;
mod switches;
mod traces;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use outbox::Database;
use outbox::cut::Cutter;
use telemetry::{LoopHealth, names};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use crash::Crash;
use directory::Directory;
use failures::Failures;
pub use history::History;
use lease::Lease;
use open_attempts::OpenAttempts;
use pace::Paces;
pub use traces::{PassOn, Traces};

/// Opens a marketplace from a destination's kind and settings.
pub type Opener =
    fn(&str, &serde_json::Value) -> Result<Arc<dyn marketplaces::Marketplace>, marketplaces::SettingsError>;

/// What a worker needs to know beside the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, for people (host and process).
    pub name: String,
    /// The name of the installation that it serves, if it was told.
    pub installation: Option<String>,
    /// How long a heartbeat is good for. Longer than any destination's call timeout.
    pub lease: Duration,
    /// The rhythm of idle loops.
    pub poll: Duration,
    /// Entries of a fold at most; bounds memory.
    pub fold_max: usize,
    /// Hours of a cut at most.
    pub cut_max: i64,
    /// So long without one answer about a record (and ten calls), and a destination counts as down.
    pub outage: Duration,
    /// How long a stopping worker waits for its calls before it leaves them to the reaper.
    pub stop_within: Duration,
    /// Opens destinations; [`marketplaces::open`] unless credentials come from elsewhere.
    pub open: Opener,
    /// What this process has seen of the server's history; clones share it.
    pub history: Arc<History>,
    /// Whether its loops turn and its lease holds; clones share it.
    pub pulse: Arc<LoopHealth>,
    /// Where traces go; `None`: the trace of a usage is not looked up.
    pub traces: Option<Arc<dyn Traces>>,
    /// Where alerts are posted, if anywhere.
    pub webhook: Option<Arc<marketplaces::webhook::Webhook>>,
    /// How long an open alert is kept quiet before it is posted again.
    pub webhook_repeat: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            installation: None,
            lease: Duration::from_secs(20),
            poll: Duration::from_millis(1200),
            fold_max: 20_000,
            cut_max: 500,
            outage: Duration::from_secs(10),
            stop_within: Duration::from_secs(25),
            open: marketplaces::open,
            history: Arc::default(),
            pulse: Arc::default(),
            traces: None,
            webhook: None,
            webhook_repeat: Duration::from_secs(4 * 3600),
        }
    }
}

/// Why a worker cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The database.
    #[error(transparent)]
    Database(#[from] outbox::Error),
    /// The database is another installation's than the one it was configured for.
    #[error("{0}")]
    Installation(String),
    /// A crash point that does not exist or is not allowed here.
    #[error("{0}")]
    Crash(String),
}

/// One worker.
pub struct Worker {
    id: Uuid,
    options: Options,
    database: Database,
    directory: Directory,
    lease: Lease,
    open_attempts: Arc<OpenAttempts>,
    crash: Crash,
    turns: Mutex<outbox::fold::Turns>,
    /// Where folds apart go on, of the outbox and of shadows.
    places: Mutex<outbox::fold::Places>,
    shadow_places: Mutex<outbox::fold::Places>,
    cutter: Mutex<Cutter>,
    shadow_cutter: Mutex<Cutter>,
    /// Of which rules the fleet knows that we act by them; none: it must be told.
    told: Mutex<Option<outbox::switches::Versions>>,
    /// Entries that its folds brought through since it last looked at those that had failed.
    passed: AtomicUsize,
    /// Answers that were settled since it last looked at those that could not be.
    settled: AtomicUsize,
    /// Of the deliveries that were in the hands of a dying worker one is sent at a time.
    suspect: Arc<Mutex<()>>,
    /// Something may be due.
    wake: Notify,
    failures: Failures,
    paces: Paces,
}

impl Worker {
    /// Registers a worker and reads the catalogue.
    ///
    /// # Errors
    /// The database cannot be reached, or its schema is not this program's.
    pub async fn start(database: Database, options: Options) -> Result<Arc<Self>, WorkerError> {
        outbox::migrate::check(&database).await?;
        if let Some(why) = outbox::installation::settle(&database, options.installation.as_deref()).await? {
            return Err(WorkerError::Installation(why));
        }
        let purpose = outbox::catalogue::purpose(&database).await?;
        let crash = Crash::from_environment(&purpose).map_err(WorkerError::Crash)?;
        let worker = Self {
            id: Uuid::new_v4(),
            lease: Lease::new(options.lease),
            directory: Directory::new(purpose != "production", options.open),
            open_attempts: Arc::default(),
            crash,
            turns: Mutex::default(),
            places: Mutex::default(),
            shadow_places: Mutex::default(),
            cutter: Mutex::new(Cutter::live(options.cut_max)),
            shadow_cutter: Mutex::new(Cutter::of_shadows(options.cut_max)),
            told: Mutex::default(),
            passed: AtomicUsize::default(),
            settled: AtomicUsize::default(),
            suspect: Arc::default(),
            wake: Notify::new(),
            failures: Failures::default(),
            paces: Paces::default(),
            database,
            options,
        };
        let sent_at = worker.lease.now();
        outbox::workers::register(
            &worker.database,
            worker.id,
            &worker.options.name,
            env!("CARGO_PKG_VERSION"),
            worker.options.lease,
        )
        .await?;
        worker.lease.renewed(sent_at);
        // a migration that ran while no worker was registered did not know of this one
        if let Err(error) = outbox::migrate::check(&worker.database).await {
            outbox::workers::stop(&worker.database, worker.id).await?;
            return Err(error.into());
        }
        worker.reload().await?;
        // before its first claim: what the fleet knows to be broken is broken for a new worker too
        worker.read_health().await?;
        worker.show_counters();
        // not ready before: a ready worker may lose its database, while a start that fails is tried again
        worker.options.pulse.beat(worker.lease.remaining());
        Ok(Arc::new(worker))
    }

    /// Counters that begin at nothing: their first event must be seen to be one.
    fn show_counters(&self) {
        let counters = [
            &names::ENTRIES_FOLDED,
            &names::HOURS_CUT,
            &names::HOURS_FORCED,
            &names::LATE_EVIDENCE,
            &names::HANDED_BACK,
            &names::ATTEMPTS_LOST,
            &names::LEASES_LOST,
        ];
        counters.iter().for_each(|counter| counter.add([], 0));
        for kind in ["away", "unable", "unwelcome", "again", "refused", "schema", "unexpected"] {
            names::DATABASE_ERRORS.add([kind], 0);
        }
        names::ATTEMPTS_IN_HAND.set([], 0.0);
    }

    /// Its id in `worker` and `attempt`.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }
}
