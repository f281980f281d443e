//! What the last loss of commits leaves to people, in numbers: said when a database is declared the original, when a
//! destination is resumed, and by status and doctor.

use std::time::Duration;

use outbox::Database;
use outbox::health::{self, Limits, LostTime, Told};

use super::status::text::count;

/// How long the question may take.
const WITHIN: Duration = Duration::from_secs(30);

const RESOLVE: &str = "postmeter resolve N --not-billed (or --billed) --why ...";
const HELD: &str = "postmeter retry (or write-off) --held-usage --reason lost_time --why ... --apply";
const REPORT: &str = "postmeter resolve --file REPORT --why ... --apply";

/// Reads what is left, per destination; empty where it cannot be read now, because the caller's own work is done.
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
        (left.maybe_billed, "remittance", format!("may have been billed: {RESOLVE}")),
        (left.doubts, "settled remittance", format!("may have been reopened: {RESOLVE}")),
        (left.withheld, "quantity", format!("may have been billed with another hour: {RESOLVE}")),
        (left.usage_held, "late usage", format!("may have been billed with another hour: {HELD}")),
        (left.unconfirmed, "duplicate", format!("may be of another quantity: {REPORT}")),
    ]
    .iter()
    .filter(|(number, ..)| *number > 0)
    .map(|(number, what, why)| format!("{} {why}", count(*number, what)))
    .collect();
    if !asked.is_empty() {
        let how = "docs/operate/failover.md says how each is found";
        let asked = asked.join("; ");
        lines.push(format!("{name}: to be looked up at the marketplace since {}: {asked}; {how}", left.lost_at));
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
