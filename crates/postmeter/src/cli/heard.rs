//! What people hear of a switch: which calls are on the wire, and which workers have not acknowledged.

use std::process::ExitCode;

use outbox::switches::Heard;

use super::output::NEEDS_A_PERSON;
use super::status::text::count;

/// A worker that may still call by the old rule needs a person.
pub(super) fn code(heard: &Heard) -> ExitCode {
    if heard.by_all() { ExitCode::SUCCESS } else { ExitCode::from(NEEDS_A_PERSON) }
}

/// A line for the calls, and one for each worker that has not acknowledged.
pub(super) fn lines(heard: &Heard) -> Vec<String> {
    let calls = match heard.calls_on_the_wire {
        0 => "no call is on the wire".to_owned(),
        calls => {
            format!("{} on the wire: begun before, within call_timeout over", count(calls, "call"))
        }
    };
    let silent = heard.silent.iter().map(|silent| {
        let (name, id) = (&silent.worker, silent.id);
        if silent.lease_ended {
            format!(
                "worker {name} ({id}) has not acknowledged; its lease has ended, so it begins no call before it has"
            )
        } else {
            format!(
                "worker {name} ({id}) HAS NOT ACKNOWLEDGED within its lease and is alive: it may still call by the old \
                 rule; stop it, or look into its log"
            )
        }
    });
    std::iter::once(calls).chain(silent).collect()
}

#[cfg(test)]
mod tests {
    use outbox::switches::Silent;

    use super::*;

    #[test]
    fn j10_who_has_not_acknowledged_is_named_with_what_it_may_do() {
        let silent = |lease_ended| Silent { id: uuid::Uuid::nil(), worker: "host-1".to_owned(), lease_ended };
        let heard = Heard { calls_on_the_wire: 2, silent: vec![silent(true), silent(false)] };
        let lines = lines(&heard);
        assert_eq!(lines[0], "2 calls on the wire: begun before, within call_timeout over");
        assert!(lines[1].contains("host-1") && lines[1].contains("begins no call"), "{}", lines[1]);
        assert!(lines[2].contains("host-1") && lines[2].contains("may still call"), "{}", lines[2]);
        assert!(!heard.by_all());
    }
}
