//! Attempts as a table.

use outbox::report::Attempt;

use crate::Table;
use crate::text::{moment, shortened};

/// Attempts as a table; with their remittance where several may stand together.
#[must_use]
pub fn attempts(attempts: &[Attempt], with_remittance: bool) -> Table {
    let mut head =
        vec!["no.", "claimed", "outcome", "code", "units", "shown", "http", "took", "their request id", "receipt"];
    if with_remittance {
        head.splice(0..0, ["remittance", "destination"]);
    }
    let mut table = Table::new(&head, if with_remittance { &[0, 2, 6, 7, 8, 9] } else { &[0, 4, 5, 6, 7] });
    for attempt in attempts {
        let mut cells = if with_remittance {
            vec![attempt.delivery_id.to_string(), attempt.destination.clone()]
        } else {
            Vec::new()
        };
        cells.extend([
            attempt.number.to_string(),
            moment(attempt.claimed_at),
            outcome(attempt),
            attempt.code.as_deref().map(|code| shortened(code, 40)).unwrap_or_default(),
            attempt.quantity.clone().unwrap_or_default(),
            attempt.shown_quantity.clone().unwrap_or_default(),
            attempt.http_status.map(|status| status.to_string()).unwrap_or_default(),
            attempt.duration_ms.map(|ms| format!("{ms:.0} ms")).unwrap_or_default(),
            attempt.their_request_id.as_deref().map(|id| shortened(id, 40)).unwrap_or_default(),
            attempt.receipt.as_deref().map(|receipt| shortened(receipt, 40)).unwrap_or_default(),
        ]);
        table.row(cells);
    }
    table
}

/// The outcome; marked where the attempt spent none of the remittance's tries.
fn outcome(attempt: &Attempt) -> String {
    let word = attempt.outcome.replace('_', " ");
    if attempt.is_try == Some(false) { format!("{word} (no try)") } else { word }
}
