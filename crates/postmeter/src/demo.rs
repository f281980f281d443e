//! The demo: a virtual day from usage to accepted remittances, with everything real but the day. A Postgres of its own, the
//! simulated marketplace over HTTP, worker processes, one of which is killed, and lost answers; then the three ledgers
//! are compared: what was recorded, what our tables say, what the marketplace holds.

mod children;
mod day;
mod market;
mod requests;
mod verdict;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use outbox::{Access, Database};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::embedded::{Cluster, Listen, Options};
pub use children::LastWords;
use children::{Children, Crash};
use market::Market;
use verdict::Closing;

/// A database of your own for the demo; refused unless the demo made its schema or there is none.
pub const DATABASE_VARIABLE: &str = "POSTMETER_DEMO_DATABASE_URL";

/// No step of the day takes longer, on any machine that can run it at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the demo's progress goes, a line at a time.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// Runs the day and returns whether everything closed. With `keep` it stays up until told to stop.
///
/// # Errors
/// Something the demo stands on could not be had: the message says what, and what to do.
pub async fn run(keep: bool, say: Say<'_>) -> anyhow::Result<bool> {
    let folder = tempfile::Builder::new().prefix("postmeter-demo-").tempdir()?;
    let ground = Ground::prepare(say).await?;
    let market = Market::open(day::midnight()).await?;
    let files = day::write(folder.path(), &market.url())?;
    let mut children = Children::new(folder.path(), &ground.url)?;
    children.command(&["catalog", "apply", &path(&files.catalogue)]).await?;
    say(&format!(
        "catalogue: {} customers, 3 dimensions, AWS at 10 calls a second (simulated at {})",
        day::CUSTOMERS,
        market.url()
    ));
    children.start_worker(None)?;
    children.start_worker(Some(Crash { point: "after_claim", passing: 9 }))?;
    say("two workers run; one of them will be killed while it has claims in its hands, and the network loses answers");
    market.lose_answers()?;
    let began = Instant::now();
    for hour in 0..24 {
        play_hour(&ground, &market, &mut children, &files.usage, hour, say).await?;
    }
    settle(&ground, &market, &mut children).await?;
    let closing = Closing::read(&ground.database, &market).await?;
    children.stop().await?;
    for line in closing.table(began.elapsed()) {
        say(&line);
    }
    say("");
    for line in children.command(&["request", requests::SHOWN]).await?.lines() {
        say(line);
    }
    say("");
    if keep {
        stay(&ground, &market, &mut children, folder, say).await?;
    } else {
        say(
            "Next: `make play` keeps all this running to try things on; docs/integrate.md shows how your service records usage.",
        );
    }
    market.close().await;
    Ok(closing.closes())
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The database.
struct Ground {
    url: String,
    /// The same through TCP, where it is ours: not every driver reads the path of a socket in a URL.
    told: String,
    database: Database,
    /// Ends with the demo.
    _cluster: Option<Cluster>,
}

impl Ground {
    async fn prepare(say: Say<'_>) -> anyhow::Result<Self> {
        let own = std::env::var(DATABASE_VARIABLE).ok();
        let (url, told, cluster) = if let Some(url) = own {
            say(&format!("database: yours, from {DATABASE_VARIABLE}"));
            (url.clone(), url, None)
        } else {
            let cluster = tokio::task::spawn_blocking(|| {
                Cluster::start(Options { listen: Listen::FreePort, ..Options::default() })
            })
            .await??;
            say(&format!("database: an embedded Postgres {} of its own, fresh", cluster.binaries().major()));
            let url = cluster.url("postgres");
            (url.clone(), cluster.tcp_url("postgres").unwrap_or(url), Some(cluster))
        };
        let database = Database::open(&Access::new(&url))?;
        database.wait(PATIENCE).await.context("the demo's database")?;
        make_schema(&database).await?;
        outbox::maintain::move_clock(&database, day::midnight()).await?;
        Ok(Self { url, told, database, _cluster: cluster })
    }

    async fn clock(&self, market: &Market, to: Timestamp) -> anyhow::Result<()> {
        outbox::maintain::move_clock(&self.database, to).await?;
        market.clock(to);
        Ok(())
    }
}

/// Makes the schema anew. One that the demo did not make is left alone.
async fn make_schema(database: &Database) -> anyhow::Result<()> {
    let known = outbox::migrate::MIGRATIONS;
    let is_there = outbox::migrate::state(database, known).await.map_or(true, |state| !state.is_new(known));
    if is_there {
        let purpose = outbox::catalogue::purpose(database).await?;
        if purpose != "demo" {
            bail!(
                "{DATABASE_VARIABLE} names a database whose schema postmeter is for {purpose}: the demo makes its schema anew, so give it an empty database"
            );
        }
        outbox::migrate::drop_schema(database).await?;
    }
    outbox::health::create_roles(database).await?;
    outbox::migrate::apply(database).await?;
    outbox::health::set_purpose(database, "demo").await?;
    Ok(())
}

/// One hour of the day: its usage is recorded near its end, then the hour passes, is cut and sent.
async fn play_hour(
    ground: &Ground,
    market: &Market,
    children: &mut Children,
    usage: &Path,
    hour: i64,
    say: Say<'_>,
) -> anyhow::Result<()> {
    let start = day::midnight() + SignedDuration::from_hours(hour);
    let end = start + SignedDuration::from_hours(1);
    ground.clock(market, start + SignedDuration::from_mins(50)).await?;
    children
        .command(&["import", "focus", &path(usage), "--from", &start.to_string(), "--until", &end.to_string()])
        .await?;
    if hour == requests::HOUR {
        requests::play(&ground.database).await?;
        say(&format!("  {hour:02}:00  {} requests came in, whose services say where they are", requests::COUNT));
    }
    until(ground, children, |v| v.waiting == 0).await?;
    ground.clock(market, end + SignedDuration::from_mins(6)).await?;
    until(ground, children, |v| v.open == 0).await?;
    if children.replace_the_dead()? {
        say(&format!("  {hour:02}:00  a worker was killed with claims in its hands; another took its place"));
    }
    if hour % 6 == 5 {
        let v = outbox::report::verdict(&ground.database).await?;
        say(&format!(
            "  {hour:02}:00  recorded {}, accepted {} remittances, {} on their way",
            v.usages,
            v.accepted,
            v.unsent + v.in_flight
        ));
    }
    Ok(())
}

/// After the day: the clock goes on until every retry has had its time.
async fn settle(ground: &Ground, market: &Market, children: &mut Children) -> anyhow::Result<()> {
    market.lose_no_more();
    let mut now = day::midnight() + SignedDuration::from_hours(24) + SignedDuration::from_mins(10);
    let began = Instant::now();
    while !outbox::report::verdict(&ground.database).await?.is_quiet() {
        if began.elapsed() > PATIENCE {
            bail!("the last remittances did not come to rest; the workers' last words:\n{}", children.last_words());
        }
        now += SignedDuration::from_mins(1);
        ground.clock(market, now).await?;
        children.replace_the_dead()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn until(
    ground: &Ground,
    children: &mut Children,
    done: impl Fn(&outbox::report::Verdict) -> bool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done(&outbox::report::verdict(&ground.database).await?) {
        if began.elapsed() > PATIENCE {
            bail!("the workers do not get on; their last words:\n{}", children.last_words());
        }
        children.replace_the_dead()?;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    Ok(())
}

/// Stays up for somebody to try things on.
async fn stay(
    ground: &Ground,
    market: &Market,
    children: &mut Children,
    folder: TempDir,
    say: Say<'_>,
) -> anyhow::Result<()> {
    // what somebody records from here on was used now
    market.clock(outbox::maintain::clock_to_present(&ground.database).await?);
    children.start_worker(None)?;
    say("It stays up until Ctrl-C, and its clock is today's. In another terminal:");
    say(&format!("  export POSTMETER_DATABASE_URL='{}'", ground.told));
    say(&format!("  export PLAY_MARKET='{}'", market.url()));
    say("  postmeter status;  postmeter attempts --limit 5;  psql \"$POSTMETER_DATABASE_URL\"");
    say("  curl \"$PLAY_MARKET/_simulator/record/totals\"");
    say("docs/integrate.md begins here: org acme buys compute, by the hours.");
    let stop = CancellationToken::new();
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        () = stop.cancelled() => {}
    }
    children.stop().await?;
    drop(folder);
    Ok(())
}
