//! L7 at a real server that scrapes an exporter: what is recorded is what the exporter served, times the interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::Value;
use tests::Stage;

use crate::real_prometheus::RealPrometheus;

const NAME: &str = "l7_what_a_real_server_scraped_is_recorded_times_the_interval";
/// Scrapes after which every series has ended.
const SCRAPES: usize = 18;

/// What an exporter of each kind serves at its n-th scrape, from 0: nothing at all while it is away, else series with
/// their values.
fn serves(kind: &str, n: usize) -> Option<Vec<(&'static str, f64)>> {
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let counted = |from: usize| ((n - from) * 2) as f64;
    match kind {
        // a series ends and another goes on in its place
        "label" => Some(vec![if n < 9 { ("a", 4.0) } else { ("b", 4.0) }]),
        "gap" => (!(6..10).contains(&n)).then(|| vec![("a", 6.0)]),
        // ten minutes of an hour, on the scale of this test
        "life" => Some(if (5..9).contains(&n) { vec![("a", 8.0)] } else { vec![] }),
        // away for two scrapes; counts from zero again
        "restart" => (!(8..10).contains(&n)).then(|| vec![("a", counted(if n < 8 { 0 } else { 10 }))]),
        "reset" => Some(vec![("a", counted(if n < 9 { 0 } else { 9 }))]),
        other => panic!("{other}"),
    }
}

/// Edges at which one interval more or less is right, and what an interval of each kind comes to.
const KINDS: [(&str, u32, f64); 5] =
    [("label", 2, 4.0), ("gap", 2, 6.0), ("life", 1, 8.0), ("restart", 2, 2.0), ("reset", 2, 2.0)];

#[derive(Default)]
struct Exporter {
    /// Scrapes by kind.
    scrapes: BTreeMap<String, usize>,
    /// Samples that were served, by kind.
    served: BTreeMap<String, u32>,
}

type Shared = Arc<Mutex<Exporter>>;

async fn metrics(
    State(exporter): State<Shared>,
    Path(kind): Path<String>,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let mut exporter = exporter.lock().unwrap();
    let n = exporter.scrapes.entry(kind.clone()).or_default();
    let series = if *n < SCRAPES { serves(&kind, *n) } else { None };
    *n += 1;
    let header = [("content-type", "text/plain; version=0.0.4")];
    let Some(series) = series else { return (StatusCode::SERVICE_UNAVAILABLE, header, String::new()) };
    let text: String =
        series.iter().map(|(pod, value)| format!("use{{org=\"{kind}\",pod=\"{pod}\"}} {value}\n")).collect();
    *exporter.served.entry(kind).or_default() += u32::try_from(series.len()).unwrap();
    (StatusCode::OK, header, text)
}

async fn import(stage: &Stage, url: &str, recipe: [&str; 2]) -> (Option<i32>, Value, String) {
    let mut command = tests::postmeter(&stage.db.url());
    command
        .args(["import", "prometheus", "--json", "--url", url, "--source", recipe[0].trim_start_matches("--")])
        .args(recipe);
    command.args(["--interval", "1s", "--decimals", "9", "--last", "3h"]);
    command.args(["--org", "{org}", "--product", "db", "--metric", "cores"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// The configuration that scrapes every kind each second.
fn configuration(address: &str) -> String {
    let jobs = KINDS.map(|(kind, ..)| {
        format!("  - {{job_name: {kind}, metrics_path: /{kind}, static_configs: [{{targets: ['{address}']}}]}}\n")
    });
    format!("global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}", jobs.concat())
}

async fn exporter() -> (Shared, String) {
    let exporter = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().route("/{kind}", get(metrics)).with_state(exporter.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (exporter, address)
}

async fn until_scraped(exporter: &Shared) {
    let limit = std::time::Instant::now() + Duration::from_secs(120);
    while KINDS.iter().any(|(kind, ..)| exporter.lock().unwrap().scrapes.get(*kind).is_none_or(|n| *n < SCRAPES + 2)) {
        assert!(std::time::Instant::now() < limit, "never scraped: {:?}", exporter.lock().unwrap().scrapes);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Compares what is recorded of a server with what its exporter served.
async fn compare(url: &str, exporter: &Shared) {
    let stage = Stage::new().await;
    // after the next hour too, should the scrapes have gone over the end of one
    let later = "select to_char(date_trunc('hour', now() at time zone 'UTC') + interval '135 minutes',
                                'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let later = stage.column(later).await.remove(0);
    stage.at(&later).await;
    for (recipe, kinds) in
        [(["--gauge", "use{org=~\"label|gap|life\"}"], 3), (["--counter", "use{org=~\"restart|reset\"}"], 2)]
    {
        for turn in ["recorded", "repeated"] {
            let (code, report, said) = import(&stage, url, recipe).await;
            assert_eq!(code, Some(0), "{said}");
            assert!(report[turn].as_u64() >= Some(kinds), "{report}");
            let gap =
                if kinds == 3 { "org \"gap\" has no samples from" } else { "org \"restart\" has no samples from" };
            assert!(said.contains(gap), "{said}");
        }
    }
    let found = stage.column("select org || ' ' || sum(quantity) from postmeter.usage group by org").await;
    let found: BTreeMap<&str, f64> =
        found.iter().map(|line| line.split_once(' ').unwrap()).map(|(org, sum)| (org, sum.parse().unwrap())).collect();
    for (kind, edges, worth) in KINDS {
        let unit = if matches!(kind, "restart" | "reset") { 1.0 } else { 3600.0 };
        let truth = f64::from(exporter.lock().unwrap().served[kind]) * worth / unit;
        let tolerance = f64::from(edges) * worth / unit * 1.05;
        assert!((found[kind] - truth).abs() <= tolerance, "{kind}: {} of {truth} ± {tolerance}", found[kind]);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_what_a_real_server_scraped_is_recorded_times_the_interval() {
    let (exporter, address) = exporter().await;
    let Some(server) = RealPrometheus::start(NAME, &configuration(&address), |_| (), &[]) else { return };
    until_scraped(&exporter).await;
    compare(&server.url, &exporter).await;
}

/// The same at VictoriaMetrics, which scrapes as Prometheus does and answers in its own way. `make test-full` runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs VictoriaMetrics: make test-full"]
async fn full_l7_what_victoria_metrics_scraped_is_recorded_times_the_interval() {
    let Some(program) = std::env::var_os("POSTMETER_TEST_VICTORIA_METRICS") else {
        crate::moto::skip_named(
            "full_l7_what_victoria_metrics_scraped_is_recorded_times_the_interval",
            "VictoriaMetrics is not installed",
        );
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (exporter, address) = exporter().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("scrape.yml");
    std::fs::write(&file, configuration(&address)).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
    let mut command = std::process::Command::new(program);
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}")).arg(format!("-promscrape.config={}", file.display()));
    command.arg(format!("-storageDataPath={}", directory.path().join("data").display()));
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let server = Ended(command.spawn().unwrap());
    until_scraped(&exporter).await;
    // it writes what it scraped after some seconds
    let url = format!("http://127.0.0.1:{port}");
    let served: u32 = exporter.lock().unwrap().served.values().sum();
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    let mut said = String::new();
    while !said.contains(&format!("\"{served}\"")) {
        assert!(std::time::Instant::now() < limit, "it never has the {served} samples: {said}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked = format!("{url}/api/v1/query?nocache=1&latency_offset=1ms&query=sum(count_over_time(use[1h]))");
        said = reqwest::get(asked).await.unwrap().text().await.unwrap();
    }
    compare(&url, &exporter).await;
    drop(server);
}

/// A process that ends with this.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
