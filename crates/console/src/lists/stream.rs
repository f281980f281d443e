//! Everything that matches, as it comes from the database: memory does not grow with it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header;
use outbox::Error;
use outbox::listing::{Ask, Piece, export};
use tokio::sync::mpsc::{Receiver, channel};

use super::write::Format;
use crate::app::App;
use crate::problem::Problem;

/// Pieces that wait for a slow reader.
const PIECES: usize = 2;

pub(super) async fn answer(app: &App, ask: Ask, format: Format) -> Result<Response, Problem> {
    let place = app.limits.stream()?;
    let (to, mut from) = channel(PIECES);
    let database = app.database.clone();
    tokio::spawn(async move {
        let _place = place;
        let columns = ask.list.columns;
        let write = |out: &mut Vec<u8>, values: &[Option<&str>]| format.row(out, columns, values);
        if let Err(error) = export(&database, &ask, format.head(ask.list), write, &to).await {
            tracing::warn!(%error, list = ask.list.name, "an export was cut off");
            let _ = to.send(Err(error)).await;
        }
    });
    // a failure before the first piece is an answer of its own (H4)
    let first = from.recv().await.ok_or_else(|| Problem::defect("an export ended without a word"))??;
    Ok(([(header::CONTENT_TYPE, format.content_type())], body(first, from)).into_response())
}

/// The pieces as a body. One that does not come to its end breaks the connection: a reader sees that something is missing.
fn body(first: Piece, from: Receiver<Result<Piece, Error>>) -> Body {
    Body::from_stream(stream::try_unfold((Some(first), from), |(first, mut from)| async move {
        let piece = match first {
            Some(piece) => piece,
            None => from.recv().await.ok_or(Cut)?.map_err(|_| Cut)?,
        };
        Ok::<_, Cut>(match piece {
            Piece::Bytes(bytes) => Some((bytes, (None, from))),
            Piece::End => None,
        })
    }))
}

/// An export did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the export was cut off")]
struct Cut;
