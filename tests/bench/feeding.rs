//! The tracker under load: a million messages of 90,000 requests, some with 10,000, come out of order through two
//! feeds, while a process gathers, twenty clients read lists and a hundred watch requests. At the end every outcome
//! must be the model's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use outbox::requests::{create_partitions, gather};
use outbox::track::{NewStatus, Tracked, track_batch};
use tests::{Dice, Word, model_verdict};
use tokio_postgres::Client;

use crate::ground::{Ground, connect, open};
use crate::process::Part;
use crate::report::{Report, Target, scaled};

const MESSAGES: usize = 1_000_000;
const REQUESTS: usize = 90_000;
/// Requests with so many messages.
const LONG: usize = 10_000;
const LONG_ONES: usize = 40;
const BATCH: usize = 500;
/// Sessions of each of the two feeds.
const SESSIONS: usize = 2;
/// A message comes at most so many places from where its date belongs.
const OUT_OF_ORDER_BY: usize = 50_000;
const READERS: usize = 20;
const WATCHERS: usize = 100;
/// A reader reads a list, then waits, as a page does that refreshes itself.
const PAUSE: Duration = Duration::from_millis(500);
/// A gathering that falls behind for good must not keep the benchmark for ever.
const GATHERED_WITHIN: Duration = Duration::from_mins(15);

const LISTS: [&str; 8] = [
    "/v1/requests?limit=50",
    "/v1/requests?outcome=failed&limit=50",
    "/v1/requests?outcome=open&sort=last_recorded_at&limit=50",
    "/v1/requests?failed_service=puptoo&limit=50",
    "/v1/requests?org=org-7&last=24h&limit=50",
    "/v1/requests?service=engine&status=error&limit=50",
    "/api/v1/payloads?page_size=50",
    "/api/v1/statuses?service=puptoo&page_size=50",
];

pub async fn run(report: &mut Report) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let logged = [("log_line_prefix", "%p "), ("log_parameter_max_length", "0")];
    let ground = Ground::start(true, &logged);
    let url = ground.database("feeding").await;
    create_partitions(&open(&url), 1).await.expect("partitions");
    let token = console::new_token();
    let scopes = ["intake", "read"].map(str::to_owned);
    outbox::tokens::create(&open(&url), "bench", &token, &scopes, None, "bench").await.expect("a token");
    let client = connect(&url).await;
    let story = Story::new(client.query_one("select now()", &[]).await.expect("a clock").get(0));
    let gathering = Part::start(&["child-gather", &url]);
    let mut feeding = Part::start(&["child-console", &url]);
    let mut reading = Part::start(&["child-console-logged", &url]);
    let (door, shown) = (feeding.line().await.expect("an address"), reading.line().await.expect("an address"));
    let readers = Readers::start(&client, &story, &shown, &token).await;
    let before = ground.cpu_seconds();
    let seconds = feed(&url, &door, &token, &story).await;
    let count = story.arriving.len() as f64;
    let what = format!("intake: {SESSIONS} sessions of track_batch and {SESSIONS} of HTTP, batches of {BATCH}");
    report.note("feed", what, count / seconds, "messages/s", Target::AtLeast(20_000.0));
    let left = count_news(&client).await as f64 / count;
    report.note("feed", "of these not gathered at the end", left, "", Target::None);
    let started = Instant::now();
    while count_news(&client).await > 0 {
        assert!(started.elapsed() < GATHERED_WITHIN, "still not all is gathered");
        tokio::time::sleep(PAUSE).await;
    }
    report.note("feed", "until all is gathered, after that", started.elapsed().as_secs_f64(), "s", Target::None);
    report.note("feed", "CPU of the server for all of it", ground.cpu_seconds() - before, "s", Target::None);
    readers.stop(report).await;
    for part in [gathering, feeding, reading] {
        part.end().await;
    }
    let mut times = database_times(&ground.log());
    times.sort_by(f64::total_cmp);
    report.note(
        "feed",
        format!("database time of a list, median of {}", times.len()),
        at(&times, 0.5),
        "ms",
        Target::Below(20.0),
    );
    report.note("feed", "the same, 99th percentile", at(&times, 0.99), "ms", Target::Below(100.0));
    verdicts(report, &url, &client, &story).await;
}

async fn count_news(client: &Client) -> i64 {
    client.query_one("select count(*) from postmeter.request_news", &[]).await.expect("a count").get(0)
}

/// What all services say, and the order in which it comes.
struct Story {
    arriving: Vec<NewStatus>,
    expected: HashMap<String, String>,
    watched: Vec<String>,
}

impl Story {
    /// Messages a few milliseconds apart, the last one now.
    fn new(now: Timestamp) -> Self {
        let mut dice = Dice(7);
        let (messages, requests) = (scaled(MESSAGES), scaled(REQUESTS));
        let long = LONG_ONES.min(messages / LONG / 2);
        let short = requests - long;
        let mut whose: Vec<usize> = (0..long).flat_map(|request| std::iter::repeat_n(request, LONG)).collect();
        whose.extend((0..messages - whose.len()).map(|n| long + n % short));
        let whose = dice.shuffled(whose);
        let mut words: Vec<Vec<Word>> = vec![Vec::new(); requests];
        let first = now - SignedDuration::from_millis(3 * messages as i64);
        let told = whose.iter().enumerate().map(|(n, request)| {
            let word = word(&mut dice, n as i64);
            words[*request].push(word);
            let mut said = NewStatus::new(word.0, &id_of(*request), word.2);
            said.date = Some(first + SignedDuration::from_millis(3 * n as i64));
            said.source = (!word.1.is_empty()).then(|| word.1.to_owned());
            said.status_msg = Some(format!("{} by {}", word.2, word.0));
            said.org = Some(format!("org-{}", request % 1000));
            said.account = Some(format!("account-{}", request % 1000));
            said
        });
        let in_order: Vec<NewStatus> = told.collect();
        let mut arriving = Vec::with_capacity(messages);
        for some in in_order.chunks(OUT_OF_ORDER_BY) {
            arriving.extend(dice.shuffled(some.to_vec()));
        }
        let expected = words.iter().enumerate().map(|(n, words)| (id_of(n), model_verdict(words))).collect();
        // half of those that are watched are long
        let watched =
            (0..WATCHERS).map(|n| id_of(if n % 2 == 0 && long > 0 { n / 2 % long } else { long + n })).collect();
        Self { arriving, expected, watched }
    }
}

fn id_of(request: usize) -> String {
    format!("{request:032x}")
}

/// Most end well; what fails often succeeds later.
fn word(dice: &mut Dice, at: i64) -> Word {
    let service = ["ingress", "puptoo", "engine", "advisor"][dice.roll(4)];
    let source = ["", "", "inventory", "vulnerability"][dice.roll(4)];
    (service, source, ["received", "processing", "success", "success", "success", "error"][dice.roll(6)], at)
}

/// Sends everything; the two feeds take batches in turn. Returns the seconds from the first batch to the last answer.
async fn feed(url: &str, door: &str, token: &str, story: &Story) -> f64 {
    let batches: Vec<&[NewStatus]> = story.arriving.chunks(BATCH).collect();
    let next = AtomicUsize::new(0);
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(connect(url).await);
    }
    let http = reqwest::Client::new();
    let started = Instant::now();
    let over_sql = async |mut client: Client| {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let transaction = client.transaction().await.expect("a transaction");
            let verdicts = track_batch(&transaction, batch).await.expect("recorded");
            assert!(verdicts.iter().all(|verdict| *verdict == Tracked::Recorded));
            transaction.commit().await.expect("committed");
        }
    };
    let over_http = async || {
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let request = http.post(format!("{door}/v1/request-statuses/batch")).bearer_auth(token);
            let answer = request.json(batch).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), 202, "all recorded");
        }
    };
    tokio::join!(join_all(clients.into_iter().map(over_sql)), join_all((0..SESSIONS).map(|_| over_http())));
    started.elapsed().as_secs_f64()
}

/// Those who read lists and those who watch.
struct Readers {
    stop: Arc<AtomicBool>,
    reading: Vec<tokio::task::JoinHandle<Vec<Duration>>>,
    watching: Vec<tokio::task::JoinHandle<usize>>,
}

impl Readers {
    async fn start(client: &Client, story: &Story, address: &str, token: &str) -> Self {
        // what is watched must be known
        let sql = "select postmeter.track('watch', id, 'success') from unnest($1::text[]) id";
        client.execute(sql, &[&story.watched]).await.expect("recorded");
        let stop = Arc::new(AtomicBool::new(false));
        let http = reqwest::Client::new();
        let start = |number: usize| {
            let (http, token, stop, address) = (http.clone(), token.to_owned(), stop.clone(), address.to_owned());
            tokio::spawn(async move { read(&http, &address, &token, number, &stop).await })
        };
        let reading = (0..READERS).map(start).collect();
        let mut watching = Vec::new();
        for id in &story.watched {
            let path = format!("{address}/v1/requests/{id}/events");
            let response = http.get(path).bearer_auth(token).send().await.expect("an answer");
            assert_eq!(response.status().as_u16(), 200, "watched");
            watching.push(tokio::spawn(watch(response, stop.clone())));
        }
        Self { stop, reading, watching }
    }

    async fn stop(self, report: &mut Report) {
        self.stop.store(true, Ordering::Relaxed);
        let mut waits: Vec<Duration> =
            join_all(self.reading).await.into_iter().flat_map(|waits| waits.expect("a reader")).collect();
        waits.sort_unstable();
        let ms: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1000.0).collect();
        report.note(
            "feed",
            format!("{READERS} readers wait for a list, median of {}", ms.len()),
            at(&ms, 0.5),
            "ms",
            Target::None,
        );
        report.note("feed", "the longest wait of a reader", at(&ms, 1.0), "ms", Target::Below(1000.0));
        let seen: Vec<usize> = join_all(self.watching).await.into_iter().map(|seen| seen.expect("a watcher")).collect();
        let blind = seen.iter().filter(|seen| **seen == 0).count();
        report.note(
            "feed",
            format!("{WATCHERS} watchers were shown"),
            seen.iter().sum::<usize>() as f64,
            "messages",
            Target::None,
        );
        report.note("feed", "watchers who were shown none", blind as f64, "", Target::Below(1.0));
    }
}

async fn read(http: &reqwest::Client, address: &str, token: &str, number: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut waits = Vec::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = LISTS[(number + turn) % LISTS.len()];
        let started = Instant::now();
        let answer = http.get(format!("{address}{path}")).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let _ = answer.bytes().await.expect("a body");
        waits.push(started.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    waits
}

async fn watch(mut response: reqwest::Response, stop: Arc<AtomicBool>) -> usize {
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        // a stream that has nothing to say shows that it lives
        if let Ok(chunk) = tokio::time::timeout(Duration::from_secs(1), response.chunk()).await {
            let chunk = chunk.expect("the stream lives").expect("the stream goes on");
            seen += chunk.windows(14).filter(|word| word == b"event: status\n").count();
        }
    }
    // its first message was there before it
    seen.saturating_sub(1)
}

/// The server's time of each list: of every phase (parse, bind, execute) of every statement in its session since the
/// list before, the short gathering before a list and its counts among them.
fn database_times(log: &str) -> Vec<f64> {
    let mut times = Vec::new();
    let mut sums: HashMap<&str, f64> = HashMap::new();
    for line in log.lines() {
        let Some((session, rest)) = line.split_once(' ') else { continue };
        let duration = rest.trim_start().strip_prefix("LOG:  duration: ").and_then(|rest| rest.split_once(" ms  "));
        let Some((ms, what)) = duration else { continue };
        let sum = sums.entry(session).or_default();
        *sum += ms.parse::<f64>().expect("milliseconds");
        let is_page = ["-- request_list:", "-- request_statuses:"].iter().any(|name| what.contains(name));
        if is_page && what.starts_with("execute") {
            times.push(std::mem::take(sum));
        }
    }
    times
}

/// The value at a share of a sorted list.
fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

async fn verdicts(report: &mut Report, url: &str, client: &Client, story: &Story) {
    let database = open(url);
    while gather(&database).await.expect("gathered") > 0 {}
    let sql = "select request_id, format('%s %s %s', outcome, failed_service, open_services) from postmeter.request";
    let found: HashMap<String, String> =
        client.query(sql, &[]).await.expect("requests").iter().map(|row| (row.get(0), row.get(1))).collect();
    let wrong: Vec<_> = story.expected.iter().filter(|(id, verdict)| found.get(*id) != Some(verdict)).collect();
    for (id, verdict) in wrong.iter().take(3) {
        println!("request {id}: the model says {verdict:?}, the database {:?}", found.get(*id));
    }
    let kinds = ["succeeded", "failed", "open"]
        .map(|kind| format!("{kind} {}", found.values().filter(|verdict| verdict.starts_with(kind)).count()));
    let what = format!("of {} requests another verdict than the model's ({})", story.expected.len(), kinds.join(", "));
    report.note("feed", what, wrong.len() as f64, "", Target::Below(1.0));
}
