//! `docs/operate/install.md`, run as it stands: every command, in order, as one script.
//!
//! Paths of the machine are below a directory of the test's own; the packages' server is the test's cluster, started
//! with the settings that the page installs. Instead of systemd, `systemctl enable` starts what the units say.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command};

use postmeter::embedded::{Cluster, Listen, Options};
use tests::{TestDatabase, until_true};

use super::{read, root, skip};

const TEST: &str = "every_command_of_the_install_page_runs_in_order";

/// Blocks of commands, in order.
fn commands() -> Vec<String> {
    let page = read("docs/operate/install.md");
    let has_rules = root().join("deploy/prometheus/alerts.yml").exists();
    let block = |rest: &str| {
        let (language, text) = rest.split_once('\n')?;
        let is_run = language == "sh" || language == "sh prometheus" && has_rules;
        is_run.then(|| text.split("```").next().unwrap_or_default().to_owned())
    };
    // what stands between fences is every second part
    page.split("\n```").skip(1).step_by(2).filter_map(block).collect()
}

/// Programs that a test cannot run as they are; they stand first on the path.
fn stand_ins(place: &Path, cluster: &Cluster) {
    let write = |name: &str, body: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = place.join("stand-ins").join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\nset -euo pipefail\n{body}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    std::fs::create_dir_all(place.join("stand-ins")).unwrap();
    write("sudo", "[ \"$1\" != -u ] || shift 2\nexec \"$@\"");
    write("cargo", "[ \"$1 $2\" = 'build --release' ]");
    let conf = format!("etc/postgresql/{}/main/conf.d", cluster.binaries().major());
    write("apt-get", &format!("[ \"${{3:-}}\" != postgresql ] || mkdir -p '{}/{conf}'", place.display()));
    // what it would start is started by the test, from the units that were installed
    write("systemctl", &format!("echo \"$*\" >>'{}/systemctl'", place.display()));
    write("systemd-run", &format!("echo \"$*\" >>'{}/systemd-run'", place.display()));
    let missing = Command::new("sh").args(["-c", "command -v promtool"]).output().unwrap().stdout.is_empty();
    if missing {
        write("promtool", "test -s \"$3\"");
    }
}

/// The page's script, with its paths below `place`.
fn script(blocks: &[String], place: &Path, cluster: &Cluster, program: &Path) -> String {
    let mut script = "set -euxo pipefail\n".to_owned();
    for block in blocks {
        writeln!(script, "{block}").unwrap();
    }
    let below = |path: &str| format!("{}{path}", place.display());
    for path in
        ["/etc/postgresql-common", "/etc/postgresql", "/etc/postmeter", "/etc/prometheus", "/etc/systemd", "/usr/local"]
    {
        script = script.replace(path, &below(path));
    }
    // a longer path was replaced as its shorter beginning, too
    let doubled = format!("{0}{0}", place.display());
    script
        .replace(&doubled, &place.display().to_string())
        .replace("target/release/postmeter", &program.display().to_string())
        .replace("127.0.0.1:5432", &format!("127.0.0.1:{}", cluster.port()))
}

fn started_with_the_pages_settings() -> Cluster {
    let conf = read("deploy/postgres/postmeter.conf");
    let lines = conf.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    // this machine has less memory than theirs
    let fit = |name: &str, value: &str| if name == "shared_buffers" { "128MB".to_owned() } else { value.to_owned() };
    let settings: Vec<_> = lines.map(|(name, value)| (name.to_owned(), fit(name, value))).collect();
    assert!(settings.len() >= 20, "{settings:?}");
    let page = read("docs/operate/postgres.md");
    for (name, value) in &settings {
        let value = if name == "shared_buffers" { "2GB" } else { value };
        assert!(page.contains(&format!("| `{name}` | {value} |")), "docs/operate/postgres.md: {name} {value}");
    }
    Cluster::start(Options { settings, listen: Listen::FreePort, ..Options::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_install_page_runs_in_order() {
    let cluster = started_with_the_pages_settings();
    if !cluster.binaries().program("psql").exists() {
        return skip(TEST, "psql is not installed");
    }
    let place = tempfile::tempdir().unwrap();
    // as Debian's server does: it offers TLS with a certificate that nobody knows
    if crate::tls::certificates(place.path(), &[("snakeoil", "localhost")]) {
        crate::tls::show(&cluster, place.path(), "snakeoil").await;
    }
    stand_ins(place.path(), &cluster);
    let program = tests::postmeter("").get_program().to_owned();
    let path =
        [place.path().join("stand-ins"), place.path().join("usr/local/bin"), cluster.binaries().directory().to_owned()];
    let path: Vec<String> = path.iter().map(|path| path.display().to_string()).collect();
    let shell = |blocks: &[String]| {
        let mut shell = Command::new("bash");
        shell.args(["-c", &script(blocks, place.path(), &cluster, Path::new(&program))]).current_dir(root());
        shell.env("PATH", format!("{}:{}", path.join(":"), std::env::var("PATH").unwrap_or_default()));
        shell.env("PGHOST", cluster.directory()).env("PGPORT", cluster.port().to_string()).env("PGUSER", "postgres");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSTMETER_") {
                shell.env_remove(name);
            }
        }
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let blocks = commands();
    let starting = blocks.iter().position(|block| block.contains("systemctl enable")).expect("what starts workers");
    let (before, after) = blocks.split_at(starting + 1);
    let said = shell(before);
    assert!(said.contains("migrations applied; purpose production") && said.contains("log.format"), "{said}");
    let told = std::fs::read_to_string(place.path().join("systemctl")).unwrap();
    assert!(told.contains("enable --now postmeter-worker@1 postmeter-worker@2 postmeter-console"), "{told}");
    let client = TestDatabase::client_of(&cluster.url("billing")).await;
    let workers = start_workers(place.path());
    until_true(&client, "select count(*) = 2 from postmeter.worker where name ~ '^host/[12]$' and stopped_at is null")
        .await;
    let said = shell(after);
    assert!(said.contains("2 workers") || said.contains("settings"), "doctor looked: {said}");
    until_true(
        &client,
        "select (select count(*) = 0 from postmeter.outbox) and (select count(*) = 1 from postmeter.allocation)",
    )
    .await;
    for mut worker in workers {
        tests::signal(&worker.0, "TERM");
        assert!(tests::end_of(&mut worker.0).success());
    }
}

/// Ends with its test, however that ends: it would keep the port of the next run's.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // it has ended already where all went well
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts both workers as their installed unit says, with the files that the page wrote.
fn start_workers(place: &Path) -> Vec<Worker> {
    use super::systemd::{credentials, exec_start, unit};
    let (etc, units) = (place.join("etc/postmeter"), place.join("etc/systemd/system"));
    let unit = unit(&units.join("postmeter-worker@.service"));
    let start = |number: u32| {
        let handed = place.join(format!("handed-{number}"));
        std::fs::create_dir(&handed).unwrap();
        credentials(&unit, &etc, &handed);
        let mut command = exec_start(&unit, &handed, number);
        for line in std::fs::read_to_string(etc.join(format!("worker-{number}.env"))).unwrap().lines() {
            if let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                command.env(name, value);
            }
        }
        Worker(command.spawn().unwrap())
    };
    [1, 2].map(start).into()
}
