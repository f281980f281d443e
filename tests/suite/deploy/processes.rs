//! Every process that compose and the chart start: its command, its settings, its ports and probes.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::{root, skip};

/// A process of ours.
#[derive(Debug)]
struct Process {
    /// Where it stands.
    place: String,
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    /// The configuration file it is given.
    configuration: String,
    /// What is asked of its port: port and path.
    probes: Vec<(u64, String)>,
    /// How long it may take to stop.
    grace: Option<u64>,
}

/// What the chart and the compose file become; `None`: the tools are not installed.
fn rendered() -> Option<&'static Value> {
    static RENDERED: OnceLock<Option<Value>> = OnceLock::new();
    let render = || {
        let python = std::env::var("POSTMETER_TEST_PYTHON").ok()?;
        let output = Command::new(python).arg(root().join("tests/deploy/render.py")).output().expect("Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    RENDERED.get_or_init(render).as_ref()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|values| values.iter().map(text).collect()).unwrap_or_default()
}

/// Those of the chart, for each set of values.
fn of_the_chart(rendered: &Value) -> Vec<Process> {
    let mut processes = Vec::new();
    for (values, objects) in rendered["chart"].as_object().expect("sets of values") {
        let objects = objects.as_array().expect("objects");
        let configuration = objects.iter().find(|object| object["kind"] == "ConfigMap").expect("a configuration");
        for object in objects {
            let pod = &object["spec"]["template"]["spec"];
            for container in pod["containers"].as_array().unwrap_or(&Vec::new()) {
                let variables = container["env"].as_array().expect("an environment").iter();
                let environment: BTreeMap<_, _> =
                    variables.map(|one| (text(&one["name"]), one.get("value").map_or("x".to_owned(), text))).collect();
                let port = |probe: &Value| {
                    assert_eq!(probe["port"], "http");
                    container["ports"][0]["containerPort"].as_u64().expect("a port")
                };
                let probes =
                    ["startupProbe", "livenessProbe", "readinessProbe"].map(|name| &container[name]["httpGet"]);
                let probes = probes.into_iter().filter(|probe| !probe.is_null());
                let probes = probes.map(|probe| (port(probe), text(&probe["path"]))).collect();
                processes.push(Process {
                    place: format!("chart, {values}: {}", text(&object["metadata"]["name"])),
                    arguments: texts(&container["args"]),
                    environment,
                    configuration: text(&configuration["data"]["postmeter.toml"]),
                    probes,
                    grace: pod["terminationGracePeriodSeconds"].as_u64(),
                });
            }
        }
    }
    processes
}

/// Those of the compose file.
fn of_compose(rendered: &Value) -> Vec<Process> {
    let services = rendered["compose"]["services"].as_object().expect("services");
    let ours = services.iter().filter(|(_, service)| service["image"] == "postmeter");
    let process = |(name, service): (&String, &Value)| {
        let variables = service["environment"].as_object();
        let environment = variables
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect::<BTreeMap<_, _>>();
        // bash -c 'exec 3<>/dev/tcp/ADDRESS/PORT && printf 'GET PATH HTTP/1.0 …
        let test = texts(&service["healthcheck"]["test"]).join(" ");
        let probe = test.split_once("/dev/tcp/127.0.0.1/").map(|(_, rest)| {
            let port = rest.split(' ').next().expect("a port").parse().expect("a number");
            (port, rest.split_once("GET ").expect("a request").1.split(' ').next().expect("a path").to_owned())
        });
        Process {
            place: format!("compose: {name}"),
            arguments: texts(&service["command"]),
            environment,
            configuration: String::new(),
            probes: probe.into_iter().collect(),
            grace: service["stop_grace_period"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()),
        }
    };
    ours.map(process).collect()
}

fn processes(test: &str) -> Option<Vec<Process>> {
    let Some(rendered) = rendered() else {
        skip(test, "POSTMETER_TEST_PYTHON");
        return None;
    };
    let mut processes = of_the_chart(rendered);
    processes.extend(of_compose(rendered));
    assert!(processes.len() >= 12, "{processes:#?}");
    Some(processes)
}

#[test]
fn every_deployed_command_is_one_of_the_program() {
    let Some(processes) = processes("every_deployed_command_is_one_of_the_program") else { return };
    for process in processes {
        assert!(!process.arguments.is_empty(), "{}", process.place);
        let output = tests::postmeter("").args(&process.arguments).arg("--help").output().expect("the command");
        assert!(output.status.success(), "{}: {}", process.place, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_deployed_setting_is_one_and_may_have_its_value() {
    let Some(processes) = processes("every_deployed_setting_is_one_and_may_have_its_value") else { return };
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("postmeter.toml");
    for process in &processes {
        std::fs::write(&file, &process.configuration).expect("a file");
        let output = tests::postmeter("")
            .env_remove("POSTMETER_DATABASE_URL")
            .envs(
                process
                    .environment
                    .iter()
                    .filter(|(name, _)| name.starts_with("POSTMETER_") && *name != "POSTMETER_CONFIG")
                    // the files are there where it is deployed, and not here
                    .filter(|(name, _)| !name.ends_with("_FILE") && !name.ends_with("_TLS_AUTHORITY")),
            )
            .arg("--config")
            .arg(&file)
            .arg("config")
            .output()
            .expect("the command");
        assert!(output.status.success(), "{}: {}", process.place, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn f5_every_probe_asks_where_the_process_listens_and_stopping_has_its_time() {
    let test = "f5_every_probe_asks_where_the_process_listens_and_stopping_has_its_time";
    let Some(processes) = processes(test) else { return };
    let document: Value = serde_json::from_str(&console::document()).expect("JSON");
    let mut probed = 0;
    for process in processes {
        let kind = process.arguments[0].as_str();
        let listen = match kind {
            "worker" => process.environment.get("POSTMETER_WORKER_LISTEN"),
            "console" => process.environment.get("POSTMETER_CONSOLE_LISTEN").or(process.arguments.get(2)),
            _ => None,
        };
        if let Some(listen) = listen {
            let port: u64 = listen.rsplit(':').next().expect("a port").parse().expect("a number");
            assert!(!process.probes.is_empty(), "{} is probed", process.place);
            for (asked, path) in &process.probes {
                assert_eq!(*asked, port, "{}", process.place);
                assert!(document["paths"].get(path).is_some(), "{}: {path}", process.place);
                probed += 1;
            }
        }
        if kind == "worker" {
            let said = process.environment.get("POSTMETER_WORKER_STOP_WITHIN_SECONDS");
            let needed: u64 = said.map_or(25, |seconds| seconds.parse().expect("a number"));
            assert!(process.grace.expect("a time to stop") >= needed + 10, "{}", process.place);
        }
    }
    assert!(probed >= 12, "{probed}");
}
