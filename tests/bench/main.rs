//! The benchmarks: each measures a figure that was promised, and prints it beside the promise. Absolute figures are the
//! machine's; ratios are taken within one run. `docs/benchmarks.md` says what each means and how to run them.

#![expect(clippy::print_stdout, reason = "what a benchmark prints is its result")]

mod answerer;
mod dispatch;
mod faults;
mod feeding;
mod folding;
mod graphile;
mod ground;
mod identities;
mod latency;
mod ledger;
mod marketplace;
mod outage;
mod process;
mod proving;
mod quota;
mod recalculating;
mod recording;
mod report;
mod seed;
mod serving;
mod sizing;
mod snapshot;
mod tracker;

use report::Report;

/// What can be named on the command line.
const ALL: [&str; 17] = [
    "recording",
    "identities",
    "console",
    "fold",
    "dispatch",
    "latency",
    "snapshot",
    "recalculate",
    "proof",
    "quota",
    "outage",
    "j9",
    "j9_last",
    "tracker",
    "feed",
    "ledger",
    "sizing",
];

#[tokio::main(worker_threads = 2)]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // parts of a benchmark that need a process of their own
        ["child-answer", unprocessed] => answerer::serve(unprocessed.parse().expect("a number")).await,
        ["child-fold", url] => folding::child(url).await,
        ["child-simulate"] => marketplace::serve().await,
        ["child-console", url] => serving::child(url, "").await,
        // what its sessions do is in the server's log, with the time of each statement
        ["child-console-logged", url] => serving::child(url, "%20-c%20log_min_duration_statement%3D0").await,
        ["child-work", url] => latency::child(url).await,
        ["child-gather", url] => tracker::child(url).await,
        // lists of a database that is there: to look at plans
        ["lists", url] => tracker::lists(&mut Report::default(), url).await,
        ["questions", url] => ledger::questions(&mut Report::default(), url).await,
        ["child-recalculate", url] => recalculating::child(url).await,
        wanted => measure(wanted).await,
    }
}

async fn measure(wanted: &[&str]) {
    if let Some(unknown) = wanted.iter().find(|word| !ALL.contains(word)) {
        println!("no benchmark is named {unknown}; there are {}", ALL.join(", "));
        std::process::exit(2);
    }
    let mut report = Report::default();
    for name in ALL.iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        match *name {
            "recording" => recording::run(&mut report).await,
            "identities" => identities::run(&mut report).await,
            "console" => serving::run(&mut report).await,
            "fold" => folding::run(&mut report).await,
            "dispatch" => dispatch::run(&mut report).await,
            "latency" => latency::run(&mut report).await,
            "recalculate" => recalculating::run(&mut report).await,
            "proof" => proving::run(&mut report).await,
            "snapshot" => snapshot::run(&mut report).await,
            "tracker" => tracker::run(&mut report).await,
            "feed" => feeding::run(&mut report).await,
            "sizing" => sizing::run(&mut report).await,
            "ledger" => ledger::run(&mut report).await,
            "quota" => quota::run(&mut report).await,
            "j9" => faults::run(&mut report).await,
            "j9_last" => faults::run_last(&mut report).await,
            _ => outage::run(&mut report).await,
        }
    }
    report.print();
}
