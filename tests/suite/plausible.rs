//! K13: a usage beyond what is plausible for its metric is held by name, and delays nothing else of its hour.

mod told;
mod usual;

use outbox::NewUsage;
use tests::{Stage, q, t};

/// Runs a command as ada, who says why where that is asked.
fn run(stage: &Stage, words: &str) -> (i32, String) {
    let mut command = tests::postmeter(&stage.db.url());
    let output = command.env("USER", "ada").args(words.split(' ')).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

/// Runs an advice of `explain`, with a reason in place of the dots.
fn advised(stage: &Stage, explained: &str, words: &str) {
    let advice = explained.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {explained}"));
    let command = &advice[advice.find("postmeter ").unwrap() + "postmeter ".len()..];
    let (code, said) = run(stage, &command.replace("...", "checked"));
    assert_eq!(code, 0, "{command}: {said}");
}

/// A stage whose metric has a limit.
async fn limited(limit: &str) -> Stage {
    let stage = Stage::new().await;
    stage.sql(&format!("update postmeter.dimension set {limit}")).await;
    stage.at("2024-09-18T10:30:00Z").await;
    stage
}

/// What is held: which usage, how much and why.
async fn held(stage: &Stage) -> Vec<String> {
    stage
        .column(
            "select format('%s %s %s%s', u.event_id, trim_scale(h.quantity), h.reason, ', more than ' || h.beyond || ' ' || trim_scale(h.bound))
             from postmeter.held h join postmeter.usage u on u.id = h.usage_id order by u.id",
        )
        .await
}

#[tokio::test]
async fn k13_the_hour_is_cut_on_time_with_the_good_ones_and_the_implausible_one_is_held_by_name() {
    let stage = limited("max_quantity = 10000").await;
    stage.sql("insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
               select 'billing', 'good' || n, 'acme', 'db', 'cores', 1, '2024-09-18T10:10:00Z' from generate_series(1, 865) n").await;
    stage.use_cores("wild", "123456789", "2024-09-18T10:12:00Z").await;
    stage.use_cores("at the limit", "10000", "2024-09-18T10:13:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 10865"], "the hour waits for nothing");
    assert_eq!(held(&stage).await, ["wild 123456789 implausible, more than max_quantity 10000"]);
    let listed = "select event_id || ': ' || what_to_do from postmeter.dead_letter l join postmeter.usage u on u.id = l.usage_id";
    assert_eq!(
        stage.column(listed).await,
        ["wild: retry counts it if it is right; else correct it, then retry, or write off"]
    );
    let (_, explained) = run(&stage, "explain billing wild");
    for words in [
        "NOT BILLED: 123456789 cores of db is held, because it is beyond what is plausible for its metric",
        "it is more than 10000 cores, max_quantity of its dimension",
        "its hour has counted 10865 without it; it would be 100.0 % of that hour",
        "nothing while its limit stands: it waits for a person, and its hour is sent without it",
        "if it is wrong: record a correction of it (`corrects` is wild, the quantity negative)",
    ] {
        assert!(explained.contains(words), "{words}\n{explained}");
    }
    // its hour is sent: it goes as late usage, and no limit holds it again
    advised(&stage, &explained, "return it to the outbox");
    stage.at("2024-09-18T12:20:00Z").await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T12:30:00Z").await;
    assert!(held(&stage).await.is_empty());
    assert_eq!(stage.accepted(), ["18T10 10865", "18T11 123456789"]);
    stage.close().await;
}

#[tokio::test]
async fn k13_returned_while_its_hour_is_open_it_counts_there() {
    let stage = limited("max_quantity = 100").await;
    stage.use_cores("good", "7", "2024-09-18T10:10:00Z").await;
    stage.use_cores("large", "101", "2024-09-18T10:12:00Z").await;
    stage.fold().await;
    assert_eq!(held(&stage).await, ["large 101 implausible, more than max_quantity 100"]);
    let (code, said) = run(&stage, "retry --held-usage --reason implausible --why right --apply");
    assert_eq!(code, 0, "{said}");
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 108"]);
    stage.close().await;
}

#[tokio::test]
async fn k13_alone_of_its_hour_it_opens_none() {
    let stage = limited("max_quantity = 100").await;
    stage.use_cores("large", "101", "2024-09-18T10:12:00Z").await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert!(stage.remittances().await.is_empty());
    assert_eq!(held(&stage).await.len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn k13_corrected_and_returned_it_counts_what_is_left() {
    let stage = limited("max_quantity = 100").await;
    stage.use_cores("wild", "5000", "2024-09-18T10:12:00Z").await;
    stage.use_cores("good", "7", "2024-09-18T10:10:00Z").await;
    // one is folded with it, one later: both stay with it
    stage.correct("less", "wild", "-4000", "2024-09-18T10:13:00Z").await;
    stage.fold().await;
    stage.correct("lesser", "wild", "-990", "2024-09-18T10:20:00Z").await;
    stage.fold().await;
    assert_eq!(
        held(&stage).await,
        [
            "wild 5000 implausible, more than max_quantity 100",
            "less -4000 implausible, more than max_quantity 100",
            "lesser -990 implausible"
        ]
    );
    let (_, explained) = run(&stage, "explain billing wild");
    advised(&stage, &explained, "return it to the outbox");
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 17"]);
    stage.close().await;
}

#[tokio::test]
async fn k13_written_off_it_is_never_billed() {
    let stage = limited("max_quantity = 100").await;
    stage.use_cores("wild", "5000", "2024-09-18T10:12:00Z").await;
    stage.use_cores("good", "7", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    let (_, explained) = run(&stage, "explain billing wild");
    advised(&stage, &explained, "give it up");
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 7"]);
    assert!(held(&stage).await.is_empty());
    stage.close().await;
}

#[tokio::test]
async fn k13_a_limit_that_is_raised_or_taken_away_lets_go_what_it_held_and_nothing_else() {
    let stage = limited("max_quantity = 100").await;
    for (event, quantity) in [("a", "150"), ("b", "5000"), ("c", "90000")] {
        stage.use_cores(event, quantity, "2024-09-18T10:12:00Z").await;
    }
    stage.fold().await;
    assert_eq!(held(&stage).await.len(), 3);
    stage.sql("update postmeter.dimension set max_quantity = 200").await;
    stage.work_anew().await;
    assert_eq!(
        held(&stage).await,
        ["b 5000 implausible, more than max_quantity 100", "c 90000 implausible, more than max_quantity 100"]
    );
    // a change of the catalogue that does not touch it, and maintenance, leave it where it is
    stage.sql("update postmeter.dimension set unit_price = 1, currency = 'USD'").await;
    assert_eq!(outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap(), 0);
    // maintenance finds what no trigger saw
    stage
        .sql("alter table postmeter.dimension disable trigger cure_implausible; update postmeter.dimension set max_quantity = 6000;
              alter table postmeter.dimension enable trigger cure_implausible")
        .await;
    assert_eq!(outbox::maintain::return_cured(&stage.db.database, 100).await.unwrap(), 1);
    stage.sql("update postmeter.dimension set max_quantity = null").await;
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 95150"]);
    stage.close().await;
}

#[tokio::test]
async fn k13_what_the_catalogue_did_not_know_is_bound_once_it_does() {
    let stage = limited("max_quantity = 100").await;
    stage.record("early", "globex", "cores", "101", "2024-09-18T10:12:00Z").await;
    stage.fold().await;
    assert_eq!(held(&stage).await, ["early 101 no_subscription"]);
    stage.subscribe("globex", "999922223333").await;
    stage.work_anew().await;
    assert_eq!(held(&stage).await, ["early 101 implausible, more than max_quantity 100"], "a cure is no decision");
    let usage = stage.value("select usage_id::text from postmeter.held").await;
    assert_eq!(run(&stage, &format!("retry --held-usage --usage {usage} --why right --apply")).0, 0);
    stage.work_anew().await;
    stage.cut_at("2024-09-18T11:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T10 101"]);
    stage.close().await;
}

/// A usage of another org and metric than acme's cores.
fn usage<'a>(event_id: &'a str, org: &'a str, quantity: &str, used_at: &str) -> NewUsage {
    NewUsage::new("billing", event_id, org, "db", "cores", q(quantity), t(used_at))
}
