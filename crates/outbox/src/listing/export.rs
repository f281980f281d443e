//! A whole list, row by row as Postgres sends it: memory does not grow with it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::{Ask, compose};
use crate::query::Tx;
use crate::{Database, Error};

/// Bytes that are handed on at once.
const CHUNK: usize = 64 << 10;
/// A reader that takes nothing for so long is left: an export holds a snapshot, and that keeps vacuum waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of an export. What ends without [`Piece::End`] was cut off.
#[derive(Debug)]
pub enum Piece {
    /// So many bytes more.
    Bytes(Bytes),
    /// That was all.
    End,
}

/// Writes every row that is asked for with `write` into a buffer that begins with `head`, and sends it piece by piece.
///
/// # Errors
/// As Postgres says. When the reader is gone, the query is cancelled and this ends without an error.
pub async fn export(
    database: &Database,
    ask: &Ask,
    head: Vec<u8>,
    write: impl Fn(&mut Vec<u8>, &[Option<&str>]) + Send,
    to: &Sender<Result<Piece, Error>>,
) -> Result<(), Error> {
    let mut session = database.session().await?;
    let cancel = session.cancel();
    let tx = Tx::begin(&mut session, "").await?;
    let statement = compose::rows(ask, None);
    let rows = tx.composed_stream(&statement.sql, statement.params()).await?;
    let mut rows = std::pin::pin!(rows);
    let mut buffer = head;
    loop {
        let row = tokio::select! {
            row = rows.try_next() => row?,
            () = to.closed() => {
                cancel.cancel().await;
                return Ok(());
            }
        };
        let Some(row) = row else { break };
        let values: Vec<Option<&str>> = (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?;
        write(&mut buffer, &values);
        if buffer.len() >= CHUNK {
            let full = std::mem::replace(&mut buffer, Vec::with_capacity(CHUNK + CHUNK / 8));
            if !matches!(timeout(PATIENCE, to.send(Ok(Piece::Bytes(full.into())))).await, Ok(Ok(()))) {
                cancel.cancel().await;
                return Ok(());
            }
        }
    }
    // a reader that is gone needs no end
    if !buffer.is_empty() {
        let _ = timeout(PATIENCE, to.send(Ok(Piece::Bytes(buffer.into())))).await;
    }
    let _ = timeout(PATIENCE, to.send(Ok(Piece::End))).await;
    Ok(())
}
