//! Reads a destination's settings, for every marketplace alike: an unknown setting is refused by name, because a
//! mistyped limit that is silently ignored costs money.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use crate::SettingsError;

/// The settings of one destination, with every name known.
pub(crate) struct Settings<'a> {
    kind: &'static str,
    values: &'a Map<String, Value>,
}

impl<'a> Settings<'a> {
    /// Takes the settings of a destination of `kind`; `known` are all the names that may occur.
    pub(crate) fn read(kind: &'static str, values: &'a Value, known: &[&str]) -> Result<Self, SettingsError> {
        let Value::Object(values) = values else {
            return Err(error(kind, "settings", format!("must be an object with {}", known.join(", "))));
        };
        match values.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(error(kind, name, format!("is not known; there are: {}", known.join(", ")))),
            None => Ok(Self { kind, values }),
        }
    }

    /// A text that may be left out (also as `null`); an empty one is refused.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, SettingsError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
            Some(_) => Err(self.error(name, "must be a text that is not empty")),
        }
    }

    /// Yes or no; no where it is left out.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, SettingsError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.error(name, "must be true or false")),
        }
    }

    /// A whole number of seconds from 1 to `max`, or `default` where it is left out.
    pub(crate) fn seconds(&self, name: &str, default: u64, max: u64) -> Result<Duration, SettingsError> {
        let seconds = match self.values.get(name) {
            None | Some(Value::Null) => Some(default),
            Some(value) => value.as_u64(),
        };
        seconds
            .filter(|seconds| (1..=max).contains(seconds))
            .map(Duration::from_secs)
            .ok_or_else(|| self.error(name, &format!("must be a whole number of seconds from 1 to {max}")))
    }

    /// An endpoint's address, or `default` where it is left out. Plain HTTP is for loopback alone: a signature keeps
    /// nobody from reading along. Credentials, query and fragment have no place in it.
    pub(crate) fn endpoint(&self, name: &str, default: &str) -> Result<Url, SettingsError> {
        let text = self.text(name)?.unwrap_or(default);
        let url = Url::parse(text).map_err(|problem| self.error(name, &format!("is no URL: {problem}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.error(name, "must not carry a user or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.error(name, "must not have a query or a fragment"));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if is_loopback(&url) => Ok(url),
            "http" => Err(self.error(name, "must be https; plain http is for loopback hosts only")),
            _ => Err(self.error(name, "must begin with https://")),
        }
    }

    /// A complaint about one setting.
    pub(crate) fn error(&self, name: &str, problem: &str) -> SettingsError {
        error(self.kind, name, problem.to_owned())
    }
}

fn error(kind: &'static str, field: &str, problem: String) -> SettingsError {
    SettingsError::Setting { kind, field: field.to_owned(), problem }
}

/// True when the host can only be this machine: `localhost`, `127.0.0.0/8` or `::1`, by its text, without asking DNS.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(text: &str) -> Result<Url, SettingsError> {
        let values = json!({ "endpoint": text });
        Settings::read("aws", &values, &["endpoint"]).and_then(|settings| settings.endpoint("endpoint", "https://x"))
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for text in ["http://127.0.0.1:5055", "http://localhost:1/aws", "http://[::1]:8099", "https://example.com"] {
            assert!(endpoint(text).is_ok(), "{text}");
        }
        for text in ["http://example.com", "http://127.0.0.1.example.com", "http://10.0.0.1", "ftp://localhost", "x"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn i6_an_endpoint_with_a_password_is_refused() {
        let refused = endpoint("https://user:hunter2@example.com").expect_err("carries a password").to_string();
        assert!(refused.contains("must not carry a user or password"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn an_unknown_setting_is_named_with_those_there_are() {
        let values = json!({ "regoin": "us-east-1" });
        let refused = Settings::read("aws", &values, &["region", "profile"]).err().map(|e| e.to_string());
        let sentence = "setting \"regoin\" of destination kind aws: is not known; there are: region, profile";
        assert_eq!(refused.as_deref(), Some(sentence));
    }

    #[test]
    fn seconds_are_bounded() {
        let values = json!({ "a": 3, "b": 0, "c": 1.5, "d": 61 });
        let settings = Settings::read("aws", &values, &["a", "b", "c", "d", "e"]).expect("all known");
        assert_eq!(settings.seconds("a", 5, 60).expect("in range"), Duration::from_secs(3));
        assert_eq!(settings.seconds("e", 5, 60).expect("the default"), Duration::from_secs(5));
        assert!(["b", "c", "d"].iter().all(|name| settings.seconds(name, 5, 60).is_err()));
    }
}
