//! H8: the consumers of `docs/integrate/streams.md`, with real consumer libraries: a stream forgets what Postmeter has
//! answered for, and nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use tests::{Console, TestDatabase};

use super::{root, skip, text};

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other end of a stream: `tests/streams/broker.py`.
struct Broker {
    /// Where consumers find it.
    address: String,
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
    _program: Running,
}

/// A program's lines, as they come.
fn lines_of(said: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let reading = move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("broker".to_owned()).spawn(reading).expect("a thread");
    lines
}

impl Broker {
    fn start(python: &str, words: &[&str]) -> Self {
        let mut command = Command::new(python);
        command.arg(root().join("tests/streams/broker.py")).args(words);
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let commands = program.stdin.take().expect("piped");
        let answers = lines_of(program.stdout.take().expect("piped"));
        let mut broker = Self { address: String::new(), commands, answers, _program: Running(program) };
        broker.address = broker.answer();
        broker
    }

    fn answer(&mut self) -> String {
        self.answers
            .recv_timeout(Duration::from_secs(60))
            .expect("the broker answers within a minute, and has not ended")
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("it reads");
        self.answer()
    }

    /// Messages that the consumer has taken for good.
    fn done(&mut self) -> u64 {
        self.tell("done").parse().expect("a number")
    }

    async fn until_done(&mut self, count: u64, consumer: &mut Running, start: &impl Fn() -> Running) {
        tests::wait_until(format!("{count} messages to be taken"), async || {
            if consumer.0.try_wait().expect("a child").is_some() {
                *consumer = start();
            }
            self.done() >= count
        })
        .await;
    }
}

fn message(number: usize) -> String {
    let date = format!("2026-03-10 09:00:00.{number:06}");
    json!({"service": "ingress", "request_id": format!("r-{number}"), "status": "received", "date": date, "org_id": "acme"})
        .to_string()
}

/// What comes through the stream: good messages, and some that will never be good.
fn publish(broker: &mut Broker, folder: &Path, numbers: std::ops::Range<usize>) {
    let mut lines: Vec<String> = numbers.map(message).collect();
    for poison in ["", "{\"service\"", "{\"service\": \"a\", \"request_id\": \"a\\u0000\", \"status\": \"s\"}"] {
        lines.insert(lines.len() / 2, poison.to_owned());
    }
    let file = folder.join("messages.ndjson");
    std::fs::write(&file, lines.join("\n")).expect("written");
    assert_eq!(broker.tell(&format!("publish {}", file.display())), "published");
}

/// Runs a consumer of the page against a broker: first without Postmeter, then, after a crash, with it.
async fn feed(python: &str, program: &str, variables: &[(&str, &str)], mut broker: Broker) {
    let db = TestDatabase::fresh().await;
    db.client.batch_execute("update postmeter.setting set clock_frozen = '2026-03-10T10:00:00Z'").await.unwrap();
    let console = Console::start(&db).await;
    let token = console.token(&["intake"]).await;
    let folder = tempfile::tempdir().unwrap();
    let consumer = |url: &str| {
        let mut command = Command::new(python);
        command.arg(root().join("docs/integrate/examples/streams").join(program));
        command.envs(variables.iter().copied()).env("POSTMETER_URL", url).env("POSTMETER_TOKEN", &token);
        Running(command.env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::piped()).spawn().expect("python starts"))
    };
    publish(&mut broker, folder.path(), 0..600);
    // nobody answers: it says so, and the stream keeps everything, also when the consumer is killed
    let mut without = consumer("http://127.0.0.1:1");
    tests::line_of(without.0.stderr.take().unwrap(), |line| line.contains("no answer from Postmeter").then_some(()));
    assert_eq!(broker.done(), 0, "nobody has answered");
    drop(without);
    // as a supervisor does it: a consumer that ends is started again, and its stream has kept what is not answered for
    let (sender, refusals) = mpsc::channel();
    let supervised = || {
        let mut with = consumer(&console.url);
        let (errors, sender) = (BufReader::new(with.0.stderr.take().unwrap()), sender.clone());
        let reading = move || errors.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        std::thread::Builder::new().name("refusals".to_owned()).spawn(reading).expect("a thread");
        with
    };
    let mut with = supervised();
    broker.until_done(603, &mut with, &supervised).await;
    publish(&mut broker, folder.path(), 600..610);
    broker.until_done(616, &mut with, &supervised).await;
    drop((with, sender));
    let count = "select format('%s %s', count(*), count(distinct request_key)) from postmeter.request_status";
    assert_eq!(text(&db.client, count).await, "610 610", "each once");
    let mut refused = Vec::new();
    while let Ok(line) = refusals.recv_timeout(Duration::from_secs(60)) {
        refused.push(line);
    }
    // once each, and once more if the consumer ended between an answer and what it says of it
    assert!(refused.iter().filter(|line| line.starts_with("refused: ")).count() >= 6, "{refused:?}");
    tests::until_true(&db.client, "select coalesce(sum(n), 0) >= 6 from postmeter.request_refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_consumer_of_nats_acknowledges_what_postmeter_has_answered_for() {
    const NAME: &str = "h8_a_consumer_of_nats_acknowledges_what_postmeter_has_answered_for";
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        skip(NAME, "POSTMETER_TEST_PYTHON");
        return;
    };
    let unpacked = root().join(".tools/nats/nats-server");
    let server = if unpacked.exists() { unpacked } else { "nats-server".into() };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(server);
    command
        .args(["-js", "-a", "127.0.0.1", "-p", "-1", "-sd"])
        .arg(folder.path())
        .arg("--ports_file_dir")
        .arg(folder.path());
    let Ok(server) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        crate::moto::skip_named(NAME, "nats-server is not installed");
        return;
    };
    let ports = folder.path().join(format!("nats-server_{}.ports", server.id()));
    let _server = Running(server);
    let url = || {
        let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
        Some(ports["nats"][0].as_str()?.to_owned())
    };
    tests::wait_until("the server to say where it listens", async || url().is_some()).await;
    let url = url().expect("it listens");
    let broker = Broker::start(&python, &["nats", &url, "statuses"]);
    let variables = [("NATS_URL", url.as_str()), ("NATS_SUBJECT", "statuses"), ("ACK_WAIT", "2")];
    feed(&python, "nats_feed.py", &variables, broker).await;
}

/// Against librdkafka's own cluster for tests, which speaks the protocol: there is no Kafka without a Java of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_a_consumer_of_kafka_commits_what_postmeter_has_answered_for() {
    const NAME: &str = "h8_a_consumer_of_kafka_commits_what_postmeter_has_answered_for";
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        skip(NAME, "POSTMETER_TEST_PYTHON");
        return;
    };
    let broker = Broker::start(&python, &["kafka", "statuses"]);
    let address = broker.address.clone();
    let variables =
        [("KAFKA_BOOTSTRAP", address.as_str()), ("KAFKA_TOPIC", "statuses"), ("SESSION_TIMEOUT_MS", "6000")];
    feed(&python, "kafka_feed.py", &variables, broker).await;
}
