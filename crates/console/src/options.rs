//! What a console is started with; `docs/configuration.md` is for people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::tracker::Access;

/// Options of a console.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, for people: host and process.
    pub name: String,
    /// Bytes of a request's body at most.
    pub body_bytes_max: usize,
    /// How long a request's head may take to arrive, and how long a connection may wait for its next request.
    pub head_within: Duration,
    /// How long a body may take to arrive.
    pub body_within: Duration,
    /// Usages of one request at most.
    pub rows_max: usize,
    /// Requests that record at the same time at most; one more is answered 429 at once.
    pub intake_at_once_max: usize,
    /// Exports (lists as CSV or NDJSON) at the same time at most: each holds a connection and a snapshot.
    pub streams_at_once_max: usize,
    /// Streams of events at the same time at most: those that watch one request share one reading of it a second.
    pub events_at_once_max: usize,
    /// Static files under `/app/payload-tracker/`, if there are any.
    pub static_dir: Option<PathBuf>,
    /// Requests a minute of one caller at most.
    pub requests_per_minute: u32,
    /// Requests a minute with an unknown token from one address at most.
    pub guesses_per_minute: u32,
    /// Who may read the tracker's old paths.
    pub tracker_access: Access,
    /// Proxies that are believed, by their addresses.
    pub trusted_proxies: Vec<IpAddr>,
    /// Requests a minute of one address at the tracker's old paths at most.
    pub tracker_requests_per_minute: u32,
    /// Address of an archived payload; `{request_id}` stands in it.
    pub archive_url: Option<String>,
    /// The role that a person needs for that.
    pub archive_role: String,
    /// Address of a search in Kibana; `{query}` stands in it.
    pub kibana_url: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "console".to_owned(),
            body_bytes_max: 8 << 20,
            head_within: Duration::from_secs(60),
            body_within: Duration::from_secs(30),
            rows_max: 5000,
            intake_at_once_max: 16,
            streams_at_once_max: 4,
            events_at_once_max: 128,
            static_dir: None,
            requests_per_minute: 6000,
            guesses_per_minute: 60,
            tracker_access: Access::default(),
            trusted_proxies: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            tracker_requests_per_minute: 3000,
            archive_url: None,
            archive_role: "platform-archive-download".to_owned(),
            kibana_url: None,
        }
    }
}
