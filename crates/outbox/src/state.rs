//! What each of our statements runs under, whatever the defaults of its role and its database are.

/// How a transaction sees and changes the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each statement sees what was committed before it: what every lock and every queue of ours is written for.
    Write,
    /// One moment, and nothing is changed.
    Read,
    /// One moment for a proof of the balance, which keeps what it found: the moment comes after the gate, so that it is after
    /// whatever the proof before kept.
    Proof,
}

impl Mode {
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Write => "begin isolation level read committed, read write",
            Self::Read => "begin isolation level repeatable read, read only",
            Self::Proof => {
                "begin isolation level repeatable read, read write; set local lock_timeout = '5s'; \
                 lock table postmeter.balance_gate in exclusive mode"
            }
        }
    }

    /// On a standby, which refuses to begin what may write: there it may read, and a write is refused when it comes.
    pub(crate) const fn begin_on_standby(self) -> &'static str {
        match self {
            Self::Write => "begin isolation level read committed",
            Self::Read | Self::Proof => self.begin(),
        }
    }
}

/// The first two: what comes after them is resolved by the one, and not cut short by the other.
///
/// With `pg_catalog` first and nobody's schema behind it, a function or an operator that somebody else made is never
/// a better match than Postgres's own. Our own names are always written with their schema.
const FIRST: [&str; 2] = ["statement_timeout = 0", "search_path = pg_catalog, pg_temp"];

/// The rest, by name and value. What a server does not know is left out (`transaction_timeout` came with 17).
///
/// Costs and memory (`random_page_cost`, `work_mem`) are for the database's DBA to set. `row_security` does not matter:
/// no table of ours has policies.
const REST: [(&str, &str); 27] = [
    // What a text means: literals in our SQL, times and intervals that are read from and written as text.
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    // What a worker writes must survive a crash of the server.
    ("synchronous_commit", "on"),
    // A worker that freezes in a transaction must not keep its locks from those who take over from it.
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("transaction_timeout", "0"),
    // Compiling a statement takes longer than any of ours runs (0.4 s for a claim of 25 on a queue without statistics).
    ("jit", "off"),
    // A queue is read along its index, and joined to few rows by loops: without these it is read from end to end.
    ("plan_cache_mode", "auto"),
    ("enable_seqscan", "on"),
    ("enable_indexscan", "on"),
    ("enable_indexonlyscan", "on"),
    ("enable_bitmapscan", "on"),
    ("enable_tidscan", "on"),
    ("enable_sort", "on"),
    ("enable_incremental_sort", "on"),
    ("enable_hashagg", "on"),
    ("enable_material", "on"),
    ("enable_memoize", "on"),
    ("enable_nestloop", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("enable_partition_pruning", "on"),
];

/// Sets all of it until the transaction ends: through a pooler a session is another client's afterwards.
pub(crate) fn for_transaction() -> &'static str {
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| text("set local", true));
    &TEXT
}

/// Sets all of it for a session of our own, which is closed afterwards: for statements that refuse a transaction. They
/// wait for locks as long as it takes: an index that is built beside running transactions waits for each of them.
pub(crate) fn for_session() -> String {
    format!(
        "{}; set lock_timeout = 0; set default_transaction_isolation = 'read committed'; \
         set default_transaction_read_only = off",
        text("set", false)
    )
}

fn text(set: &str, local: bool) -> String {
    let first = FIRST.map(|setting| format!("{set} {setting}; ")).concat();
    let rest: Vec<String> = REST.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    // only what differs; a name that is not known has no value, and a comparison with that is never true
    format!(
        "{first}select set_config(s.name, s.value, {local}) from (values {}) s(name, value) \
         where current_setting(s.name, true) <> s.value",
        rest.join(", ")
    )
}
