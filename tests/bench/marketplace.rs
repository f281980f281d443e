//! The simulator as a process of its own, steered from here: its admin API over HTTP.

use serde_json::{Value, json};
use simulator::{Settings, Simulator};
use tokio::net::TcpListener;

use crate::process::Part;

/// A simulated AWS on loopback.
pub struct Marketplace {
    pub port: u16,
    http: reqwest::Client,
    _part: Part,
}

impl Marketplace {
    /// Starts one with AWS's own rules and limits.
    pub async fn start() -> Self {
        let mut part = Part::start(&["child-simulate"]);
        // the client asks for one although it never speaks TLS here
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = part.line().await.expect("a port").parse().expect("a port");
        Self { port, http: reqwest::Client::new(), _part: part }
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/_simulator/{path}", self.port)
    }

    /// Asks it.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.at(path)).send().await.expect("it answers");
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    async fn tell(&self, request: reqwest::RequestBuilder) {
        let answer = request.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }

    /// Changes its settings.
    pub async fn set(&self, settings: &Value) {
        self.tell(self.http.put(self.at("settings")).body(settings.to_string())).await;
    }

    /// From now on every call is answered with this status.
    pub async fn is_down(&self, status: u16) {
        let fault = json!({ "kind": "status", "status": status });
        self.tell(self.http.post(self.at("faults")).body(fault.to_string())).await;
    }

    /// Adds faults, as one list.
    pub async fn fails(&self, faults: &Value) {
        self.tell(self.http.post(self.at("faults")).body(faults.to_string())).await;
    }

    /// Its faults are over.
    pub async fn is_back(&self) {
        self.tell(self.http.delete(self.at("faults"))).await;
    }

    /// How many calls it has counted.
    pub async fn count(&self) -> u64 {
        self.get("health").await["calls"].as_u64().expect("a number")
    }

    /// Everything in one of its lists, page by page: `calls` or `records`.
    pub async fn all(&self, path: &str, list: &str) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), json!(0));
        while !after.is_null() {
            let page = self.get(&format!("{path}?limit=1000&after={after}")).await;
            entries.extend(page[list].as_array().expect("a list").iter().cloned());
            after = page["next_after"].clone();
        }
        entries
    }
}

/// The part of the process that answers: prints its port, answers until its parent is done.
pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let running = Simulator::start(listener, Settings::default()).expect("a simulator");
    println!("{}", running.address().port());
    crate::process::until_parent_is_done().await;
}
