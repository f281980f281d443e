//! What can go wrong, by what a service does about it.

/// An error of this crate; each variant asks for something else from the service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postmeter refused the data by a rule: correct the data. The same data again is refused again.
    #[error("{0}")]
    Refused(Refused),
    /// Another transaction was in the way (serialization failure, deadlock, lock timeout), or a timeout cancelled the
    /// statement: roll back and run the whole transaction again.
    #[error("the transaction has to run again: {message} ({code})")]
    Retryable {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
    /// There is no connection, or the server cannot take work now (it is full, read only, starting or stopping): wait
    /// and run the whole transaction again.
    #[error("the database is unavailable: {message}")]
    Unavailable {
        /// SQLSTATE; none where the connection failed.
        code: Option<String>,
        /// The server's or the driver's message.
        message: String,
    },
    /// Anything else: a missing schema or grant, a wrong password, a defect. Waiting does not help.
    #[error("the database answered: {message}")]
    Unexpected {
        /// SQLSTATE; none where the driver failed.
        code: Option<String>,
        /// The server's or the driver's message.
        message: String,
    },
}

impl Error {
    /// True when the same transaction may succeed later: run it again from its beginning, after a pause. A usage that
    /// was recorded after all is recognised by its `source` and `event_id`, so running it again bills nothing twice.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Retryable { .. } | Self::Unavailable { .. })
    }

    /// The refusal, if this is one.
    #[must_use]
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    /// SQLSTATE, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.code),
            Self::Retryable { code, .. } => Some(code),
            Self::Unavailable { code, .. } | Self::Unexpected { code, .. } => code.as_deref(),
        }
    }
}

/// A refusal by a rule, with what names it. Postmeter's page "Integrate" lists the codes.
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
    /// What to do, where Postmeter has advice.
    pub hint: Option<String>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The driver could not make sense of what the server sent: a defect, or another schema.
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
pub(crate) fn unreadable(message: &str) -> Error {
    Error::Unexpected { code: None, message: message.to_owned() }
}

/// The one place that reads SQLSTATEs. `answer` is what the server said, its SQLSTATE in `code`.
#[cfg(any(feature = "tokio-postgres", feature = "sqlx"))]
pub(crate) fn classify(answer: Refused) -> Error {
    let is = |classes: &[&str]| classes.iter().any(|class| answer.code.starts_with(class));
    // serialization failure, deadlock, lock not available, query cancelled
    if is(&["40001", "40P01", "55P03", "57014"]) {
        Error::Retryable { code: answer.code, message: answer.message }
    } else if is(&["08", "57P", "53", "58", "25006"]) {
        // connections, operator intervention, resources, the server's own system, a standby
        Error::Unavailable { code: Some(answer.code), message: answer.message }
    } else if is(&["PM", "22", "23"]) {
        Error::Refused(answer)
    } else {
        Error::Unexpected { code: Some(answer.code), message: answer.message }
    }
}
