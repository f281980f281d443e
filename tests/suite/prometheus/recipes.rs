//! L7 at a server that answers as it is told: what is listed, what is refused, and how a recipe begins.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Scene, Server, TEN, counts};

/// What a Prometheus before version 3 answers to an instant query for samples: a range that is closed at both ends.
pub(super) fn samples(server: &Server, form: &BTreeMap<String, String>) -> (StatusCode, String) {
    if let Some((status, answer)) = &server.answer {
        return (*status, answer.to_string());
    }
    let range = form["query"].split_once('[').unwrap().1.trim_end_matches("ms]");
    let (range, until) = (range.parse::<f64>().unwrap() / 1000.0, form["time"].parse::<f64>().unwrap());
    #[allow(clippy::cast_precision_loss, reason = "seconds of this century")]
    let within = |at: i64| at as f64 >= until - range && at as f64 <= until;
    let result: Vec<_> = server
        .samples
        .iter()
        .map(|(labels, points)| (labels, points.iter().filter(|(at, _)| within(*at)).collect::<Vec<_>>()))
        .filter(|(_, points)| !points.is_empty())
        .map(|(labels, points)| json!({"metric": labels, "values": points}))
        .collect();
    let padding = usize::try_from(range as i64 / 60).unwrap() * server.padding;
    let data = json!({"resultType": "matrix", "result": result});
    (StatusCode::OK, json!({"status": "success", "data": data}).to_string() + &" ".repeat(padding << 20))
}

const RECIPE: [&str; 4] = ["--gauge", "cores", "--interval", "30s"];

fn with<'a>(recipe: [&'a str; 4], more: &[&'a str]) -> Vec<&'a str> {
    recipe.into_iter().chain(more.iter().copied()).collect()
}

impl Scene {
    /// A value each half minute from some minutes after ten until others.
    fn scraped(&self, labels: Value, from: i64, until: i64, value: &str) {
        let points = (from * 2..until * 2).map(|half| (TEN + half * 30, value.to_owned())).collect();
        self.server.lock().unwrap().samples.push((labels, points));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_samples_count_by_time_and_gaps_are_listed_with_org_series_and_times() {
    let scene = Scene::new().await;
    scene.scraped(json!({"org": "acme", "pod": "a"}), -70, 20, "8");
    scene.scraped(json!({"org": "acme", "pod": "b"}), 20, 60, "8");
    scene.scraped(json!({"org": "globex", "pod": "c"}), 10, 20, "8");
    let gap = (TEN + 40 * 60, "6".to_owned());
    scene.scraped(json!({"org": "initech", "pod": "d"}), 0, 10, "6");
    scene.server.lock().unwrap().samples.last_mut().unwrap().1.push(gap);
    scene.scraped(json!({"pod": "e"}), 0, 1, "1");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.csv");
    let list = list.to_string_lossy();
    let (code, report, said) = scene.import(&with(RECIPE, &["--rejects", &list])).await;
    assert_eq!((code, counts(&report)), (Some(3), [4, 0, 0, 0, 1]), "{said}");
    let expected = ["acme 18T09:00 8", "acme 18T10:00 8", "globex 18T10:00 1.333333", "initech 18T10:00 1.05"];
    assert_eq!(scene.usage().await, expected);
    assert_eq!((report["gaps"].as_u64(), report["gap_seconds"].as_u64()), (Some(1), Some(30 * 60)));
    let list = std::fs::read_to_string(&*list).unwrap();
    let gap: Vec<_> = list.lines().filter(|line| line.contains(",gap,")).collect();
    assert_eq!(gap.len(), 1, "{list}");
    assert!(gap[0].ends_with(",initech,2024-09-18T10:10:00Z,2024-09-18T10:40:00Z"), "{list}");
    assert!(gap[0].contains("pod=") && list.contains("the series has no label org"), "{list}");
    // again, in halves because the answer is too long, and under another label: nothing more
    scene.server.lock().unwrap().padding = 2;
    let (code, report, said) = scene.import(&RECIPE).await;
    assert_eq!((code, counts(&report)), (Some(3), [0, 4, 0, 0, 1]), "{said}");
    let wrong = scene.import(&["--gauge", "cores", "--interval", "5m"]).await;
    assert!(wrong.0 == Some(3) && wrong.2.contains("apart, and --interval says 5m"), "{}", wrong.2);
    for bad in [["--gauge", "sum(cores)", "--interval", "30s"], ["--gauge", "cores", "--lag", "30s"]] {
        assert_eq!(scene.import(&bad).await.0, Some(2), "{bad:?}");
    }
    assert_eq!(scene.usage().await, expected);
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_whatever_says_that_it_is_not_whole_records_nothing_and_is_quoted() {
    let scene = Scene::new().await;
    let data = json!({"resultType": "matrix", "result": [{"metric": {"org": "acme"}, "values": [[TEN, "1"]]}]});
    let whole = |more: Value| {
        let mut answer = json!({"status": "success", "data": data.clone()});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        answer
    };
    let ok = |more: Value| (200, None, whole(more));
    for ((status, header, answer), says) in [
        (ok(json!({"warnings": ["store 2 is away"]})), "store 2 is away"),
        (ok(json!({"isPartial": true})), "isPartial: true"),
        (ok(json!({"infos": ["3 of 5 shards answered"]})), "3 of 5 shards answered"),
        (ok(json!({"status": "partial"})), "status: partial"),
        (ok(json!({"error": "timed out in mid-query"})), "timed out in mid-query"),
        (ok(json!({"exhaustive": false})), "exhaustive: false"),
        ((206, None, whole(json!({}))), "206"),
        ((200, Some(("m3-results-limited", "max_fetch_series_limit_applied")), whole(json!({}))), "max_fetch_series"),
    ] {
        scene.server.lock().unwrap().answer = Some((StatusCode::from_u16(status).unwrap(), answer));
        scene.server.lock().unwrap().header = header;
        for more in [&[] as &[&str], &RECIPE] {
            let (code, _, said) = scene.import(more).await;
            assert!(code == Some(1) && said.contains(says), "{says}: {code:?} {said}");
            assert!(said.contains("may be incomplete"), "{says}: {said}");
        }
    }
    assert_eq!(scene.usage().await, Vec::<String>::new());
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_an_hour_of_one_recipe_is_never_recorded_under_another() {
    let scene = Scene::new().await;
    scene.scraped(json!({"org": "acme", "pod": "a"}), -70, 250, "8");
    // as older versions did: hours from nine to eleven by a query
    scene.set("acme", 0, "16");
    scene.set("acme", 1, "16");
    assert_eq!(scene.import(&["--until", "2024-09-18T11:00Z"]).await.0, Some(0));
    // changed, and nothing named: what was recorded is refused with a sentence, the rest is recorded
    let (code, report, said) = scene.import(&with(RECIPE, &["--until", "2024-09-18T13:00Z"])).await;
    assert_eq!((code, counts(&report)), (Some(3), [2, 0, 0, 0, 2]), "{said}");
    assert!(said.contains("2024-09-18T09:00:00Z : refused: recipe: usage of this hour was recorded under"), "{said}");
    let expected = ["acme 18T09:00 16", "acme 18T10:00 16", "acme 18T11:00 8", "acme 18T12:00 8"];
    assert_eq!(scene.usage().await, expected);
    // at its named hour: no complaint
    let (code, report, said) = scene.import(&with(RECIPE, &["--from", "2024-09-18T11:00Z"])).await;
    assert_eq!((code, counts(&report)), (Some(0), [1, 2, 0, 0, 0]), "{said}");
    let recorded = scene.usage().await;
    assert_eq!(recorded[4..], ["acme 18T13:00 8"]);
    // and the same in every direction: back to the query, another selector, kind, divisor, mapping
    scene.set("acme", 2, "16");
    let from = ["--from", "2024-09-18T11:00Z"];
    let other: [&[&str]; 5] = [
        &["--query", "another query"],
        &["--gauge", "cores{job=\"x\"}", "--interval", "30s"],
        &["--counter", "cores", "--interval", "30s"],
        &["--gauge", "cores", "--interval", "30s", "--divide-by", "2"],
        &["--gauge", "cores", "--interval", "30s", "--account", "{pod}"],
    ];
    for other in other {
        scene.server.lock().unwrap().samples[0].1[320].1 = "9".to_owned(); // or the counter would have grown by nothing
        let (code, report, said) = scene.import(&[other, &from].concat()).await;
        assert_eq!((code, report["recorded"].as_u64()), (Some(3), Some(0)), "{other:?}: {said}");
        assert!(said.contains("refused: recipe:") || said.contains("was recorded under another"), "{other:?}: {said}");
        assert_eq!(scene.usage().await, recorded, "{other:?}");
    }
    // a query that was changed so that its series have other labels
    scene.server.lock().unwrap().values.clear();
    scene.set("globex", 1, "16");
    let (code, report, said) = scene.import(&["--query", "another query", "--until", "2024-09-18T11:00Z"]).await;
    assert_eq!((code, counts(&report)), (Some(3), [0, 0, 0, 0, 1]), "{said}");
    // the same query still records what it had not seen
    let (code, report, said) = scene.import(&["--until", "2024-09-18T11:00Z"]).await;
    assert_eq!((code, counts(&report)), (Some(0), [1, 0, 0, 0, 0]), "{said}");
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_what_a_counter_grew_by_in_a_gap_is_told_and_not_billed() {
    let scene = Scene::new().await;
    let halves = (0..40).chain(80..120);
    let points = halves.map(|half| (TEN + half * 30, (1000 + half * 30).to_string())).collect();
    scene.server.lock().unwrap().samples.push((json!({"org": "acme", "pod": "a"}), points));
    let (code, report, said) = scene.import(&["--counter", "seconds", "--interval", "30s", "--divide-by", "60"]).await;
    // the sample of ten is nine o'clock's, and grew from nothing
    assert_eq!((code, counts(&report)), (Some(0), [1, 0, 1, 0, 0]), "{said}");
    assert!(said.contains("from 2024-09-18T10:19:30Z until 2024-09-18T10:40:00Z"), "{said}");
    assert!(said.contains("the counter grew by 1230 meanwhile"), "{said}");
    assert_eq!(scene.usage().await, ["acme 18T10:00 39"]);
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_series_that_an_answer_tells_twice_is_not_billed_twice() {
    let scene = Scene::new().await;
    scene.scraped(json!({"org": "acme", "pod": "a"}), -5, 65, "8");
    scene.scraped(json!({"org": "acme", "pod": "a"}), -5, 65, "8");
    scene.scraped(json!({"org": "globex", "pod": "b"}), -5, 65, "8");
    let args = with(RECIPE, &["--from", "2024-09-18T10:00Z", "--until", "2024-09-18T11:00Z"]);
    let (code, report, said) = scene.import(&args).await;
    assert_eq!((code, counts(&report)), (Some(3), [1, 0, 0, 0, 1]), "{said}");
    assert!(said.contains("behind another one of"), "{said}");
    assert_eq!(scene.usage().await, ["globex 18T10:00 8"]);
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_an_answer_to_another_question_or_of_a_clock_far_behind_records_nothing() {
    let scene = Scene::new().await;
    let hour = with(RECIPE, &["--from", "2024-09-18T10:00Z", "--until", "2024-09-18T11:00Z"]);
    let answer = |line: Value| {
        let data = json!({"resultType": "matrix", "result": [line]});
        Some((StatusCode::OK, json!({"status": "success", "data": data})))
    };
    let now = TEN + 6 * 3600;
    for (line, says) in [
        (json!({"metric": {"org": "acme"}, "values": [[TEN, "8"], [TEN + 30, "8"], [now, "8"]]}), "was not asked"),
        (json!({"metric": {"org": "acme"}, "value": [TEN, "8"]}), "a series has no values"),
        (json!({"metric": {"org": "acme"}, "values": [[TEN, "8"]], "isPartial": true}), "may be incomplete"),
    ] {
        scene.server.lock().unwrap().answer = answer(line);
        let (code, _, said) = scene.import(&hour).await;
        assert!(code == Some(1) && said.contains(says), "{says}: {code:?} {said}");
    }
    scene.server.lock().unwrap().answer = None;
    scene.scraped(json!({"org": "acme", "pod": "a"}), -5, 65, "8");
    scene.server.lock().unwrap().header = Some(("date", "Wed, 18 Sep 2024 15:00:00 GMT"));
    let (code, _, said) = scene.import(&hour).await;
    assert!(code == Some(1) && said.contains("behind ours: set the clock"), "{code:?} {said}");
    assert_eq!(scene.usage().await, Vec::<String>::new());
    scene.server.lock().unwrap().header = None;
    assert_eq!(scene.import(&hour).await.0, Some(0));
    assert_eq!(scene.usage().await, ["acme 18T10:00 8"]);
    scene.stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_hours_that_a_timer_slept_through_are_told() {
    let scene = Scene::new().await;
    scene.scraped(json!({"org": "acme", "pod": "a"}), -70, 250, "8");
    let hour = |from: &'static str, until: &'static str| with(RECIPE, &["--from", from, "--until", until]);
    let (code, report, said) = scene.import(&hour("2024-09-18T09:00Z", "2024-09-18T10:00Z")).await;
    assert_eq!((code, report["missing_hours"].as_u64()), (Some(0), Some(0)), "the first of all: {said}");
    let (code, report, said) = scene.import(&hour("2024-09-18T12:00Z", "2024-09-18T13:00Z")).await;
    assert_eq!((code, report["missing_hours"].as_u64()), (Some(0), Some(2)), "{said}");
    assert!(said.contains("no usage from 2024-09-18T10:00:00Z until 2024-09-18T12:00:00Z"), "{said}");
    let (_, report, said) = scene.import(&hour("2024-09-18T10:00Z", "2024-09-18T12:00Z")).await;
    assert_eq!((counts(&report), report["missing_hours"].as_u64()), ([2, 0, 0, 0, 0], Some(0)), "{said}");
    let (_, report, said) = scene.import(&hour("2024-09-18T12:00Z", "2024-09-18T14:00Z")).await;
    assert_eq!((counts(&report), report["missing_hours"].as_u64()), ([1, 1, 0, 0, 0], Some(0)), "{said}");
    scene.stage.close().await;
}
