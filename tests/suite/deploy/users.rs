//! The users that compose makes: each can do its process's work, as the compose file says.

use std::process::Command;

use postmeter::embedded::{Cluster, Listen, Options};

use super::{read, root, skip};

const TEST: &str = "i3_the_users_of_compose_can_do_their_work_and_a_service_only_records";

fn psql(cluster: &Cluster, sql: &str) -> Command {
    let mut command = Command::new(cluster.binaries().program("psql"));
    command.args(["-v", "ON_ERROR_STOP=1", "-q", "-A", "-t", "-d", &cluster.url("billing"), "-c", sql]);
    command
}

/// Runs a command; what it said.
fn done(mut command: Command) -> String {
    let output = command.output().expect("the command");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_the_users_of_compose_can_do_their_work_and_a_service_only_records() {
    let settings: Vec<_> = read("deploy/compose.yaml")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ")?.split_once('='))
        .filter(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(settings.len() >= 7, "{settings:?}");
    // it starts with the settings of the compose file
    let cluster = Cluster::start(Options { settings, listen: Listen::FreePort, ..Options::default() }).unwrap();
    let directory = cluster.binaries().directory().to_owned();
    if !directory.join("psql").exists() {
        return skip(TEST, "psql is not installed");
    }
    let mut create = Command::new(directory.join("psql"));
    done({
        create.args(["-q", "-d", &cluster.url("postgres"), "-c", "create database billing"]);
        create
    });
    // what the image's entry point does with the files of its directory, in order
    done(psql(&cluster, &read("sql/roles.sql")));
    let mut users = Command::new(root().join("deploy/compose/users.sh"));
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    users.env("PATH", path).env("POSTGRES_PASSWORD", "it's a secret").env("POSTGRES_DB", "billing");
    users.env("POSTGRES_USER", "postgres").env("PGHOST", cluster.directory()).env("PGPORT", cluster.port().to_string());
    done(users);
    let url = |user: &str| {
        let url = cluster.tcp_url("billing").expect("loopback");
        let (before, rest) = url.split_once("://").expect("a URL");
        format!("{before}://{user}:it%27s%20a%20secret@{}", rest.split_once('@').expect("an address").1)
    };
    let run = |user: &str, arguments: &[&str]| {
        let mut command = tests::postmeter(&url(user));
        command.args(arguments);
        done(command)
    };
    assert!(run("postmeter_owner", &["migrate", "--purpose", "demo"]).contains("purpose demo"));
    let catalogue = root().join("deploy/compose/catalogue.toml");
    run("postmeter_person", &["catalog", "apply", catalogue.to_str().expect("text")]);
    // the worker's user sees all that doctor looks at
    let output = tests::postmeter(&url("postmeter_sender")).args(["doctor"]).output().expect("the command");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines() {
        // no worker runs here, and none looks
        let is_blind = line.contains("not looked at") && !line.contains("nobody looks");
        assert!(!is_blind && !line.contains("cannot be seen"), "{text}");
    }
    run("postmeter_door", &["token", "list"]);
    let record = "select postmeter.record_usage('s', 'e-1', 'acme', 'db', 'cores', 1, now())";
    let as_service = |sql: &str| {
        let mut command = Command::new(directory.join("psql"));
        command.args(["-v", "ON_ERROR_STOP=1", "-q", "-t", "-d", &url("billing_service"), "-c", sql]);
        command
    };
    done(as_service(record));
    assert!(!as_service("select from postmeter.usage").output().unwrap().status.success());
    assert_eq!(
        done(psql(&cluster, "select tableowner from pg_tables where tablename = 'delivery'")).trim(),
        "postmeter_migrator"
    );
}
