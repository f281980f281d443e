//! I5: a real Prometheus with our rules, over what a real worker and a real console expose.
//!
//! promtool fires each rule over series that somebody wrote down. Here the series are ours, so that a rule over a metric
//! or a label that no process exposes is found: it would never fire.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use postmeter::embedded::{Cluster, Options};
use remittance::Outcome;
use tests::{Stage, TestDatabase};

use crate::docs::read;
use crate::real_prometheus::{RealPrometheus, tool};
use crate::telling::Telling;

const NAME: &str = "i5_a_real_prometheus_fires_our_rules_over_what_processes_expose";

/// What the scene gives cause for.
const FIRST: [&str; 10] = [
    "BalanceNotZero",
    "BreakerOpen",
    "Conflict",
    "DeadLetters",
    "DestinationPaused",
    "HeldWithoutSubscription",
    "Poison",
    "RequestsNeverFinished",
    "UnknownUnresolved",
    "UsageWillMissDeadline",
];

/// A table of usage lacks its next partition; at the turn of a month, databases of tests have not got it anyway.
pub(crate) const NEXT_MONTH_IS_MISSING: &str = "do $$ begin
    execute format('drop table if exists postmeter.usage_%s', to_char(now() at time zone 'UTC' + interval '1 month', 'YYYYMM')); end $$";

/// A console process and its address.
pub(super) struct ConsoleProcess {
    pub(super) child: Child,
    pub(super) url: String,
}

impl Drop for ConsoleProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ConsoleProcess {
    pub(super) fn start(url: &str) -> Self {
        let mut command = tests::postmeter(url);
        command.args(["console", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let said = child.stdout.take().unwrap();
        let url = tests::line_of(said, |line| Some(line.strip_prefix("listening at ")?.to_owned()));
        Self { child, url }
    }
}

/// Remittances that were refused, unknown and in conflict; one that waits at a paused destination and one at a
/// destination that refuses our credentials; usage that nobody knows what to do with; a request that is not finished.
async fn scene(stage: &Stage) {
    stage.dimension(tests::Dimension::default()).await;
    stage.configure("tries_max = 1").await;
    for (org, account) in [("rejected", "1"), ("unknown", "2"), ("conflict", "3")] {
        stage.subscribe(org, &format!("10000000000{account}")).await;
    }
    stage.at("2024-09-18T10:30:00Z").await;
    for org in ["rejected", "unknown", "conflict"] {
        stage.record(org, org, "cores", "2", "2024-09-18T10:10:00Z").await;
    }
    stage.cut_only("2024-09-18T11:10:00Z").await;
    let claims = stage.claim_as(stage.worker.id()).await;
    let outcomes = [
        Outcome::Rejected { code: "InvalidProductCode".to_owned() },
        Outcome::Unknown { code: "timeout".to_owned() },
        Outcome::Conflict { shown: None },
    ];
    assert_eq!(claims.len(), outcomes.len());
    for (claim, outcome) in claims.chunks(1).zip(outcomes) {
        stage.settle_as(stage.worker.id(), claim, outcome).await;
    }
    let paused = "insert into postmeter.destination (name, kind, settings, quota_id, age_limit, records_max, bytes_max)
                  select 'paused', kind, settings, quota_id, age_limit, records_max, bytes_max from postmeter.destination;
                  insert into postmeter.dimension (destination_id, product, metric, name)
                  select id, 'db', 'cores', 'cores' from postmeter.destination where name = 'paused';
                  insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
                  select 'paused', 'db', id, '{\"product_code\": \"prod-db\", \"customer_aws_account_id\": \"100000000004\"}', '2024-01-01 00:00Z'
                  from postmeter.destination where name = 'paused';
                  select postmeter.pause('paused', 'ada', 'a test')";
    stage.sql(paused).await;
    stage.subscribe("acme", "100000000005").await;
    for org in ["paused", "acme", "nobody"] {
        stage.record(org, org, "cores", "2", "2024-09-18T11:10:00Z").await;
    }
    stage.cut_only("2024-09-18T12:10:00Z").await;
    crate::tracker::record(&stage.db, &[crate::tracker::said("ingress r received 2024-09-18T12:00:00Z")]).await;
    // an hour before the deadline of what waits, and long after everything else
    stage.at("2024-09-19T10:30:00Z").await;
    // whose credentials are refused
    let mut settings = stage.aws.settings();
    settings.aws.access_keys = [("ANOTHER".to_owned(), "seller".to_owned())].into();
    stage.aws.set_settings(settings);
    stage.sql("update postmeter.alert_rule set every = '1 second'").await;
    stage.sql("update postmeter.setting set tracker_alert_age = '12 hours'").await;
}

/// `postmeter_x{label="y"}`, as rules name series.
fn selectors(rules: &str) -> BTreeSet<String> {
    let of_code: String =
        rules.lines().filter(|line| !line.contains("- name:")).fold(String::new(), |all, line| all + line + "\n");
    let mut found = BTreeSet::new();
    for (at, _) in of_code.match_indices("postmeter_") {
        let rest = &of_code[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let labels = if rest[end..].starts_with('{') { rest[end..].find('}').expect("closed") + 1 } else { 0 };
        found.insert(rest[..end + labels].to_owned());
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_real_prometheus_fires_our_rules_over_what_processes_expose() {
    if tool(NAME, "prometheus").is_none() {
        return;
    }
    let mut cluster = Cluster::start(Options::default()).unwrap();
    let stage = Stage::on(TestDatabase::alone_on(&cluster).await).await;
    scene(&stage).await;
    let worker = Telling::start(&stage.db.url(), &[]);
    let console = ConsoleProcess::start(&stage.db.url());
    let server = RealPrometheus::of_rules(
        NAME,
        &[("postmeter-worker", &[worker.url.as_str()]), ("postmeter-console", &[console.url.as_str()])],
    )
    .expect("it is there");
    stage
        .sql(
            "insert into postmeter.held (usage_id, reason, org, product, metric, quantity, hour)
               select postmeter.new_id(), 'poison', 'acme', 'db', 'cores', 1, '2024-09-18T10:00Z';
               update postmeter.meter set carried = carried + 1 where id = (select min(id) from postmeter.meter);
               update postmeter.balance_check set next_at = '-infinity'",
        )
        .await;
    server.until_alarmed(|alarmed| alarmed == FIRST).await;
    every_series_is_there(&server).await;
    stage.sql("select postmeter.timeline_went_back('ada', 'a test')").await;
    server.until_alarmed(|alarmed| alarmed.iter().any(|name| name == "TimelineWentBack")).await;

    // nobody works: usage waits, and a month has no partition
    worker.stop();
    stage.sql(NEXT_MONTH_IS_MISSING).await;
    // recorded a quarter of an hour ago, in real time
    stage
        .sql(
            "alter table postmeter.outbox disable trigger arrived;
             insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
             values (postmeter.id_at(clock_timestamp() - interval '16 minutes'), 's', 'old', 'acme', 'db', 'cores', 1, '2024-09-19T10:00Z')",
        )
        .await;
    let more = ["NoWorkerAlive", "OutboxOldestEntry", "PartitionAheadMissing"];
    server.until_alarmed(|alarmed| more.iter().all(|&name| alarmed.iter().any(|other| other == name))).await;

    // nothing can be asked any more: one alert says why, nothing new is said, and what fired is not said to be over
    cluster.kill().unwrap();
    let firing = ["BalanceNotZero", "Conflict", "DatabaseUnreachable", "Poison", "TimelineWentBack"];
    server.until_alarmed(|alarmed| alarmed == firing).await;
}

/// Rules are evaluated without error, and each series that they name is there.
async fn every_series_is_there(server: &RealPrometheus) {
    let rules = server.rules().await;
    let sick: Vec<_> = rules.iter().filter(|rule| rule.2 != "ok").collect();
    assert!(sick.is_empty() && rules.len() >= 23, "{sick:?} {}", rules.len());
    let selectors = selectors(&read("deploy/prometheus/alerts.yml"));
    assert!(selectors.len() >= 20, "{selectors:?}");
    for selector in &selectors {
        let answer = server.api("query", &[("query", selector)]).await;
        let found = answer["result"].as_array().map_or(0, Vec::len);
        assert!(found > 0, "no process exposes {selector}: a rule over it never fires");
    }
}
