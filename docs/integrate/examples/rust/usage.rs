//! A shop that sells compute hours and records their usage with `postmeter-client` and tokio-postgres, in its
//! own transactions.

use postmeter_client::uuid::Uuid;
use postmeter_client::{Error, NewUsage, Quantity, Verdict, record_usage, record_usages};
use tokio_postgres::Client;

/// Our own row and its usage: both are there after the commit, or neither.
pub async fn finish_job(db: &mut Client, usage: &NewUsage) -> Result<Uuid, Error> {
    let tx = db.transaction().await?;
    tx.execute("insert into job (id, org) values ($1, 'acme')", &[&usage.event_id]).await?;
    let id = record_usage(&tx, usage).await?;
    tx.commit().await?;
    Ok(id)
}

/// The same event id with another content is a defect of ours. Keep our row, flag it, go on.
pub async fn record_or_flag(db: &mut Client, job: &str, flawed: &NewUsage) -> Result<Option<Uuid>, Error> {
    let mut tx = db.transaction().await?;
    tx.execute("insert into job (id, org) values ($1, 'acme')", &[&job]).await?;
    let savepoint = tx.savepoint("usage").await?;
    let id = match record_usage(&savepoint, flawed).await {
        Ok(id) => {
            savepoint.commit().await?;
            Some(id)
        }
        Err(Error::Refused(refused)) if refused.code == "PM002" => {
            savepoint.rollback().await?;
            tx.execute("update job set flaw = $1 where id = $2", &[&refused.message, &job]).await?;
            None
        }
        Err(other) => return Err(other),
    };
    tx.commit().await?;
    Ok(id)
}

/// Many usages in one round trip. What is refused does not stop the rest: look at the verdicts.
pub async fn record_many(db: &mut Client, usages: &[NewUsage]) -> Result<Vec<Verdict>, Error> {
    let tx = db.transaction().await?;
    let verdicts = record_usages(&tx, usages).await?;
    tx.commit().await?;
    Ok(verdicts)
}

/// Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects.
pub async fn refund(db: &mut Client, corrected: &NewUsage, quantity: Quantity) -> Result<Uuid, Error> {
    let refund = NewUsage {
        event_id: format!("{}-refund", corrected.event_id),
        quantity,
        corrects: Some(corrected.event_id.clone()),
        request_id: None,
        traceparent: None,
        ..corrected.clone()
    };
    let tx = db.transaction().await?;
    let id = record_usage(&tx, &refund).await?;
    tx.commit().await?;
    Ok(id)
}
