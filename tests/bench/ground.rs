//! A Postgres of the benchmarks' own, with fsync on where a benchmark says so.

use outbox::{Access, Database};
use postmeter::embedded::{Cluster, Listen, Options};
use tokio_postgres::{Client, NoTls};

use crate::process::Fields;

/// A cluster. Dropping it removes it.
pub struct Ground {
    cluster: Cluster,
}

impl Ground {
    /// Starts a cluster. `durable`: fsync and full_page_writes as Postgres has them.
    pub fn start(durable: bool, further: &[(&str, &str)]) -> Self {
        let mut settings = vec![
            ("max_connections", "200".to_owned()),
            ("shared_buffers", "512MB".to_owned()),
            ("max_wal_size", "8GB".to_owned()),
            ("log_min_messages", "warning".to_owned()),
        ];
        if let Ok(least) = std::env::var("POSTMETER_BENCH_EXPLAIN") {
            settings.extend([
                ("session_preload_libraries", "auto_explain".to_owned()),
                ("auto_explain.log_min_duration", least),
                ("auto_explain.log_analyze", "on".to_owned()),
                ("auto_explain.log_buffers", "on".to_owned()),
                ("auto_explain.log_nested_statements", "on".to_owned()),
            ]);
        }
        settings.extend(further.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut settings: Vec<_> = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let tried = std::env::var("POSTMETER_BENCH_SETTINGS").unwrap_or_default();
        let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        settings.extend(tried.split(',').filter_map(pair));
        let options = Options { durable, settings, listen: Listen::FreePort };
        let cluster = tokio::task::block_in_place(|| Cluster::start(options)).expect("a Postgres to measure");
        Self { cluster }
    }

    /// An empty database; returns its URL.
    pub async fn empty(&self, name: &str) -> String {
        let admin = connect(&self.cluster.url("postgres")).await;
        admin.batch_execute(&format!("create database {name}")).await.expect("a database");
        self.cluster.url(name)
    }

    /// A migrated database, marked as test so that workers call loopback only; returns its URL.
    pub async fn database(&self, name: &str) -> String {
        let admin = connect(&self.cluster.url("postgres")).await;
        admin.batch_execute(outbox::migrate::ROLES).await.expect("roles");
        let url = self.empty(name).await;
        outbox::migrate::apply(&open(&url)).await.expect("the migrations apply");
        let client = connect(&url).await;
        client.batch_execute("update postmeter.setting set purpose = 'test'").await.expect("a test database");
        url
    }

    /// CPU seconds of the server and all its processes so far, those that have ended included.
    pub fn cpu_seconds(&self) -> f64 {
        let server = self.cluster.pid().expect("it runs").to_string();
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let all = entries.filter_map(|entry| Fields::of(&entry.file_name().to_string_lossy()));
        all.map(|fields| match (fields.process == server, fields.parent == server) {
            (true, _) => fields.own + fields.ended_children,
            (_, true) => fields.own,
            _ => 0.0,
        })
        .sum()
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.cluster.log_path()).expect("the server's log")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::env::var("POSTMETER_BENCH_EXPLAIN").is_ok() {
            let kept = std::env::temp_dir().join("postmeter-bench.log");
            let _ = std::fs::copy(self.cluster.log_path(), kept);
        }
    }
}

/// The time of the server, as JSON has it.
pub async fn now(client: &Client) -> String {
    let sql = "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    client.query_one(sql, &[]).await.expect("a time").get(0)
}

/// What the server was told that decides what a commit and a page cost.
pub async fn settings(client: &Client) -> String {
    let sql = "select string_agg(name || ' ' || current_setting(name), ', ' order by name) from pg_settings
               where name in ('shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'fsync', 'synchronous_commit',
                              'full_page_writes', 'wal_compression', 'server_version')";
    client.query_one(sql, &[]).await.expect("settings").get(0)
}

/// A connection for the benchmark's own statements.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the cluster answers");
    tokio::spawn(connection);
    client
}

/// A pool, as a worker has it.
pub fn open(url: &str) -> Database {
    Database::open(&Access::new(url)).expect("a URL")
}

/// Holds a snapshot open until it is dropped: the usual death of Postgres queues.
pub async fn hold_snapshot(url: &str) -> Client {
    let client = connect(url).await;
    client
        .batch_execute("begin isolation level repeatable read; select count(*) from pg_class")
        .await
        .expect("a snapshot");
    client
}
