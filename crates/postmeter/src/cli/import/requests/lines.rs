//! Lines of a file or a pipe, as they come: a pipe may say nothing for hours, and what it said counts at once.

use std::io::{BufRead, BufReader, Read};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::bounded::RECORD_MAX;

/// Lines that are handed on together; they are together at hand.
const CHUNK: usize = 500;
/// How many of these may wait.
const WAITING: usize = 2;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// With its end, if it has one.
    Whole(Vec<u8>),
    /// More than any message has; it is not kept.
    TooLong,
}

/// Reads in a thread of its own, which cannot be woken: it ends at the end of the file, or, once `stop` is cancelled, when
/// it has handed on the lines it had read.
pub(super) fn read(
    file: impl Read + Send + 'static,
    stop: CancellationToken,
) -> mpsc::Receiver<anyhow::Result<Vec<Line>>> {
    let (out, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut chunk = Vec::new();
        while let Some(line) = next(&mut file).context("the file").transpose() {
            let failed = match line {
                Ok(line) => {
                    chunk.push(line);
                    None
                }
                Err(error) => Some(error),
            };
            let is_at_hand = failed.is_none() && file.buffer().contains(&b'\n');
            if is_at_hand && chunk.len() < CHUNK {
                continue;
            }
            // a line that was read counts, also before one that cannot be read
            let is_sent = out.blocking_send(Ok(std::mem::take(&mut chunk))).is_ok();
            if let Some(error) = failed {
                let _ = out.blocking_send(Err(error));
                return;
            }
            if !is_sent || stop.is_cancelled() && !is_at_hand {
                return;
            }
        }
    });
    lines
}

/// The next line; none at the end.
fn next(file: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let most = RECORD_MAX + 1;
    if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if (line.len() as u64) < most || line.ends_with(b"\n") {
        return Ok(Some(Line::Whole(line)));
    }
    while !line.ends_with(b"\n") {
        line.clear();
        if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            break;
        }
    }
    Ok(Some(Line::TooLong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h8_a_line_that_is_too_long_is_one_line_and_the_rest_goes_on() {
        let long = "x".repeat(usize::try_from(RECORD_MAX).unwrap() * 2 + 7);
        let text = format!("a\n{long}\nb\n{long}");
        let mut file = BufReader::new(text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = next(&mut file).unwrap() {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines, [whole("a\n"), Line::TooLong, whole("b\n"), Line::TooLong]);
    }
}
