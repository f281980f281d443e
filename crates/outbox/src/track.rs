//! Recording what a service says about a request, in the caller's own transaction.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use crate::json::{Flaw, Members};
use crate::query::{Query, Tx, query};
use crate::{Database, Error, Refused};

const BATCH: Query = query!("track_batch", [JSONB]);
const OTHERS: Query = query!("request_others", [TEXT_ARRAY, TEXT]);

/// A request status to record. The fields are those of `postmeter.track`; `docs/integrate.md` explains them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewStatus {
    /// Who says it.
    pub service: String,
    /// About which request: any text; a UUID in any form is the same request.
    pub request_id: String,
    /// What is said.
    pub status: String,
    /// When it happened; `None`: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Timestamp>,
    /// Which part of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// In more words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
    /// The request's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The request's org.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The request's inventory id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory_id: Option<String>,
    /// The request's system id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
}

impl NewStatus {
    /// A status with the required fields; the rest can be set on it.
    #[must_use]
    pub fn new(service: &str, request_id: &str, status: &str) -> Self {
        Self {
            service: service.to_owned(),
            request_id: request_id.to_owned(),
            status: status.to_owned(),
            ..Self::default()
        }
    }
}

/// Why a message is no request status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The field that is wrong; `None`: the whole.
    pub field: Option<&'static str>,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.field.unwrap_or("the message"), self.reason)
    }
}

impl NewStatus {
    /// Reads a message's text as [`Self::from_message`] its value. A key that stands twice is refused: which of the two
    /// was meant, nobody can tell.
    ///
    /// # Errors
    /// It is no JSON, has a key twice, or is no message.
    pub fn from_json(text: &str) -> Result<Self, Malformed> {
        let whole = |reason: String| Malformed { field: None, reason };
        let message: Value = serde_json::from_str(text).map_err(|error| whole(format!("is no JSON: {error}")))?;
        match serde_json::from_str::<Members<'_>>(text) {
            Ok(members) if members.twice().is_some() => {
                Err(whole(members.twice().map(Flaw::twice).expect("a key").reason))
            }
            _ => Self::from_message(&message),
        }
    }

    /// Reads a message as services send it: fields nobody knows are ignored, numbers count as text, `org_id` is `org`,
    /// and the date may lack its `T` and its zone.
    ///
    /// # Errors
    /// It is no object, lacks a required field, or has one that cannot be read.
    pub fn from_message(message: &Value) -> Result<Self, Malformed> {
        let Value::Object(fields) = message else {
            return Err(Malformed { field: None, reason: "must be a JSON object".to_owned() });
        };
        let text = |field: &'static str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Malformed { field: Some(field), reason: "must not contain the character U+0000".to_owned() })
            }
            Some(Value::String(text)) => Ok((!text.is_empty()).then(|| text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Malformed { field: Some(field), reason: "must be text".to_owned() }),
        };
        let required = |field: &'static str| {
            text(field)?.ok_or_else(|| Malformed { field: Some(field), reason: "is missing".to_owned() })
        };
        let date = text("date")?.map(|text| {
            remittance::request::date(&text).ok_or_else(|| Malformed {
                field: Some("date"),
                reason: format!("{text:?} is no time such as 2026-03-10T09:00:00Z"),
            })
        });
        let date = date.transpose()?;
        Ok(Self {
            service: required("service")?,
            request_id: required("request_id")?,
            status: required("status")?,
            date,
            source: text("source")?,
            status_msg: text("status_msg")?,
            account: text("account")?,
            org: text("org")?.map_or_else(|| text("org_id"), |org| Ok(Some(org)))?,
            inventory_id: text("inventory_id")?,
            system_id: text("system_id")?,
        })
    }
}

/// What became of one status of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// Recorded.
    Recorded,
    /// This very message had been recorded.
    Repeated,
    /// Refused; the others of the batch are not touched by it.
    Refused(Refused),
}

/// Records one status in the caller's transaction; `false`: this very message had been recorded.
///
/// A refusal aborts the transaction like any error of Postgres; use a savepoint to go on after it.
///
/// # Errors
/// [`Error::Refused`] names field and rule; [`Error::Away`] and [`Error::Again`] as for any statement.
pub async fn track(transaction: &Transaction<'_>, status: &NewStatus) -> Result<bool, Error> {
    let rows = transaction
        .query_typed(
            "select postmeter.track($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                (&status.service, Type::TEXT),
                (&status.request_id, Type::TEXT),
                (&status.status, Type::TEXT),
                (&status.date, Type::TIMESTAMPTZ),
                (&status.source, Type::TEXT),
                (&status.status_msg, Type::TEXT),
                (&status.account, Type::TEXT),
                (&status.org, Type::TEXT),
                (&status.inventory_id, Type::TEXT),
                (&status.system_id, Type::TEXT),
            ],
        )
        .await?;
    Ok(rows.first().expect("a function returns one row").try_get(0)?)
}

/// Records many statuses in one round trip; one verdict each, in order. What is refused does not stop the rest.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`] as for any statement; refusals are verdicts.
pub async fn track_batch(transaction: &Transaction<'_>, statuses: &[NewStatus]) -> Result<Vec<Tracked>, Error> {
    let body = serde_json::to_value(statuses).expect("statuses are plain data");
    let rows = transaction
        .query_typed(
            "select verdict, error_code, field, message from postmeter.track_batch($1)",
            &[(&body, Type::JSONB)],
        )
        .await?;
    rows.iter().map(verdict).collect()
}

fn verdict(row: &Row) -> Result<Tracked, Error> {
    Ok(match row.try_get::<_, &str>("verdict")? {
        "recorded" => Tracked::Recorded,
        "repeated" => Tracked::Repeated,
        _ => Tracked::Refused(Refused {
            code: row.try_get("error_code")?,
            field: row.try_get("field")?,
            constraint: None,
            message: row.try_get("message")?,
            hint: None,
        }),
    })
}

/// Records many statuses in a transaction of their own, for a door of ours. With `org`, a request that another org was
/// named for is refused: whoever speaks for one org cannot make another's request its own.
///
/// # Errors
/// [`Error::Away`] and [`Error::Again`]: nothing was acknowledged; the same again leaves one row a message.
pub async fn record(database: &Database, statuses: &[NewStatus], org: Option<&str>) -> Result<Vec<Tracked>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "").await?;
    let others = match org {
        Some(org) => others(&tx, statuses, org).await?,
        None => HashSet::new(),
    };
    let ours: Vec<&NewStatus> = statuses.iter().filter(|status| !others.contains(&status.request_id)).collect();
    let body = serde_json::to_value(&ours).expect("statuses are plain data");
    let rows = tx.rows(&BATCH, &[&body]).await?;
    let mut verdicts = rows.iter().map(verdict).collect::<Result<Vec<_>, _>>()?.into_iter();
    tx.commit().await?;
    Ok(statuses
        .iter()
        .map(|status| {
            if others.contains(&status.request_id) {
                return Tracked::Refused(Refused {
                    code: "other_org".to_owned(),
                    field: Some("request_id".to_owned()),
                    constraint: None,
                    message: "this request is another org's".to_owned(),
                    hint: None,
                });
            }
            verdicts.next().expect("a verdict per status")
        })
        .collect())
}

/// Ids of requests that another org was named for.
async fn others(tx: &Tx<'_>, statuses: &[NewStatus], org: &str) -> Result<HashSet<String>, Error> {
    let ids: HashSet<&str> = statuses.iter().map(|status| status.request_id.as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let rows = tx.rows(&OTHERS, &[&ids, &org]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn h2_a_message_lacks_a_field_by_name() {
        let whole = json!({"service": "a", "request_id": 7, "status": "s", "date": "2026-03-10 09:00:00",
            "org_id": "acme",
            "source": "", "status_msg": null, "unknown": []});
        let status = NewStatus::from_message(&whole).unwrap();
        assert_eq!((status.request_id.as_str(), status.org.as_deref()), ("7", Some("acme")));
        assert_eq!((status.source, status.status_msg), (None, None));
        assert_eq!(status.date, "2026-03-10T09:00:00Z".parse().ok());
        for (field, value, sentence) in [
            ("service", Value::Null, "service is missing"),
            ("request_id", json!(""), "request_id is missing"),
            ("status", json!({}), "status must be text"),
            ("date", json!("soon"), "date \"soon\" is no time such as 2026-03-10T09:00:00Z"),
        ] {
            let mut message = whole.clone();
            message[field] = value;
            assert_eq!(NewStatus::from_message(&message).unwrap_err().to_string(), sentence);
        }
        assert_eq!(NewStatus::from_message(&json!([])).unwrap_err().to_string(), "the message must be a JSON object");
        let twice = r#"{"service": "a", "request_id": "r", "status": "s", "status": "t"}"#;
        let refused = NewStatus::from_json(twice).unwrap_err().to_string();
        assert_eq!(refused, "the message has the key \"status\" twice");
        assert_eq!(NewStatus::from_json(&twice.replace("\"t\"", "\"s\"")).unwrap_err().to_string(), refused);
        assert_eq!(NewStatus::from_json(&twice.replace("status\": \"t", "x\": \"t")).unwrap().status, "s");
    }
}
