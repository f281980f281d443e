//! What the file, systemd's credentials and the environment say, each value with where it was said. The later wins.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use clap::ValueEnum;
use secrecy::SecretString;
use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::known;
use super::secret::Secret;
use super::settings::{self, Kind, Name, SETTINGS, Setting};
use crate::cli::output::Wrong;

/// A value and its source, as messages name it. It may hold a secret: do not print it.
#[derive(Clone)]
struct ProvidedValue {
    value: String,
    origin: String,
    /// As it was spelt there.
    name: String,
    by_file: bool,
}

type Layer = BTreeMap<(&'static str, &'static str), ProvidedValue>;

/// The settings that were said, the later ones only.
#[derive(Default)]
pub(super) struct Layers {
    said: Layer,
}

/// A setting as it counts, fit to be shown.
#[derive(Debug, Clone, Serialize)]
pub(in crate::cli) struct Effective {
    pub section: &'static str,
    pub setting: &'static str,
    /// `None`: nothing. A secret's value is not here, the path of its file is.
    pub value: Option<String>,
    /// Its source.
    pub from: String,
}

impl Layers {
    /// Reads the file (name and text), the directory of credentials, then the environment. A value of the environment
    /// that is no text is `None`.
    pub fn read(
        file: Option<(&str, &str)>,
        credentials: Option<&Path>,
        environment: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Result<Self, Wrong> {
        let mut layers = Self::default();
        if let Some((name, text)) = file {
            layers.said.extend(read_file(name, text)?);
        }
        if let Some(directory) = credentials {
            layers.said.extend(read_credentials(directory)?);
        }
        layers.said.extend(read_environment(environment)?);
        Ok(layers)
    }

    /// A setting's provided value, else its default.
    fn value(&self, section: &str, key: &str) -> Option<&str> {
        let setting = SETTINGS.iter().find(|setting| setting.section == section && setting.key == key);
        let setting = setting.expect("a setting of the table");
        match self.said.get(&(setting.section, setting.key)) {
            Some(said) => Some(&said.value),
            None => setting.default(),
        }
    }

    /// A setting that may be missing.
    pub fn maybe<T: FromStr>(&self, section: &str, key: &str) -> Option<T> {
        let value = self.value(section, key)?;
        let read = value.parse().ok().or_else(|| settings::plain(value).parse().ok());
        Some(read.expect("the table let it pass: its bounds are those of the type"))
    }

    /// A setting that has a default.
    pub fn get<T: FromStr>(&self, section: &str, key: &str) -> T {
        self.maybe(section, key).expect("a default in the table")
    }

    /// One of a few words.
    pub fn word<T: ValueEnum>(&self, section: &str, key: &str) -> T {
        let word = self.value(section, key).expect("a default in the table");
        T::from_str(word, false).expect("the table let it pass: its words are those of the type")
    }

    /// Values with commas between them.
    pub fn list<T: FromStr>(&self, section: &str, key: &str) -> Vec<T> {
        let values = self.value(section, key).unwrap_or_default().split(',');
        values.map(|value| value.trim().parse().ok().expect("the table let it pass")).collect()
    }

    /// A secret, not read yet where a file holds it.
    pub fn secret(&self, section: &str, key: &str) -> Option<Secret> {
        let (_, said) = self.said.iter().find(|((its, name), _)| *its == section && *name == key)?;
        let setting = SETTINGS.iter().find(|setting| setting.section == section && setting.key == key);
        let Some(Kind::Secret(looks)) = setting.map(|setting| setting.kind) else {
            unreachable!("a secret of the table")
        };
        Some(if said.by_file {
            Secret::File(said.value.clone().into(), said.name.clone(), looks)
        } else {
            Secret::Given(SecretString::from(said.value.clone()))
        })
    }

    /// Every setting as it counts.
    pub fn effective(&self) -> Vec<Effective> {
        let effective = |setting: &'static Setting| {
            let (value, from) = match self.said.get(&(setting.section, setting.key)) {
                Some(said) if said.by_file => (Some(format!("(in {})", said.value)), said.origin.clone()),
                Some(said) if matches!(setting.kind, Kind::Secret(_)) => {
                    (Some("(secret, not shown)".to_owned()), said.origin.clone())
                }
                Some(said) => (Some(said.value.clone()), said.origin.clone()),
                None => {
                    let default = setting.default_for_people();
                    ((!default.is_empty()).then(|| default.to_owned()), "default".to_owned())
                }
            };
            Effective { section: setting.section, setting: setting.key, value, from }
        };
        SETTINGS.iter().map(effective).collect()
    }
}

/// Adds provided values to their layer; refuses unknown ones, and a secret that is provided in two ways at once.
fn lay(layer: &mut Layer, name: Name, said: ProvidedValue) -> Result<(), Wrong> {
    if !name.by_file {
        // the value is not repeated: whoever mixed up two variables may have put a secret here
        let wrong = |expected| Wrong(format!("{}: {} must be {expected}", said.origin, said.name));
        name.setting.kind.check(&said.value).map_err(wrong)?;
    }
    let origin = said.origin.clone();
    match layer.insert((name.setting.section, name.setting.key), said) {
        None => Ok(()),
        Some(_) => {
            let [first, second] = [false, true].map(|by_file| Name { setting: name.setting, by_file });
            let spell = |name: Name| if origin == ENVIRONMENT { name.variable() } else { name.key() };
            Err(Wrong(format!("{origin}: {} and {} exclude each other", spell(first), spell(second))))
        }
    }
}

const ENVIRONMENT: &str = "environment";

fn did_you_mean(wrong: &str, known: &[String]) -> String {
    let hint = known::nearest(wrong, known.iter().map(String::as_str));
    hint.map_or_else(String::new, |hint| format!("; did you mean {hint}?"))
}

/// What the environment says; unknown names are refused.
fn read_environment(environment: impl IntoIterator<Item = (String, Option<String>)>) -> Result<Layer, Wrong> {
    let mut layer = Layer::new();
    for (name, value) in environment {
        if known::is_foreign(&name) {
            continue;
        }
        let Some(known) = settings::names().find(|known| known.variable() == name) else {
            let all: Vec<String> = settings::names().map(Name::variable).collect();
            return Err(Wrong(format!("environment: {name} is no setting{}", did_you_mean(&name, &all))));
        };
        let value = value.ok_or_else(|| Wrong(format!("environment: {name} is not UTF-8")))?;
        // `NAME=` in a deployment's template means: not set
        if !value.is_empty() {
            let said = ProvidedValue { value, origin: ENVIRONMENT.to_owned(), name, by_file: known.by_file };
            lay(&mut layer, known, said)?;
        }
    }
    Ok(layer)
}

/// Secrets that systemd hands over as files (`LoadCredential=`), by their names.
fn read_credentials(directory: &Path) -> Result<Layer, Wrong> {
    let unreadable = |error| Wrong(format!("credentials {}: {error}", directory.display()));
    let mut layer = Layer::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // what is not named for us is somebody else's
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with("postmeter-"))
        else {
            continue;
        };
        let secrets = || settings::names().filter(|known| known.by_file);
        let Some(known) = secrets().find(|known| settings::credential(known.setting) == name) else {
            let all: Vec<String> = secrets().map(|known| settings::credential(known.setting)).collect();
            return Err(Wrong(format!("credentials: {name} is no secret of ours{}", did_you_mean(name, &all))));
        };
        let value = path.to_str().ok_or_else(|| Wrong(format!("credentials: {} is not UTF-8", path.display())))?;
        let origin = format!("credential {name}");
        let said = ProvidedValue { value: value.to_owned(), name: origin.clone(), origin, by_file: true };
        lay(&mut layer, known, said)?;
    }
    Ok(layer)
}

/// What the file says; unknown sections and settings are refused.
fn read_file(file: &str, text: &str) -> Result<Layer, Wrong> {
    let at = |span: Option<Range<usize>>| format!("{file}, line {}", line(text, span.map_or(0, |span| span.start)));
    // the parser's whole message would quote the line, and with it perhaps a password
    let document = DeTable::parse(text)
        .map_err(|error| Wrong(format!("{}: {}", at(error.span()), error.message().replace('\n', ", "))))?;
    let mut layer = Layer::new();
    for (section, values) in document.get_ref() {
        let origin = at(Some(section.span()));
        let section = section.get_ref().as_ref();
        let known = |name: &Name| name.setting.section == section;
        if !settings::names().any(|name| known(&name)) {
            let all: Vec<String> = settings::sections().iter().map(|name| format!("[{name}]")).collect();
            return Err(Wrong(format!("{origin}: there is no section [{section}]{}", did_you_mean(section, &all))));
        }
        let Some(values) = values.get_ref().as_table() else {
            return Err(Wrong(format!("{origin}: {section} must be a section: [{section}]")));
        };
        for (key, value) in values {
            let origin = at(Some(key.span()));
            let name = key.get_ref().to_string();
            let Some(setting) = settings::names().filter(known).find(|known| known.key() == name) else {
                let all: Vec<String> = settings::names().filter(known).map(Name::key).collect();
                return Err(Wrong(format!("{origin}: [{section}] has no setting {name}{}", did_you_mean(&name, &all))));
            };
            let value = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.as_str().to_owned(),
                DeValue::Boolean(flag) => flag.to_string(),
                _ => return Err(Wrong(format!("{origin}: {name} must be a text, a number or true or false"))),
            };
            lay(&mut layer, setting, ProvidedValue { value, origin, name, by_file: setting.by_file })?;
        }
    }
    Ok(layer)
}

/// The line, from 1, of a place in a text.
pub(in crate::cli) fn line(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
