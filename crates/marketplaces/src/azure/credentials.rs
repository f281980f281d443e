//! A client's credentials, by a named profile of the environment: `POSTMETER_AZURE_<PROFILE>_CLIENT_ID`, `_TENANT_ID` and
//! `_CLIENT_SECRET`, or `_CLIENT_SECRET_FILE` for a secret that is mounted. Read whenever a token is fetched, so that a
//! rotated file is noticed.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

/// Bytes of a secret's file that are read.
const FILE_BYTES_MAX: u64 = 4_096;

/// What Entra ID knows a client by.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The directory, as GUID or domain.
    pub tenant_id: String,
    /// The application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
}

impl ClientCredentials {
    /// Reads a profile through `variable`, which is the environment.
    ///
    /// # Errors
    /// A stable code: `credentials_not_loaded` (a variable is missing), `credentials_ambiguous` (a secret and a file of
    /// it), `credentials_file` (which cannot be read), `credentials_malformed`.
    pub(super) fn of_profile(profile: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let value = |name: &str| variable(&format!("POSTMETER_AZURE_{profile}_{name}")).filter(|text| !text.is_empty());
        let client_secret = match (value("CLIENT_SECRET"), value("CLIENT_SECRET_FILE")) {
            (Some(_), Some(_)) => return Err("credentials_ambiguous"),
            (Some(secret), None) => secret,
            (None, Some(path)) => read(Path::new(&path))?,
            (None, None) => return Err("credentials_not_loaded"),
        };
        let (Some(tenant_id), Some(client_id)) = (value("TENANT_ID"), value("CLIENT_ID")) else {
            return Err("credentials_not_loaded");
        };
        Self { tenant_id, client_id, client_secret: client_secret.into() }.checked()
    }

    /// The same, if every part has the letters it can have.
    pub(super) fn checked(self) -> Result<Self, &'static str> {
        let name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        };
        let secret = self.client_secret.expose_secret();
        let printable = !secret.is_empty() && secret.bytes().all(|b| b.is_ascii_graphic());
        // The tenant becomes part of a path.
        let fits = name(&self.tenant_id) && name(&self.client_id) && !self.tenant_id.starts_with('.') && printable;
        if fits { Ok(self) } else { Err("credentials_malformed") }
    }
}

/// A mounted secret; the line end that editors leave behind it is none of it.
fn read(path: &Path) -> Result<String, &'static str> {
    let small = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= FILE_BYTES_MAX);
    let text = if small { std::fs::read_to_string(path).ok() } else { None };
    text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).ok_or("credentials_file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(variables: &[(&str, &str)]) -> Result<ClientCredentials, &'static str> {
        ClientCredentials::of_profile("MAIN", |name| {
            let own = name.strip_prefix("POSTMETER_AZURE_MAIN_").expect("of this profile alone");
            variables.iter().find(|(known, _)| *known == own).map(|(_, value)| (*value).to_owned())
        })
    }

    const TENANT: (&str, &str) = ("TENANT_ID", "contoso.example");
    const CLIENT: (&str, &str) = ("CLIENT_ID", "11112222-3333-4444-5555-666677778888");

    #[test]
    fn d10_a_profile_is_read_whole_or_not_at_all() {
        let whole = profile(&[TENANT, CLIENT, ("CLIENT_SECRET", "hunter2~")]).expect("whole");
        assert_eq!((whole.tenant_id.as_str(), whole.client_secret.expose_secret()), (TENANT.1, "hunter2~"));
        for (variables, code) in [
            (vec![], "credentials_not_loaded"),
            (vec![TENANT, CLIENT], "credentials_not_loaded"),
            (vec![TENANT, ("CLIENT_SECRET", "x")], "credentials_not_loaded"),
            (vec![CLIENT, ("CLIENT_SECRET", "x")], "credentials_not_loaded"),
            (vec![TENANT, CLIENT, ("CLIENT_SECRET", "")], "credentials_not_loaded"),
            (vec![TENANT, CLIENT, ("CLIENT_SECRET", "x"), ("CLIENT_SECRET_FILE", "/y")], "credentials_ambiguous"),
            (vec![TENANT, CLIENT, ("CLIENT_SECRET_FILE", "/no/such/file")], "credentials_file"),
            (vec![TENANT, CLIENT, ("CLIENT_SECRET_FILE", "/dev/zero")], "credentials_file"),
            (vec![TENANT, CLIENT, ("CLIENT_SECRET", "a b")], "credentials_malformed"),
            (vec![("TENANT_ID", "../x"), CLIENT, ("CLIENT_SECRET", "x")], "credentials_malformed"),
        ] {
            assert_eq!(profile(&variables).err(), Some(code), "{variables:?}");
        }
    }

    #[test]
    fn i6_a_secret_does_not_print() {
        let whole = profile(&[TENANT, CLIENT, ("CLIENT_SECRET", "hunter2")]).expect("whole");
        assert!(!format!("{whole:?}").contains("hunter2"));
    }
}
