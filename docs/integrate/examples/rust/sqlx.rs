//! A shop that sells compute hours and records their usage with `postmeter-client` and sqlx, in its own transactions.

use postmeter_client::sqlx::{record_usage, record_usages};
use postmeter_client::uuid::Uuid;
use postmeter_client::{Error, NewUsage, Verdict};
use sqlx::{Connection as _, PgConnection};

/// Our own row and its usage: both are there after the commit, or neither.
pub async fn finish_job(db: &mut PgConnection, usage: &NewUsage) -> Result<Uuid, Error> {
    let mut tx = db.begin().await?;
    sqlx::query("insert into job (id, org) values ($1, 'acme')").bind(&usage.event_id).execute(&mut *tx).await?;
    let id = record_usage(&mut tx, usage).await?;
    tx.commit().await?;
    Ok(id)
}

/// The same event id with another content is a defect of ours. Keep our row, flag it, go on.
pub async fn record_or_flag(db: &mut PgConnection, job: &str, flawed: &NewUsage) -> Result<Option<Uuid>, Error> {
    let mut tx = db.begin().await?;
    sqlx::query("insert into job (id, org) values ($1, 'acme')").bind(job).execute(&mut *tx).await?;
    let mut savepoint = tx.begin().await?;
    let id = match record_usage(&mut savepoint, flawed).await {
        Ok(id) => {
            savepoint.commit().await?;
            Some(id)
        }
        Err(Error::Refused(refused)) if refused.code == "PM002" => {
            savepoint.rollback().await?;
            let flag = sqlx::query("update job set flaw = $1 where id = $2").bind(refused.message).bind(job);
            flag.execute(&mut *tx).await?;
            None
        }
        Err(other) => return Err(other),
    };
    tx.commit().await?;
    Ok(id)
}

/// Many usages in one round trip. What is refused does not stop the rest: look at the verdicts.
pub async fn record_many(db: &mut PgConnection, usages: &[NewUsage]) -> Result<Vec<Verdict>, Error> {
    let mut tx = db.begin().await?;
    let verdicts = record_usages(&mut tx, usages).await?;
    tx.commit().await?;
    Ok(verdicts)
}
