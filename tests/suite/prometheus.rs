//! A7: usage of whole hours from a server that speaks Prometheus' range query, over real HTTP.

mod real;
mod recipes;
mod scraped;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tests::Stage;

/// What the server answers: series by their org, values by the second at which their hour ends.
#[derive(Default)]
struct Server {
    values: BTreeMap<(String, i64), String>,
    /// Instead of a list of series.
    answer: Option<(StatusCode, Value)>,
    /// Besides, a header.
    header: Option<(&'static str, &'static str)>,
    /// What is asked by instant queries: samples of each series, by the second.
    samples: Vec<(Value, Vec<(i64, String)>)>,
    /// Answers with a 503 that many times first.
    away: u32,
    /// Megabytes that an answer is longer, for each hour in it.
    padding: usize,
    /// Ranges that were asked for, with the token.
    asked: Vec<(i64, i64, String)>,
}

type Shared = Arc<Mutex<Server>>;

const TEN: i64 = 1_726_653_600; // 2024-09-18T10:00:00Z
const HOUR: i64 = 3600;

async fn range(
    State(server): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> (StatusCode, HeaderMap, String) {
    let mut more = HeaderMap::new();
    if let Some((name, value)) = server.lock().unwrap().header {
        more.insert(name, value.parse().unwrap());
    }
    let (status, body) = answer(&server, &headers, &form);
    (status, more, body)
}

fn answer(server: &Shared, headers: &HeaderMap, form: &BTreeMap<String, String>) -> (StatusCode, String) {
    if form.contains_key("time") {
        return recipes::samples(&server.lock().unwrap(), form);
    }
    assert_eq!((form["partial_response"].as_str(), form["deny_partial_response"].as_str()), ("false", "1"));
    let mut server = server.lock().unwrap();
    let number = |name: &str| form[name].parse::<i64>().unwrap();
    let (start, end) = (number("start"), number("end"));
    assert_eq!(number("step"), HOUR);
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    server.asked.push((start, end, token.unwrap_or_default()));
    if server.away > 0 {
        server.away -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, "away".to_owned());
    }
    if let Some((status, answer)) = &server.answer {
        return (*status, answer.to_string());
    }
    let mut series = BTreeMap::<&str, Vec<Value>>::new();
    for ((org, at), value) in server.values.iter().filter(|((_, at), _)| (start..=end).contains(at)) {
        series.entry(org).or_default().push(json!([at, value]));
    }
    let labels = |org: &str| if org.is_empty() { json!({"job": "api"}) } else { json!({"org": org, "job": "api"}) };
    let result: Vec<_> =
        series.into_iter().map(|(org, values)| json!({"metric": labels(org), "values": values})).collect();
    let data = json!({"resultType": "matrix", "result": result});
    let padding = usize::try_from((end - start) / HOUR + 1).unwrap() * server.padding;
    (StatusCode::OK, json!({"status": "success", "data": data}).to_string() + &" ".repeat(padding << 20))
}

struct Scene {
    stage: Stage,
    server: Shared,
    url: String,
}

impl Scene {
    async fn new() -> Self {
        let server = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/team", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/team/api/v1/query_range", post(range))
            .route("/team/api/v1/query", post(range))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stage = Stage::new().await;
        stage.at("2024-09-18T15:05:00Z").await;
        Self { stage, server, url }
    }

    /// The value of the hour that ends so many hours after ten.
    fn set(&self, org: &str, hours: i64, value: &str) {
        self.server.lock().unwrap().values.insert((org.to_owned(), TEN + hours * HOUR), value.to_owned());
    }

    async fn import(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = tests::postmeter(&self.stage.db.url());
        command.args(["import", "prometheus", "--json", "--url", &self.url]);
        if !more.iter().any(|word| matches!(*word, "--query" | "--gauge" | "--counter")) {
            command.args(["--query", "the query"]);
        }
        command.args(["--source", "prometheus:cores", "--org", "{org}", "--product", "db", "--metric", "cores"]);
        if !more.iter().any(|word| matches!(*word, "--last" | "--from")) {
            command.args(["--from", "2024-09-18T09:00Z"]);
        }
        command.args(more).env("POSTMETER_PROMETHEUS_TOKEN", "a-secret-that-must-not-leak");
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("a-secret"), "{said}");
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    async fn usage(&self) -> Vec<String> {
        let sql =
            "select org || ' ' || to_char(used_at at time zone 'UTC', 'DD\"T\"HH24:MI') || ' ' || trim_scale(quantity)
                   from postmeter.usage order by 1";
        self.stage.column(sql).await
    }
}

fn counts(report: &Value) -> [u64; 5] {
    ["recorded", "repeated", "zero", "conflicts", "rejected"].map(|name| report[name].as_u64().unwrap_or(999))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_hours_of_prometheus_are_recorded_once_however_often_they_are_read() {
    let scene = Scene::new().await;
    scene.set("acme", 0, "0.30000000000000004");
    scene.set("acme", 1, "0");
    scene.set("acme", 4, "7.0000004");
    scene.set("globex", 2, "1e+03");
    scene.set("acme", 5, "99"); // ends at three: five minutes ago, and the lag is ten
    let (code, report, said) = scene.import(&["--dry-run"]).await;
    assert_eq!((code, counts(&report)), (Some(0), [3, 0, 1, 0, 0]), "{said}");
    assert_eq!(scene.usage().await, Vec::<String>::new(), "a dry run leaves nothing behind");
    let (code, report, said) = scene.import(&[]).await;
    assert_eq!((code, counts(&report)), (Some(0), [3, 0, 1, 0, 0]), "{said}");
    assert_eq!(report["missing_hours"], 2, "between eleven and one");
    assert!(said.contains("2024-09-18T11:00:00Z {job=\"api\", org=\"acme\"}: missing"), "{said}");
    let expected = ["acme 18T09:00 0.3", "acme 18T13:00 7", "globex 18T11:00 1000"];
    assert_eq!(scene.usage().await, expected);
    // noise in the last digits is the same value
    scene.set("acme", 0, "0.3");
    let (code, report, _) = scene.import(&[]).await;
    assert_eq!((code, counts(&report)), (Some(0), [0, 3, 1, 0, 0]));
    scene.stage.at("2024-09-18T15:10:00Z").await;
    let (code, report, _) = scene.import(&["--last", "2h"]).await;
    assert_eq!((code, counts(&report)), (Some(0), [1, 1, 0, 0, 0]), "the hour is over by the lag");
    let asked = scene.server.lock().unwrap().asked.clone();
    assert_eq!(asked[0], (TEN, TEN + 4 * HOUR, "Bearer a-secret-that-must-not-leak".to_owned()));
    assert_eq!((asked[3].0, asked[3].1), (TEN + 4 * HOUR, TEN + 5 * HOUR));
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_a_value_that_changed_is_a_named_conflict_and_changes_nothing() {
    let scene = Scene::new().await;
    scene.set("acme", 0, "5");
    scene.set("globex", 0, "5");
    assert_eq!(scene.import(&[]).await.0, Some(0));
    scene.set("acme", 0, "6");
    scene.set("globex", 0, "4");
    scene.set("acme", 1, "1");
    let (code, report, said) = scene.import(&[]).await;
    assert_eq!((code, counts(&report)), (Some(3), [1, 0, 0, 2, 0]), "the rest goes on");
    assert!(said.contains("2024-09-18T09:00:00Z {job=\"api\", org=\"acme\"}: conflict: event_id: "), "{said}");
    assert!(said.contains("the query now says 6"), "{said}");
    assert_eq!(scene.usage().await, ["acme 18T09:00 5", "acme 18T10:00 1", "globex 18T09:00 5"]);
    // another mapping of the same series is a conflict as well, and never billed under another id
    let (code, report, _) = scene.import(&["--account", "{job}"]).await;
    assert_eq!((code, counts(&report)), (Some(3), [0, 0, 0, 3, 0]));
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_what_is_no_usage_is_listed_by_series_and_hour() {
    let scene = Scene::new().await;
    for (hours, value) in [(0, "NaN"), (1, "+Inf"), (2, "-1"), (3, "1e15"), (4, "2")] {
        scene.set("acme", hours, value);
    }
    scene.set("", 0, "1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rejects.csv");
    let (code, report, said) = scene.import(&["--rejects", &file.to_string_lossy()]).await;
    assert_eq!((code, counts(&report)), (Some(3), [1, 0, 0, 0, 5]), "{said}");
    let list = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<Vec<String>> = csv::Reader::from_reader(list.as_bytes())
        .records()
        .map(|record| record.unwrap().iter().map(str::to_owned).collect())
        .collect();
    lines.sort();
    let fields: Vec<_> = lines.iter().map(|line| (line[0].as_str(), line[2].as_str(), line[3].as_str())).collect();
    let at = |hour: u32| format!("2024-09-18T{hour:02}:00:00Z");
    let at = [at(9), at(9), at(10), at(11), at(12)];
    let expected = ["quantity", "org", "quantity", "quantity", "quantity"];
    for ((field, hour), name) in fields.iter().zip(&at).zip(expected) {
        assert_eq!(*field, (hour.as_str(), "rejected", name));
    }
    assert!(list.contains("the series has no label org"), "{list}");
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_an_answer_that_may_be_incomplete_records_nothing() {
    let scene = Scene::new().await;
    let result = json!([{"metric": {"org": "acme"}, "values": [[TEN, "1"]]}]);
    let with = |warnings: Value| json!({"status": "success", "warnings": warnings, "data": {"resultType": "matrix", "result": result}});
    let bad = json!({"status": "error", "errorType": "bad_data", "error": "parse error: unclosed"});
    let late = json!({"status": "success", "data": {"resultType": "matrix", "result":
        [{"metric": {"org": "acme"}, "values": [[TEN + 60, "1"]]}]}});
    for (status, answer, code, sentence) in [
        (200, with(json!(["store 2 is away"])), 1, "may be incomplete: store 2 is away"),
        (401, json!("who?"), 1, "401"),
        (302, json!("elsewhere"), 1, "name that address"),
        (400, bad, 2, "parse error: unclosed"),
        (200, json!("login"), 1, "no answer of Prometheus"),
        (200, late, 1, "which was not asked"),
    ] {
        scene.server.lock().unwrap().answer = Some((StatusCode::from_u16(status).unwrap(), answer));
        let (got, _, said) = scene.import(&[]).await;
        assert_eq!(got, Some(code), "{said}");
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert_eq!(scene.usage().await, Vec::<String>::new());
    scene.server.lock().unwrap().answer = Some((StatusCode::OK, with(json!([]))));
    scene.server.lock().unwrap().away = 1;
    let (code, report, said) = scene.import(&[]).await;
    assert_eq!((code, counts(&report)), (Some(0), [1, 0, 0, 0, 0]), "an outage of a moment is waited for: {said}");
    let (code, _, said) = scene.import(&["--until", "2024-09-18T10:30Z"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("not the begin of an hour"), "{said}");
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a7_an_answer_that_is_too_long_is_asked_for_in_halves_and_an_hour_that_is_says_so() {
    let scene = Scene::new().await;
    for hours in 0..5 {
        scene.set("acme", hours, "1");
    }
    scene.server.lock().unwrap().padding = 30; // of 64
    let (code, report, said) = scene.import(&[]).await;
    assert_eq!((code, counts(&report)), (Some(0), [5, 0, 0, 0, 0]), "{said}");
    let asked: Vec<_> = scene.server.lock().unwrap().asked.iter().map(|range| (range.1 - range.0) / HOUR + 1).collect();
    assert_eq!(asked, [5, 2, 2, 1], "hours at once");
    scene.server.lock().unwrap().padding = 65;
    let (code, _, said) = scene.import(&[]).await;
    assert!(code == Some(1) && said.contains("the answer has more than"), "{code:?} {said}");
    scene.stage.close().await;
}
