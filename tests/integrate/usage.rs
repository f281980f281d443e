//! A shop that sells compute hours and records their usage with the `outbox` crate, in its own transactions.

use jiff::Timestamp;
use outbox::{Error, NewUsage, Verdict, record_usage, record_usages};
use remittance::Quantity;
use tokio_postgres::Client;
use uuid::Uuid;

fn usage(event_id: &str, quantity: Quantity, used_at: Timestamp) -> NewUsage {
    NewUsage::new("shop", event_id, "acme", "compute", "hours", quantity, used_at)
}

/// Our own row and its usage: both are there after the commit, or neither.
pub async fn finish_job(db: &mut Client, job: &str, hours: Quantity, used_at: Timestamp) -> Result<Uuid, Error> {
    let tx = db.transaction().await?;
    tx.execute("insert into job (id, org) values ($1, 'acme')", &[&job]).await?;
    let id = record_usage(&tx, &usage(job, hours, used_at)).await?;
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
