//! What can go wrong between us and Postgres, by what a caller does about it.

pub use postmeter_client::Refused;
use tokio_postgres::error::SqlState;

/// An error of this crate; each variant asks for something else from the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres refused the data or the operation by a rule of the schema: mend the input.
    #[error("{0}")]
    Refused(Refused),
    /// A conflict with another transaction (serialization, deadlock, lock timeout): run it again.
    #[error("the transaction met another one ({code}): {message}")]
    Retryable {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
    /// Another session keeps what everybody has to pass, a gate or a whole table: run it again.
    #[error("{0}")]
    Shut(String),
    /// No connection, or it was lost: wait and try again.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The server answers and can do nothing for anybody now, for a reason that it names (its disk is full, it is read only):
    /// wait and try again, and see to it.
    #[error("{0}")]
    Unable(String),
    /// The server does not let this user in (password, `pg_hba.conf`). Waiting does not help.
    #[error("the database does not let us in: {0}: look at user and password in the URL, and at pg_hba.conf")]
    Unwelcome(String),
    /// The server cannot prove to be the one that is meant, or offers no encryption where it is required. Waiting does not
    /// help.
    #[error("the connection to the database is not safe: {0}")]
    Untrusted(String),
    /// The schema is not the one this program knows.
    #[error("{0}")]
    Schema(String),
    /// Anything else: a defect or a missing grant.
    #[error("the database answered {code}: {message}")]
    Unexpected {
        /// SQLSTATE, or empty.
        code: String,
        /// The server's message.
        message: String,
    },
}

/// Whose fault an error is, when a batch of rows meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Another session's: it holds a lock, or met us in a deadlock.
    Lock,
    /// The time's: it was not enough for so many rows.
    Time,
    /// One of the rows'.
    Member,
    /// Nobody's in particular: every row would meet it (no connection, no space, no right, another schema).
    Step,
}

impl Error {
    /// Whose fault it is, when a batch of rows meets it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Retryable { code, .. } if code == SqlState::QUERY_CANCELED.code() => Blame::Time,
            Self::Retryable { .. } => Blame::Lock,
            Self::Shut(_) => Blame::Step,
            Self::Unavailable(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_) | Self::Schema(_) => {
                Blame::Step
            }
            Self::Unexpected { code, .. } if code.starts_with("42") || code.starts_with("28") => Blame::Step,
            Self::Refused(_) | Self::Unexpected { .. } => Blame::Member,
        }
    }

    /// SQLSTATE, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.code),
            Self::Retryable { code, .. } | Self::Unexpected { code, .. } => Some(code),
            Self::Shut(_) => Some(SqlState::LOCK_NOT_AVAILABLE.code()),
            Self::Unavailable(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_) | Self::Schema(_) => None,
        }
    }

    /// What kind of error, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Retryable { .. } => "again",
            Self::Shut(_) => "shut",
            Self::Unavailable(_) => "away",
            Self::Unable(_) => "unable",
            Self::Unwelcome(_) => "unwelcome",
            Self::Untrusted(_) => "untrusted",
            Self::Schema(_) => "schema",
            Self::Unexpected { .. } => "unexpected",
        }
    }

    /// True when there is no connection, or the server can do nothing for anybody: whatever the caller wanted, nothing else
    /// will do either.
    #[must_use]
    pub const fn is_of_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_))
    }

    /// True when waiting and doing the same again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Retryable { .. } | Self::Shut(_) | Self::Unavailable(_) | Self::Unable(_))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        postmeter_client::Error::from(error).into()
    }
}

/// The client reads SQLSTATEs; a worker asks more of what a producer meets with a pause.
impl From<postmeter_client::Error> for Error {
    fn from(error: postmeter_client::Error) -> Self {
        use postmeter_client::Error as Client;
        match error {
            Client::Refused(refused) => Self::Refused(refused),
            Client::Retryable { code, message } => Self::Retryable { code, message },
            Client::Unavailable { code: Some(code), message } => unavailable(&code, &message),
            Client::Unavailable { code: None, message } => untrusted(&message)
                .map_or_else(|| Self::Unavailable(message.clone()), |why| Self::Untrusted(why.to_owned())),
            Client::Unexpected { code, message } => unexpected(code.unwrap_or_default(), message),
        }
    }
}

/// Why a server is not trusted, if that is what the driver says.
fn untrusted(text: &str) -> Option<&'static str> {
    let verdicts = [
        ("not valid for name", "its certificate is for another host name than the URL's"),
        ("NotValidForName", "its certificate is for another host name than the URL's"),
        ("UnknownIssuer", "its certificate is not signed by an authority that we trust: set tls_authority to that one"),
        // another authority of the same name
        ("BadSignature", "its certificate is not signed by an authority that we trust: set tls_authority to that one"),
        ("certificate expired", "its certificate has expired"),
        ("Expired", "its certificate has expired"),
        ("not valid yet", "its certificate is not valid yet: look at the clocks"),
        ("NotValidYet", "its certificate is not valid yet: look at the clocks"),
        ("Revoked", "its certificate is revoked"),
        ("invalid peer certificate", "its certificate cannot be verified"),
        ("server does not support TLS", "it offers no TLS, and sslmode=require wants it"),
    ];
    let is_tls = text.contains("invalid peer certificate") || text.contains("server does not support TLS");
    verdicts.into_iter().find(|(word, _)| is_tls && text.contains(word)).map(|(_, why)| why)
}

/// A server that answers and can do nothing for any client, or one that ends the connection.
fn unavailable(code: &str, message: &str) -> Error {
    let unable = [
        ("53100", "the database's disk is full"),
        ("53200", "the database is out of memory"),
        ("53300", "the database has no connection left for us"),
        ("53", "the database has reached a limit of its server"),
        ("58", "the database's server has a fault of its own system"),
        ("25006", "the database is read only: a standby, or made so"),
    ];
    match unable.into_iter().find(|(class, _)| code.starts_with(class)) {
        Some((_, why)) => Error::Unable(format!("{why}: {message} ({code})")),
        None => Error::Unavailable(format!("{message} ({code})")),
    }
}

fn unexpected(code: String, message: String) -> Error {
    // 42P01 and 42883 also name what is not ours
    let is_ours = code == "3F000" || ["42P01", "42883"].contains(&code.as_str()) && message.contains("postmeter.");
    if code.starts_with("28") {
        Error::Unwelcome(format!("{message} ({code})"))
    } else if is_ours {
        Error::Schema(format!(
            "the database lacks what this program needs: {message} ({code}); run `postmeter migrate`"
        ))
    } else {
        Error::Unexpected { code, message }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
