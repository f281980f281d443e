//! What can go wrong between us and Postgres, by what a caller does about it.

use tokio_postgres::error::{DbError, SqlState};

/// An error of this crate; each variant asks for something else from the caller.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres refused the data or the operation by a rule of the schema: mend the input.
    #[error("{0}")]
    Refused(Refused),
    /// A conflict with another transaction (serialization, deadlock, lock timeout): run it again.
    #[error("the transaction met another one ({code}): {message}")]
    Again {
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
    Away(String),
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

/// A refusal by a rule of the schema, with what names it. `docs/integrate.md` lists the codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// SQLSTATE: `PM001` to `PM0xx`, or a standard one of class 22 or 23.
    pub code: String,
    /// The field that is wrong.
    pub field: Option<String>,
    /// The rule's name.
    pub constraint: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// What to do, where the schema says so.
    pub hint: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
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
            Self::Again { code, .. } if code == SqlState::QUERY_CANCELED.code() => Blame::Time,
            Self::Again { .. } => Blame::Lock,
            Self::Shut(_) => Blame::Step,
            Self::Away(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_) | Self::Schema(_) => Blame::Step,
            Self::Unexpected { code, .. } if code.starts_with("42") || code.starts_with("28") => Blame::Step,
            Self::Refused(_) | Self::Unexpected { .. } => Blame::Member,
        }
    }

    /// SQLSTATE, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.code),
            Self::Again { code, .. } | Self::Unexpected { code, .. } => Some(code),
            Self::Shut(_) => Some(SqlState::LOCK_NOT_AVAILABLE.code()),
            Self::Away(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_) | Self::Schema(_) => None,
        }
    }

    /// What kind of error, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Again { .. } => "again",
            Self::Shut(_) => "shut",
            Self::Away(_) => "away",
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
        matches!(self, Self::Away(_) | Self::Unable(_) | Self::Unwelcome(_) | Self::Untrusted(_))
    }

    /// True when waiting and doing the same again may help.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Again { .. } | Self::Shut(_) | Self::Away(_) | Self::Unable(_))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        error.as_db_error().map_or_else(|| without_sqlstate(&error), classify)
    }
}

/// An error without a SQLSTATE is the connection's, unless the client could not make sense of a value.
fn without_sqlstate(error: &tokio_postgres::Error) -> Error {
    use std::error::Error as _;
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let text = format!("{error}{source}");
    if text.contains("deserializing") || text.contains("serializing") || text.contains("parameters") {
        Error::Unexpected { code: String::new(), message: text }
    } else if let Some(why) = untrusted(&text) {
        Error::Untrusted(why.to_owned())
    } else {
        Error::Away(text)
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

/// The one place that reads SQLSTATEs.
fn classify(db: &DbError) -> Error {
    let code = db.code().code().to_owned();
    let message = db.message().to_owned();
    let again = [
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::QUERY_CANCELED,
    ];
    let away = ["08", "57P"];
    let unable = [
        ("53100", "the database's disk is full"),
        ("53200", "the database is out of memory"),
        ("53300", "the database has no connection left for us"),
        ("53", "the database has reached a limit of its server"),
        ("58", "the database's server has a fault of its own system"),
        ("25006", "the database is read only: a standby, or made so"),
    ];
    let why = unable.into_iter().find(|(class, _)| code.starts_with(class)).map(|(_, why)| why);
    // 42P01 and 42883 also name what is not ours
    let is_ours = code == "3F000" || ["42P01", "42883"].contains(&code.as_str()) && message.contains("postmeter.");
    if again.contains(&db.code()) {
        Error::Again { code, message }
    } else if away.iter().any(|class| code.starts_with(class)) {
        Error::Away(format!("{message} ({code})"))
    } else if let Some(why) = why {
        Error::Unable(format!("{why}: {message} ({code})"))
    } else if code.starts_with("28") {
        Error::Unwelcome(format!("{message} ({code})"))
    } else if is_ours {
        Error::Schema(format!(
            "the database lacks what this program needs: {message} ({code}); run `postmeter migrate`"
        ))
    } else if ["PM", "22", "23"].iter().any(|class| code.starts_with(class)) {
        Error::Refused(Refused {
            code,
            field: db.column().map(str::to_owned),
            constraint: db.constraint().map(str::to_owned),
            message,
            hint: db.hint().map(str::to_owned),
        })
    } else {
        Error::Unexpected { code, message }
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            other => Self::Away(other.to_string()),
        }
    }
}
