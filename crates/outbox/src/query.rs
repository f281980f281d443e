//! Statements: one file of SQL each, named in its first line, with the types of its parameters.

use futures_util::FutureExt;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::Error;
use crate::connect::Session;
use crate::state::{self, Mode};

/// A statement from `sql/queries/` with its parameters' types, so that it can run prepared or, through a pooler in
/// transaction mode, unprepared.
pub(crate) struct Query {
    pub(crate) sql: &'static str,
    pub(crate) types: &'static [Type],
}

impl Query {
    /// Its name: that of its file, which its first line says.
    pub(crate) fn name(&self) -> &'static str {
        self.sql.strip_prefix("-- ").and_then(|rest| rest.split_once(':')).map_or("", |(name, _)| name)
    }
}

/// `query!("claim", [INT4, UUID])` is `sql/queries/claim.sql` with two parameters.
macro_rules! query {
    ($name:literal, [$($ty:ident),* $(,)?]) => {
        $crate::query::Query {
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../sql/queries/", $name, ".sql")),
            types: &[$(tokio_postgres::types::Type::$ty),*],
        }
    };
}
pub(crate) use query;

/// Parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A transaction that runs [`Query`]s the way its connection allows. Dropped without [`Tx::commit`], it is rolled back.
pub(crate) struct Tx<'a> {
    session: &'a Session,
    is_done: bool,
}

impl<'a> Tx<'a> {
    /// Begins a transaction in the state that all of ours have; `settings` are `set local` commands that differ from it.
    pub(crate) async fn begin(session: &'a mut Session, settings: &str) -> Result<Self, Error> {
        Self::begin_as(session, Mode::Write, settings).await
    }

    /// The same, to write or only to read. All of it is one round trip.
    pub(crate) async fn begin_as(session: &'a mut Session, mode: Mode, settings: &str) -> Result<Self, Error> {
        // there from the first word on: when nobody waits for the answer any more, what was begun is rolled back
        let tx = Self { session, is_done: false };
        let state = state::for_transaction();
        let begun = tx.session.client.batch_execute(&format!("{}; {state}; {settings}", mode.begin())).await;
        match begun {
            Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                let begin = mode.begin_on_standby();
                tx.session.client.batch_execute(&format!("rollback; {begin}; {state}; {settings}")).await?;
            }
            begun => begun?,
        }
        Ok(tx)
    }

    fn client(&self) -> &deadpool_postgres::ClientWrapper {
        &self.session.client
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn rows(&self, query: &Query, params: Params<'_>) -> Result<Vec<Row>, Error> {
        if self.session.prepares {
            let statement = self.client().prepare_typed_cached(query.sql, query.types).await?;
            self.client().query(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            Ok(self.client().query_typed(query.sql, &typed(query, params)).await?)
        }
    }

    /// What went wrong with a prepared statement. Where a migration changed what it returns, Postgres refuses it for as
    /// long as it is kept: it is forgotten with the others, and the transaction is to be run again.
    fn of_prepared(&self, error: tokio_postgres::Error) -> Error {
        let Some(db) = error.as_db_error() else { return error.into() };
        if db.code() != &SqlState::FEATURE_NOT_SUPPORTED || db.routine() != Some("RevalidateCachedQuery") {
            return error.into();
        }
        self.client().statement_cache.clear();
        Error::Retryable { code: db.code().code().to_owned(), message: db.message().to_owned() }
    }

    /// Runs a statement and returns its rows as they come, for answers that need not fit into memory.
    pub(crate) async fn stream(&self, query: &Query, params: Params<'_>) -> Result<tokio_postgres::RowStream, Error> {
        Ok(self.client().query_typed_raw(query.sql, typed(query, params)).await?)
    }

    /// Runs a statement that was composed (`listing.rs`), unprepared.
    pub(crate) async fn composed(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Error> {
        Ok(self.client().query_typed(sql, params).await?)
    }

    /// The same, row by row.
    pub(crate) async fn composed_stream(
        &self,
        sql: &str,
        params: Vec<(&(dyn ToSql + Sync), Type)>,
    ) -> Result<tokio_postgres::RowStream, Error> {
        Ok(self.client().query_typed_raw(sql, params).await?)
    }

    /// Runs a statement for what it does; returns how many rows it wrote.
    pub(crate) async fn run(&self, query: &Query, params: Params<'_>) -> Result<u64, Error> {
        if self.session.prepares {
            let statement = self.client().prepare_typed_cached(query.sql, query.types).await?;
            self.client().execute(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            Ok(self.client().execute_typed(query.sql, &typed(query, params)).await?)
        }
    }

    /// Runs a statement that was put together, and returns its rows. There are few different ones: each is prepared.
    pub(crate) async fn prepared(&self, sql: &str, types: &[Type], params: Params<'_>) -> Result<Vec<Row>, Error> {
        if self.session.prepares {
            let statement = self.client().prepare_typed_cached(sql, types).await?;
            self.client().query(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            let typed: Vec<_> = params.iter().copied().zip(types.iter().cloned()).collect();
            Ok(self.client().query_typed(sql, &typed).await?)
        }
    }

    /// Runs commands without parameters.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.client().batch_execute(sql).await?)
    }

    /// Rolls back, and waits until that is done: a transaction that is only dropped ends later, and its locks with it.
    pub(crate) async fn roll_back(mut self) -> Result<(), Error> {
        self.is_done = true;
        Ok(self.client().batch_execute("rollback").await?)
    }

    /// Commits what went well. What did not is rolled back before anybody goes on: its locks would keep the next try from
    /// rows that nobody else holds.
    pub(crate) async fn end<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => {
                // a connection that is gone takes its transaction with it
                let _ = self.roll_back().await;
                Err(error)
            }
        }
    }

    /// Commits.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.is_done = true;
        Ok(self.client().batch_execute("commit").await?)
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            // asked once, it is on its way; the connection takes the answer
            let _ = self.client().batch_execute("rollback").now_or_never();
        }
    }
}

fn typed<'a>(query: &Query, params: Params<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    debug_assert_eq!(query.types.len(), params.len(), "{}", query.sql.lines().next().unwrap_or_default());
    params.iter().copied().zip(query.types.iter().cloned()).collect()
}
