//! The code blocks of `docs/operate/`: every command and statement is run on real rows, as an operator.

use outbox::settle::Settlement;
use remittance::{Answer, Outcome, Policy, RetrySchedule};
use tests::{Dimension, Stage};

use super::read;

/// Ten remittances at `aws-us`, nine of acme and the last of globex: 7 and 10 are rejected, 8 is a conflict, 9 unknown, the
/// rest is due; and five cores of umbrella, whom nobody subscribed. Its breaker is open.
async fn scene(at: &str) -> Stage {
    let stage = Stage::bare().await;
    let metrics = ["cores", "gb", "nodes", "seats", "calls", "builds", "kreq", "core_units", "tokens"];
    for metric in metrics {
        stage.dimension(Dimension { metric, name: metric, ..Dimension::default() }).await;
    }
    stage.subscribe("acme", "111122223333").await;
    stage.subscribe("globex", "444455556666").await;
    stage.at("2024-09-18T10:30:00Z").await;
    for (number, metric) in (1042..).zip(metrics) {
        let quantity = if metric == "kreq" { "2" } else { "1" };
        stage.record(&format!("e-{number}"), "acme", metric, quantity, "2024-09-18T10:10:00Z").await;
        stage.fold().await;
    }
    stage.record("g", "globex", "kreq", "1", "2024-09-18T10:10:00Z").await;
    stage.fold().await;
    stage.record("u", "umbrella", "cores", "5", "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let refused = || Outcome::Rejected { code: "InvalidUsageDimensionException".to_owned() };
    settle(&stage, |delivery| match delivery {
        7 | 10 => refused(),
        8 => Outcome::Conflict { shown: None },
        9 => Outcome::Unknown { code: "timeout".to_owned() },
        _ => Outcome::HandedBack,
    })
    .await;
    stage.at("2024-09-18T11:20:00Z").await;
    outbox::maintain::promote(&stage.db.database, 10).await.unwrap();
    settle(&stage, |delivery| if delivery == 9 { refused() } else { Outcome::HandedBack }).await;
    let stands = stage
        .column("select delivery_id || ' ' || status from postmeter.remittance where status <> 'due' order by 1")
        .await;
    assert_eq!(stands, ["10 rejected", "7 rejected", "8 conflict", "9 unknown"]);
    stage.sql("update postmeter.destination set name = 'aws-us'").await;
    let down = "insert into postmeter.breaker (destination_id, faults, opened_at, open_until, outcome, updated_at)
                select id, 3, clock_timestamp(), clock_timestamp() + interval '1 hour', 'unavailable', clock_timestamp() from postmeter.destination";
    stage.sql(down).await;
    let otherwise = "insert into postmeter.contradiction (id, destination_id, delivery_id, source, says, their_quantity, settled_as, our_quantity)
                     overriding system value
                     select 7, destination_id, id, 'person', 'held', quantity, status, quantity from postmeter.delivery where id = 8";
    stage.sql(otherwise).await;
    stage.at(at).await;
    stage
}

/// Claims all that is due and settles each as told.
async fn settle(stage: &Stage, outcome: impl Fn(i64) -> Outcome) {
    let claims = stage.claim_as(stage.worker.id()).await;
    let answers: Vec<_> = claims
        .iter()
        .map(|claim| Settlement {
            delivery: claim.delivery,
            attempt: claim.attempt,
            batch: 1,
            answer: Answer::bare(outcome(claim.delivery)),
            took: std::time::Duration::ZERO,
            others_passed: false,
            is_lost: false,
            is_death: false,
        })
        .collect();
    let policy = Policy { retry: RetrySchedule::default(), memory: None };
    outbox::settle::settle(&stage.db.database, stage.worker.id(), &answers, &|_| policy).await.expect("settled");
}

/// Blocks of a page, in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    page.split(&format!("```{language}\n")).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

const PAGES: [(&str, &str); 2] =
    [("docs/operate/corrections.md", "2024-09-18T11:30:00Z"), ("docs/operate/month-close.md", "2024-10-01T12:00:00Z")];

#[tokio::test]
async fn e8_every_statement_of_the_operators_pages_does_something_for_an_operator() {
    for (page, at) in PAGES {
        for sql in blocks(&read(page), "sql") {
            let stage = scene(at).await;
            stage.sql("set role postmeter_operator").await;
            stage.sql(sql).await;
        }
    }
}

/// Words of a command line; quotes keep them together.
fn words(line: &str) -> Vec<String> {
    let mut parts = line.split('"').enumerate();
    let mut words = Vec::new();
    for (number, part) in &mut parts {
        if number % 2 == 1 {
            words.push(part.to_owned())
        } else {
            words.extend(part.split_whitespace().map(str::to_owned))
        }
    }
    words
}

/// Words alone, without the width of columns; ids are drawn, and the page leaves out how a key begins.
fn plain(text: &str) -> String {
    let text = text.replace("aws/us-east-1/prod-db/", "…/");
    let word = |word| if uuid::Uuid::try_parse(word).is_ok() { "id" } else { word };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A command of a page with what the page says that it answers.
fn commands(block: &str) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        let command = line.strip_prefix("$ postmeter ").or_else(|| line.strip_prefix("postmeter "));
        match (command, commands.last_mut()) {
            (Some(command), _) => commands.push((command.split("  #").next().unwrap_or_default(), Vec::new())),
            (None, Some(last)) if !line.is_empty() => last.1.push(line),
            _ => {}
        }
    }
    commands
}

#[tokio::test]
async fn e8_every_command_of_the_operators_pages_answers_as_they_say() {
    let mut run = 0;
    for (page, at) in PAGES {
        for block in blocks(&read(page), "text") {
            let commands = commands(block);
            if commands.is_empty() {
                continue;
            }
            let stage = scene(at).await;
            for (command, answers) in commands {
                // asks a marketplace that can be asked: azure_sending.rs plays it
                if command.starts_with("reconcile") {
                    continue;
                }
                // its product code was mistyped, and is mended
                if command.starts_with("recount") {
                    let mended = "update postmeter.subscription set identity = identity || '{\"product_code\": \"prod-pg\"}' where org = 'acme'";
                    stage.sql(mended).await;
                    stage.worker.reload().await.unwrap();
                }
                let output = tests::postmeter(&stage.db.url())
                    .env("USER", "mira")
                    .args(words(command))
                    .output()
                    .expect("the command is built");
                let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
                let code = output.status.code().unwrap();
                let is_refused = answers.iter().any(|line| line.starts_with("postmeter: "));
                let looks =
                    ["month report", "status", "recalculate", "doctor"].iter().any(|verb| command.starts_with(verb));
                assert!(
                    code == if is_refused { 2 } else { 0 } || (looks && code == 3),
                    "{page}: {command}: {code} {text}"
                );
                // the recalculation on the page is of a month of its own
                for said in answers.iter().filter(|_| !looks) {
                    let (said, text) = (plain(said), plain(&text));
                    assert!(text.contains(&said), "{page}: {command}: expected {said:?}\n{text}");
                }
                run += 1;
            }
        }
    }
    assert!(run >= 19, "{run} commands were found");
}
