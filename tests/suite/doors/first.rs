//! L8: what the pages tell a beginner to type, typed as it stands against `make play`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use outbox::NewUsage;
use tests::{TestDatabase, q};
use tokio_postgres::Client;

use super::{page, root};
use crate::integrate::usage;

/// A virtual day with everything real, on a busy machine.
const DAY: Duration = Duration::from_secs(300);
/// From the end of an hour to the marketplace's answer.
const SENT: Duration = Duration::from_secs(120);

/// `make play`, which is this command.
pub(super) struct Play {
    child: Child,
    exports: Vec<(String, String)>,
    /// Keeps reading, so that it can go on writing.
    _lines: mpsc::Receiver<String>,
}

impl Drop for Play {
    fn drop(&mut self) {
        // Ctrl-C, so that it ends its children
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
    }
}

impl Play {
    fn start() -> Self {
        let mut command = tests::postmeter("postgres://unused@localhost/unused");
        let mut child = command.args(["demo", "--keep"]).stdout(Stdio::piped()).spawn().expect("it starts");
        let (say, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let reading = move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line));
        std::thread::Builder::new().name("reader".to_owned()).spawn(reading).expect("a thread");
        let (mut exports, mut said) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while !said.iter().any(|line: &String| line.contains("docs/integrate.md begins here")) {
            let left = DAY.saturating_sub(began.elapsed());
            let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("play is not up after {DAY:?}: {said:#?}"));
            if let Some((name, value)) = line.trim().strip_prefix("export ").and_then(|line| line.split_once('=')) {
                exports.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            }
            said.push(line);
        }
        Self { child, exports, _lines: lines }
    }

    fn export(&self, wanted: &str) -> &str {
        &self.exports.iter().find(|(name, _)| name == wanted).expect(wanted).1
    }

    /// A block of a page as a shell runs it; returns what it prints.
    pub(super) fn shell(&self, block: &str, more: &[(&str, &str)]) -> String {
        let command = tests::postmeter(self.export("POSTMETER_DATABASE_URL"));
        let folder = std::path::Path::new(command.get_program()).parent().expect("its folder").to_owned();
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTMETER_")) {
            shell.env_remove(name);
        }
        shell.args(["-e", "-c", block]).env("PATH", path).env("USER", "ada");
        shell.envs(self.exports.iter().cloned()).envs(more.iter().copied());
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{block}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The code of a page's blocks of a language, in order.
pub(super) fn blocks(path: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page(path).split(&fence).skip(1).map(|rest| rest.split("```").next().expect("its end").to_owned()).collect()
}

/// Waits until usage is accepted, and says what else it is.
pub(super) async fn accepted(client: &Client, source: &str, event_id: &str) {
    let asked = "select concat_ws(' ', whereabouts, reason, destination, status, key) from postmeter.usage_explained
                 where source = $1 and event_id = $2";
    let began = Instant::now();
    loop {
        let rows = client.query(asked, &[&source, &event_id]).await.expect("an answer");
        let is: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if is.iter().any(|is| is.contains(" accepted ")) {
            return;
        }
        assert!(began.elapsed() < SENT, "{source} {event_id} is not accepted after {SENT:?}, but {is:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The five steps of the page.
async fn five_steps(play: &Play, client: &Client) {
    let text = page("docs/integrate.md");
    let steps = text.split("## The first usage, in five steps").nth(1).expect("the section").split("\n## ").next();
    let numbered: Vec<_> = steps.expect("steps").lines().filter(|line| line.as_bytes().get(1) == Some(&b'.')).collect();
    assert_eq!(numbered.len(), 5, "{numbered:?}");
    assert!(numbered[0].contains("`make play`") && numbered[1].contains("`export`"));
    let sql = blocks("docs/integrate.md", "sql");
    client.batch_execute(&sql[0]).await.expect("step 3");
    client
        .batch_execute("update postmeter.setting set clock_shift = clock_shift + '6 minutes'")
        .await
        .expect("a clock");
    accepted(client, "shop", "job-4711").await;
    let row = client.query_one(&sql[1], &[]).await.expect("step 4");
    assert_eq!(row.get::<_, &str>("status"), "accepted");
    let totals = play.shell(&blocks("docs/integrate.md", "sh")[0], &[]);
    let totals: serde_json::Value = serde_json::from_str(&totals).expect("JSON");
    let hours =
        totals["dimensions"].as_array().expect("dimensions").iter().find(|dimension| dimension["dimension"] == "hours");
    assert_eq!(hours.expect("the dimension")["quantity"], "0.25", "{totals}");
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first call of the HTTP page, by a console of the command.
fn first_call(play: &Play) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    let console = tests::postmeter(play.export("POSTMETER_DATABASE_URL"))
        .args(["console", "--listen", &address])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a console");
    let mut console = Ended(console);
    let line = tests::line_of(console.0.stdout.take().expect("its output"), |line| Some(line.to_owned()));
    let block = blocks("docs/api.md", "sh")[0].replace("localhost:8080", &address);
    let said = play.shell(&block, &[]);
    assert!(said.contains(r#""verdict":"recorded""#), "{line}: {said}");
}

/// The first import of Prometheus' page, from its own server; where this machine has one.
async fn first_import(play: &Play, client: &Client) {
    let test = "l8_the_first_example_of_each_page_ends_as_accepted_on_the_ground_of_play";
    let Some(promtool) = crate::real_prometheus::tool(test, "promtool") else { return };
    let tools = std::path::Path::new(promtool.get_program()).parent().expect("its folder").display().to_string();
    let place = tempfile::tempdir().expect("a directory");
    let of_page = |language| blocks("docs/integrate/prometheus.md", language);
    let (blocks, sql_blocks) = (of_page("sh"), of_page("sql"));
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let here = |block: &str| {
        let block = block.replace("127.0.0.1:9095", &format!("127.0.0.1:{port}"));
        format!("PATH={tools}:$PATH\ncd {}\n{block}", place.path().display())
    };
    play.shell(&(here(&blocks[0]) + "\necho $! >pid"), &[]);
    let said = play.shell(&here(&blocks[1]), &[]);
    assert!(said.contains("1 recorded") && said.contains("1.333333"), "{said}");
    let pid = std::fs::read_to_string(place.path().join("pid")).expect("a number");
    let _ = Command::new("kill").arg(pid.trim()).status();
    let sql = "select event_id from postmeter.usage where source = 'prometheus:core-hours'";
    let event: String = client.query_one(sql, &[]).await.expect("one").get(0);
    accepted(client, "prometheus:core-hours", &event).await;
    let asked = &sql_blocks[0];
    assert_eq!(client.query_one(asked, &[]).await.expect("an answer").get::<_, &str>("status"), "accepted");
}

/// The examples of the languages that this machine has, by the event they begin with.
async fn languages(play: &Play, client: &mut Client) -> Vec<&'static str> {
    let url = play.export("POSTMETER_DATABASE_URL");
    let examples = root().join("docs/integrate/examples");
    let (node, place) = (std::env::var("POSTMETER_TEST_NODE_MODULES"), tempfile::tempdir().expect("a directory"));
    let mut programs: Vec<(&'static str, Command)> = Vec::new();
    if let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") {
        for (event, file) in [("py-1", "usage.py"), ("orm-1", "orm.py")] {
            let mut command = Command::new(&python);
            command.arg(examples.join("python").join(file));
            programs.push((event, command));
        }
    }
    if let Ok(modules) = node {
        std::fs::copy(examples.join("node/usage.mjs"), place.path().join("usage.mjs")).expect("a copy");
        std::os::unix::fs::symlink(modules, place.path().join("node_modules")).expect("a link");
        let mut command = Command::new("node");
        command.arg(place.path().join("usage.mjs"));
        programs.push(("js-1", command));
    }
    if let Ok(driver) = std::env::var("POSTMETER_TEST_JDBC") {
        let mut command = Command::new("java");
        command.arg("-cp").arg(driver).arg(examples.join("java/Usage.java"));
        programs.push(("java-1", command));
    }
    let mut events = Vec::new();
    for (event, mut command) in programs {
        // each has a table of this name, with some of the same rows
        client.batch_execute("drop table if exists job").await.expect("no table");
        let output = command.env("DATABASE_URL", service(url)).output().expect("it starts");
        assert!(output.status.success(), "{event}: {}", String::from_utf8_lossy(&output.stderr));
        events.push(event);
    }
    let recreate = "drop table if exists job; create table job (id text primary key, org text not null, flaw text)";
    client.batch_execute(recreate).await.expect("a table");
    let now = client.query_one("select date_trunc('second', now())", &[]).await.expect("a time").get(0);
    let job = NewUsage::new("shop", "rs-1", "acme", "compute", "hours", q("0.25"), now);
    usage::finish_job(client, &job).await.expect("recorded");
    events.push("rs-1");
    events
}

/// The URL of a user who may record, and create a table of its own.
fn service(url: &str) -> String {
    let (_, place) = url.split_once('@').expect("user@host");
    format!("postgresql://shop:shop@{place}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_the_first_example_of_each_page_ends_as_accepted_on_the_ground_of_play() {
    let play = tokio::task::spawn_blocking(Play::start).await.expect("play");
    let mut client = TestDatabase::client_of(play.export("POSTMETER_DATABASE_URL")).await;
    first_import(&play, &client).await;
    five_steps(&play, &client).await;
    first_call(&play);
    super::export::first_import(&play, &client).await;
    client
        .batch_execute(
            "create role shop login password 'shop' in role postmeter_producer;
             grant create, usage on schema public to shop",
        )
        .await
        .expect("a user");
    let events = languages(&play, &mut client).await;
    // these are of the running hour: it passes, at the marketplace first
    play.shell(r#"curl -fsS -X PUT "$PLAY_MARKET/_simulator/clock" -d '{"advance_seconds": 3960}'"#, &[]);
    let passed = "update postmeter.setting set clock_shift = clock_shift + '3960 seconds'";
    client.batch_execute(passed).await.expect("a clock");
    accepted(&client, "billing", "1").await;
    for event in events {
        accepted(&client, "shop", event).await;
    }
}
