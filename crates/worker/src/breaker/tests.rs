use remittance::Outcome;

use super::sign::Sign;
use super::*;

const MAX: usize = 8;
const LIMITS: Limits = Limits { in_flight_max: MAX, outage: Duration::ZERO };

fn answered(breaker: &Arc<Breaker>, outcome: Outcome) {
    let permit = breaker.turn(Instant::now()).expect("no fault").expect("room");
    breaker.on_answer(&permit, &[Answer::bare(outcome)], LIMITS);
}

fn down() -> Outcome {
    Outcome::Unavailable { code: "503".to_owned(), after: None }
}

fn admission(breaker: &Breaker) -> Admission {
    breaker.admission(Instant::now())
}

/// Everything that was reported, as if the fleet had heard it.
fn reports(breaker: &Breaker) -> Vec<Report> {
    std::iter::from_fn(|| breaker.report().inspect(|_| breaker.reported(Some(Duration::ZERO)))).collect()
}

fn open() -> Arc<Breaker> {
    let breaker = Arc::new(Breaker::default());
    answered(&breaker, Outcome::Unauthorised { code: "expired".to_owned() });
    assert_eq!(reports(&breaker).len(), 1, "credentials do not mend themselves");
    breaker.may_probe(Instant::now() + Duration::from_secs(60), None);
    breaker
}

#[test]
fn j9_an_outage_is_ten_calls_and_ten_seconds_without_one_answer_about_a_record() {
    let answer = Answer::bare(down());
    let (mut state, begin) = (State::default(), Instant::now());
    let limits = Limits { outage: Duration::from_secs(10), ..LIMITS };
    let at = |state: &mut State, seconds| {
        let sign = sign(std::slice::from_ref(&answer));
        state.heard(sign, limits, begin + Duration::from_secs(seconds)).is_some()
    };
    assert!((0..50).all(|_| !at(&mut state, 9)), "many calls in a short time");
    assert_eq!(state.heard(Sign::Good, limits, begin), None);
    assert!((0..9).all(|call| !at(&mut state, 20 + 10 * call)), "few calls in a long time, after a success");
    assert!(at(&mut state, 110), "the tenth");
}

#[test]
fn j9_throttling_and_doubt_trip_nothing() {
    let breaker = Arc::new(Breaker::default());
    for _ in 0..100 {
        answered(&breaker, Outcome::Throttled { after: None });
        answered(&breaker, Outcome::Doubtful { code: "Forbidden".to_owned() });
        answered(&breaker, Outcome::HandedBack);
    }
    assert_eq!((admission(&breaker), breaker.report()), (Admission::Free, None));
}

#[test]
fn d9_it_opens_after_silent_calls_that_no_success_interrupts() {
    let breaker = Arc::new(Breaker::default());
    let silent = |breaker: &Arc<Breaker>, calls| {
        for _ in 0..calls {
            answered(breaker, down());
            answered(breaker, Outcome::Throttled { after: None });
        }
    };
    silent(&breaker, 9);
    answered(&breaker, Outcome::Accepted);
    silent(&breaker, 8);
    answered(&breaker, Outcome::Unknown { code: "timeout".to_owned() });
    assert_eq!((admission(&breaker), breaker.report()), (Admission::Free, None));
    answered(&breaker, down());
    assert_eq!(admission(&breaker), Admission::Shut);
    assert!(matches!(breaker.report(), Some(Report::Fault(_))));
    assert!(breaker.turn(Instant::now()).is_err(), "what was claimed before is handed back");
}

#[test]
fn j7_what_proves_the_credential_to_blame_opens_it_once() {
    let breaker = Arc::new(Breaker::default());
    let refused = Answer::bare(Outcome::Unauthorised { code: "Forbidden".to_owned() });
    breaker.blame(&refused);
    breaker.blame(&refused);
    assert_eq!((admission(&breaker), reports(&breaker).len()), (Admission::Shut, 1));
}

#[test]
fn j9_a_probe_that_is_throttled_has_found_somebody() {
    let breaker = open();
    answered(&breaker, Outcome::Throttled { after: None });
    assert_eq!(admission(&breaker), Admission::Ramp(1));
}

#[test]
fn a_good_record_beside_bad_ones_is_no_fault_of_the_destination() {
    let breaker = Arc::new(Breaker::default());
    let permit = breaker.turn(Instant::now()).unwrap().unwrap();
    let denied = Answer::bare(Outcome::Unauthorised { code: "denied".to_owned() });
    breaker.on_answer(&permit, &[denied, Answer::bare(Outcome::Accepted)], LIMITS);
    assert_eq!(admission(&breaker), Admission::Free);
}

#[test]
fn the_probe_is_one_call_of_whoever_has_the_right() {
    let breaker = open();
    assert_eq!(admission(&breaker), Admission::Probe { is_ours: true });
    assert!(breaker.turn(Instant::now() + Duration::from_secs(61)).is_err(), "it would outlast the right");
    let probe = breaker.turn(Instant::now()).unwrap().unwrap();
    assert!(breaker.turn(Instant::now()).unwrap().is_none(), "one at a time");
    breaker.on_answer(&probe, &[Answer::bare(Outcome::Unknown { code: "timeout".to_owned() })], LIMITS);
    assert!(matches!(reports(&breaker)[..], [Report::Fault(_)]), "an unclear probe has failed");
    assert_eq!(admission(&breaker), Admission::Probe { is_ours: false }, "the next probe is anybody's");
}

#[test]
fn a_recovery_doubles_the_calls_in_flight_with_as_many_answers() {
    let breaker = open();
    let mut seen = Vec::new();
    while admission(&breaker) != Admission::Free {
        let mut flying = Vec::new();
        while let Ok(Some(permit)) = breaker.turn(Instant::now()) {
            flying.push(permit);
        }
        seen.push(flying.len());
        for permit in flying {
            breaker.on_answer(&permit, &[Answer::bare(Outcome::Accepted)], LIMITS);
        }
    }
    assert_eq!(seen, [1, 1, 2, 4], "the probe, then the ramp, then all eight");
    let ramp = |from, to| Report::Ramp { from, to };
    assert_eq!(reports(&breaker), [ramp(None, 1), ramp(Some(1), 2), ramp(Some(2), 4), Report::Close { from: Some(4) }]);
}

#[test]
fn a_recovery_bears_single_faults_and_stragglers_say_nothing() {
    let breaker = open();
    answered(&breaker, Outcome::Accepted);
    let straggler = breaker.turn(Instant::now()).unwrap().unwrap();
    for _ in 0..9 {
        breaker.on_answer(&straggler, &[Answer::bare(down())], LIMITS);
    }
    assert!(matches!(admission(&breaker), Admission::Ramp(_)), "nine");
    breaker.on_answer(&straggler, &[Answer::bare(down())], LIMITS);
    assert!(!matches!(admission(&breaker), Admission::Ramp(_)), "ten");
    breaker.on_answer(&straggler, &[Answer::bare(Outcome::Accepted)], LIMITS);
    assert!(!matches!(admission(&breaker), Admission::Ramp(_)), "its call began before it opened again");
}

#[test]
fn what_the_fleet_says_counts_unless_this_worker_knows_better() {
    let (us, other, now) = (Uuid::new_v4(), Uuid::new_v4(), Instant::now());
    let second = Duration::from_secs(1);
    let breaker = Arc::new(Breaker::default());
    assert!(!breaker.merge(breaker.mark(), Some(Standing::Open { pause: second }), us, now));
    assert_eq!(
        (breaker.admission(now), breaker.admission(now + second)),
        (Admission::Shut, Admission::Probe { is_ours: false })
    );
    breaker.merge(breaker.mark(), Some(Standing::Probing { by: other, left: second }), us, now);
    assert_eq!(breaker.admission(now), Admission::Shut, "another probes");
    assert!(breaker.merge(breaker.mark(), Some(Standing::Recovering { ramp: 2 }), us, now));
    assert_eq!(breaker.admission(now), Admission::Ramp(2));
    let before = breaker.mark();
    answered(&breaker, Outcome::Unauthorised { code: "expired".to_owned() });
    breaker.merge(before, None, us, now);
    assert_ne!(breaker.admission(now), Admission::Free, "the database was asked before the fault");
    breaker.merge(breaker.mark(), None, us, now);
    assert_ne!(breaker.admission(now), Admission::Free, "the fleet has not heard of it yet");
    reports(&breaker);
    breaker.merge(breaker.mark(), None, us, now);
    assert_eq!(breaker.admission(now), Admission::Free);
}
