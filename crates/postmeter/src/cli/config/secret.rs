//! A secret as it was said: itself, or where it is.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use crate::cli::output::Wrong;

/// A secret, not read yet where a file holds it: whoever reads it again notices that it was changed.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Secret {
    /// The secret.
    Said(SecretString),
    /// A file that holds it, and how messages call that.
    File(PathBuf, String),
}

impl Secret {
    /// The secret, without space around it.
    ///
    /// # Errors
    /// Its file cannot be read, or holds nothing.
    pub fn read(&self) -> Result<SecretString, Wrong> {
        match self {
            Self::Said(secret) => Ok(secret.clone()),
            Self::File(path, name) => {
                let wrong = |what: &dyn std::fmt::Display| Wrong(format!("{name} {}: {what}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
                let secret = SecretString::from(text.trim());
                if secret.expose_secret().is_empty() { Err(wrong(&"the file is empty")) } else { Ok(secret) }
            }
        }
    }
}
