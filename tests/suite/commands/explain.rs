//! `postmeter explain` of a usage in every state, as a newcomer reads it: where the money is, the numbers, what happens
//! by itself, what a person can do. Rows are real: each scene is played by a worker against the simulator.

mod counted;
mod uncounted;

use simulator::{FaultKind, FaultRule};
use tests::Stage;

use super::run;

/// What must be told of a usage.
struct Told {
    /// The first line begins so: is it billed?
    answer: &'static str,
    /// And these stand somewhere.
    says: &'static [&'static str],
    /// What happens by itself.
    by_itself: &'static str,
    /// What a person can do; none: there is nothing to do.
    by_people: Option<&'static str>,
}

/// Explains a usage and checks every part of what is told.
async fn tells(scene: &str, stage: &Stage, event: &str, told: &Told) {
    let (code, text, error) = run(stage, &["explain", "billing", event]);
    assert_eq!(code, 0, "{scene}: {error}");
    assert!(text.starts_with(told.answer), "{scene}: expected {:?}\n{text}", told.answer);
    for words in told.says {
        assert!(text.contains(words), "{scene}: expected {words:?}\n{text}");
    }
    let part = |title: &str| {
        let after = text.rsplit_once(&format!("\n{title}\n"))?.1;
        Some(after.split("\n\n").next().unwrap_or_default().to_owned())
    };
    let by_itself = part("What happens by itself").unwrap_or_else(|| panic!("{scene}: nothing is foretold\n{text}"));
    assert!(by_itself.contains(told.by_itself), "{scene}: expected {:?} by itself\n{text}", told.by_itself);
    match (part("What a person can do"), told.by_people) {
        (None, None) => {}
        (Some(advice), Some(words)) => assert!(advice.contains(words), "{scene}: expected advice {words:?}\n{text}"),
        (advice, words) => panic!("{scene}: advice {advice:?}, expected {words:?}\n{text}"),
    }
    for word in ["pending", "parked"] {
        assert!(!text.contains(word), "{scene}: {word} is no word of ours\n{text}");
    }
}

/// Three cores of ten o'clock, as `three`, and the clock at half past.
async fn three() -> Stage {
    let stage = Stage::new().await;
    stage.sql("update postmeter.dimension set unit_price = 0.5, currency = 'USD'").await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("three", "3", "2024-09-18T10:10:00Z").await;
    stage
}

/// The same, frozen and due.
async fn due() -> Stage {
    let stage = three().await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    stage
}

/// The next call goes so.
fn fault(stage: &Stage, rule: FaultRule) {
    stage.aws.add_fault(rule.times(1)).expect("a fault");
}

fn refuse_record(stage: &Stage, error: &str) {
    fault(stage, FaultRule::new(FaultKind::RefuseRecord).error(error));
}

#[tokio::test]
async fn i2_of_an_unknown_id_nothing_is_made_up() {
    let stage = three().await;
    for words in [
        &["explain", "billing", "nobody-knows"][..],
        &["explain", "other", "three"],
        &["explain", "--usage", "01a1fc6f-9dd4-75e1-bbdd-28efeb6826f3"],
    ] {
        let (code, text, error) = run(&stage, words);
        assert!(code == 2 && text.is_empty(), "{text}");
        assert!(error.contains("was never recorded here") && !error.contains("pending"), "{error}");
    }
    let (code, _, error) = run(&stage, &["explain", "--delivery", "4711"]);
    assert!(code == 2 && error.contains("there is no remittance 4711"), "{error}");
    stage.close().await;
}
