//! What the file and the environment say, each value with where it was said.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::str::FromStr;

use clap::ValueEnum;
use toml::de::{DeTable, DeValue};

use super::known;
use crate::cli::output::Wrong;

/// Where a value was said, as it stands in messages.
#[derive(Debug, Clone)]
struct Said {
    value: String,
    origin: String,
    name: String,
}

/// The settings that were said, the later ones only.
#[derive(Default)]
pub(super) struct Layers {
    said: BTreeMap<(&'static str, &'static str), Said>,
}

impl Layers {
    /// Reads the file (name and text), then the environment. A value of the environment that is no text is `None`.
    pub fn read(
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Result<Self, Wrong> {
        let mut layers = Self::default();
        if let Some((name, text)) = file {
            layers.lay(read_file(name, text)?)?;
        }
        layers.lay(read_environment(environment)?)?;
        Ok(layers)
    }

    /// Puts a layer over the ones before. A URL and the file that holds it are one setting said in two ways: the later
    /// wins.
    fn lay(&mut self, layer: BTreeMap<(&'static str, &'static str), Said>) -> Result<(), Wrong> {
        for (url, url_file) in [("url", "url_file"), ("direct_url", "direct_url_file")] {
            let (url, url_file) = (("database", url), ("database", url_file));
            match (layer.get(&url), layer.get(&url_file)) {
                (Some(first), Some(second)) => {
                    let (origin, first, second) = (&second.origin, &first.name, &second.name);
                    return Err(Wrong(format!("{origin}: {first} and {second} exclude each other")));
                }
                (Some(_), None) => drop(self.said.remove(&url_file)),
                (None, Some(_)) => drop(self.said.remove(&url)),
                (None, None) => {}
            }
        }
        self.said.extend(layer);
        Ok(())
    }

    fn said(&self, section: &str, key: &str) -> Option<&Said> {
        let known = self.said.iter().find(|((s, k), _)| *s == section && *k == key);
        known.map(|(_, said)| said)
    }

    /// A text.
    pub fn text(&self, section: &str, key: &str) -> Option<String> {
        self.said(section, key).map(|said| said.value.clone())
    }

    /// A whole number within bounds.
    pub fn number<T>(&self, section: &str, key: &str, from: T, to: T) -> Result<Option<T>, Wrong>
    where
        T: FromStr + PartialOrd + std::fmt::Display + Copy,
    {
        let expected = || format!("a whole number from {from} to {to}");
        let read = |value: &str| value.replace('_', "").parse().ok().filter(|number| (from..=to).contains(number));
        self.parsed(section, key, read, expected)
    }

    /// Yes or no.
    pub fn flag(&self, section: &str, key: &str) -> Result<Option<bool>, Wrong> {
        self.parsed(section, key, |value| value.parse().ok(), || "true or false".to_owned())
    }

    /// One of a few words.
    pub fn word<T: ValueEnum>(&self, section: &str, key: &str) -> Result<Option<T>, Wrong> {
        let words = || T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let expected =
            || format!("one of {}", words().map(|word| word.get_name().to_owned()).collect::<Vec<_>>().join(", "));
        self.parsed(section, key, |value| T::from_str(value, false).ok(), expected)
    }

    /// Addresses, with commas between them.
    pub fn addresses(&self, section: &str, key: &str) -> Result<Option<Vec<IpAddr>>, Wrong> {
        let read = |value: &str| value.split(',').map(|address| address.trim().parse().ok()).collect();
        self.parsed(section, key, read, || "IP addresses with commas between them".to_owned())
    }

    /// An address of the web with a place in it that is filled in.
    pub fn template(&self, section: &str, key: &str, place: &str) -> Result<Option<String>, Wrong> {
        let is_template =
            |value: &str| (value.starts_with("https://") || value.starts_with("http://")) && value.contains(place);
        let read = |value: &str| is_template(value).then(|| value.to_owned());
        self.parsed(section, key, read, || format!("an address (https://…) that contains {place}"))
    }

    fn parsed<T>(
        &self,
        section: &str,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        expected: impl Fn() -> String,
    ) -> Result<Option<T>, Wrong> {
        let Some(said) = self.said(section, key) else { return Ok(None) };
        // the value is not repeated: whoever mixed up two variables may have put a secret here
        let wrong = || Wrong(format!("{}: {} must be {}", said.origin, said.name, expected()));
        read(&said.value).map(Some).ok_or_else(wrong)
    }
}

/// What the environment says; unknown names are refused.
fn read_environment(
    environment: impl IntoIterator<Item = (String, Option<String>)>,
) -> Result<BTreeMap<(&'static str, &'static str), Said>, Wrong> {
    let mut said = BTreeMap::new();
    for (name, value) in environment {
        if known::is_foreign(&name) {
            continue;
        }
        let Some((section, key)) = known::setting(&name) else {
            let all: Vec<String> = known::SECTIONS
                .iter()
                .flat_map(|(section, keys)| keys.iter().map(|key| known::variable(section, key)))
                .collect();
            let hint = known::nearest(&name, all.iter().map(String::as_str));
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
            return Err(Wrong(format!("environment: {name} is no setting{hint}")));
        };
        let value = value.ok_or_else(|| Wrong(format!("environment: {name} is not UTF-8")))?;
        // `NAME=` in a deployment's template means: not set
        if !value.is_empty() {
            said.insert((section, key), Said { value, origin: "environment".to_owned(), name });
        }
    }
    Ok(said)
}

/// What the file says; unknown sections and settings are refused.
fn read_file(file: &str, text: &str) -> Result<BTreeMap<(&'static str, &'static str), Said>, Wrong> {
    let at = |span: Option<Range<usize>>| format!("{file}, line {}", line(text, span.map_or(0, |span| span.start)));
    // the parser's whole message would quote the line, and with it perhaps a password
    let document = DeTable::parse(text)
        .map_err(|error| Wrong(format!("{}: {}", at(error.span()), error.message().replace('\n', ", "))))?;
    let mut said = BTreeMap::new();
    for (section, values) in document.get_ref() {
        let origin = at(Some(section.span()));
        let section = section.get_ref().as_ref();
        let Some((section, keys)) = known::SECTIONS.iter().find(|(name, _)| *name == section) else {
            let hint = known::nearest(section, known::SECTIONS.iter().map(|(name, _)| *name));
            let hint = hint.map_or_else(String::new, |hint| format!("; did you mean [{hint}]?"));
            return Err(Wrong(format!("{origin}: there is no section [{section}]{hint}")));
        };
        let Some(values) = values.get_ref().as_table() else {
            return Err(Wrong(format!("{origin}: {section} must be a section: [{section}]")));
        };
        for (key, value) in values {
            let origin = at(Some(key.span()));
            let name = key.get_ref().to_string();
            let Some(key) = keys.iter().find(|known| **known == name) else {
                let hint = known::nearest(&name, keys.iter().copied());
                let hint = hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"));
                return Err(Wrong(format!("{origin}: [{section}] has no setting {name}{hint}")));
            };
            let value = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().to_owned(),
                DeValue::Boolean(flag) => flag.to_string(),
                _ => return Err(Wrong(format!("{origin}: {name} must be a text, a number or true or false"))),
            };
            said.insert((*section, *key), Said { value, origin, name });
        }
    }
    Ok(said)
}

/// The line, from 1, of a place in a text.
pub(in crate::cli) fn line(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
