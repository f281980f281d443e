//! Configuration: file, environment, flags; the later wins. `docs/configuration.md` is for people.
//!
//! There is no flag for the database's URL, on purpose: command lines are seen by everybody on the machine.

mod known;
mod layers;
mod logging;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::output::Wrong;
use layers::Layers;
pub(super) use logging::Level;

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

/// The configuration.
#[derive(Debug)]
pub(super) struct Config {
    url: Option<SecretString>,
    url_file: Option<PathBuf>,
    direct_url: Option<SecretString>,
    direct_url_file: Option<PathBuf>,
    tls_authority: Option<PathBuf>,
    pooled: bool,
    connections_max: usize,
    /// What a worker is started with.
    pub worker: worker::Options,
    /// Where a console listens.
    pub listen: String,
    /// What a console is started with.
    pub console: console::Options,
    /// What is logged.
    log: logging::Log,
}

impl Config {
    /// Reads file, environment and flags, refuses what is unknown or malformed, and starts the log.
    pub fn load(args: &GlobalArgs) -> anyhow::Result<Self> {
        let file = match &args.config {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Wrong(format!("configuration file {}: {error}", path.display())))?;
                Some((path.display().to_string(), text))
            }
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut config = Self::from_layers(&Layers::read(file, environment())?)?;
        if let Some(level) = args.log {
            config.log.level = level;
        }
        config.log.start();
        Ok(config)
    }

    fn from_layers(layers: &Layers) -> anyhow::Result<Self> {
        let defaults = worker::Options::default();
        let seconds = |key, default: Duration, from, to| -> anyhow::Result<Duration> {
            Ok(layers.number("worker", key, from, to)?.map_or(default, Duration::from_secs))
        };
        Ok(Self {
            url: layers.text("database", "url").map(SecretString::from),
            url_file: layers.text("database", "url_file").map(PathBuf::from),
            direct_url: layers.text("database", "direct_url").map(SecretString::from),
            direct_url_file: layers.text("database", "direct_url_file").map(PathBuf::from),
            tls_authority: layers.text("database", "tls_authority").map(PathBuf::from),
            pooled: layers.flag("database", "pooled")?.unwrap_or(false),
            connections_max: layers.number("database", "connections_max", 1, 1000)?.unwrap_or(8),
            worker: worker::Options {
                name: layers.text("worker", "name").unwrap_or_else(default_name),
                // a call may take 15 seconds, and must have ended before the lease does
                lease: seconds("lease_seconds", defaults.lease, 2, 3600)?,
                poll: layers.number("worker", "poll_ms", 10, 60_000)?.map_or(defaults.poll, Duration::from_millis),
                fold_max: layers.number("worker", "fold_max", 1, 1_000_000)?.unwrap_or(defaults.fold_max),
                cut_max: layers.number("worker", "cut_max", 1, 100_000)?.unwrap_or(defaults.cut_max),
                stop_within: seconds("stop_within_seconds", defaults.stop_within, 0, 3600)?,
                open: defaults.open,
                history: defaults.history,
            },
            listen: layers.text("console", "listen").unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
            console: console_options(layers)?,
            log: logging::Log {
                level: layers.word("log", "level")?.unwrap_or_default(),
                format: layers.word("log", "format")?.unwrap_or_default(),
            },
        })
    }

    /// The database, not connected yet.
    pub fn database(&self) -> anyhow::Result<outbox::Database> {
        let mut access = self.access(self.url()?);
        access.pooled = self.pooled;
        access.direct_url = self.direct_url()?;
        Ok(outbox::Database::open(&access)?)
    }

    /// The database without a pooler between, where one is named: for what needs a session of its own.
    pub fn direct_database(&self) -> anyhow::Result<outbox::Database> {
        match self.direct_url()? {
            Some(url) => Ok(outbox::Database::open(&self.access(url))?),
            None => self.database(),
        }
    }

    fn access(&self, url: SecretString) -> outbox::Access {
        let mut access = outbox::Access::new("");
        access.url = url;
        access.connections_max = self.connections_max;
        if let Some(authority) = &self.tls_authority {
            access.tls = outbox::Tls::Authority(authority.clone());
        }
        access
    }

    fn direct_url(&self) -> anyhow::Result<Option<SecretString>> {
        match (&self.direct_url, &self.direct_url_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(path)) => Ok(Some(held_in(path, "direct_url_file")?)),
            (None, None) => Ok(None),
        }
    }

    /// The URL itself, or what its file holds.
    fn url(&self) -> anyhow::Result<SecretString> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => held_in(path, "url_file")?,
            (None, None) => {
                return Err(Wrong(
                    "no database is named: set POSTMETER_DATABASE_URL (postgres://user@host/database), or \
                     POSTMETER_DATABASE_URL_FILE to a file that holds it, or url in section [database] of --config FILE"
                        .to_owned(),
                )
                .into());
            }
        };
        if url.expose_secret().is_empty() {
            return Err(Wrong("the database URL is empty".to_owned()).into());
        }
        Ok(url)
    }
}

/// What a file holds, without the line's end.
fn held_in(path: &std::path::Path, setting: &str) -> Result<SecretString, Wrong> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Wrong(format!("{setting} {}: {error}", path.display())))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn console_options(layers: &Layers) -> anyhow::Result<console::Options> {
    let defaults = console::Options::default();
    let number = |key, default, from, to| -> Result<usize, Wrong> {
        Ok(layers.number("console", key, from, to)?.unwrap_or(default))
    };
    Ok(console::Options {
        body_bytes_max: number("body_bytes_max", defaults.body_bytes_max, 1024, 1 << 30)?,
        rows_max: number("rows_max", defaults.rows_max, 1, 100_000)?,
        intake_at_once_max: number("intake_at_once_max", defaults.intake_at_once_max, 1, 1000)?,
        streams_at_once_max: number("streams_at_once_max", defaults.streams_at_once_max, 1, 100)?,
        events_at_once_max: number("events_at_once_max", defaults.events_at_once_max, 1, 10_000)?,
        static_dir: layers.text("console", "static_dir").map(Into::into),
        guesses_per_minute: layers
            .number("console", "guesses_per_minute", 1, 10_000_000)?
            .unwrap_or(defaults.guesses_per_minute),
        requests_per_minute: layers
            .number("console", "requests_per_minute", 1, 10_000_000)?
            .unwrap_or(defaults.requests_per_minute),
        tracker_access: layers.word::<TrackerAccess>("console", "tracker_access")?.unwrap_or_default().into(),
        tracker_requests_per_minute: layers
            .number("console", "tracker_requests_per_minute", 1, 10_000_000)?
            .unwrap_or(defaults.tracker_requests_per_minute),
        trusted_proxies: layers.addresses("console", "trusted_proxies")?.unwrap_or(defaults.trusted_proxies),
        archive_url: layers.template("console", "archive_url", "{request_id}")?,
        archive_role: layers.text("console", "archive_role").unwrap_or(defaults.archive_role),
        kibana_url: layers.template("console", "kibana_url", "{query}")?,
    })
}

/// Who may read the tracker's old paths.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum TrackerAccess {
    /// Who has a token with the scope read.
    #[default]
    Token,
    /// Whoever a trusted proxy lets through.
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
    let host = host.unwrap_or_else(|| "worker".to_owned());
    format!("{host}/{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Config> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        Config::from_layers(&Layers::read(Some(("p.toml", file)), environment)?)
    }

    fn refused(file: &str, environment: &[(&str, &str)]) -> String {
        let error = config(file, environment).expect_err("must be refused");
        assert!(error.is::<Wrong>(), "exit code 2");
        format!("{error:#}")
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
            ("[worker]\nlease_seconds = 1\n", "p.toml, line 2: lease_seconds must be a whole number from 2 to 3600"),
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
        assert!(refused("[database]\nurl = \"a\"\nurl_file = \"b\"\n", &[]).contains("exclude each other"));
    }

    #[test]
    fn i6_no_secret_is_ever_shown() {
        let secret = "postgres://u:hunter2@h/d";
        let config = config(&format!("[database]\nurl = {secret:?}\n"), &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        // the parser's own message would quote the line
        assert!(!refused(&format!("[database]\nurl = \"{secret}\n"), &[]).contains("hunter2"));
        let nonsense = Config { url: Some("postgres://u:hunter2@[".into()), ..config };
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
            "POSTMETER_CRASH",
        ] {
            assert!(config("", &[(name, "x")]).is_ok(), "{name}");
        }
    }

    #[test]
    fn every_setting_is_documented() {
        let page = include_str!("../../../../docs/configuration.md");
        for (section, keys) in known::SECTIONS {
            for key in *keys {
                let row = format!("| {key} | {} |", known::variable(section, key));
                assert!(page.contains(&row), "{row}");
            }
        }
    }

    #[test]
    fn without_a_url_the_sentence_says_what_to_set() {
        let error = config("", &[]).unwrap().database().err().unwrap();
        assert!(error.to_string().starts_with("no database is named: set POSTMETER_DATABASE_URL"), "{error}");
    }
}
