//! Recording in batches, each in a transaction of its own.

use std::time::Duration;

use outbox::{Database, NewUsage, Verdict};

/// Usages of one transaction.
pub(super) const BATCH: usize = 500;

/// How often a batch is tried when it meets another transaction or the database goes away.
pub(super) const TRIES: u32 = 5;

/// How long each time the database is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Records a batch; where the transaction met another one or the database went away, it waits and does the same again,
/// which records nothing twice. Without `keep` it tells the verdicts and leaves nothing behind.
pub(super) async fn record_patiently(
    database: &Database,
    usages: &[NewUsage],
    keep: bool,
) -> anyhow::Result<Vec<Verdict>> {
    let mut tries = 1;
    loop {
        match record_once(database, usages, keep).await {
            Err(error) if error.is_transient() && tries < TRIES => {
                tracing::warn!(%error, tries, "a batch is recorded again");
                database.wait(PATIENCE).await?;
                tries += 1;
            }
            result => return Ok(result?),
        }
    }
}

async fn record_once(database: &Database, usages: &[NewUsage], keep: bool) -> Result<Vec<Verdict>, outbox::Error> {
    let mut client = database.client().await?;
    let transaction = outbox::begin(&mut client).await?;
    let verdicts = outbox::record_usages(&transaction, usages).await?;
    if keep {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(verdicts)
}
