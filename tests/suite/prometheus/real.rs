//! A7 against a real Prometheus with a counter of some hours, over TLS.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use tests::Stage;

use super::{TEN, counts};
use crate::real_prometheus::{RealPrometheus, tool};

const NAME: &str = "a7_hours_of_a_real_prometheus_are_recorded_once_over_tls";

/// A counter a minute from nine to three: acme uses two cores, globex half a one and is restarted each hour.
fn samples() -> String {
    let mut text = "# TYPE core_seconds counter\n".to_owned();
    for minute in 0..=360_i64 {
        let at = TEN + (minute - 60) * 60;
        writeln!(text, "core_seconds_total{{org=\"acme\",pod=\"a\"}} {} {at}", minute * 60).unwrap();
        writeln!(text, "core_seconds_total{{org=\"acme\",pod=\"b\"}} {} {at}", 1000 + minute * 60).unwrap();
        writeln!(text, "core_seconds_total{{org=\"globex\",pod=\"c\"}} {} {at}", (minute % 60) * 30).unwrap();
    }
    text + "# EOF\n"
}

fn fill(directory: &Path) {
    std::fs::write(directory.join("samples"), samples()).unwrap();
    let mut promtool = tool(NAME, "promtool").expect("it came with the server");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "samples", "data"]).current_dir(directory);
    let output = promtool.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(crate::tls::certificates(directory, &[("server", "IP:127.0.0.1")]), "openssl is not there");
    let web = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n";
    std::fs::write(directory.join("web.yml"), web).unwrap();
}

async fn import(stage: &Stage, server: &RealPrometheus, more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = tests::postmeter(&stage.db.url());
    command.args(["import", "prometheus", "--json", "--url", &server.url, "--source", "prometheus:cores"]);
    command.args(["--query", "sum by (org) (increase(core_seconds_total[1h])) / 3600"]);
    command.args(["--org", "{org}", "--product", "db", "--metric", "cores", "--from", "2024-09-18T09:00Z"]).args(more);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_hours_of_a_real_prometheus_are_recorded_once_over_tls() {
    if tool(NAME, "promtool").is_none() {
        return;
    }
    let Some(server) = RealPrometheus::start(NAME, "global: {}\n", fill, &["--web.config.file=web.yml"]) else {
        return;
    };
    let stage = Stage::new().await;
    stage.at("2024-09-18T15:15:00Z").await;
    let (code, _, said) = import(&stage, &server, &[]).await;
    assert!(code == Some(1) && said.contains("UnknownIssuer"), "who signed it is not known: {code:?} {said}");
    let authority = server.file("ca.pem").display().to_string();
    let trusting = ["--tls-authority", authority.as_str()];
    let (code, report, said) = import(&stage, &server, &trusting).await;
    assert_eq!((code, counts(&report)), (Some(0), [12, 0, 0, 0, 0]), "{said}");
    let usage = "select org || ' ' || count(*) || ' ' || trim_scale(min(quantity)) || ' ' || trim_scale(max(quantity)) from postmeter.usage group by org order by 1";
    let told = stage.column(usage).await;
    assert_eq!(told[0], "acme 6 2 2", "two pods");
    assert!(told[1].starts_with("globex 6 0.49"), "a restart loses the sample before it: {told:?}");
    for _ in 0..2 {
        let (code, report, said) = import(&stage, &server, &trusting).await;
        assert_eq!((code, counts(&report)), (Some(0), [0, 12, 0, 0, 0]), "a re-read records nothing: {said}");
    }
    assert_eq!(stage.column(usage).await, told);
    stage.close().await;
}

/// Scrapes of a minute that fall on the hours' borders exactly, which ranges treat differently since version 3: a
/// life of ten minutes from ten on, a pod that got another name at noon, an hour without ten minutes.
fn gauges() -> String {
    let mut text = "# TYPE cores gauge\n".to_owned();
    let mut series = |org: &str, pod: &str, from: i64, until: i64, value: i64| {
        for minute in from..until {
            writeln!(text, "cores{{org=\"{org}\",pod=\"{pod}\"}} {value} {}", TEN + minute * 60).unwrap();
        }
    };
    series("brief", "a", 0, 10, 8);
    series("gap", "a", 60, 90, 6);
    series("gap", "a", 100, 120, 6);
    series("renamed", "a", 60, 120, 4);
    series("renamed", "b", 120, 180, 4);
    text += "# TYPE core_seconds counter\n";
    text += samples().trim_start_matches("# TYPE core_seconds counter\n");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_samples_on_the_borders_of_hours_count_once_whatever_the_version() {
    let name = "l7_samples_on_the_borders_of_hours_count_once_whatever_the_version";
    let fill = |directory: &Path| {
        std::fs::write(directory.join("samples"), gauges()).unwrap();
        let mut promtool = tool(name, "promtool").expect("it came with the server");
        promtool.args(["tsdb", "create-blocks-from", "openmetrics", "samples", "data"]).current_dir(directory);
        let output = promtool.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    if tool(name, "promtool").is_none() {
        return;
    }
    let Some(server) = RealPrometheus::start(name, "global: {}\n", fill, &[]) else { return };
    let stage = Stage::new().await;
    stage.at("2024-09-18T15:15:00Z").await;
    let recipe = |what: &'static str, name: &'static str, divisor: &'static str| {
        let mut command = tests::postmeter(&stage.db.url());
        command.args(["import", "prometheus", "--url", &server.url, "--source", name, what, name]);
        command.args(["--interval", "1m", "--divide-by", divisor, "--from", "2024-09-18T09:00Z"]);
        command.args(["--org", "{org}", "--product", "db", "--metric", "cores"]);
        tokio::task::spawn_blocking(move || command.output())
    };
    let output = recipe("--gauge", "cores", "1").await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("from 2024-09-18T11:30:00Z until 2024-09-18T11:40:00Z"), "{said}");
    assert_eq!(said.matches(": gap: ").count(), 1, "{said}");
    let output = recipe("--counter", "core_seconds_total", "3600").await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let usage = "select org || ' ' || string_agg(to_char(used_at at time zone 'UTC', 'HH24') || ':' || trim_scale(quantity), ' '
                                                   order by used_at) from postmeter.usage group by org order by org";
    let expected = [
        "acme 09:2 10:2 11:2 12:2 13:2 14:2",
        "brief 10:1.333333",
        "gap 11:5",
        "globex 09:0.491667 10:0.491667 11:0.491667 12:0.491667 13:0.491667 14:0.491667",
        "renamed 11:4 12:4",
    ];
    assert_eq!(stage.column(usage).await, expected);
    stage.close().await;
}
