//! Every setting there is, in one table. What is read, what is refused, what `postmeter config` shows and the table of
//! `docs/configuration.md` come from it.
//!
//! A new setting is one line here and one where it is used, such as `layers.get("worker", "poll_ms")`. A secret can
//! also be said as a file, or come as a credential of systemd: its one line is enough for that too.

use std::net::IpAddr;

use clap::ValueEnum;

use super::TrackerAccess;
use super::logging::{Format, Level};

/// What may be said.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A secret text, and its form. `<setting>_file` names a file that holds it.
    Secret(Looks),
    /// An address of the web.
    Url,
    /// Where to listen: an address or host name, and a port; or a word that says nowhere.
    Listen(&'static str),
    /// A whole number within bounds.
    Number(u64, u64),
    /// Yes or no.
    Flag,
    /// One of a few words.
    Word(fn() -> Vec<String>),
    /// Addresses, with commas between them.
    Addresses,
    /// An address of the web with a place in it that is filled in.
    Template(&'static str),
}

/// How a text must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    /// As the URL of a Postgres.
    Postgres,
    /// As an address of the web.
    Web,
    /// As secrets that sign posts.
    Signing,
}

impl Looks {
    pub fn fit(self, text: &str) -> bool {
        match self {
            Self::Postgres => outbox::Access::is_url(text),
            Self::Web => is_of_the_web(text),
            Self::Signing => marketplaces::webhook::are_secrets(text),
        }
    }

    /// What a text that does not fit should be.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Postgres => "the URL of a Postgres (postgres://user@host:5432/database)",
            Self::Web => "an address of the web (https://…)",
            Self::Signing => "whsec_ and 24 to 64 bytes in base64, one a line",
        }
    }
}

fn is_of_the_web(text: &str) -> bool {
    reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = !host.is_empty() && !host.contains(|sign: char| sign.is_whitespace() || sign == '/');
        is_host && port.parse::<u16>().is_ok()
    })
}

impl Kind {
    /// Refuses what may not be said, with what may.
    pub fn check(self, value: &str) -> Result<(), String> {
        let fits = match self {
            Self::Text => true,
            Self::Secret(looks) => looks.fit(value),
            Self::Url => is_of_the_web(value),
            Self::Listen(nowhere) => is_place(value) || !nowhere.is_empty() && value == nowhere,
            Self::Number(from, to) => plain(value).parse().is_ok_and(|number: u64| (from..=to).contains(&number)),
            Self::Flag => value.parse::<bool>().is_ok(),
            Self::Word(words) => words().iter().any(|word| word == value),
            Self::Addresses => value.split(',').all(|address| address.trim().parse::<IpAddr>().is_ok()),
            Self::Template(place) => value.contains(place) && is_of_the_web(&value.replace(place, "filled-in")),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Secret(looks) => looks.expected().to_owned(),
            Self::Url => Looks::Web.expected().to_owned(),
            Self::Listen("") => "an address and a port up to 65535 (127.0.0.1:8080)".to_owned(),
            Self::Listen(nowhere) => format!("an address and a port up to 65535 (127.0.0.1:8080), or {nowhere}"),
            Self::Number(from, to) => format!("a whole number from {from} to {to}"),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => format!("one of {}", words().join(", ")),
            Self::Addresses => "IP addresses with commas between them".to_owned(),
            Self::Template(place) => format!("an address (https://…) that contains {place}"),
        }
    }

    /// The same for a table's cell.
    fn cell(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret(_) => "secret".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Listen("") => "address:port".to_owned(),
            Self::Listen(nowhere) => format!("address:port, {nowhere}"),
            Self::Number(from, to) => format!("{from} to {to}"),
            Self::Flag => "true, false".to_owned(),
            Self::Word(words) => words().join(", "),
            Self::Addresses => "IP addresses, with commas".to_owned(),
            Self::Template(place) => format!("URL with `{place}`"),
        }
    }
}

/// Underscores between digits are for people.
pub(super) fn plain(number: &str) -> String {
    number.replace('_', "")
}

/// The words of an enum.
fn words<T: ValueEnum>() -> Vec<String> {
    let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    values.map(|word| word.get_name().to_owned()).collect()
}

/// A setting.
pub(super) struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    pub kind: Kind,
    /// The default: a value; in parentheses what it is made from; or nothing.
    default: &'static str,
    what: &'static str,
}

impl Setting {
    /// The default value, if there is one.
    pub fn default(&self) -> Option<&'static str> {
        Some(self.default).filter(|value| !value.is_empty() && !value.starts_with('('))
    }

    /// The default as help shows it.
    pub fn default_for_people(&self) -> &'static str {
        self.default
    }
}

const fn setting(
    section: &'static str,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    what: &'static str,
) -> Setting {
    Setting { section, key, kind, default, what }
}

use Kind::{Addresses, Flag, Listen, Number, Secret, Template, Text, Url, Word};

/// The table, in the order of the page.
#[rustfmt::skip] // a setting a line
pub(super) const SETTINGS: &[Setting] = &[
    setting("database", "url", Secret(Looks::Postgres), "", "`postgres://user:password@host:5432/database?sslmode=require`"),
    setting("database", "direct_url", Secret(Looks::Postgres), "", "with `pooled`: [the server itself](operate/pgbouncer.md)"),
    setting("database", "tls_authority", Text, "(public ones)", "PEM file with the only authority to trust"),
    setting("database", "pooled", Flag, "false", "true behind pgbouncer in transaction mode"),
    setting("database", "connections_max", Number(1, 1000), "8", "connections of this process"),
    setting("worker", "name", Text, "(host/process)", "how people know it; flag `worker --name`"),
    setting("worker", "installation", Text, "",
        "name of the installation that it serves; the first one settles it for the database, and one of another name does not start ([copies](operate/copies.md))"),
    // a call may take 15 seconds, and must have ended before the lease does
    setting("worker", "lease_seconds", Number(16, 3600), "20",
        "how long a heartbeat is good for; one is sent every quarter. A call may take 15 s, and ends before it"),
    setting("worker", "poll_ms", Number(10, 60_000), "1200", "rhythm of idle loops, in milliseconds"),
    setting("worker", "fold_max", Number(1, 1_000_000), "20000", "outbox entries of one fold; bounds memory"),
    setting("worker", "cut_max", Number(1, 100_000), "500", "hours of one cut"),
    setting("worker", "stop_within_seconds", Number(0, 3600), "25", "how long a stopping worker waits for its calls"),
    setting("worker", "listen", Listen("off"), "(127.0.0.1:9470, or the next free port up to 9485)",
        "where it serves `/live`, `/ready` and `/metrics` ([metrics](operate/metrics.md)); `off`: nowhere"),
    setting("console", "listen", Listen(""), "127.0.0.1:8080", "address and port; flag `console --listen`"),
    setting("console", "body_bytes_max", Number(1024, 1 << 30), "8388608",
        "bytes of a request's body; more is answered 413"),
    setting("console", "head_seconds_max", Number(1, 3600), "60",
        "how long the head of a request may take to arrive, and how long a connection may wait for its next one"),
    setting("console", "body_seconds_max", Number(1, 3600), "30",
        "how long a request's body may take to arrive; then it is answered 408"),
    setting("console", "rows_max", Number(1, 100_000), "5000", "usages of one request; more is answered 413"),
    setting("console", "intake_at_once_max", Number(1, 1000), "16",
        "requests that record at once; one more is answered 429"),
    setting("console", "streams_at_once_max", Number(1, 100), "4",
        "exports at once, each with a connection and a snapshot; one more is answered 429"),
    setting("console", "events_at_once_max", Number(1, 10_000), "128",
        "requests watched at once (server-sent events), each request is read once a second for all who watch it; one more is answered 429"),
    setting("console", "static_dir", Text, "",
        "directory of static files (a single-page application) served under `/app/payload-tracker/`, without a token"),
    setting("console", "requests_per_minute", Number(1, 10_000_000), "6000", "requests of one token; more is answered 429"),
    setting("console", "guesses_per_minute", Number(1, 10_000_000), "60",
        "requests with an unknown token from one address; then such are answered 429"),
    setting("console", "tracker_access", Word(words::<TrackerAccess>), "token",
        "who may read the [old tracker paths](tracking.md): token (scope read), trusted-proxy, or open (on loopback only)"),
    setting("console", "tracker_requests_per_minute", Number(1, 10_000_000), "3000",
        "requests of one address at those paths; more is answered 429"),
    setting("console", "trusted_proxies", Addresses, "127.0.0.1, ::1",
        "addresses whose `x-forwarded-for`, and with trusted-proxy also `x-rh-identity`, is believed"),
    setting("console", "archive_url", Template("{request_id}"), "", "where a payload's archive is"),
    setting("console", "archive_role", Text, "platform-archive-download", "role that a person needs for that link"),
    setting("console", "kibana_url", Template("{query}"), "", "a search in Kibana"),
    setting("telemetry", "traces", Flag, "false",
        "calls carry the `traceparent` under which their usage was recorded, if all of it was under one"),
    setting("telemetry", "otlp_url", Url, "",
        "where spans are sent, such as `http://collector:4318/v1/traces`; needs a program built with the feature otlp"),
    setting("telemetry", "sentry_dsn", Secret(Looks::Web), "", "where errors are sent; needs a program built with the feature sentry"),
    setting("alerts", "webhook_url", Secret(Looks::Web), "", "where workers post [alerts](operate/runbook.md) to; https"),
    setting("alerts", "webhook_secret", Secret(Looks::Signing), "", "what signs posts (`whsec_…`); one a line while it is exchanged"),
    setting("alerts", "webhook_private", Flag, "false", "true: the receiver may have a private address, and no TLS"),
    setting("alerts", "webhook_repeat_minutes", Number(1, 100_000), "240",
        "how often an alert that stays open is posted again"),
    setting("log", "level", Word(words::<Level>), "info", "what is logged; flag `--log`"),
    setting("log", "format", Word(words::<Format>), "text", "for people, or an object a line"),
];

/// A setting as it can be said: by itself or, for a secret, by a file that holds it.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub setting: &'static Setting,
    pub by_file: bool,
}

impl Name {
    /// How a section of the file calls it.
    pub fn key(self) -> String {
        format!("{}{}", self.setting.key, if self.by_file { "_file" } else { "" })
    }

    /// How the environment calls it.
    pub fn variable(self) -> String {
        format!("POSTMETER_{}_{}", self.setting.section, self.key()).to_ascii_uppercase()
    }
}

/// Every way to say a setting.
pub(super) fn names() -> impl Iterator<Item = Name> {
    SETTINGS.iter().flat_map(|setting| {
        let by_file = matches!(setting.kind, Secret(_)).then_some(Name { setting, by_file: true });
        [Some(Name { setting, by_file: false }), by_file].into_iter().flatten()
    })
}

/// The sections, each once.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section).collect();
    sections.dedup();
    sections
}

/// What systemd's credential of a secret is called.
pub(super) fn credential(setting: &Setting) -> String {
    format!("postmeter-{}-{}", setting.section, setting.key).replace('_', "-")
}

/// The table of `docs/configuration.md`.
#[must_use]
pub fn reference() -> String {
    let mut table =
        "| section | setting | environment | value | default | what |\n|---|---|---|---|---|---|\n".to_owned();
    let mut section = "";
    for name in names() {
        let Setting { section: its, kind, default, what, .. } = *name.setting;
        let shown = if its == section { "" } else { its };
        section = its;
        let (value, what) = if name.by_file {
            (
                "file".to_owned(),
                format!("a file that holds {}; or the credential `{}`", name.setting.key, credential(name.setting)),
            )
        } else {
            (kind.cell(), what.to_owned())
        };
        let cells = [shown, &name.key(), &name.variable(), &value, if name.by_file { "" } else { default }, &what];
        table += &format!("| {} |\n", cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_one_that_may_be_said() {
        for setting in SETTINGS {
            if let Some(value) = setting.default() {
                assert_eq!(setting.kind.check(value), Ok(()), "{}.{}", setting.section, setting.key);
            }
        }
    }

    #[test]
    fn a_section_stands_together_and_every_name_is_said_once() {
        let mut sections = sections();
        sections.sort_unstable();
        assert!(sections.windows(2).all(|pair| pair[0] != pair[1]), "{sections:?}");
        let mut variables: Vec<_> = names().map(Name::variable).collect();
        variables.sort_unstable();
        assert!(variables.windows(2).all(|pair| pair[0] != pair[1]), "{variables:?}");
    }
}
