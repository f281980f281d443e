use remittance::Outcome;

use super::*;

const MAX: usize = 8;

fn answered(breaker: &Arc<Breaker>, outcome: Outcome) {
    let passing = breaker.turn(Instant::now()).expect("no fault").expect("room");
    breaker.heard(&passing, &[Answer::bare(outcome)], MAX);
}

fn down() -> Outcome {
    Outcome::Unavailable { code: "503".to_owned() }
}

fn passage(breaker: &Breaker) -> Passage {
    breaker.passage(Instant::now())
}

/// Everything that was reported, as if the fleet had heard it.
fn reports(breaker: &Breaker) -> Vec<Report> {
    std::iter::from_fn(|| breaker.report().inspect(|_| breaker.reported(Some(Duration::ZERO)))).collect()
}

fn open() -> Arc<Breaker> {
    let breaker = Arc::new(Breaker::default());
    answered(&breaker, Outcome::Unauthorised { code: "expired".to_owned() });
    assert_eq!(reports(&breaker).len(), 1, "credentials are no passing thing");
    breaker.may_probe(Instant::now() + Duration::from_secs(60));
    breaker
}

#[test]
fn d9_it_opens_after_faults_in_a_row() {
    let breaker = Arc::new(Breaker::default());
    for outcome in [down(), down(), Outcome::Accepted, down(), down()] {
        answered(&breaker, outcome);
        assert_eq!((passage(&breaker), breaker.report()), (Passage::Free, None));
    }
    answered(&breaker, Outcome::Unknown { code: "timeout".to_owned() });
    answered(&breaker, Outcome::HandedBack);
    assert_eq!(passage(&breaker), Passage::Free, "these say nothing");
    answered(&breaker, down());
    assert_eq!(passage(&breaker), Passage::Shut);
    assert!(matches!(breaker.report(), Some(Report::Fault(_))));
    assert!(breaker.turn(Instant::now()).is_err(), "what was claimed before is handed back");
}

#[test]
fn a_good_record_beside_bad_ones_is_no_fault_of_the_destination() {
    let breaker = Arc::new(Breaker::default());
    let passing = breaker.turn(Instant::now()).unwrap().unwrap();
    let denied = Answer::bare(Outcome::Unauthorised { code: "denied".to_owned() });
    breaker.heard(&passing, &[denied, Answer::bare(Outcome::Accepted)], MAX);
    assert_eq!(passage(&breaker), Passage::Free);
}

#[test]
fn the_probe_is_one_call_of_whoever_has_the_right() {
    let breaker = open();
    assert_eq!(passage(&breaker), Passage::Probe { is_ours: true });
    assert!(breaker.turn(Instant::now() + Duration::from_secs(61)).is_err(), "it would outlast the right");
    let probe = breaker.turn(Instant::now()).unwrap().unwrap();
    assert!(breaker.turn(Instant::now()).unwrap().is_none(), "one at a time");
    breaker.heard(&probe, &[Answer::bare(Outcome::Unknown { code: "timeout".to_owned() })], MAX);
    assert!(matches!(reports(&breaker)[..], [Report::Fault(_)]), "an unclear probe has failed");
    assert_eq!(passage(&breaker), Passage::Probe { is_ours: false }, "the next probe is anybody's");
}

#[test]
fn a_recovery_doubles_the_calls_in_flight_with_as_many_answers() {
    let breaker = open();
    let mut seen = Vec::new();
    while passage(&breaker) != Passage::Free {
        let mut flying = Vec::new();
        while let Ok(Some(passing)) = breaker.turn(Instant::now()) {
            flying.push(passing);
        }
        seen.push(flying.len());
        for passing in flying {
            breaker.heard(&passing, &[Answer::bare(Outcome::Accepted)], MAX);
        }
    }
    assert_eq!(seen, [1, 1, 2, 4], "the probe, then the ramp, then all eight");
    let ramp = |from, to| Report::Ramp { from, to };
    assert_eq!(reports(&breaker), [ramp(None, 1), ramp(Some(1), 2), ramp(Some(2), 4), Report::Close { from: Some(4) }]);
}

#[test]
fn a_fault_while_it_recovers_opens_it_again_and_stragglers_say_nothing() {
    let breaker = open();
    answered(&breaker, Outcome::Accepted);
    let straggler = breaker.turn(Instant::now()).unwrap().unwrap();
    breaker.heard(&straggler, &[Answer::bare(down())], MAX);
    assert!(!matches!(passage(&breaker), Passage::Ramp(_)));
    breaker.heard(&straggler, &[Answer::bare(Outcome::Accepted)], MAX);
    assert!(!matches!(passage(&breaker), Passage::Ramp(_)), "its call began before it opened again");
}

#[test]
fn what_the_fleet_says_counts_unless_this_worker_knows_better() {
    let (us, other, now) = (Uuid::new_v4(), Uuid::new_v4(), Instant::now());
    let second = Duration::from_secs(1);
    let breaker = Arc::new(Breaker::default());
    assert!(!breaker.merge(breaker.mark(), Some(Standing::Open { pause: second }), us, now));
    assert_eq!(
        (breaker.passage(now), breaker.passage(now + second)),
        (Passage::Shut, Passage::Probe { is_ours: false })
    );
    breaker.merge(breaker.mark(), Some(Standing::Probing { by: other, left: second }), us, now);
    assert_eq!(breaker.passage(now), Passage::Shut, "another probes");
    assert!(breaker.merge(breaker.mark(), Some(Standing::Recovering { ramp: 2 }), us, now));
    assert_eq!(breaker.passage(now), Passage::Ramp(2));
    let before = breaker.mark();
    answered(&breaker, down());
    breaker.merge(before, None, us, now);
    assert_ne!(breaker.passage(now), Passage::Free, "the database was asked before the fault");
    breaker.merge(breaker.mark(), None, us, now);
    assert_ne!(breaker.passage(now), Passage::Free, "the fleet has not heard of it yet");
    reports(&breaker);
    breaker.merge(breaker.mark(), None, us, now);
    assert_eq!(breaker.passage(now), Passage::Free);
}
