//! What the last loss of commits leaves to people, in numbers: said when a database is declared the original, when a
//! destination is resumed, and by status and doctor.

use std::time::Duration;

use outbox::Database;
use outbox::health::{self, Limits, LostTime, Told};

use super::status::text::count;

/// How long the question may take.
const WITHIN: Duration = Duration::from_secs(30);

/// Reads what is left, per destination. Nothing where it cannot be read now: whoever asks has done something else already.
///
/// # Errors
/// As Postgres says.
pub(super) async fn read(database: &Database) -> Result<Vec<LostTime>, outbox::Error> {
    Ok(match health::ask(database, Limits::within(WITHIN)).await? {
        Told::Answer(left) => left,
        _ => Vec::new(),
    })
}

/// What is left of one destination, a line each.
pub(super) fn lines(left: &LostTime) -> Vec<String> {
    let name = &left.destination;
    let mut lines = Vec::new();
    if left.paused {
        let changed = left.catalogue_changed_at.as_deref().unwrap_or("before all that is there");
        lines.push(format!(
            "{name}: commits were lost until {}; the last change of the catalogue that survived is of {changed}: enter again \
             what was changed after it. Once {name} is resumed, {} cut by the catalogue, and {}",
            left.lost_at,
            are(left.hours_waiting, "hour"),
            again(left)
        ));
    }
    let asked: Vec<String> = [
        (left.maybe_billed, "remittance", "may have been billed: postmeter resolve"),
        (left.doubts, "settled remittance", "may have been reopened: postmeter resolve"),
        (left.withheld, "quantity", "may have been billed with another hour: postmeter resolve"),
        (
            left.usage_held,
            "late usage",
            "may have been billed with another hour: retry or write-off --held-usage --reason lost_time",
        ),
        (left.unconfirmed, "duplicate", "may be of another quantity: postmeter resolve --file"),
    ]
    .iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, why)| format!("{} {why}", count(*number, what)))
    .collect();
    if !asked.is_empty() {
        lines.push(format!("{name}: to be looked up at the marketplace since {}: {}", left.lost_at, asked.join("; ")));
    }
    lines
}

fn again(left: &LostTime) -> String {
    if left.is_forgetful {
        return format!(
            "{} due and left to you as unknown: they cannot be asked what they hold",
            are(left.sent_again, "remittance")
        );
    }
    format!("{} sent again with the same keys", are(left.sent_again, "remittance"))
}

fn are(number: i64, what: &str) -> String {
    format!("{} {}", count(number, what), if number == 1 { "is" } else { "are" })
}
