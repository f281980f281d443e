//! F6 and E13 with real servers: `make failover`. A standby by streaming replication, promoted with and without lost
//! commits; a restore to a point in time from a base backup and archived WAL. The commands are those of
//! `docs/operate/failover.md`.

mod identities;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use postmeter::embedded::{Cluster, Options};
use simulator::{FaultKind, FaultRule, IdenticalResend};
use tests::{Dimension, Stage, TestDatabase};
use tokio_postgres::{Client, NoTls};

/// A line of the page, so that what people are told is what was run here.
fn told(line: &str) -> String {
    let page = include_str!("../../docs/operate/failover.md");
    assert!(page.lines().any(|there| there.trim().starts_with(line)), "docs/operate/failover.md does not say: {line}");
    line.to_owned()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    client
}

async fn value(client: &Client, sql: &str) -> String {
    client
        .query_one(&format!("select ({sql})::text"), &[])
        .await
        .expect(sql)
        .get::<_, Option<String>>(0)
        .unwrap_or_default()
}

async fn until_true(client: &Client, sql: &str) {
    tests::until_true(client, sql).await;
}

fn cluster(settings: &[(&str, &str)]) -> Cluster {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Cluster::start(Options { settings, ..Options::default() }).expect("a server")
}

/// Runs a program of the server as the account that owns its files.
fn as_owner(cluster: &Cluster, program: &str, arguments: &[&str]) {
    let owner = std::fs::metadata(cluster.directory()).expect("a directory");
    let mut command = Command::new(cluster.binaries().program(program));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").current_dir(cluster.directory());
    if owner.uid() != std::fs::metadata("/proc/self").expect("ourselves").uid() {
        command.gid(owner.gid()).uid(owner.uid());
    }
    let output = command.output().expect(program);
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes a base backup of one server into the place of another, which is stopped.
fn base_backup(from: &Cluster, into: &mut Cluster, more: &[&str]) {
    into.stop().expect("it stops");
    let data = into.directory().join("data");
    std::fs::remove_dir_all(&data).expect("its data");
    let source =
        format!("host={} port={} user=postgres application_name=standby", from.directory().display(), from.port());
    let data = data.to_string_lossy().into_owned();
    as_owner(
        into,
        "pg_basebackup",
        &[&["-d", &source, "-D", &data, "--checkpoint=fast", "--no-sync"][..], more].concat(),
    );
}

/// A primary, a standby that streams from it, and the URL that names both.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    url: String,
}

impl Pair {
    async fn start() -> (Self, Stage) {
        let primary = cluster(&[("wal_level", "replica")]);
        let mut standby = cluster(&[]);
        let [one, two] = [&primary, &standby].map(|cluster| {
            let url = cluster.url("postgres");
            url.trim_start_matches("postgresql://postgres@").trim_end_matches("/postgres").to_owned()
        });
        let url = format!("postgresql://postgres@{one},{two}/postgres?target_session_attrs=read-write");
        told("url = \"postgres://sender@db1:5432,db2:5432/billing?sslmode=require&target_session_attrs=read-write\"");
        standby.stop().expect("it stops");
        let stage = Stage::on(TestDatabase::alone_at(&url).await).await;
        told(
            "pg_basebackup -d \"host=db1 user=replicator application_name=standby\" -D /var/lib/postgresql/data -R -X stream",
        );
        base_backup(&primary, &mut standby, &["-R", "-X", "stream"]);
        standby.restart().expect("the standby comes up");
        let pair = Self { primary, standby, url };
        until_true(
            &pair.on_primary().await,
            "select exists (select from pg_stat_replication where state = 'streaming')",
        )
        .await;
        (pair, stage)
    }

    async fn on_primary(&self) -> Client {
        connect(&self.primary.url("postgres")).await
    }

    async fn on_standby(&self) -> Client {
        connect(&self.standby.url("postgres")).await
    }

    /// Waits until the standby has all that the primary has now.
    async fn caught_up(&self) {
        let here = value(&self.on_primary().await, "select pg_current_wal_lsn()").await;
        until_true(&self.on_standby().await, &format!("select pg_last_wal_replay_lsn() >= '{here}'")).await;
    }

    /// The standby has all that the primary has now; from here on nothing reaches it.
    async fn part(&self) {
        self.caught_up().await;
        self.on_standby().await.batch_execute("alter system set primary_conninfo = ''").await.unwrap();
        self.on_standby().await.batch_execute("select pg_reload_conf()").await.unwrap();
        until_true(&self.on_primary().await, "select not exists (select from pg_stat_replication)").await;
    }

    /// The primary dies, the standby takes over.
    async fn fail_over(&mut self, stage: &mut Stage) {
        self.primary.kill().expect("it dies");
        let promoted = self.on_standby().await;
        promoted.batch_execute(&told("select pg_promote();")).await.expect("it is promoted");
        until_true(&promoted, "select not pg_is_in_recovery()").await;
        stage.db.client = connect(&self.url).await;
    }
}

/// A worker process; a test that fails leaves none behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn worker(url: &str) -> Running {
    let mut command = tests::postmeter(url);
    command.arg("worker").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("POSTMETER_WORKER_POLL_MS", "20").env("POSTMETER_TEST_LEASE_SECONDS", "8");
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
    Running(command.spawn().unwrap())
}

fn end(mut worker: Running) {
    tests::signal(&worker.0, "TERM");
    tests::end_of(&mut worker.0);
}

fn command(url: &str, words: &[&str]) -> String {
    let output = tests::postmeter(url).env("USER", "mira").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const ORGS: usize = 12;
/// Both workers have looked where the server stands.
const BEATEN: &str = "select count(*) >= 2 from postmeter.worker where heartbeat_at > started_at";

/// Usage of an hour, a core of each org.
async fn usage(stage: &Stage, at: &str) {
    for n in 0..ORGS {
        stage.record(&format!("{n} {at}"), &format!("org{n}"), "cores", "1", at).await;
    }
}

/// The hour of 10:00 is cut and waits; no worker runs.
async fn due(stage: &Stage) {
    let mut settings = stage.aws.settings();
    settings.aws.identical_resend = IdenticalResend::Duplicate;
    stage.aws.set_settings(settings);
    stage.dimension(Dimension::default()).await;
    stage.at("2024-09-18T10:30:00Z").await;
    for n in 0..ORGS {
        stage.subscribe(&format!("org{n}"), &format!("{}", 100_000_000_000 + n)).await;
    }
    stage.configure("records_max = 3").await;
    usage(stage, "2024-09-18T10:10:00Z").await;
    stage.cut_only("2024-09-18T11:10:00Z").await;
    // later than what will be lost: a restored clock of a test would say that the hour of 11:00 was not over yet
    stage.at("2024-09-18T12:20:00Z").await;
    stage.sql("update postmeter.worker set stopped_at = now(), reaped_at = now()").await;
}

async fn until_accepted(stage: &Stage, count: usize) {
    let all = format!("select count(*) filter (where status = 'accepted') = {count} from postmeter.remittance");
    until_true(&stage.db.client, &all).await;
}

/// Lets workers that run fold and cut the hour of 11:00.
async fn next_hour(stage: &Stage) {
    stage.at("2024-09-18T12:24:00Z").await;
    until_true(&stage.db.client, "select not exists (select from postmeter.outbox)").await;
    stage.at("2024-09-18T12:30:00Z").await;
    until_accepted(stage, 2 * ORGS).await;
}

/// Everything was billed, once.
async fn billed_once(stage: Stage) {
    let record = stage.aws.record();
    assert_eq!(record.len(), 2 * ORGS);
    assert!(record.iter().all(|accepted| accepted.quantity.normalize().to_string() == "1"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real standbys: make failover"]
async fn failover_e13_commits_lost_by_a_promotion_stop_all_sending_until_a_person_resumes() {
    let (mut pair, mut stage) = Pair::start().await;
    due(&stage).await;
    pair.part().await;
    let workers = [worker(&pair.url), worker(&pair.url)];
    until_accepted(&stage, ORGS).await;
    usage(&stage, "2024-09-18T11:20:00Z").await;
    next_hour(&stage).await;
    until_true(&stage.db.client, BEATEN).await;

    pair.fail_over(&mut stage).await;
    assert_eq!(
        stage.value("select count(*)::text from postmeter.remittance where status = 'due'").await,
        ORGS.to_string()
    );
    until_true(&stage.db.client, "select bool_and(paused) from postmeter.destination").await;
    let calls = stage.aws.counters().calls;
    let again = "select count(*) >= 2 from postmeter.worker
                 where stopped_at is null and reaped_at is null and heartbeat_at > started_at + interval '1 second'";
    until_true(&stage.db.client, again).await;
    assert_eq!(stage.aws.counters().calls, calls, "nothing is sent on a history that went back");
    assert_eq!(calls, stage.aws.record().len() as u64 / 3, "and nothing was between the promotion and the pause");
    for line in [
        "select noticed_at, who, why from postmeter.timeline_break order by id desc limit 1;",
        "select destination, status, count(*), sum(quantity) from postmeter.remittance where maybe_billed group by 1, 2;",
    ] {
        assert_eq!(stage.db.client.query(&told(line), &[]).await.unwrap().len(), 1, "{line}");
    }
    // the services record again what their own tables lack too
    usage(&stage, "2024-09-18T11:20:00Z").await;
    told("postmeter resume aws-us --why \"compared with AWS after the failover\"");
    command(&pair.url, &["resume", "aws", "--why", "compared with AWS after the failover"]);
    next_hour(&stage).await;
    let again: u64 = stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum();
    assert_eq!(again, 2 * ORGS as u64, "each was sent again with its own key and is known by it");
    assert_eq!(stage.value("select count(*)::text from postmeter.timeline_break").await, "1");
    workers.into_iter().for_each(end);
    billed_once(stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real standbys: make failover"]
async fn failover_f6_a_synchronous_standby_takes_over_and_nothing_stops() {
    let (mut pair, mut stage) = Pair::start().await;
    let set = told("alter system set synchronous_standby_names = 'standby';");
    let primary = pair.on_primary().await;
    primary.batch_execute(&set).await.unwrap();
    primary.batch_execute(&told("select pg_reload_conf();")).await.unwrap();
    until_true(&primary, "select exists (select from pg_stat_replication where sync_state = 'sync')").await;
    due(&stage).await;
    // calls take a while, so that the primary dies with answers on their way
    stage.aws.add_fault(FaultRule::new(FaultKind::Delay).ms(300)).unwrap();
    stage.configure("paused = true").await;
    let workers = [worker(&pair.url), worker(&pair.url)];
    // a worker that has not seen where the server stood cannot say that it went on
    until_true(&stage.db.client, BEATEN).await;
    command(&pair.url, &["resume", "aws", "--why", "both have looked"]);
    tests::wait_until("two calls", async || stage.aws.counters().calls >= 2).await;
    pair.fail_over(&mut stage).await;
    until_accepted(&stage, ORGS).await;
    usage(&stage, "2024-09-18T11:20:00Z").await;
    next_hour(&stage).await;
    assert_eq!(stage.value("select count(*)::text from postmeter.timeline_break").await, "0", "nothing was lost");
    assert_eq!(stage.value("select bool_or(paused)::text from postmeter.destination").await, "false");
    workers.into_iter().for_each(end);
    billed_once(stage).await;
}

/// Makes a base backup recover from an archive up to a moment.
fn recover(data: &Path, archive: &Path, until: &str) {
    told("restore_command = 'cp /archive/%f \"%p\"'");
    told("recovery_target_time = '2024-09-18 11:20:00+00'");
    told("recovery_target_action = 'promote'");
    let settings = format!(
        "restore_command = 'cp {}/%f \"%p\"'\nrecovery_target_time = '{until}'\nrecovery_target_action = 'promote'\n",
        archive.display()
    );
    let file = data.join("postgresql.auto.conf");
    let there = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{there}{settings}")).unwrap();
    told("touch /var/lib/postgresql/data/recovery.signal");
    std::fs::write(data.join("recovery.signal"), "").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real standbys: make failover"]
async fn failover_e13_a_restore_to_a_point_in_time_sends_nothing_by_itself_and_bills_once() {
    let archive = tempfile::Builder::new().prefix("archive-").tempdir_in("/tmp").unwrap();
    let copies = format!("cp %p {}/%f", archive.path().display());
    told("archive_command = 'cp %p /archive/%f'");
    let mut primary = cluster(&[("wal_level", "replica"), ("archive_mode", "on"), ("archive_command", &copies)]);
    let owner = std::fs::metadata(primary.directory()).unwrap();
    std::os::unix::fs::chown(archive.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
    let mut restored = cluster(&[]);
    let mut stage = Stage::on(TestDatabase::alone_on(&primary).await).await;
    base_backup(&primary, &mut restored, &["-X", "none"]);
    due(&stage).await;
    let moment = stage.value("select clock_timestamp()::text").await;
    let sender = worker(&primary.url("postgres"));
    until_accepted(&stage, ORGS).await;
    usage(&stage, "2024-09-18T11:20:00Z").await;
    next_hour(&stage).await;
    end(sender);
    let file = stage.value("select pg_walfile_name(pg_switch_wal())").await;
    let archived = format!("select coalesce(last_archived_wal >= '{file}', false) from pg_stat_archiver");
    until_true(&stage.db.client, &archived).await;
    primary.stop().unwrap();

    recover(&restored.directory().join("data"), archive.path(), &moment);
    restored.restart().unwrap();
    let url = restored.url("postgres");
    stage.db.client = connect(&url).await;
    stage.db.database = outbox::Database::open(&outbox::Access::new(&url)).unwrap();
    until_true(&stage.db.client, "select not pg_is_in_recovery()").await;
    assert_eq!(
        stage.value("select count(*)::text from postmeter.remittance where status = 'due'").await,
        ORGS.to_string()
    );
    // every worker was stopped, so that none remembers: a person says it before the first is started
    let line = told("select postmeter.declare_installation('original', 'mira', 'restored to 11:20');");
    stage.sql(&line).await;
    let sender = worker(&url);
    until_true(&stage.db.client, "select exists (select from postmeter.worker where heartbeat_at > started_at)").await;
    let calls = stage.aws.counters().calls;
    assert_eq!(calls, 2 * ORGS as u64 / 3, "nothing is sent before a person resumes");
    command(&url, &["resume", "aws", "--why", "compared with AWS after the restore"]);
    until_accepted(&stage, ORGS).await;
    for n in 0..ORGS {
        let event = format!("{n} 2024-09-18T11:20:00Z");
        let again = format!(
            "select postmeter.record_usage('billing', '{event}', 'org{n}', 'db', 'cores', 1, '2024-09-18T11:20:00Z')"
        );
        stage.sql(&again).await;
    }
    next_hour(&stage).await;
    let again: u64 = stage.aws.record().iter().map(|accepted| accepted.identical_resends).sum();
    assert_eq!(again, 2 * ORGS as u64);
    end(sender);
    billed_once(stage).await;
}
