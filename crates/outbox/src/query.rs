//! Statements: one file of SQL each, named in its first line, with the types of its parameters.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::Error;
use crate::connect::Session;

/// A statement from `sql/queries/` with its parameters' types, so that it can run prepared or, through a pooler in
/// transaction mode, unprepared.
pub(crate) struct Query {
    pub(crate) sql: &'static str,
    pub(crate) types: &'static [Type],
}

/// `query!("claim", [INT4, UUID])` is `sql/queries/claim.sql` with two parameters.
macro_rules! query {
    ($name:literal, [$($ty:ident),* $(,)?]) => {
        $crate::query::Query {
            sql: include_str!(concat!("../../../sql/queries/", $name, ".sql")),
            types: &[$(tokio_postgres::types::Type::$ty),*],
        }
    };
}
pub(crate) use query;

/// Parameters of a statement.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A transaction that runs [`Query`]s the way its connection allows.
pub(crate) struct Tx<'a> {
    inner: deadpool_postgres::Transaction<'a>,
    prepares: bool,
}

impl<'a> Tx<'a> {
    /// Begins a transaction; `settings` are `set local` commands for the planner.
    pub(crate) async fn begin(session: &'a mut Session, settings: &str) -> Result<Self, Error> {
        let prepares = session.prepares;
        let inner = session.client.transaction().await?;
        // What a worker writes must survive a crash of the server, whatever the database's default is. Compiling a
        // statement takes longer than any of ours runs (0.4 s for a claim of 25 on a queue without statistics). A worker
        // that freezes in a transaction must not keep its locks from those who take over from it.
        inner
            .batch_execute(&format!(
                "set local synchronous_commit = on; set local jit = off; set local lock_timeout = '5s'; \
                 set local idle_in_transaction_session_timeout = '15s'; {settings}"
            ))
            .await?;
        Ok(Self { inner, prepares })
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn rows(&self, query: &Query, params: Params<'_>) -> Result<Vec<Row>, Error> {
        if self.prepares {
            let statement = self.inner.prepare_typed_cached(query.sql, query.types).await?;
            self.inner.query(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            Ok(self.inner.query_typed(query.sql, &typed(query, params)).await?)
        }
    }

    /// What went wrong with a prepared statement. Where a migration changed what it returns, Postgres refuses it for as
    /// long as it is kept: it is forgotten with the others, and the transaction is to be run again.
    fn of_prepared(&self, error: tokio_postgres::Error) -> Error {
        let Some(db) = error.as_db_error() else { return error.into() };
        if db.code() != &SqlState::FEATURE_NOT_SUPPORTED || db.routine() != Some("RevalidateCachedQuery") {
            return error.into();
        }
        self.inner.statement_cache.clear();
        Error::Again { code: db.code().code().to_owned(), message: db.message().to_owned() }
    }

    /// Runs a statement and returns its rows as they come, for answers that need not fit into memory.
    pub(crate) async fn stream(&self, query: &Query, params: Params<'_>) -> Result<tokio_postgres::RowStream, Error> {
        Ok(self.inner.query_typed_raw(query.sql, typed(query, params)).await?)
    }

    /// Runs a statement that was composed (`listing.rs`), unprepared.
    pub(crate) async fn composed(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Error> {
        Ok(self.inner.query_typed(sql, params).await?)
    }

    /// The same, row by row.
    pub(crate) async fn composed_stream(
        &self,
        sql: &str,
        params: Vec<(&(dyn ToSql + Sync), Type)>,
    ) -> Result<tokio_postgres::RowStream, Error> {
        Ok(self.inner.query_typed_raw(sql, params).await?)
    }

    /// Runs a statement for what it does; returns how many rows it wrote.
    pub(crate) async fn run(&self, query: &Query, params: Params<'_>) -> Result<u64, Error> {
        if self.prepares {
            let statement = self.inner.prepare_typed_cached(query.sql, query.types).await?;
            self.inner.execute(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            Ok(self.inner.execute_typed(query.sql, &typed(query, params)).await?)
        }
    }

    /// Runs a statement that was put together, and returns its rows. There are few different ones: each is prepared.
    pub(crate) async fn prepared(&self, sql: &str, types: &[Type], params: Params<'_>) -> Result<Vec<Row>, Error> {
        if self.prepares {
            let statement = self.inner.prepare_typed_cached(sql, types).await?;
            self.inner.query(&statement, params).await.map_err(|error| self.of_prepared(error))
        } else {
            let typed: Vec<_> = params.iter().copied().zip(types.iter().cloned()).collect();
            Ok(self.inner.query_typed(sql, &typed).await?)
        }
    }

    /// Runs commands without parameters.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.inner.batch_execute(sql).await?)
    }

    /// Rolls back, and waits until that is done: a transaction that is only dropped ends later, and its locks with it.
    pub(crate) async fn roll_back(self) -> Result<(), Error> {
        Ok(self.inner.rollback().await?)
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }
}

fn typed<'a>(query: &Query, params: Params<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    debug_assert_eq!(query.types.len(), params.len(), "{}", query.sql.lines().next().unwrap_or_default());
    params.iter().copied().zip(query.types.iter().cloned()).collect()
}
