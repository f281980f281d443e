//! Configuration: file, credentials, environment, flags; the later wins. `docs/configuration.md` is for people; its table
//! is made of the one in `config/settings.rs`.
//!
//! There is no flag for the database's URL, on purpose: command lines are seen by everybody on the machine.

mod check;
mod known;
mod layers;
mod logging;
mod secret;
mod settings;
mod show;
mod sinks;

use std::path::PathBuf;
use std::time::Duration;

use marketplaces::webhook::{Reach, WebhookError};
use secrecy::ExposeSecret as _;

use super::output::Wrong;
use layers::{Effective, Layers};
pub(super) use logging::Level;
use secret::Secret;
pub use settings::reference;
pub(super) use show::{Args, run};

pub(super) use known::nearest;
pub(super) use layers::line;

/// Flags that every command has.
#[derive(Debug, Default, clap::Args)]
pub(super) struct GlobalArgs {
    /// Configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "POSTMETER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Output for programs.
    #[arg(long, global = true)]
    pub json: bool,
    /// What is logged to standard error.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<Level>,
}

/// What a database is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Purpose {
    /// Real money.
    Production,
    /// Tests: the clock may be moved, and only loopback addresses are called.
    Test,
    /// As test, for showing.
    Demo,
}

impl Purpose {
    /// The word in the database.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Test => "test",
            Self::Demo => "demo",
        }
    }
}

/// Where alerts are posted: its URL may hold a secret.
#[derive(Debug)]
pub(super) struct Webhook {
    url: Option<Secret>,
    secret: Option<Secret>,
    private: bool,
}

impl Webhook {
    /// The receiver, if there is one; of a test or demo database only one on this machine.
    pub fn open(&self, purpose: &str) -> anyhow::Result<Option<std::sync::Arc<marketplaces::webhook::Webhook>>> {
        let reach = match (purpose, self.private) {
            ("production", false) => Reach::Public,
            ("production", true) => Reach::Private,
            _ => Reach::Loopback,
        };
        Ok(self.reach(reach)?.map(std::sync::Arc::new))
    }

    /// Refuses what no database could be served with. What a database is for is not known yet: without TLS a receiver may
    /// be on this machine, for a test.
    pub fn check(&self) -> Result<(), Wrong> {
        let is_here = |url: &reqwest::Url| match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
            Some("localhost") => true,
            Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
            None => false,
        };
        let url = self.url.as_ref().map(Secret::read).transpose()?;
        let url = url.and_then(|url| reqwest::Url::parse(url.expose_secret()).ok());
        let reach = match url {
            _ if self.private => Reach::Private,
            Some(url) if is_here(&url) => Reach::Loopback,
            _ => Reach::Public,
        };
        self.reach(reach).map(drop)
    }

    fn reach(&self, reach: Reach) -> Result<Option<marketplaces::webhook::Webhook>, Wrong> {
        let secrets = self.secret.as_ref().map(Secret::read).transpose()?;
        let Some(url) = &self.url else { return Ok(None) };
        let secrets = secrets.ok_or_else(|| Wrong("alerts.webhook_secret is not set: posts are signed".to_owned()))?;
        let webhook = marketplaces::webhook::Webhook::open(url.read()?.expose_secret(), &secrets, reach);
        webhook.map(Some).map_err(|error| match error {
            WebhookError::Url(what) => Wrong(format!("alerts.webhook_url: {what}")),
            WebhookError::Secret(what) => Wrong(format!("alerts.webhook_secret: {what}")),
        })
    }
}

/// The configuration.
#[derive(Debug)]
pub(super) struct Config {
    url: Option<Secret>,
    direct_url: Option<Secret>,
    tls_authority: Option<PathBuf>,
    pooled: bool,
    connections_max: usize,
    /// What a worker is started with.
    pub worker: worker::Options,
    /// Where a worker says how it is; none: at the first free one of its usual ports.
    pub worker_listen: Option<String>,
    /// Where a console listens.
    pub listen: String,
    /// Where alerts are posted.
    pub webhook: Webhook,
    /// What a console is started with.
    pub console: console::Options,
    /// What is logged.
    log: logging::Log,
    /// What is sent to sinks other than the log.
    telling: sinks::Telling,
    /// The running sinks, flushed on drop.
    sinks: sinks::Sinks,
    /// Every setting's value and source.
    effective: Vec<Effective>,
}

impl Config {
    /// Reads file, credentials, environment and flags, refuses what is unknown or malformed, and starts the log.
    pub fn load(args: &GlobalArgs) -> anyhow::Result<Self> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from);
        // systemd hands the file over like a secret: it may hold some
        let handed =
            || credentials.as_ref().map(|directory| directory.join("postmeter.toml")).filter(|at| at.is_file());
        let file = match args.config.clone().or_else(handed) {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Wrong(format!("configuration file {}: {error}", path.display())))?;
                Some((path.display().to_string(), text))
            }
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut config = Self::from_layers(&Layers::read(file, credentials.as_deref(), environment())?);
        if let Some(level) = args.log {
            config.log.level = level;
            config.said_by_flag("log", "level", level.word());
        }
        config.sinks = config.log.start(&config.telling)?;
        config.worker.traces = config.sinks.traces(&config.telling);
        Ok(config)
    }

    fn said_by_flag(&mut self, section: &str, key: &str, value: &str) {
        for setting in self.effective.iter_mut().filter(|it| it.section == section && it.setting == key) {
            (setting.value, setting.from) = (Some(value.to_owned()), "flag".to_owned());
        }
    }

    fn from_layers(layers: &Layers) -> Self {
        let defaults = worker::Options::default();
        Self {
            url: layers.secret("database", "url"),
            direct_url: layers.secret("database", "direct_url"),
            tls_authority: layers.maybe("database", "tls_authority"),
            pooled: layers.get("database", "pooled"),
            connections_max: layers.get("database", "connections_max"),
            worker: worker::Options {
                name: layers.maybe("worker", "name").unwrap_or_else(default_name),
                installation: layers.maybe("worker", "installation"),
                lease: Duration::from_secs(layers.get("worker", "lease_seconds")),
                poll: Duration::from_millis(layers.get("worker", "poll_ms")),
                fold_max: layers.get("worker", "fold_max"),
                cut_max: layers.get("worker", "cut_max"),
                outage: defaults.outage,
                stop_within: Duration::from_secs(layers.get("worker", "stop_within_seconds")),
                open: defaults.open,
                history: defaults.history,
                pulse: defaults.pulse,
                traces: None,
                webhook: None,
                webhook_repeat: Duration::from_secs(60 * layers.get::<u64>("alerts", "webhook_repeat_minutes")),
            },
            worker_listen: layers.maybe("worker", "listen"),
            listen: layers.get("console", "listen"),
            webhook: Webhook {
                url: layers.secret("alerts", "webhook_url"),
                secret: layers.secret("alerts", "webhook_secret"),
                private: layers.get("alerts", "webhook_private"),
            },
            console: console_options(layers),
            log: logging::Log { level: layers.word("log", "level"), format: layers.word("log", "format") },
            telling: sinks::Telling {
                traces: layers.get("telemetry", "traces"),
                otlp_url: layers.maybe("telemetry", "otlp_url"),
                sentry_dsn: layers.secret("telemetry", "sentry_dsn"),
            },
            sinks: sinks::Sinks::default(),
            effective: layers.effective(),
        }
    }

    /// The database, not connected yet.
    pub fn database(&self) -> anyhow::Result<outbox::Database> {
        self.database_with(self.connections_max)
    }

    /// The same, with at most this many connections.
    pub fn database_with(&self, connections_max: usize) -> anyhow::Result<outbox::Database> {
        self.check_authority()?;
        let mut access = self.access(self.url()?, connections_max);
        access.pooled = self.pooled;
        access.direct_url = self.direct_url.as_ref().map(Secret::read).transpose()?;
        Ok(outbox::Database::open(&access)?)
    }

    /// The database without a pooler between, where one is named: for what needs a session of its own.
    pub fn direct_database(&self) -> anyhow::Result<outbox::Database> {
        match &self.direct_url {
            Some(url) => Ok(outbox::Database::open(&self.access(url.read()?, self.connections_max))?),
            None => self.database(),
        }
    }

    fn access(&self, url: secrecy::SecretString, connections_max: usize) -> outbox::Access {
        let mut access = outbox::Access::new("");
        access.url = url;
        access.connections_max = connections_max;
        if let Some(authority) = &self.tls_authority {
            access.tls = outbox::Tls::Authority(authority.clone());
        }
        access
    }

    fn url(&self) -> Result<secrecy::SecretString, Wrong> {
        let url = self.url.as_ref().ok_or_else(|| {
            Wrong(
                "no database is named: set POSTMETER_DATABASE_URL (postgres://user@host/database), or \
                 POSTMETER_DATABASE_URL_FILE to a file that holds it, or url in section [database] of --config FILE"
                    .to_owned(),
            )
        })?;
        url.read()
    }
}

fn console_options(layers: &Layers) -> console::Options {
    console::Options {
        name: default_name(),
        body_bytes_max: layers.get("console", "body_bytes_max"),
        head_within: Duration::from_secs(layers.get("console", "head_seconds_max")),
        body_within: Duration::from_secs(layers.get("console", "body_seconds_max")),
        rows_max: layers.get("console", "rows_max"),
        intake_at_once_max: layers.get("console", "intake_at_once_max"),
        streams_at_once_max: layers.get("console", "streams_at_once_max"),
        events_at_once_max: layers.get("console", "events_at_once_max"),
        static_dir: layers.maybe("console", "static_dir"),
        guesses_per_minute: layers.get("console", "guesses_per_minute"),
        requests_per_minute: layers.get("console", "requests_per_minute"),
        tracker_access: layers.word::<TrackerAccess>("console", "tracker_access").into(),
        tracker_requests_per_minute: layers.get("console", "tracker_requests_per_minute"),
        trusted_proxies: layers.list("console", "trusted_proxies"),
        archive_url: layers.maybe("console", "archive_url"),
        archive_role: layers.get("console", "archive_role"),
        kibana_url: layers.maybe("console", "kibana_url"),
    }
}

/// Who may read the tracker's old paths.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum TrackerAccess {
    /// Who has a token with the scope read.
    Token,
    /// Everyone whom a trusted proxy lets through.
    TrustedProxy,
    /// Anybody who can connect, on loopback only.
    Open,
}

impl From<TrackerAccess> for console::Access {
    fn from(access: TrackerAccess) -> Self {
        match access {
            TrackerAccess::Token => Self::Token,
            TrackerAccess::TrustedProxy => Self::TrustedProxy,
            TrackerAccess::Open => Self::Open,
        }
    }
}

/// What the environment says to us. A value that is no text is refused by its name alone.
fn environment() -> impl Iterator<Item = (String, Option<String>)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("POSTMETER_"))?;
        Some((name, value.into_string().ok()))
    })
}

/// Host and process: two workers on one machine must not look alike.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| "host".to_owned());
    format!("{host}/{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(file: &str, credentials: Option<&Path>, environment: &[(&str, &str)]) -> Result<Config, Wrong> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        Layers::read(Some(("p.toml", file)), credentials, environment).map(|layers| Config::from_layers(&layers))
    }

    fn config(file: &str, environment: &[(&str, &str)]) -> Result<Config, Wrong> {
        read(file, None, environment)
    }

    fn refused(file: &str, environment: &[(&str, &str)]) -> String {
        config(file, environment).expect_err("must be refused").to_string()
    }

    /// The value and the origin of a setting, as `postmeter config` shows them.
    fn shown(config: &Config, section: &str, key: &str) -> (String, String) {
        let found = config.effective.iter().find(|it| it.section == section && it.setting == key).expect("a setting");
        (found.value.clone().unwrap_or_default(), found.from.clone())
    }

    #[test]
    fn i6_the_later_layer_wins() {
        let file =
            "[worker]\nlease_seconds = 30\npoll_ms = 50\n[log]\nlevel = \"warn\"\n[database]\nurl_file = \"/x\"\n";
        let config =
            config(file, &[("POSTMETER_WORKER_LEASE_SECONDS", "40"), ("POSTMETER_DATABASE_URL", "postgres://h/d")])
                .unwrap();
        assert_eq!((config.worker.lease.as_secs(), config.worker.poll.as_millis()), (40, 50));
        assert_eq!(
            config.url().unwrap().expose_secret(),
            "postgres://h/d",
            "a later url stands above an earlier url_file"
        );
        assert_eq!(config.log.level, Level::Warn);
    }

    #[test]
    fn i6_an_unknown_setting_is_refused_with_the_nearest_name() {
        let sentence = "p.toml, line 2: [worker] has no setting lease_secs; did you mean lease_seconds?";
        assert_eq!(refused("[worker]\nlease_secs = 1\n", &[]), sentence);
        assert_eq!(
            refused("[databse]\n", &[]),
            "p.toml, line 1: there is no section [databse]; did you mean [database]?"
        );
        let sentence = "environment: POSTMETER_DATABASE_ULR is no setting; did you mean POSTMETER_DATABASE_URL?";
        assert_eq!(refused("", &[("POSTMETER_DATABASE_ULR", "x")]), sentence);
    }

    #[test]
    fn i6_a_malformed_value_is_named_with_its_origin() {
        let cases = [
            ("[worker]\npoll_ms = \"soon\"\n", "p.toml, line 2: poll_ms must be a whole number from 10 to 60000"),
            ("[worker]\nlease_seconds = 15\n", "p.toml, line 2: lease_seconds must be a whole number from 16 to 3600"),
            (
                "[database]\nurl = \"nonsense\"\n",
                "p.toml, line 2: url must be the URL of a Postgres (postgres://user@host:5432/database)",
            ),
            (
                "[console]\nlisten = \"127.0.0.1:99999\"\n",
                "p.toml, line 2: listen must be an address and a port up to 65535 (127.0.0.1:8080)",
            ),
            (
                "[worker]\nlisten = \"nowhere\"\n",
                "p.toml, line 2: listen must be an address and a port up to 65535 (127.0.0.1:8080), or off",
            ),
            (
                "[telemetry]\notlp_url = \"nonsense\"\n",
                "p.toml, line 2: otlp_url must be an address of the web (https://…)",
            ),
            ("[database]\npooled = 1\n", "p.toml, line 2: pooled must be true or false"),
            ("[log]\nlevel = \"all\"\n", "p.toml, line 2: level must be one of error, warn, info, debug"),
            ("[log]\nlevel = [1]\n", "p.toml, line 2: level must be a text, a number or true or false"),
            ("worker = 1\n", "p.toml, line 1: worker must be a section: [worker]"),
        ];
        for (file, sentence) in cases {
            assert_eq!(refused(file, &[]), sentence);
        }
        let sentence = "environment: POSTMETER_WORKER_POLL_MS must be a whole number from 10 to 60000";
        assert_eq!(refused("", &[("POSTMETER_WORKER_POLL_MS", "x")]), sentence);
        assert!(
            refused("[database]\nurl = \"postgres://h/d\"\nurl_file = \"b\"\n", &[]).contains("exclude each other")
        );
    }

    #[test]
    fn i6_no_secret_is_ever_shown() {
        let secret = "postgres://u:hunter2@h/d";
        let config = config(&format!("[database]\nurl = {secret:?}\n"), &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        // the parser's own message would quote the line
        assert!(!refused(&format!("[database]\nurl = \"{secret}\n"), &[]).contains("hunter2"));
        assert!(!format!("{:?}", config.effective).contains("hunter2"));
        assert_eq!(shown(&config, "database", "url"), ("(secret, not shown)".to_owned(), "p.toml, line 2".to_owned()));
        let nonsense = Config { url: Some(Secret::Given("postgres://u:hunter2@[".into())), ..config };
        let error = format!("{:#}", nonsense.database().err().unwrap());
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_kubernetes_and_tests_set_is_no_setting() {
        for name in [
            "POSTMETER_PORT",
            "POSTMETER_WORKER_PORT_8080_TCP_ADDR",
            "POSTMETER_SERVICE_HOST",
            "POSTMETER_TEST_X",
            "POSTMETER_AZURE_MAIN_CLIENT_SECRET_FILE",
            "POSTMETER_GOOGLE_MAIN_KEY_FILE",
            "POSTMETER_CRASH",
        ] {
            assert!(config("", &[(name, "x")]).is_ok(), "{name}");
        }
    }

    #[test]
    fn i6_a_secret_comes_as_a_file_or_a_credential_and_the_later_wins() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::write(place("postmeter-database-url"), "postgres://handed/over\n").unwrap();
        std::fs::write(place("somebody-elses"), "x").unwrap();
        std::fs::write(place("mounted"), " postgres://mounted/d \n").unwrap();
        let url = |config: &Config| config.url().unwrap().expose_secret().to_owned();
        let file = "[database]\nurl = \"postgres://file/d\"\n";
        let handed = read(file, Some(directory.path()), &[]).unwrap();
        assert_eq!(url(&handed), "postgres://handed/over", "above the file");
        assert_eq!(shown(&handed, "database", "url").1, "credential postmeter-database-url");
        let mounted = place("mounted").display().to_string();
        let said = read(file, Some(directory.path()), &[("POSTMETER_DATABASE_URL_FILE", &mounted)]).unwrap();
        assert_eq!(url(&said), "postgres://mounted/d", "the environment is above the credential");
        assert_eq!(shown(&said, "database", "url"), (format!("(in {mounted})"), "environment".to_owned()));
        std::fs::write(place("mounted"), "\n").unwrap();
        let sentence = format!("POSTMETER_DATABASE_URL_FILE {mounted}: the file is empty");
        assert_eq!(said.url().unwrap_err().to_string(), sentence);
        std::fs::write(place("postmeter-databse-url"), "x").unwrap();
        let error = read("", Some(directory.path()), &[]).unwrap_err().to_string();
        assert!(error.ends_with("is no secret of ours; did you mean postmeter-database-url?"), "{error}");
    }

    #[test]
    fn what_is_not_said_is_what_the_crates_begin_with() {
        let config = config("", &[]).unwrap();
        let mut worker = config.worker.clone();
        worker.name = worker::Options::default().name;
        assert_eq!(format!("{worker:?}"), format!("{:?}", worker::Options::default()));
        let mut console = config.console.clone();
        console.name = console::Options::default().name;
        assert_eq!(format!("{console:?}"), format!("{:?}", console::Options::default()));
        assert!(config.effective.iter().all(|setting| setting.from == "default"));
    }

    #[test]
    fn without_a_url_the_sentence_says_what_to_set() {
        let error = config("", &[]).unwrap().database().err().unwrap();
        assert!(error.to_string().starts_with("no database is named: set POSTMETER_DATABASE_URL"), "{error}");
    }
}
