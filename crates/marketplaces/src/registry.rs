//! Which marketplaces there are, by the word in `destination.kind`.

use std::sync::Arc;

use serde_json::Value;

use crate::{Capabilities, Marketplace};

/// Why a destination's settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The kind names no marketplace.
    #[error("no marketplace is called {kind:?}; there are: {known}", known = kinds().join(", "))]
    UnknownKind {
        /// What was asked for.
        kind: String,
    },
    /// A setting is missing, unknown or malformed.
    #[error("setting {field:?} of a {kind} destination: {problem}")]
    Setting {
        /// The destination's kind.
        kind: &'static str,
        /// The setting.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

/// The words `destination.kind` may have.
#[must_use]
pub const fn kinds() -> &'static [&'static str] {
    &["aws"]
}

/// The capabilities of a kind, for defaults in the catalogue; `None` for an unknown kind.
#[must_use]
pub fn capabilities(kind: &str) -> Option<Capabilities> {
    let _ = kind;
    None
}

/// Opens a marketplace with a destination's settings (no secrets in them: they name a credentials profile at most).
///
/// # Errors
/// An unknown kind, or a setting by name.
pub fn open(kind: &str, settings: &Value) -> Result<Arc<dyn Marketplace>, SettingsError> {
    let _ = settings;
    Err(SettingsError::UnknownKind { kind: kind.to_owned() })
}
