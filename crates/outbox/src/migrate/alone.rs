//! One runner of migrations at a time.

use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::Error;

/// The runner's advisory lock: that of its session, because some migrations are no transaction.
const LOCK: i64 = 0x706f_7374_6d65_7465;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// After so long, and then so often, it says who is in the way.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until nobody else applies migrations. Polled from here: a session that waits inside the server would block
/// CREATE INDEX CONCURRENTLY of later migrations. Any login can take an advisory lock, so who holds it is told.
pub(super) async fn begin(client: &Client) -> Result<(), Error> {
    let mut told_at = Instant::now();
    while !taken(client).await? {
        if told_at.elapsed() >= PATIENCE {
            told_at = Instant::now();
            if let Some(who) = holder(client).await? {
                tracing::warn!("waits for the lock of migrations, which {who} holds");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Lets the next one begin: it need not wait until the server has seen that this session is gone.
pub(super) async fn end(client: &Client) -> Result<(), Error> {
    client.query_typed("select pg_advisory_unlock($1)", &[(&LOCK, Type::INT8)]).await?;
    Ok(())
}

async fn taken(client: &Client) -> Result<bool, Error> {
    let rows = client.query_typed("select pg_try_advisory_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

async fn holder(client: &Client) -> Result<Option<String>, Error> {
    let rows = client
        .query_typed(
            "select format('session %s of %s (%s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), '?'))
             from pg_locks l join pg_stat_activity a on a.pid = l.pid
             where l.locktype = 'advisory' and l.granted and l.objsubid = 1
               and l.database = (select d.oid from pg_database d where d.datname = current_database())
               and ((l.classid::bigint << 32) | l.objid::bigint) = $1",
            &[(&LOCK, Type::INT8)],
        )
        .await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
