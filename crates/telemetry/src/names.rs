//! Every metric there is. `docs/operate/metrics.md` is written from this table.

use crate::metric::{Counter, Described, Gauge, Histogram, Reading, Sum, Total};

/// Of HTTP requests, folds, settlements: an answer from memory to one that waited for the database.
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Of calls: no call may take longer than 15 seconds.
const CALLS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];
/// Of waiting: from at once to a day, which is AWS's and Azure's patience.
const WAITS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0];

macro_rules! table {
    ($(#[doc = $help:literal] $konst:ident = $kind:ident $name:literal [$($label:literal),*] $(in $bounds:ident)?;)+) => {
        $(
            #[doc = $help]
            pub const $konst: $kind<{ [$($label,)* ""].len() - 1 }> = $kind::new($name, [$($label),*]);
        )+

        /// All of them.
        pub const TABLE: &[Described] = &[$(
            Described {
                name: $name,
                kind: $kind::<{ [$($label,)* ""].len() - 1 }>::KIND,
                source: $kind::<{ [$($label,)* ""].len() - 1 }>::SOURCE,
                labels: &[$($label),*],
                bounds: table!(@bounds $($bounds)?),
                help: $help.trim_ascii(),
            }
        ),+];
    };
    (@bounds) => { &[] };
    (@bounds $bounds:ident) => { $bounds };
}

table! {
    /// 1: the database answered this scrape. 0: it did not, and whatever is read from it is missing here.
    DATABASE_UP = Reading "postmeter_database_up" [];
    /// 1: this question to the database was not answered in time or was refused, and its metrics are missing here.
    READING_MISSING = Reading "postmeter_reading_missing" ["question"];

    /// Entries in the outbox: usage that is not accounted for yet. Counted up to 100,000.
    OUTBOX_ENTRIES = Reading "postmeter_outbox_entries" [];
    /// Age of the oldest outbox entry; 0 if there is none.
    OUTBOX_OLDEST_AGE = Reading "postmeter_outbox_oldest_age_seconds" [];
    /// Deliveries that wait or are stuck, by status; due includes those that wait for another try.
    DELIVERIES = Reading "postmeter_deliveries" ["destination", "status"];
    /// Of the due ones, those that wait for the time of another try.
    DELIVERIES_LATER = Reading "postmeter_deliveries_later" ["destination"];
    /// Since when the oldest delivery of this status waits: open since its hour began, due since its cut, the others since they got the status.
    DELIVERY_OLDEST_AGE = Reading "postmeter_delivery_oldest_age_seconds" ["destination", "status"];
    /// Billing quantity times unit price of these deliveries. What has no price is not in it.
    DELIVERY_AMOUNT = Reading "postmeter_delivery_amount" ["destination", "status", "currency"];
    /// Time to the earliest deadline of what is due; negative when it has passed, missing when nothing is due.
    NEXT_DEADLINE = Reading "postmeter_next_deadline_seconds" ["destination"];
    /// Deliveries that will miss their deadline at the present rate (view postmeter.forecast).
    FORECAST_MISSED = Reading "postmeter_forecast_missed_deliveries" ["destination"];
    /// Held usages, by reason.
    HELD_USAGES = Reading "postmeter_held_usages" ["reason"];
    /// Age of the oldest held usage of this reason.
    HELD_OLDEST_AGE = Reading "postmeter_held_oldest_age_seconds" ["reason"];
    /// Time to the earliest deadline of held usage of this reason; negative when it has passed.
    HELD_NEXT_DEADLINE = Reading "postmeter_held_next_deadline_seconds" ["reason"];
    /// What needs a person (view postmeter.dead_letter): deliveries by status, held_usage beyond its policy, stranded quantity, contradictions.
    DEAD_LETTERS = Reading "postmeter_dead_letters" ["destination", "status"];
    /// Since when the oldest delivery is unknown: whether it was billed is not known.
    UNKNOWN_OLDEST_AGE = Reading "postmeter_unknown_oldest_age_seconds" ["destination"];
    /// What steps could not take along while the rest went on, by state: locked by another session, failing, set aside.
    SETBACKS = Reading "postmeter_setbacks" ["step", "state"];
    /// How often in a row a step failed as a whole; missing where it goes well.
    STEP_FAILURES_IN_A_ROW = Reading "postmeter_step_failures_in_a_row" ["step"];
    /// Open hours so near their deadline that they must be cut at once.
    HOURS_NOT_CUT = Reading "postmeter_hours_not_cut" ["destination"];
    /// 1: the destination's breaker is open or probing, nothing but a probe is sent.
    BREAKER_OPEN = Reading "postmeter_breaker_open" ["destination"];
    /// 1: a person, or a worker that found commits missing, paused the destination.
    DESTINATION_PAUSED = Reading "postmeter_destination_paused" ["destination"];
    /// Billing months with a meter at this destination that are over and not closed.
    MONTH_OPEN = Reading "postmeter_month_open" ["destination"];
    /// Calls a second that the quota allows to the whole fleet; missing where there is no limit.
    QUOTA_CALLS = Reading "postmeter_quota_calls_per_second" ["quota"];
    /// How far ahead the quota's slots are taken: what the next call would wait.
    QUOTA_WAIT = Reading "postmeter_quota_wait_seconds" ["quota"];

    /// Usages of the current month by product, metric and stage; what is beyond 200 pairs counts as other.
    USAGE_ROWS = Reading "postmeter_usage_rows" ["product", "metric", "stage"];
    /// The same in units of the metric.
    USAGE_QUANTITY = Reading "postmeter_usage_quantity" ["product", "metric", "stage"];
    /// Meters and usages whose balance does not close, at the last check; missing until one has succeeded. Anything but 0 is a defect.
    BALANCE_OPEN = Reading "postmeter_balance_open_meters" [];
    /// As of when everything that had been written was proven to balance, in Unix time.
    BALANCE_CHECKED = Reading "postmeter_balance_checked_timestamp_seconds" [];
    /// Since when, in Unix time, the whole ledger has been read again at least once; missing until it has.
    BALANCE_READ = Reading "postmeter_balance_read_timestamp_seconds" [];

    /// Workers by state: alive, or lost (the lease is over and no worker has taken over yet).
    WORKERS = Reading "postmeter_workers" ["state"];
    /// Consoles that are alive.
    CONSOLES = Reading "postmeter_consoles" [];
    /// Workers and consoles (part) that should live and do not: by setting.workers_expected and consoles_expected, else those that were lost within a week and not replaced.
    PROCESSES_MISSING = Reading "postmeter_processes_missing" ["part"];
    /// Time since a worker's last heartbeat; the 100 latest workers.
    WORKER_HEARTBEAT_AGE = Reading "postmeter_worker_heartbeat_age_seconds" ["worker"];
    /// Age of the oldest transaction whose snapshot keeps dead rows from being removed; 0 if there is none.
    SNAPSHOT_OLDEST_AGE = Reading "postmeter_snapshot_oldest_age_seconds" [];
    /// Transactions since the oldest snapshot, those of replication slots and prepared transactions included.
    SNAPSHOT_OLDEST_TRANSACTIONS = Reading "postmeter_snapshot_oldest_transactions" [];
    /// 1: this process may see others' sessions (role pg_read_all_stats); 0: snapshots of others are not in the two above.
    SNAPSHOT_VISIBLE = Reading "postmeter_snapshot_visible" [];
    /// Dead rows that vacuum has not removed yet.
    DEAD_TUPLES = Reading "postmeter_dead_tuples" ["table"];
    /// 1: the table has its partitions for this month and the next; request_status for this day and the next.
    PARTITION_AHEAD = Reading "postmeter_partition_ahead" ["table"];
    /// 1: rows went to the default partition, because theirs was missing.
    PARTITION_DEFAULT_ROWS = Reading "postmeter_partition_default_rows" ["table"];
    /// This process's wall clock less the database's. AWS refuses signatures that are minutes off.
    CLOCK_SKEW = Reading "postmeter_clock_skew_seconds" [];
    /// Requests that were received and never finished (view postmeter.unfinished_request).
    REQUESTS_UNFINISHED = Reading "postmeter_requests_unfinished" [];
    /// Of these, those that a service has not finished, or that a route awaits it for; the 100 services with most. Of workers only.
    REQUESTS_SILENT = Reading "postmeter_requests_silent" ["service"];
    /// 1: too large a share of a service's requests that came due in the last hour is unfinished, or one for too long (view postmeter.silent_service). Of workers only.
    SERVICE_SILENT = Reading "postmeter_service_silent" ["service"];
    /// How long a service took from its last word that begins something to its success, of the 1,000 requests with the latest dates. Of workers only.
    SERVICE_SECONDS = Reading "postmeter_service_seconds" ["service", "quantile"];
    /// Request statuses that were committed. What has no series of its own is in service="other" without a status. Of the console only.
    REQUEST_STATUSES = Total "postmeter_request_statuses_total" ["service", "status", "source"];
    /// Request statuses that HTTP and imports refused, by reason (docs/tracking.md); what `postmeter.track` refuses is not in it.
    REQUEST_REFUSALS = Total "postmeter_request_refusals_total" ["door", "reason"];
    /// Idempotency keys that have been in progress for more than a minute: their callers get 409.
    KEYS_STUCK = Reading "postmeter_idempotency_keys_stuck" [];
    /// Alerts that are open as rows (postmeter.alert), by name; 0 where none is.
    ALERTS_OPEN = Reading "postmeter_alerts_open" ["name"];
    /// 1 for a rule of postmeter.alert_rule that is switched on and cannot be looked at, or that no process looks at.
    ALERTS_BLIND = Reading "postmeter_alerts_blind" ["name"];

    /// Usages that came in over HTTP, by verdict: recorded, repeated, refused.
    INTAKE_USAGES = Counter "postmeter_intake_usages_total" ["verdict"];
    /// HTTP requests by route, never by path.
    HTTP_REQUESTS = Counter "postmeter_http_requests_total" ["method", "route", "status"];
    /// How long HTTP requests took.
    HTTP_DURATION = Histogram "postmeter_http_request_duration_seconds" ["method", "route"] in SHORT;

    /// Outbox entries that were folded: allocated, held or exempt.
    ENTRIES_FOLDED = Counter "postmeter_entries_folded_total" [];
    /// How long a fold that found something took.
    FOLD_DURATION = Histogram "postmeter_fold_duration_seconds" [] in SHORT;
    /// Hours that were cut.
    HOURS_CUT = Counter "postmeter_hours_cut_total" [];
    /// Hours that were cut while their usage was still arriving, because their deadline was near.
    HOURS_FORCED = Counter "postmeter_hours_forced_total" [];
    /// Deliveries that were claimed.
    DELIVERIES_CLAIMED = Counter "postmeter_deliveries_claimed_total" ["destination"];
    /// Attempts that ended, by outcome and code. Codes that are no plain word, or beyond 100 a destination, count as other.
    ATTEMPTS = Counter "postmeter_attempts_total" ["destination", "outcome", "code"];
    /// How long calls took, until an answer or the timeout.
    CALL_DURATION = Histogram "postmeter_call_duration_seconds" ["destination"] in CALLS;
    /// From a delivery's cut to its first call, by the database's clock.
    QUEUE_WAIT = Histogram "postmeter_queue_wait_seconds" ["destination"] in WAITS;
    /// Attempts in this worker's hands: claimed, and without a recorded outcome.
    ATTEMPTS_IN_HAND = Gauge "postmeter_attempts_in_hand" [];
    /// Faults that opened a destination's breaker, or opened it again.
    BREAKER_OPENED = Counter "postmeter_breaker_opened_total" ["destination"];
    /// How long it took to record a batch of outcomes.
    SETTLE_DURATION = Histogram "postmeter_settle_duration_seconds" [] in SHORT;
    /// Outcomes that were kept as late evidence: the claim was no longer ours.
    LATE_EVIDENCE = Counter "postmeter_late_evidence_total" [];
    /// Claims that were handed back without a call.
    HANDED_BACK = Counter "postmeter_handed_back_total" [];
    /// Attempts that were taken over from dead workers, or lost from sight: each may have arrived.
    ATTEMPTS_LOST = Counter "postmeter_attempts_lost_total" [];
    /// Times this worker was taken for dead, or found commits missing.
    LEASES_LOST = Counter "postmeter_leases_lost_total" [];
    /// Steps of a worker that failed and are tried again.
    STEP_FAILURES = Counter "postmeter_step_failures_total" ["step"];
    /// Errors of the database by kind: away (no connection), unable (full or read only), unwelcome (password), untrusted (no safe one), again (another transaction), refused, schema, unexpected.
    DATABASE_ERRORS = Counter "postmeter_database_errors_total" ["kind"];
    /// Connections of this process's pool: in_use, idle, and waiting for one.
    POOL_CONNECTIONS = Gauge "postmeter_pool_connections" ["state"];
    /// Time since each of the worker's loops last turned. A loop that stands still for too long fails /live.
    LOOP_AGE = Gauge "postmeter_loop_age_seconds" ["loop"];

    /// Always 1; the label says which program runs.
    BUILD_INFO = Gauge "postmeter_build_info" ["version"];
    /// Processor time of this process.
    PROCESS_CPU = Sum "process_cpu_seconds_total" [];
    /// Memory that this process has in RAM.
    PROCESS_MEMORY = Gauge "process_resident_memory_bytes" [];
    /// Files and sockets that this process has open.
    PROCESS_FDS = Gauge "process_open_fds" [];
    /// Files and sockets that it may have open.
    PROCESS_MAX_FDS = Gauge "process_max_fds" [];
    /// Threads of this process.
    PROCESS_THREADS = Gauge "process_threads" [];
    /// When this process started, in Unix time.
    PROCESS_START = Gauge "process_start_time_seconds" [];
}
