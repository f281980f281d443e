//! What processes tell about themselves: metrics, probes, logs.

mod features;
mod locked;
mod outage;
mod scraped;
mod table;
mod traces;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A worker process that says how it is on a port of its own, with what it logs.
pub struct Telling {
    pub child: Child,
    pub url: String,
    log: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Telling {
    pub fn start(database_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = tests::postmeter(database_url);
        command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("POSTMETER_WORKER_POLL_MS", "20").env("POSTMETER_WORKER_LEASE_SECONDS", "60");
        command.env("POSTMETER_WORKER_LISTEN", "127.0.0.1:0").env("POSTMETER_LOG_FORMAT", "json");
        command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
        command.envs(settings.iter().copied());
        let mut child = command.spawn().unwrap();
        let log: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reading = {
            let log = Arc::clone(&log);
            move || {
                for line in lines.map_while(Result::ok) {
                    let line = serde_json::from_str(&line).unwrap_or_else(|_| serde_json::json!({ "not_json": line }));
                    log.lock().unwrap().push(line);
                }
            }
        };
        std::thread::Builder::new().name("reader".to_owned()).spawn(reading).unwrap();
        let mut telling = Self { child, url: String::new(), log };
        tests::block_until("the worker says where it listens", || {
            let at = telling.log().iter().find_map(|line| Some(format!("http://{}", line["at"].as_str()?)));
            telling.url = at.unwrap_or_default();
            assert!(telling.child.try_wait().unwrap().is_none(), "{:?}", telling.log());
            !telling.url.is_empty()
        });
        telling
    }

    pub fn log(&self) -> Vec<serde_json::Value> {
        self.log.lock().unwrap().clone()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(&self.url, path).await
    }

    /// Asks until it answers as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let mut last = (0, String::new());
        let asking = async {
            loop {
                last = self.get(path).await;
                if wanted(last.0, &last.1) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(120), asking).await;
        assert!(in_time.is_ok(), "never as wanted: {path}: {last:?}\n{:#?}", self.log());
        last.1
    }

    pub fn signal(&self, name: &str) {
        tests::signal(&self.child, name);
    }

    pub fn stop(mut self) {
        self.signal("TERM");
        assert!(tests::end_of(&mut self.child).success());
    }
}

impl Drop for Telling {
    /// A test that fails leaves no worker behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn get(url: &str, path: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(format!("{url}{path}")).await.expect("it answers");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}
