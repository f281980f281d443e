//! The body of a request that records usage: in which format it is, and its rows.

use http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::row::{self, Fault, Row};
use super::{cloud_event, shape::Item};
use crate::problem::Problem;

/// How the body is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON: one usage, or an array.
    Plain,
    /// NDJSON: one usage a line.
    Lines,
    /// One CloudEvent.
    Event,
    /// An array of CloudEvents.
    Events,
    /// The data of one CloudEvent, whose attributes are in the headers.
    BinaryEvent(cloud_event::Attributes),
}

impl Format {
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(cloud_event::Attributes::read(headers)?.map_or(Self::Plain, Self::BinaryEvent)),
            "application/x-ndjson" => Ok(Self::Lines),
            "application/cloudevents+json" => Ok(Self::Event),
            "application/cloudevents-batch+json" => Ok(Self::Events),
            _ => Err(Problem::plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-type",
                "send application/json, application/x-ndjson, application/cloudevents+json or \
                 application/cloudevents-batch+json, and say so in the header Content-Type",
            )),
        }
    }

    /// SHA-256 of what was asked, for the idempotency key. The same usage in another format is another request.
    pub fn fingerprint(&self, body: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        match self {
            Self::Plain => hasher.update("POST /v1/usage plain\n"),
            Self::Lines => hasher.update("POST /v1/usage lines\n"),
            Self::Event | Self::Events => hasher.update("POST /v1/usage cloudevents\n"),
            Self::BinaryEvent(attributes) => {
                hasher.update("POST /v1/usage cloudevent\n");
                hasher.update(attributes.text());
            }
        }
        hasher.update(body);
        hasher.finalize().into()
    }

    fn read(&self, element: &RawValue) -> Result<Row, Fault> {
        match self {
            Self::Plain | Self::Lines => row::plain(element),
            Self::Event | Self::Events => cloud_event::read(element),
            Self::BinaryEvent(attributes) => attributes.with(element),
        }
    }
}

/// What was asked, read.
pub(super) struct Asked {
    rows: Vec<Result<Row, Fault>>,
    /// One usage, which is answered by itself.
    pub is_one: bool,
}

impl Asked {
    /// `is_batch`: the operation takes many, so that one alone is a batch, too.
    pub fn read(
        text: &str,
        format: &Format,
        is_batch: bool,
        rows_max: usize,
        org: Option<&str>,
    ) -> Result<Self, Problem> {
        let is_many = match format {
            Format::Plain => text.trim_start().starts_with('['),
            Format::Event | Format::BinaryEvent(_) => false,
            Format::Lines | Format::Events => true,
        };
        if is_batch && !is_many {
            let detail =
                "a batch is a JSON array, NDJSON or application/cloudevents-batch+json; POST /v1/usage takes one";
            return Err(Problem::malformed(detail));
        }
        let text = text.trim_start_matches('\u{feff}');
        let elements = match format {
            Format::Lines => lines(text, rows_max)?,
            _ => elements(text, is_many)?.into_iter().map(Ok).collect(),
        };
        check_count(elements.len(), rows_max)?;
        let rows = elements.into_iter().map(|element| row::for_org(format.read(element?)?, org)).collect();
        Ok(Self { rows, is_one: !is_many })
    }

    /// How many rows could not be read: the database never hears of them.
    pub fn unreadable(&self) -> u64 {
        self.rows.iter().filter(|row| row.is_err()).count() as u64
    }

    /// The rows that can be recorded, as the database takes them.
    pub fn usages(&self) -> Box<RawValue> {
        let rows: Vec<&Row> = self.rows.iter().flatten().collect();
        serde_json::value::to_raw_value(&rows).expect("plain data")
    }

    /// An item for each row: what could not be read is refused, and the rest is as `told` says of it, in order.
    pub fn items<T>(&self, told: Vec<T>, item: impl Fn(&Row, T) -> Item) -> Vec<Item> {
        let mut told = told.into_iter();
        self.rows
            .iter()
            .map(|row| match row {
                Err(fault) => Item::refused(fault.clone()),
                Ok(row) => item(row, told.next().expect("an answer for each row")),
            })
            .collect()
    }
}

fn elements(text: &str, is_many: bool) -> Result<Vec<&RawValue>, Problem> {
    let unreadable = |error: serde_json::Error| Problem::malformed(format!("the body is no JSON: {error}"));
    if is_many {
        return serde_json::from_str(text).map_err(unreadable);
    }
    Ok(vec![serde_json::from_str(text).map_err(unreadable)?])
}

fn check_count(rows: usize, rows_max: usize) -> Result<(), Problem> {
    if rows <= rows_max {
        return Ok(());
    }
    let detail = format!("{rows} usages in one request; at most {rows_max}");
    Err(Problem::plain(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail))
}

/// A line that is no JSON is refused alone.
fn lines(text: &str, rows_max: usize) -> Result<Vec<Result<&RawValue, Fault>>, Problem> {
    check_count(text.lines().filter(|line| !line.trim().is_empty()).count(), rows_max)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| Fault {
                code: "22P02".to_owned(),
                field: None,
                message: format!("line {} is no JSON: {error}", at + 1),
            })
        })
        .collect();
    Ok(lines)
}
