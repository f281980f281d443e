//! Connections: pool, TLS, what a session is allowed to assume.

use std::sync::Arc;
use std::time::Duration;

use backoff::ExponentialBackoffBuilder;
use backoff::backoff::Backoff;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{AsyncMessage, Config, IsolationLevel};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;
use crate::query::{Query, Tx};
use crate::state;

/// Whose certificates the server may show.
#[derive(Debug, Clone, Default)]
pub enum Tls {
    /// The public authorities.
    #[default]
    Public,
    /// Only the authority in this PEM file.
    Authority(std::path::PathBuf),
}

impl Tls {
    /// Reads the authority's file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate.
    pub fn check(&self) -> Result<(), Error> {
        tls_config(self).map(drop)
    }
}

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct Access {
    /// Connection URL or key-value string. `sslmode=require` verifies certificate and host name.
    pub url: SecretString,
    /// Whose certificates are trusted.
    pub tls: Tls,
    /// A pooler in transaction mode stands between: no prepared statements are used.
    pub pooled: bool,
    /// The server itself, where a pooler stands between: for what a session must keep, which is listening.
    pub direct_url: Option<SecretString>,
    /// Connections at most.
    pub connections_max: usize,
}

impl Access {
    /// Whether a text is the URL of a database. Nothing is connected to.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        read_url(&SecretString::from(text)).is_ok()
    }

    /// Access with defaults for a URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: SecretString::from(url), tls: Tls::default(), pooled: false, direct_url: None, connections_max: 8 }
    }
}

/// A pool of connections to one database.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    pooled: bool,
    config: Config,
    /// How to reach the server itself; none: only through a pooler.
    direct: Option<Config>,
    tls: MakeRustlsConnect,
}

/// How a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Taken for some work.
    pub in_use: usize,
    /// Open and free.
    pub idle: usize,
    /// Pieces of work that wait for one.
    pub waiting: usize,
}

/// One connection, taken for one piece of work.
pub(crate) struct Session {
    pub(crate) client: Object,
    pub(crate) prepares: bool,
    tls: MakeRustlsConnect,
}

impl Session {
    /// What ends this session's statement from outside.
    pub(crate) fn cancel(&self) -> Cancel {
        Cancel { token: self.client.cancel_token(), tls: self.tls.clone() }
    }
}

/// Ends a statement that nobody waits for any more.
pub(crate) struct Cancel {
    token: tokio_postgres::CancelToken,
    tls: MakeRustlsConnect,
}

impl Cancel {
    /// Asks the server to; if it cannot be reached, the statement has other ways to end.
    pub(crate) async fn cancel(self) {
        let _ = self.token.cancel_query(self.tls).await;
    }
}

impl Database {
    /// Prepares a pool; connects when first needed.
    ///
    /// # Errors
    /// The URL or the authority's file cannot be read.
    pub fn open(access: &Access) -> Result<Self, Error> {
        let config = read_url(&access.url)?;
        let direct = match &access.direct_url {
            Some(url) => Some(read_url(url)?),
            None => (!access.pooled).then(|| config.clone()),
        };
        let tls = MakeRustlsConnect::new(tls_config(&access.tls)?);
        let pool = pool(&config, &tls, access.connections_max);
        Ok(Self { pool, pooled: access.pooled, config, direct, tls })
    }

    /// The same database through connections of its own: whoever takes these takes none from others, and gets one when
    /// all of theirs are taken.
    #[must_use]
    pub fn apart(&self, connections_max: usize) -> Self {
        Self { pool: pool(&self.config, &self.tls, connections_max), ..self.clone() }
    }

    /// A pooler in transaction mode stands between.
    #[must_use]
    pub const fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// It can listen: the server itself can be reached.
    #[must_use]
    pub const fn can_listen(&self) -> bool {
        self.direct.is_some()
    }

    /// Takes a connection.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        Ok(Session { client: self.pool.get().await?, prepares: !self.pooled, tls: self.tls.clone() })
    }

    /// How its pool is: connections in use, idle, and how many wait for one.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// A connection for the caller's own statements, with the defaults of its role and database; [`begin`] begins a
    /// transaction on it that does not depend on them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn client(&self) -> Result<Object, Error> {
        Ok(self.pool.get().await?)
    }

    /// A connection that is taken out of the pool and closed after its use, in the state that all of ours have: for what
    /// needs a session. Not through a pooler.
    pub(crate) async fn own_session(&self) -> Result<deadpool_postgres::ClientWrapper, Error> {
        let client = Object::take(self.pool.get().await?);
        client.batch_execute(&state::for_session()).await?;
        Ok(client)
    }

    /// Runs commands without parameters in a transaction of their own; they wait for locks as long as it takes.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Error> {
        let mut session = self.session().await?;
        let tx = Tx::begin(&mut session, "set local lock_timeout = 0").await?;
        tx.batch(sql).await?;
        tx.commit().await
    }

    /// Runs one statement in a transaction of its own.
    pub(crate) async fn one(
        &self,
        query: &Query,
        params: crate::query::Params<'_>,
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let mut session = self.session().await?;
        let tx = Tx::begin(&mut session, "").await?;
        let rows = tx.rows(query, params).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Waits until the database answers, with growing pauses and jitter, for at most `patience`.
    ///
    /// # Errors
    /// The last [`Error::Unavailable`]; any other error at once.
    pub async fn wait(&self, patience: Duration) -> Result<(), Error> {
        let mut pauses = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(100))
            .with_max_interval(Duration::from_secs(5))
            .with_max_elapsed_time(Some(patience))
            .build();
        loop {
            // names nothing, so that no default of a session matters to it
            let error = match self.session().await {
                Ok(session) => match session.client.simple_query("select 1").await {
                    Ok(_) => return Ok(()),
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            match pauses.next_backoff() {
                Some(pause) if error.is_transient() => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Listens on a channel with a connection of its own and calls `wake` for each notification. Returns when the
    /// connection ends: poll, then listen again. Without a way around a pooler in transaction mode it returns at once:
    /// what a session listens to is another client's there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn listen(&self, channel: &str, wake: impl Fn()) -> Result<(), Error> {
        let Some(direct) = &self.direct else { return Ok(()) };
        let (client, mut connection) = direct.connect(self.tls.clone()).await?;
        let listening = async {
            // it is idle all the time: no default may end it for that
            client.batch_execute("set idle_session_timeout = 0").await?;
            client.batch_execute(&format!("listen {channel}")).await?;
            wake();
            std::future::pending::<Result<(), tokio_postgres::Error>>().await
        };
        let messages = async {
            while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message? {
                    wake();
                }
            }
            Ok::<(), tokio_postgres::Error>(())
        };
        tokio::select! {
            ended = messages => Ok(ended?),
            failed = listening => Ok(failed?),
        }
    }
}

/// Begins a transaction for the caller's own statements, in the state that all of ours have, whatever the defaults of
/// role and database are.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn begin(client: &mut Object) -> Result<Transaction<'_>, Error> {
    let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let transaction = builder.start().await?;
    transaction.batch_execute(state::for_transaction()).await?;
    Ok(transaction)
}

fn pool(config: &Config, tls: &MakeRustlsConnect, connections_max: usize) -> Pool {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(config.clone(), tls.clone(), recycling))
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(Duration::from_secs(30)))
        .create_timeout(Some(Duration::from_secs(10)))
        .recycle_timeout(Some(Duration::from_secs(5)))
        .build()
        .expect("a runtime is named")
}

/// Reads a URL; adds what every connection of ours has.
fn read_url(url: &SecretString) -> Result<Config, Error> {
    let url = url.expose_secret();
    // the parser's message may quote the URL, and with it a password
    let mut config: Config = url.parse().map_err(|_| {
        Error::Schema(if url.contains("sslmode=verify-") {
            "the database URL cannot be read: write sslmode=require, which checks certificate and host name here; \
             sslmode=verify-ca and verify-full are not known"
                .to_owned()
        } else {
            "the database URL cannot be read: expected postgres://user@host/database".to_owned()
        })
    })?;
    config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    if config.get_application_name().is_none() {
        config.application_name("postmeter");
    }
    Ok(config)
}

/// The one TLS provider; certificates and host names are always checked.
fn tls_config(tls: &Tls) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    match tls {
        Tls::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Tls::Authority(path) => {
            let unreadable =
                |error: String| Error::Schema(format!("certificate authority {}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            // with none to trust no server could ever be believed
            if roots.is_empty() {
                return Err(unreadable("it holds no certificate".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
}
