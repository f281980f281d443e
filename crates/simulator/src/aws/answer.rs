//! What AWS answers: results per record, or one error for the whole call.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use uuid::Uuid;

use super::request::UsageRecord;
use crate::calls::CallRecord;

/// Our word for a record that is handed back in `UnprocessedRecords`.
pub(crate) const UNPROCESSED: &str = "Unprocessed";
pub(crate) const SUCCESS: &str = "Success";
pub(crate) const DUPLICATE: &str = "DuplicateRecord";
pub(crate) const NOT_SUBSCRIBED: &str = "CustomerNotSubscribed";

/// The whole call is refused; nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: Cow<'static, str>,
    pub(crate) message: String,
}

impl Refusal {
    /// AWS answers 400, except to its one modelled fault.
    pub(crate) fn new(error: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
        let error = error.into();
        let status = if error == "InternalServiceErrorException" { 500 } else { 400 };
        Refusal { status, error, message: message.into() }
    }

    pub(crate) fn with_status(self, status: u16) -> Refusal {
        Refusal { status, ..self }
    }

    pub(crate) fn to_json(&self, type_prefix: &str) -> Bytes {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "__type")]
            error: String,
            message: &'a str,
        }
        json(&Body { error: format!("{type_prefix}{}", self.error), message: &self.message })
    }
}

/// The body of a call that was not refused. Records and results stand side by side.
pub(crate) fn results(sent: &[UsageRecord], judged: &[CallRecord]) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        #[serde(serialize_with = "processed")]
        results: Pairs<'a>,
        #[serde(serialize_with = "unprocessed")]
        unprocessed_records: Pairs<'a>,
    }
    let pairs = Pairs { sent, judged };
    json(&Body { results: pairs, unprocessed_records: pairs })
}

#[derive(Clone, Copy)]
struct Pairs<'a> {
    sent: &'a [UsageRecord],
    judged: &'a [CallRecord],
}

impl<'a> Pairs<'a> {
    fn all(&self) -> impl Iterator<Item = (&'a UsageRecord, &'a CallRecord)> {
        self.sent.iter().zip(self.judged)
    }
}

fn processed<S: Serializer>(pairs: &Pairs<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct UsageRecordResult<'a> {
        usage_record: &'a UsageRecord,
        #[serde(skip_serializing_if = "Option::is_none")]
        metering_record_id: Option<Uuid>,
        status: &'static str,
    }
    let mut list = serializer.serialize_seq(None)?;
    for (usage_record, judged) in pairs.all() {
        if let Some(status) = judged.result.filter(|&result| result != UNPROCESSED) {
            list.serialize_element(&UsageRecordResult { usage_record, metering_record_id: judged.receipt, status })?;
        }
    }
    list.end()
}

fn unprocessed<S: Serializer>(pairs: &Pairs<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let handed_back = pairs.all().filter(|(_, judged)| judged.result == Some(UNPROCESSED));
    serializer.collect_seq(handed_back.map(|(sent, _)| sent))
}

fn json<T: Serialize>(body: &T) -> Bytes {
    serde_json::to_vec(body).expect("strings and numbers always have a JSON form").into()
}
