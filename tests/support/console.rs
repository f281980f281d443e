//! A console on a port of its own, with the rights of its role and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use console::Options;
use outbox::{Access, Database};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::TestDatabase;

/// A running console; it stops when this is dropped.
pub struct Console {
    /// Its address: `http://127.0.0.1:1234`.
    pub url: String,
    /// A client that keeps connections.
    pub http: reqwest::Client,
    admin: Database,
    _stop: DropGuard,
}

/// An answer, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: String,
    /// Header `Retry-After`.
    pub retry_after: Option<String>,
    /// Body.
    pub text: String,
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Console {
    /// Starts one on a database.
    pub async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, Options::default()).await
    }

    /// Starts one with options.
    pub async fn start_with(db: &TestDatabase, options: Options) -> Self {
        Self::start_at(&db.url(), db.another(), options).await
    }

    /// Starts one that reaches its database by another URL than the tokens are made by.
    pub async fn start_at(url: &str, admin: Database, options: Options) -> Self {
        let mark = if url.contains('?') { '&' } else { '?' };
        let access = Access::new(&format!("{url}{mark}options=-c%20role%3Dpostmeter_console"));
        Self::start_on(Database::open(&access).expect("a URL"), admin, options).await
    }

    /// Starts one on its own way to the database.
    pub async fn start_on(database: Database, admin: Database, options: Options) -> Self {
        // the client of the tests wants one, though no test of the console speaks TLS
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            console::serve(listener, database, Arc::new(postmeter::cli::Catalogue), options, async move {
                stopped.cancelled().await
            })
            .await
            .expect("it serves");
        });
        Self { url, http: reqwest::Client::new(), admin, _stop: stop.drop_guard() }
    }

    /// A new token with these scopes.
    pub async fn token(&self, scopes: &[&str]) -> String {
        self.token_for(scopes, None).await
    }

    /// A new token with these scopes, for one org.
    pub async fn token_for(&self, scopes: &[&str], org: Option<&str>) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("caller-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let token = console::new_token();
        outbox::tokens::create(&self.admin, &name, &token, &scopes, org, "ada").await.expect("a token");
        token
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.expect("the console answers");
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
        let (kind, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        let status = response.status().as_u16();
        Reply { status, kind, retry_after, text: response.text().await.expect("a body") }
    }

    /// `GET` with a token.
    pub async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(self.http.get(format!("{}{path}", self.url)).bearer_auth(token)).await
    }

    /// `POST` of JSON with a token.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.send(self.http.post(format!("{}{path}", self.url)).bearer_auth(token).json(body)).await
    }
}
