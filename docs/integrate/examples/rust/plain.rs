//! A shop that sells compute hours and records their usage with tokio-postgres alone, in its own transactions.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

/// A quantity is text: this driver has no decimal type, and a binary float would bring digits that nobody used.
#[derive(Clone, Copy)]
pub struct Usage<'a> {
    pub event_id: &'a str,
    pub quantity: &'a str,
    pub used_at: SystemTime,
    pub corrects: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub traceparent: Option<&'a str>,
}

/// It wants a transaction, so that usage cannot be recorded beside it by mistake.
pub async fn record(tx: &Transaction<'_>, usage: &Usage<'_>) -> Result<Uuid, Error> {
    let call = "select postmeter.record_usage(
                    source => 'shop', event_id => $1, org => 'acme', product => 'compute', metric => 'hours',
                    quantity => $2::text::numeric, used_at => $3, corrects => $4, request_id => $5,
                    traceparent => $6)";
    let Usage { event_id, quantity, used_at, corrects, request_id, traceparent } = usage;
    Ok(tx.query_one(call, &[event_id, quantity, used_at, corrects, request_id, traceparent]).await?.get(0))
}

/// Our own row and its usage: both are there after the commit, or neither.
pub async fn finish_job(db: &mut Client, usage: &Usage<'_>) -> Result<Uuid, Error> {
    let tx = db.transaction().await?;
    tx.execute("insert into job (id, org) values ($1, 'acme')", &[&usage.event_id]).await?;
    let id = record(&tx, usage).await?;
    tx.commit().await?;
    Ok(id)
}

/// After a lost answer: the same usage again has the first id, and nothing changes.
pub async fn record_again(db: &mut Client, usage: &Usage<'_>) -> Result<Uuid, Error> {
    let tx = db.transaction().await?;
    let id = record(&tx, usage).await?;
    tx.commit().await?;
    Ok(id)
}

/// The same event id with another content is a defect of ours. Keep our row, flag it, go on.
pub async fn record_or_flag(db: &mut Client, job: &str, flawed: &Usage<'_>) -> Result<Option<Uuid>, Error> {
    let mut tx = db.transaction().await?;
    tx.execute("insert into job (id, org) values ($1, 'acme')", &[&job]).await?;
    let savepoint = tx.savepoint("usage").await?;
    let id = match record(&savepoint, flawed).await {
        Ok(id) => {
            savepoint.commit().await?;
            Some(id)
        }
        Err(error) => {
            let Some(refused) = error.as_db_error().filter(|refused| refused.code().code() == "PM002") else {
                return Err(error);
            };
            savepoint.rollback().await?;
            tx.execute("update job set flaw = $1 where id = $2", &[&refused.message(), &job]).await?;
            None
        }
    };
    tx.commit().await?;
    Ok(id)
}

/// Many usages in one round trip, as a JSON array. What is refused does not stop the rest: look at the verdicts.
pub async fn record_many(db: &mut Client, usages: &str) -> Result<Vec<String>, Error> {
    let call = "select concat_ws(' ', item, verdict, error_code, field)
                from postmeter.record_usage_batch($1::text::jsonb) order by item";
    let tx = db.transaction().await?;
    let verdicts = tx.query(call, &[&usages]).await?.iter().map(|row| row.get(0)).collect();
    tx.commit().await?;
    Ok(verdicts)
}

/// Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects.
pub async fn refund(db: &mut Client, corrected: &Usage<'_>, quantity: &str) -> Result<Uuid, Error> {
    let event_id = format!("{}-refund", corrected.event_id);
    let quantity = format!("-{quantity}");
    let tx = db.transaction().await?;
    let refund = Usage {
        event_id: &event_id,
        quantity: &quantity,
        used_at: corrected.used_at,
        corrects: Some(corrected.event_id),
        request_id: None,
        traceparent: None,
    };
    let id = record(&tx, &refund).await?;
    tx.commit().await?;
    Ok(id)
}

/// The fastest way in, for back-filling. One refused row refuses all; run again, it changes nothing.
pub async fn copy(db: &mut Client, csv: String) -> Result<u64, Error> {
    let copy = "copy postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
                from stdin (format csv)";
    let tx = db.transaction().await?;
    let mut rows = Box::pin(tx.copy_in::<_, Bytes>(copy).await?);
    rows.send(Bytes::from(csv)).await?;
    let count = rows.as_mut().finish().await?;
    tx.commit().await?;
    Ok(count)
}
