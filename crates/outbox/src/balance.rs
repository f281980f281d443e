//! The proof of the balance: every meter closes. One meter that cannot be proven is named; the rest is proven.

use std::time::{Duration, Instant};

use crate::error::Blame;
use crate::health::{Limits, Unbalanced, ask};
use crate::query::{Query, Tx, query};
use crate::rounds::{Round, Share, Trying};
use crate::{Database, Error};

const METERS: Query = query!("balance_meters", [INT8, INT8]);
const PROVE: Query = query!("balance_prove", [INT8_ARRAY]);

/// Meters of one transaction, where all in one cannot be proven.
const PAGE: i64 = 1000;

/// Proves the balance of every meter, giving up after `within`. `None`: it took longer. A meter that cannot be proven
/// counts as open, and is the example.
///
/// # Errors
/// What every meter would have met.
pub async fn prove(database: &Database, within: Duration) -> Result<Option<Unbalanced>, Error> {
    let began = Instant::now();
    match ask::<Unbalanced>(database, Limits::within(within)).await {
        Ok(told) => Ok(told.answer().and_then(|mut rows| rows.pop())),
        Err(error) if error.blame() == Blame::Member => {
            one_by_one(database, within.saturating_sub(began.elapsed())).await
        }
        Err(error) => Err(error),
    }
}

async fn one_by_one(database: &Database, within: Duration) -> Result<Option<Unbalanced>, Error> {
    let began = Instant::now();
    let mut proof = Unbalanced { checked: 0, open: 0, example: None };
    let (mut share, mut after) = (Share::of(1000), 0_i64);
    loop {
        let rows = database.one(&METERS, &[&PAGE, &after]).await?;
        let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        let Some(&last) = ids.last() else { return Ok(Some(proof)) };
        after = last;
        let mut trying = Trying::of(ids);
        while let Some(part) = trying.next(&share) {
            if began.elapsed() > within {
                return Ok(None);
            }
            let since = Instant::now();
            let result = prove_these(database, &part, &mut proof).await;
            trying.tried(part, result, since.elapsed(), &mut share);
        }
        let Round { skipped, failed, broken, .. } = trying.end();
        if let Some(error) = broken {
            return Err(error);
        }
        let unproven = skipped.into_iter().map(|meter| (meter, "another session locks what it needs".to_owned()));
        for (meter, why) in unproven.chain(failed.into_iter().map(|(meter, error)| (meter, error.to_string()))) {
            proof.checked += 1;
            proof.open += 1;
            proof.example.get_or_insert(format!("meter {meter} cannot be proven: {why}"));
        }
    }
}

async fn prove_these(database: &Database, meters: &[i64], proof: &mut Unbalanced) -> Result<Vec<i64>, Error> {
    let mut session = database.session().await?;
    let tx = Tx::begin(&mut session, "set local statement_timeout = '20s'").await?;
    let rows = tx.rows(&PROVE, &[&meters]).await?;
    let row = rows.first().expect("one row");
    proof.checked += row.try_get::<_, i64>("checked")?;
    proof.open += row.try_get::<_, i64>("open")?;
    if proof.example.is_none() {
        proof.example = row.try_get("example")?;
    }
    Ok(Vec::new())
}
