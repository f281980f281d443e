//! Refusals that may be about one buyer or about the credential: evidence decides, of the whole fleet and kept in the
//! database, not the words of the refusal.
//!
//! A buyer is to blame if it is refused alone and others were accepted by calls that began after an earlier refusal of it.
//! The credential is to blame if that many buyers were refused alone and nobody has passed since. Until then nobody is.

use std::borrow::Cow;
use std::collections::HashMap;

use remittance::{Answer, Outcome};

use crate::Error;
use crate::query::{Query, Tx, query};
use crate::settle::Settlement;

const PASSED: Query = query!("settle_passed", [INT8_ARRAY, UUID_ARRAY]);
const REFUSED: Query = query!("settle_refused", [INT8_ARRAY, TEXT_ARRAY, INT4_ARRAY, BOOL_ARRAY]);
const WEIGH: Query = query!("settle_weigh", [INT8_ARRAY, INT8]);
const JUDGED: Query = query!("settle_judged", [INT8_ARRAY]);
const BESIDE: Query = query!("settle_beside", [INT8_ARRAY]);

/// So many buyers refused alone, with nobody passing since: it is not them.
pub const BUYERS: i64 = 3;

/// What a settlement has learned of refusals.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    /// By delivery: how often its buyer was refused alone.
    pub refusals: HashMap<i64, u32>,
    /// What proves that a credential is to blame, by destination.
    pub credentials: Vec<(i32, Answer)>,
}

/// Whether a settlement says anything of whose fault a refusal is.
fn is_doubtful(answer: &Settlement) -> bool {
    matches!(answer.answer.outcome, Outcome::Doubtful { .. })
}

/// Notes what these answers say of refusals, and turns each whose fault is known into that: the buyer's, the credential's.
/// `destination` tells that of an answer whose claim is still ours, and whether refusals are known there.
pub(crate) async fn weigh(
    tx: &Tx<'_>,
    answers: &mut [Cow<'_, Settlement>],
    destination: &(dyn Fn(&Settlement) -> Option<(i32, bool)> + Sync),
) -> Result<Weighed, Error> {
    let passed: Vec<&Settlement> = answers
        .iter()
        .map(|answer| &**answer)
        .filter(|answer| answer.answer.outcome.has_passed() && destination(answer).is_some_and(|(_, known)| known))
        .collect();
    if !passed.is_empty() {
        let deliveries: Vec<i64> = passed.iter().map(|answer| answer.delivery).collect();
        let attempts: Vec<_> = passed.iter().map(|answer| answer.attempt).collect();
        tx.run(&PASSED, &[&deliveries, &attempts]).await?;
    }
    let mut weighed = Weighed::default();
    let refused: Vec<usize> =
        (0..answers.len()).filter(|at| is_doubtful(&answers[*at]) && destination(&answers[*at]).is_some()).collect();
    // first those beside whom others passed: they put no credential in doubt, neither now nor for those after them
    let (beside, others): (Vec<_>, Vec<_>) = refused.into_iter().partition(|at| answers[*at].others_passed);
    for refused in [beside, others].iter().filter(|refused| !refused.is_empty()) {
        let known = note(tx, &refused.iter().map(|at| &*answers[*at]).collect::<Vec<_>>()).await?;
        let (mut judged, mut passed) = (Vec::new(), Vec::new());
        for at in refused {
            let settlement = answers[*at].to_mut();
            let Some(known) = known.get(&settlement.delivery) else { continue };
            weighed.refusals.insert(settlement.delivery, known.alone);
            let code = settlement.answer.outcome.code().unwrap_or_default().to_owned();
            if settlement.batch > 1 {
                continue;
            }
            if known.others_passed {
                settlement.answer.outcome = Outcome::NotEntitled { code };
                judged.push(settlement.delivery);
            } else if settlement.others_passed {
                passed.push(settlement.delivery);
            } else if known.is_credential {
                settlement.answer.outcome = Outcome::Unauthorised { code };
                let destination = destination(settlement).map(|(destination, _)| destination);
                weighed.credentials.extend(destination.map(|destination| (destination, settlement.answer.clone())));
            }
        }
        if !judged.is_empty() {
            tx.run(&JUDGED, &[&judged]).await?;
        }
        if !passed.is_empty() {
            tx.run(&BESIDE, &[&passed]).await?;
        }
    }
    Ok(weighed)
}

/// What the fleet knows of a buyer that was refused.
struct Known {
    alone: u32,
    others_passed: bool,
    is_credential: bool,
}

/// Notes refusals and reads what is known with them.
async fn note(tx: &Tx<'_>, refused: &[&Settlement]) -> Result<HashMap<i64, Known>, Error> {
    let deliveries: Vec<i64> = refused.iter().map(|answer| answer.delivery).collect();
    let codes: Vec<_> = refused.iter().map(|answer| answer.answer.outcome.code()).collect();
    let statuses: Vec<_> = refused.iter().map(|answer| answer.answer.http_status.map(i32::from)).collect();
    let alone: Vec<bool> = refused.iter().map(|answer| answer.batch == 1).collect();
    tx.run(&REFUSED, &[&deliveries, &codes, &statuses, &alone]).await?;
    let read = |row: &tokio_postgres::Row| -> Result<(i64, Known), Error> {
        let alone: i32 = row.try_get("alone")?;
        let (others_passed, is_credential) = (row.try_get("others_passed")?, row.try_get("is_credential")?);
        Ok((
            row.try_get("id")?,
            Known { alone: u32::try_from(alone).unwrap_or_default(), others_passed, is_credential },
        ))
    };
    tx.rows(&WEIGH, &[&deliveries, &BUYERS]).await?.iter().map(read).collect()
}
