//! A secret as it was said: itself, or where it is.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::settings::Looks;
use crate::cli::output::Wrong;

/// A secret, not read yet where a file holds it: reading it again notices a change.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Secret {
    /// The secret.
    Given(SecretString),
    /// A file that holds it, how messages call that, and how the secret must look.
    File(PathBuf, String, Looks),
}

impl Secret {
    /// The secret, without space around it.
    ///
    /// # Errors
    /// Its file cannot be read, holds nothing, or something that cannot be meant. The message does not quote it.
    pub fn read(&self) -> Result<SecretString, Wrong> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path, name, looks) => {
                let wrong = |what: &dyn std::fmt::Display| Wrong(format!("{name} {}: {what}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
                let secret = SecretString::from(text.trim());
                match secret.expose_secret() {
                    "" => Err(wrong(&"the file is empty")),
                    text if !looks.fit(text) => Err(wrong(&format!("the file must hold {}", looks.expected()))),
                    _ => Ok(secret),
                }
            }
        }
    }
}
