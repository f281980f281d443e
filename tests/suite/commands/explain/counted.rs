//! Usage that a remittance counts, by where that stands.

use outbox::corrections::{self, Decider, Verb, correct};
use serde_json::json;
use simulator::{FaultKind, FaultRule};
use tests::{Dimension, Stage};

use super::{Told, due, fault, refuse_record, tells, three};

const ADA: Decider<'_> = Decider { who: "ada", why: "as agreed" };

async fn decide(stage: &Stage, verb: Verb) {
    correct(&stage.db.database, verb, &json!({"org": "acme"}), ADA, false).await.expect("a correction");
}

#[tokio::test]
async fn i2_an_hour_before_and_after_its_cut_is_explained() {
    let stage = three().await;
    stage.fold().await;
    let told = Told {
        answer: "NOT BILLED YET: the hour 2024-09-18 10:00 UTC is open and still collects usage.",
        says: &["counted by remittance 1 of aws", "the next cut of that hour counts it"],
        by_itself: "it is cut after 2024-09-18 11:05 UTC",
        by_people: None,
    };
    tells("open", &stage, "three", &told).await;
    stage.at("2024-09-18T11:20:00Z").await;
    let told = Told { answer: "NOT BILLED YET: the hour 2024-09-18 10:00 UTC is over and waits for its cut.", ..told };
    tells("open, and over", &stage, "three", &told).await;
    stage.cut_only("2024-09-18T11:30:00Z").await;
    let told = Told {
        answer: "NOT BILLED YET: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, frozen and waiting to be sent.",
        says: &["to bill now: 3 - 0 = 3"],
        by_itself: "the next free worker sends it",
        by_people: Some("postmeter hold --delivery 1"),
    };
    tells("due", &stage, "three", &told).await;
    stage.configure("paused = true").await;
    let told = Told {
        answer: "NOT BILLED YET: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, frozen; aws is PAUSED by a person",
        says: &[],
        by_itself: "aws is PAUSED: nothing is sent until somebody resumes it",
        by_people: Some("postmeter resume aws"),
    };
    tells("due, and paused", &stage, "three", &told).await;
    stage.configure("paused = false").await;
    let open = "insert into postmeter.breaker (destination_id, faults, opened_at, open_until, outcome, http_status, updated_at)
                select id, 3, clock_timestamp(), clock_timestamp() + interval '1 hour', 'unavailable', 503, clock_timestamp() from postmeter.destination";
    stage.sql(open).await;
    let told = Told {
        answer: "NOT BILLED YET: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, frozen; aws does not work at present (unavailable, HTTP 503)",
        says: &[],
        by_itself: "one call probes it in 59 min",
        by_people: Some("postmeter probe aws"),
    };
    tells("due, and the breaker is open", &stage, "three", &told).await;
    stage.sql("delete from postmeter.breaker").await;
    stage.work().await;
    let told = Told {
        answer: "BILLED: aws holds 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC.",
        says: &["accepted: they said that they hold exactly this"],
        by_itself: "nothing: it is settled",
        by_people: None,
    };
    tells("accepted", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_what_has_nothing_due_says_why() {
    let stage = three().await;
    stage
        .sql("insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 4 from postmeter.subscription")
        .await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let told = Told {
        answer: "NOT BILLED, AND RIGHTLY SO: contracts cover all of it.",
        says: &["the contract covers 4 a month, 3 of it used"],
        by_itself: "later usage is billed together with it",
        by_people: None,
    };
    tells("covered", &stage, "three", &told).await;
    stage.close().await;

    let stage = Stage::bare().await;
    stage.dimension(Dimension { factor: (1, 4), rounding: "down", ..Dimension::default() }).await;
    stage.subscribe("acme", "111122223333").await;
    stage.use_cores("little", "3", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let told = Told {
        answer: "NOT BILLED YET: less than one more unit came together; it is carried on in its month.",
        says: &["carried: 0.75 units not billed yet"],
        by_itself: "later usage is billed together with it",
        by_people: None,
    };
    tells("carried", &stage, "little", &told).await;
    stage.use_cores("more", "1", "2024-09-18T11:10:00Z").await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    let told = Told {
        answer: "CARRIED ON: less than one more unit came together, so it counted with later hours of its month; the next \
                 that billed was 2024-09-18 11:00 UTC",
        ..told
    };
    tells("carried on", &stage, "little", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_a_correction_and_its_target_are_explained() {
    let stage = three().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    stage.correct("less", "three", "-2", "2024-09-18T11:15:00Z").await;
    let told = Told {
        answer: "NOT BILLED YET: -2 cores of db waits in the outbox",
        says: &["it corrects usage three"],
        by_itself: "the next fold",
        by_people: None,
    };
    tells("a correction that waits", &stage, "less", &told).await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    let told = Told {
        answer: "A CORRECTION of -2 cores of db, counted at once, after the cut of its hour: what was sent stays as it is, \
                 and the month's later usage is billed so much less. BILLED: aws holds 3 units",
        says: &[
            "it corrects usage three, and goes where that is",
            "it lowered the month at once, and no cut counts it",
        ],
        by_itself: "nothing: it is settled",
        by_people: None,
    };
    tells("a correction", &stage, "less", &told).await;
    let told = Told {
        answer: "BILLED: aws holds 3 units",
        says: &["corrected by less: -2, recorded 2024-09-18 11:10:00 UTC; it is counted"],
        by_itself: "nothing: it is settled",
        by_people: None,
    };
    tells("what it corrects", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_what_is_on_its_way_or_waits_for_its_next_try_is_explained() {
    let stage = due().await;
    let claims = stage.claim_as(stage.worker.id()).await;
    let told = Told {
        answer: "BEING SENT: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC may be billed; the answer tells.",
        says: &["open: the call may be under way"],
        by_itself: "should its worker die, another takes over",
        by_people: None,
    };
    tells("in flight", &stage, "three", &told).await;
    let throttled = remittance::Outcome::Throttled { after: None };
    stage.settle_as(stage.worker.id(), &claims, throttled).await;
    let told = Told {
        answer: "NOT BILLED YET: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, frozen; it is tried again at 2024-09-18",
        says: &["throttled: too many calls; they took nothing"],
        by_itself: "the same bytes are sent again at 2024-09-18",
        by_people: Some("postmeter hold"),
    };
    tells("later", &stage, "three", &told).await;
    fault(&stage, FaultRule::new(FaultKind::LoseResponse));
    stage.work_at("2024-09-18T11:20:00Z").await;
    let told = Told {
        answer: "MAYBE BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC may have arrived; it is sent again with the same key",
        says: &["maybe billed since 2024-09-18 11:20:00 UTC: an attempt of then may have arrived"],
        by_itself: "the same bytes are sent again at",
        by_people: Some("postmeter hold"),
    };
    tells("maybe billed, sent again", &stage, "three", &told).await;
    stage.at("2024-09-18T11:40:00Z").await;
    outbox::maintain::promote(&stage.db.database, 10).await.unwrap();
    let claims = stage.claim_as(stage.worker.id()).await;
    let told = Told {
        answer: "MAYBE BILLED: 3 units",
        says: &["it is being sent again"],
        by_itself: "the answer decides",
        by_people: None,
    };
    tells("maybe billed, in flight", &stage, "three", &told).await;
    stage.settle_as(stage.worker.id(), &claims, remittance::Outcome::Duplicate { shown: None }).await;
    let told = Told {
        answer: "BILLED: aws holds the key of 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC; quantity not confirmed.",
        says: &["duplicate: they already held this key"],
        by_itself: "nothing: it is settled",
        by_people: None,
    };
    tells("accepted by a duplicate", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_an_unknown_one_and_what_a_person_says_of_it_are_explained() {
    let stage = due().await;
    fault(&stage, FaultRule::new(FaultKind::LoseRequest));
    stage.work().await;
    refuse_record(&stage, "TimestampOutOfBoundsException");
    stage.work_at("2024-09-18T11:20:00Z").await;
    let told = Told {
        answer: "MAYBE BILLED: nobody knows whether aws took 3 units (1.5 USD)",
        says: &["status unknown, maybe billed"],
        by_itself: "nothing, unless a late answer arrives that tells",
        by_people: Some("postmeter resolve 1 --billed"),
    };
    tells("unknown", &stage, "three", &told).await;
    corrections::resolve(&stage.db.database, 1, false, ADA).await.unwrap();
    let told = Told {
        answer: "NOT BILLED YET: 3 units",
        says: &["resolve by ada (as agreed), unknown to due"],
        by_itself: "the next free worker sends it",
        by_people: Some("postmeter hold"),
    };
    tells("resolved as not billed", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_refused_released_and_given_up_are_explained() {
    let stage = due().await;
    refuse_record(&stage, "InvalidUsageDimensionException");
    stage.work().await;
    let told = Told {
        answer: "NOT BILLED: aws refused 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC for good. A person decides.",
        says: &["rejected: they refused this record for good"],
        by_itself: "nothing: it waits for a person; it can be sent until 2024-09-19 09:50 UTC",
        by_people: Some("postmeter retry --delivery 1"),
    };
    tells("rejected", &stage, "three", &told).await;
    stage.at("2024-09-19T11:00:00Z").await;
    let told = Told {
        by_itself: "its hour could be sent until 2024-09-19 09:50 UTC",
        by_people: Some("postmeter release --delivery 1"),
        ..told
    };
    tells("rejected, and past its deadline", &stage, "three", &told).await;
    decide(&stage, Verb::Release).await;
    let told = Told {
        answer: "NOT BILLED YET: the hour 2024-09-19 10:00 UTC is open and still collects usage.",
        says: &["release by ada (as agreed), rejected to released, its quantity went to remittance 2"],
        by_itself: "it is cut after",
        by_people: None,
    };
    tells("released", &stage, "three", &told).await;
    let (_, text, _) = super::run(&stage, &["explain", "--delivery", "1"]);
    assert!(text.starts_with("NOT BILLED HERE: 3 units"), "{text}");
    assert!(text.contains("nothing more here: its quantity counts with another hour"), "{text}");
    stage.cut_at("2024-09-19T11:20:00Z").await;
    let told =
        Told { answer: "BILLED: aws holds 3 units", says: &[], by_itself: "nothing: it is settled", by_people: None };
    tells("released and billed with another hour", &stage, "three", &told).await;
    stage.close().await;

    let stage = due().await;
    refuse_record(&stage, "InvalidUsageDimensionException");
    stage.work().await;
    stage.sql("select * from postmeter.close_month('aws', '2024-09-01', 'ada', 'books', false, true)").await;
    let told = Told {
        answer: "NOT BILLED: aws refused 3 units",
        says: &[],
        by_itself: "nothing: it waits for a person",
        by_people: Some("reopen its month (postmeter month reopen aws 2024-09"),
    };
    tells("rejected in a closed month", &stage, "three", &told).await;
    decide(&stage, Verb::WriteOff).await;
    let told = Told {
        answer: "NOT BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, given up by a person.",
        says: &["write off by ada (as agreed)"],
        by_itself: "nothing: it is final",
        by_people: None,
    };
    tells("written off", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_held_remittances_are_explained() {
    let stage = due().await;
    let mut settings = stage.aws.settings();
    settings.aws.subscriptions = Some(Vec::new());
    stage.aws.set_settings(settings);
    stage.work().await;
    let told = Told {
        answer: "NOT BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, held because the marketplace says that this buyer",
        says: &["held as invalid_subscription", "It is sent again by itself, in 10 min."],
        by_itself: "it is sent again at 2024-09-18 11:20:00 UTC (in 10 min) and every ten minutes",
        by_people: Some("postmeter retry --delivery 1"),
    };
    tells("not entitled", &stage, "three", &told).await;
    stage.close().await;

    let stage = due().await;
    decide(&stage, Verb::Hold).await;
    let told = Told {
        answer: "NOT BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, held because a person put it aside. A person decides.",
        says: &["held as by_operator"],
        by_itself: "nothing: it waits for a person",
        by_people: Some("postmeter retry --delivery 1"),
    };
    tells("held by a person", &stage, "three", &told).await;
    // poison is a real row of another reason: five deaths are played elsewhere
    stage.sql("update postmeter.delivery set reason = 'poison'").await;
    let told = Told {
        answer: "NOT BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, held because handling it killed its worker",
        says: &["held as poison"],
        ..told
    };
    tells("poison", &stage, "three", &told).await;
    stage.close().await;

    let stage = Stage::new().await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage.use_cores("huge", "1000000000000", "2024-09-18T10:10:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    let told = Told {
        answer: "NOT BILLED: 1000000000000 units for the hour 2024-09-18 10:00 UTC, held because the quantity does not fit",
        says: &["held as quantity_out_of_range"],
        by_itself: "nothing: it waits for a person",
        by_people: Some("postmeter release --delivery 1"),
    };
    tells("beyond their digits", &stage, "huge", &told).await;
    let (_, text, _) = super::run(&stage, &["explain", "billing", "huge"]);
    assert!(!text.contains("postmeter retry"), "without bytes there is nothing to send again: {text}");
    stage.close().await;

    let stage = due().await;
    let claims = stage.claim_as(stage.worker.id()).await;
    let strange = remittance::Outcome::Unrecognised { code: "Maybe".to_owned(), record_alone: true };
    stage.settle_as(stage.worker.id(), &claims, strange).await;
    let told = Told {
        answer: "MAYBE BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC, held. A person decides.",
        says: &["held as unrecognised_answer"],
        by_itself: "nothing, unless a late answer arrives that tells",
        by_people: Some("postmeter resolve 1 --billed"),
    };
    tells("an answer that nobody understands", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_expired_and_rolled_forward_are_explained() {
    let stage = due().await;
    stage.work_at("2024-09-19T10:00:00Z").await;
    let told = Told {
        answer: "NOT BILLED: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC came too late for aws. A person decides.",
        says: &["too old: the hour is too old for them"],
        by_itself: "nothing: it waits for a person; its hour could be sent until 2024-09-19 09:50 UTC",
        by_people: Some("postmeter release --delivery 1"),
    };
    tells("expired", &stage, "three", &told).await;
    stage.close().await;

    let stage = due().await;
    stage.configure("expired_policy = 'roll_forward'").await;
    stage.at("2024-09-19T10:00:00Z").await;
    stage.worker.send().await.unwrap();
    let told = Told {
        answer: "NOT BILLED YET: 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC came too late for aws; another hour",
        says: &[],
        by_itself: "maintenance gives its quantity to another hour of its month",
        by_people: Some("postmeter release --delivery 1"),
    };
    tells("expired, to be rolled forward", &stage, "three", &told).await;
    stage.work().await;
    let told = Told {
        answer: "NOT BILLED YET: the hour",
        says: &["release by postmeter (expired; expired_policy is roll_forward), expired to released"],
        by_itself: "it is cut after",
        by_people: None,
    };
    tells("rolled forward", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_conflict_dry_run_and_lost_commits_are_explained() {
    let stage = due().await;
    let claims = stage.claim_as(stage.worker.id()).await;
    let shown = remittance::Outcome::Conflict { shown: Some("7".parse().unwrap()) };
    stage.settle_as(stage.worker.id(), &claims, shown).await;
    let told = Told {
        answer: "BILLED OTHERWISE: aws holds 7 under the key of 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC.",
        says: &["conflict: they hold another quantity under this key"],
        by_itself: "nothing: it waits for a person",
        by_people: Some("postmeter resolve 1 --billed"),
    };
    tells("conflict", &stage, "three", &told).await;
    stage.close().await;

    let stage = due().await;
    stage.configure("dry_run = true").await;
    let told = Told {
        answer: "NOT BILLED YET: 3 units",
        says: &[],
        by_itself: "aws is a dry run: it is worked through, and no call is made",
        by_people: Some("postmeter hold"),
    };
    tells("due at a dry run", &stage, "three", &told).await;
    stage.work().await;
    let told = Told {
        answer: "NOT BILLED: aws is a dry run; 3 units (1.5 USD) for the hour 2024-09-18 10:00 UTC would have been sent.",
        says: &[],
        by_itself: "nothing: it is final, and no call was made",
        by_people: None,
    };
    tells("dry run", &stage, "three", &told).await;
    stage.close().await;

    let stage = due().await;
    stage.sql("select postmeter.timeline_went_back('mira', 'restored the backup of 11:00')").await;
    let told = Told {
        answer: "MAYBE BILLED: 3 units",
        says: &[
            "the database lost commits after that (a failover or a restore), so it may have been sent and forgotten",
        ],
        by_itself: "aws is PAUSED",
        by_people: Some("postmeter resume aws"),
    };
    tells("lost commits", &stage, "three", &told).await;
    stage.close().await;
}

#[tokio::test]
async fn i2_late_usage_is_explained_as_another_hour_or_a_part_or_what_its_hour_lost() {
    for (policy, answer, says) in [
        (
            "part",
            "NOT BILLED YET: the hour 2024-10-01 10:00 UTC is open",
            "it counts in its own month 2024-09, as a part of that hour",
        ),
        (
            "expire",
            "NOT BILLED: 2 units for the hour 2024-09-30 23:00 UTC came too late for aws",
            "its hour could be sent until",
        ),
    ] {
        let stage = Stage::new().await;
        stage.configure(&format!("late_policy = '{policy}'")).await;
        stage.at("2024-09-30T22:30:00Z").await;
        stage.use_cores("september", "1", "2024-09-30T22:10:00Z").await;
        stage.cut_at("2024-09-30T23:10:00Z").await;
        stage.at("2024-10-01T10:30:00Z").await;
        stage.use_cores("late", "2", "2024-09-30T23:30:00Z").await;
        stage.fold().await;
        if policy == "expire" {
            stage.work().await;
        }
        let told = Told {
            answer,
            says: Vec::leak(vec![says]),
            by_itself: if policy == "part" { "it is cut after" } else { "nothing: it waits for a person" },
            by_people: (policy == "expire").then_some("postmeter release"),
        };
        tells(policy, &stage, "late", &told).await;
        stage.close().await;
    }
    // its hour was cut; an earlier or later one of its month that was never sent takes it
    let stage = three().await;
    stage.cut_at("2024-09-18T12:10:00Z").await;
    stage.use_cores("late", "2", "2024-09-18T10:20:00Z").await;
    stage.fold().await;
    let told = Told {
        answer: "NOT BILLED YET: the hour 2024-09-18 11:00 UTC is over and waits for its cut.",
        says: &["late: its own hour 2024-09-18 10:00 UTC was cut, or could no longer be sent, when it was counted"],
        by_itself: "it is cut after",
        by_people: None,
    };
    tells("late, with another hour", &stage, "late", &told).await;
    stage.close().await;
}
