//! A real Prometheus on loopback, with its tools; Debian's, unpacked by `.ci/setup-prometheus`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Generous: a machine may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the source tree")
}

/// A program of Prometheus, if it is at hand; else the test is skipped by its name.
pub fn tool(test: &str, name: &str) -> Option<Command> {
    tests::limit();
    let unpacked = match std::env::var_os("POSTMETER_TEST_PROMETHEUS") {
        // another version of the server; the tools are of the usual one
        Some(server) if name == "prometheus" => root().join(server),
        _ => root().join(".tools/prometheus/usr/bin").join(name),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join(name));
    let found: Option<PathBuf> = unpacked.exists().then_some(unpacked).or_else(|| places.find(|place| place.exists()));
    if found.is_none() {
        crate::moto::skip_named(test, &format!("{name} of Prometheus is not installed"));
    }
    found.map(|program| {
        let mut command = Command::new(program);
        command.current_dir(root());
        command
    })
}

/// A running server; it is killed when this is dropped.
pub struct RealPrometheus {
    /// Its address.
    pub url: String,
    child: Child,
    directory: tempfile::TempDir,
}

impl Drop for RealPrometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RealPrometheus {
    /// Starts one that scrapes targets, by job, every second, and evaluates the rules of `deploy/prometheus` as often.
    pub fn of_rules(test: &str, jobs: &[(&str, &[&str])]) -> Option<Self> {
        let rules = root().join("deploy/prometheus/alerts.yml");
        let mut text = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n".to_owned();
        text += &format!("rule_files: [{}]\nscrape_configs:\n", rules.display());
        for (job, targets) in jobs {
            let targets: Vec<_> = targets.iter().map(|url| url.trim_start_matches("http://")).collect();
            text += &format!("  - job_name: {job}\n    static_configs: [{{targets: {targets:?}}}]\n");
        }
        Self::start(test, &text, |_| (), &[])
    }

    /// Starts one with a configuration; `prepare` may fill its directory, whose `data` is its storage.
    pub fn start(test: &str, configuration: &str, prepare: impl FnOnce(&Path), more: &[&str]) -> Option<Self> {
        let mut command = tool(test, "prometheus")?;
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("prometheus.yml"), configuration).expect("written");
        prepare(directory.path());
        command.args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=100y"]).args(more);
        command.arg(format!("--config.file={}", at("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", at("data"))).current_dir(directory.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        // it says both, in either order
        let (mut address, mut is_ready) = (None, false);
        while address.is_none() || !is_ready {
            let Some(line) = lines.next() else { panic!("it does not start: {said:#?}") };
            if let Some((_, rest)) =
                line.split_once("msg=\"Listening on\"").and_then(|(_, rest)| rest.split_once("address="))
            {
                address = rest.split_whitespace().next().map(str::to_owned);
            }
            is_ready |= line.contains("Server is ready");
            said.push(line);
        }
        let address = address.expect("an address");
        // what it says must be read, or it would stand still
        let reading = move || lines.for_each(drop);
        std::thread::Builder::new().name("reader".to_owned()).spawn(reading).expect("a thread");
        let scheme = if more.iter().any(|word| word.starts_with("--web.config.file")) { "https" } else { "http" };
        Some(Self { url: format!("{scheme}://{address}"), child, directory })
    }

    /// A file of its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An answer of its API; null while it has none.
    pub async fn api(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query).expect("an address");
        let Ok(answer) = reqwest::get(url).await else { return Value::Null };
        let text = answer.text().await.unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_ne!(answer["status"], "error", "{path} {query:?}: {text}");
        answer["data"].clone()
    }

    /// Asks again and again until `wanted` is content; what stands in the way is said when it never is.
    pub async fn until<T, F: Future<Output = Result<T, String>>>(&self, wanted: impl Fn() -> F) -> T {
        let began = std::time::Instant::now();
        loop {
            match wanted().await {
                Ok(found) => return found,
                Err(why) if began.elapsed() > PATIENCE => panic!("never: {why}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Every rule: name, state, health with its error.
    pub async fn rules(&self) -> Vec<(String, String, String)> {
        let data = self.api("rules", &[]).await;
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let health = |rule: &Value| format!("{} {}", text(&rule["health"]), text(&rule["lastError"]));
        rules.map(|rule| (text(&rule["name"]), text(&rule["state"]), health(&rule).trim().to_owned())).collect()
    }

    /// Waits until the names of the rules that are pending or firing are as wanted.
    pub async fn until_alarmed(&self, is_as_wanted: impl Fn(&[String]) -> bool) {
        let look = || async {
            let rules = self.rules().await;
            let mut alarmed: Vec<_> =
                rules.into_iter().filter(|rule| rule.1 != "inactive").map(|rule| rule.0).collect();
            alarmed.sort();
            if is_as_wanted(&alarmed) { Ok(()) } else { Err(format!("these are pending or firing: {alarmed:?}")) }
        };
        self.until(look).await;
    }
}
