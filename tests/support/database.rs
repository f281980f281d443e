//! A fresh database per test, copied from a migrated template, on one cluster per test process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError};

use outbox::{Access, Database};
use postmeter::embedded::{Cluster, Listen, Options};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, NoTls};

use crate::wait_until;

/// The cluster of this process. It is never dropped: its watchdog ends it with the process.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let settings = [
            ("max_connections", "300"),
            ("shared_buffers", "256MB"),
            ("max_wal_size", "1GB"),
            ("max_prepared_transactions", "10"),
            ("log_min_messages", "warning"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Cluster::start(Options { settings, listen: Listen::FreePort, ..Options::default() })
            .expect("a Postgres to test against")
    })
}

const TEMPLATE: &str = "postmeter_template";

/// Copies of a template must not run side by side, nor beside a session on the template.
static COPYING: Mutex<()> = Mutex::const_new(());

async fn admin() -> Client {
    connect(&cluster().url("postgres")).await
}

async fn connect(url: &str) -> Client {
    crate::limit();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| {
        let log = std::fs::read_to_string(cluster().log_path()).unwrap_or_default();
        let end = log.lines().rev().take(15).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        panic!("no connection to {url}: {error}\nthe test cluster's log ends:\n{end}")
    });
    tokio::spawn(connection);
    client
}

async fn template() {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let admin = admin().await;
        admin.batch_execute(outbox::migrate::ROLES).await.expect("roles");
        admin.batch_execute(&format!("create database {TEMPLATE}")).await.expect("a template");
        {
            let database = Database::open(&Access::new(&cluster().url(TEMPLATE))).expect("a URL");
            outbox::migrate::apply(&database).await.expect("the migrations apply");
            let client = database.client().await.expect("a connection");
            client.batch_execute("update postmeter.setting set purpose = 'test'").await.expect("a test database");
        }
        // the pool's connections end a moment after it is dropped
        end_sessions(&admin, TEMPLATE).await;
    })
    .await;
}

async fn end_sessions(admin: &Client, name: &str) {
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
    wait_until("the database has no sessions", async || {
        admin.query(&end, &[]).await.expect("a list of sessions").is_empty()
    })
    .await;
}

/// Makes a database with what another one holds, on which nobody is; returns its name.
async fn copy_of(admin: &Client, from: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    // in memory, files are copied in half the time that writing every page to the log takes; 14 knows no other way
    let version: i32 = admin
        .query_one("select current_setting('server_version_num')::integer", &[])
        .await
        .expect("its version")
        .get(0);
    let strategy = if version < 150_000 { "" } else { "strategy file_copy" };
    admin
        .batch_execute(&format!("create database {name} template {from} {strategy}"))
        .await
        .expect("a copy of a database");
    name
}

/// Databases whose tests have ended. Whoever makes the next one drops them: a whole run's would fill a small disk.
static ENDED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

async fn drop_ended(admin: &Client) {
    let ended = std::mem::take(&mut *ENDED.lock().unwrap_or_else(PoisonError::into_inner));
    for name in ended {
        // its last connections end a moment after it
        admin.batch_execute(&format!("drop database {name} with (force)")).await.expect("a database to drop");
    }
}

/// A database of one test's own.
pub struct TestDatabase {
    name: String,
    url: String,
    /// As the worker sees it.
    pub database: Database,
    /// A connection for the test's own statements.
    pub client: Client,
    /// Connections that services keep between their transactions.
    services: std::sync::Mutex<Vec<Client>>,
}

impl TestDatabase {
    /// A fresh one, migrated, marked as test.
    pub async fn fresh() -> Self {
        crate::limit();
        let _copying = COPYING.lock().await;
        template().await;
        let admin = admin().await;
        drop_ended(&admin).await;
        Self::made(copy_of(&admin, TEMPLATE).await).await
    }

    /// A copy of it as it stands now: what a backup holds. All its sessions are ended, and begun anew where they are its own.
    pub async fn backup(&mut self) -> Self {
        let _copying = COPYING.lock().await;
        let admin = admin().await;
        end_sessions(&admin, &self.name).await;
        let copy = Self::made(copy_of(&admin, &self.name).await).await;
        self.database = self.another();
        self.client = self.connect().await;
        copy
    }

    async fn made(name: String) -> Self {
        let url = cluster().url(&name);
        let database = Database::open(&Access::new(&url)).expect("a URL");
        let client = connect(&url).await;
        Self { name, url, database, client, services: std::sync::Mutex::default() }
    }

    /// The database `postgres` of a cluster of the test's own, which it may stop and start as it likes.
    pub async fn alone_on(own: &Cluster) -> Self {
        Self::alone_at(&own.url("postgres")).await
    }

    /// The same by its URL, which may name several servers.
    pub async fn alone_at(url: &str) -> Self {
        crate::limit();
        let url = url.to_owned();
        let database = Database::open(&Access::new(&url)).expect("a URL");
        let client = connect(&url).await;
        client.batch_execute(outbox::migrate::ROLES).await.expect("roles");
        outbox::migrate::apply(&database).await.expect("the migrations apply");
        client.batch_execute("update postmeter.setting set purpose = 'test'").await.expect("a test database");
        Self { name: "postgres".to_owned(), url, database, client, services: std::sync::Mutex::default() }
    }

    /// A connection to a database that somebody else made.
    pub async fn client_of(url: &str) -> Client {
        connect(url).await
    }

    /// An empty database without any schema.
    pub async fn empty() -> Self {
        let made = Self::fresh().await;
        made.client.batch_execute("drop schema postmeter cascade").await.expect("an empty database");
        made
    }

    /// Another connection.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// A connection of a service: one that nobody uses now, or another. A server that was stopped has ended those it had.
    pub async fn take_service(&self) -> Client {
        while let Some(client) = self.kept_service() {
            if client.check_connection().await.is_ok() {
                return client;
            }
        }
        self.connect().await
    }

    fn kept_service(&self) -> Option<Client> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a service's connection for its next transaction.
    pub fn keep_service(&self, client: Client) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    /// URL through the socket.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// URL through TCP on loopback, for clients of other languages.
    #[must_use]
    pub fn tcp_url(&self) -> String {
        cluster().tcp_url(&self.name).expect("the test cluster listens on loopback")
    }

    /// Another pool, as another worker would have it.
    #[must_use]
    pub fn another(&self) -> Database {
        Database::open(&Access::new(&self.url())).expect("a URL")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.name != "postgres" {
            ENDED.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.name));
        }
    }
}
