//! F9 with two real programs: `make upgrade` builds an older revision and names it in `POSTMETER_TEST_OLDER`.

use std::process::{Child, Command, Stdio};

use postmeter::embedded::{Cluster, Options};
use serde_json::json;
use simulator::{Clock, Running, Settings, Simulator};
use tests::{postmeter, t};
use tokio_postgres::{Client, NoTls};

/// One database, one marketplace, and the programs that meet there.
struct Rollout {
    cluster: Cluster,
    client: Client,
    aws: Running,
    older: String,
}

impl Rollout {
    fn url(&self) -> String {
        self.cluster.url("postgres")
    }

    /// The older program or this one.
    fn program(&self, is_older: bool) -> Command {
        let mut ours = postmeter(&self.url());
        if !is_older {
            return ours;
        }
        let mut command = Command::new(&self.older);
        for (name, value) in ours.env("POSTMETER_WORKER_POLL_MS", "20").get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn run(&self, is_older: bool, words: &[&str]) -> (bool, String) {
        let output = self.program(is_older).args(words).output().expect("the program runs");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    fn worker(&self, is_older: bool) -> Child {
        let mut command = self.program(is_older);
        command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("POSTMETER_WORKER_POLL_MS", "20").env("POSTMETER_TEST_LEASE_SECONDS", "2");
        command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
        command.spawn().expect("a worker")
    }

    async fn is(&self, sql: &str) -> bool {
        self.client.query_one(&format!("select coalesce(({sql}), false)"), &[]).await.expect(sql).get(0)
    }

    async fn until(&self, sql: &str) {
        tests::wait_until(sql, async || self.is(sql).await).await;
    }

    async fn at(&self, time: &str) {
        let now = t(time);
        self.client.execute("update postmeter.setting set clock_frozen = $1", &[&now]).await.expect("a clock");
        self.aws.set_clock(Clock::frozen_at(now));
    }

    /// An hour's usage is recorded, and whoever runs folds, cuts and sends it.
    async fn hour(&self, hour: u32) {
        self.at(&format!("2024-09-18T{hour}:30:00Z")).await;
        let usage = format!(
            "select postmeter.record_usage('s', 'e{hour}', 'acme', 'db', 'cores', 1, '2024-09-18T{hour}:10:00Z')"
        );
        self.client.batch_execute(&usage).await.expect("recorded");
        self.at(&format!("2024-09-18T{}:04:00Z", hour + 1)).await;
        self.until("select not exists (select from postmeter.outbox)").await;
        self.at(&format!("2024-09-18T{}:10:00Z", hour + 1)).await;
        let sent = format!("select status = 'accepted' from postmeter.remittance where hour = '2024-09-18T{hour}:00Z'");
        self.until(&sent).await;
    }
}

fn end(worker: &mut Child) {
    tests::signal(worker, "TERM");
    tests::end_of(worker);
}

async fn start() -> Rollout {
    let older = std::env::var("POSTMETER_TEST_OLDER").expect("make upgrade names the older program");
    let cluster = Cluster::start(Options::default()).expect("a server");
    let (client, connection) = tokio_postgres::connect(&cluster.url("postgres"), NoTls).await.expect("it answers");
    tokio::spawn(connection);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let mut settings = Settings { clock: Clock::frozen_at(t("2024-09-18T10:00:00Z")), ..Settings::default() };
    settings.aws.rate = None;
    let aws = Simulator::start(listener, settings).expect("a simulator");
    let rollout = Rollout { cluster, client, aws, older };
    let (is_made, text) = rollout.run(true, &["migrate", "--create-roles", "--purpose", "test"]);
    assert!(is_made, "{text}");
    let settings = json!({"region": "us-east-1", "endpoint": rollout.aws.url()});
    rollout
        .client
        .batch_execute(&format!(
            "with q as (insert into postmeter.quota (name) values ('aws') returning id)
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
             select 'aws', 'aws', '{settings}', q.id, '24 hours', '6 hours', '1 hour', 25, 900000 from q;
             insert into postmeter.dimension (destination_id, product, metric, name) select id, 'db', 'cores', 'cores' from postmeter.destination;
             insert into postmeter.subscription (org, product, destination_id, identity, valid_from)
             select 'acme', 'db', id, '{{\"product_code\": \"p\", \"customer_aws_account_id\": \"111122223333\"}}', '2024-01-01' from postmeter.destination"
        ))
        .await
        .expect("a catalogue");
    rollout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "builds an older revision: make upgrade"]
async fn rollout_f9_an_older_program_beside_this_one() {
    let rollout = start().await;
    let mut older = [rollout.worker(true), rollout.worker(true)];
    rollout.hour(10).await;
    let (is_planned, plan) = rollout.run(false, &["migrate", "--plan"]);
    println!("{plan}");
    let (is_migrated, text) = rollout.run(false, &["migrate"]);
    println!("{text}");
    if !is_migrated {
        // whatever the reason, what runs goes on, and the sentence says what to do
        rollout.hour(11).await;
        assert!(["other content", "stop what is older"].iter().any(|words| text.contains(words)), "{text}");
        older.iter_mut().for_each(end);
        let (is_migrated, text) = rollout.run(false, &["migrate"]);
        println!("{text}");
        if !is_migrated {
            assert!(!is_planned && text.contains("other content"), "{text}");
            println!("VERDICT: this program refuses the older one's schema; the older one goes on");
            return closes(&rollout, 2).await;
        }
        let mut newer = rollout.worker(false);
        rollout.hour(12).await;
        end(&mut newer);
        println!("VERDICT: the older programs had to stop first, and were named");
        return closes(&rollout, 3).await;
    }
    // the older ones go on, and one that died is started again
    rollout.hour(11).await;
    older[0].kill().expect("it dies");
    older[0].wait().expect("it is dead");
    older[0] = rollout.worker(true);
    let mut newer = rollout.worker(false);
    rollout.hour(12).await;
    end(&mut newer);
    end(&mut older[1]);
    let refuses = older[0].try_wait().expect("its state").is_some();
    if refuses {
        let (_, text) = rollout.run(true, &["worker"]);
        assert!(text.contains("does not know"), "{text}");
        println!("VERDICT: a running older program goes on, and refuses to start anew: {text}");
    } else {
        rollout.hour(13).await;
        println!("VERDICT: both work, and the older one starts anew on the newer schema");
    }
    end(&mut older[0]);
    closes(&rollout, if refuses { 3 } else { 4 }).await;
}

/// The balance is zero and the marketplace holds each hour once.
async fn closes(rollout: &Rollout, hours: usize) {
    assert!(!rollout.is("select exists (select from postmeter.balance where difference <> 0)").await);
    assert!(!rollout.is("select exists (select from postmeter.usage_balance where difference <> 0)").await);
    assert_eq!(rollout.aws.record().len(), hours);
}
