//! What a body of the API says: its series, or that it may lack something.
//!
//! Prometheus, Thanos, Mimir, Cortex and promxy say so in `warnings`, a cluster of VictoriaMetrics in `isPartial`, M3
//! in the header `M3-Results-Limited` and in `warnings`. A server that we do not know will find another way, so words
//! are looked for, and not servers: too little, once recorded, would stand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Series};

/// What is quoted of an answer.
const EXCERPT_MAX: usize = 200;
/// Who is spoken for by a field or a header with such a word in its name says that something is missing, unless the
/// value says no.
const NOT_WHOLE: [&str; 9] = [
    "partial",
    "incomplete",
    "truncated",
    "warning",
    "resultslimited",
    "limitreached",
    "missing",
    "degraded",
    "timedout",
];
/// Who says no to one of these, says the same.
const WHOLE: [&str; 3] = ["exhaustive", "complete", "iscomplete"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    values: Option<Vec<(f64, String)>>,
    #[serde(default)]
    histograms: Vec<Value>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What a body says of an error: the API's own sentence, else how it begins.
pub(super) fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(mut map) if map.get("error").is_some_and(Value::is_string) => {
            map.remove("error").and_then(|error| error.as_str().map(str::to_owned)).unwrap_or_default()
        }
        _ => excerpt(&String::from_utf8_lossy(body)),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_MAX).collect()
}

/// What the head of an answer says to the effect that the body is not whole.
pub(super) fn not_whole_by_head(headers: &HeaderMap) -> Option<String> {
    headers.iter().find_map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let says_no = matches!(value.trim().to_ascii_lowercase().as_str(), "" | "false" | "0" | "no" | "none");
        (!says_no && is_named(name.as_str(), &NOT_WHOLE) || says_no && is_one_of(name.as_str(), &WHOLE))
            .then(|| excerpt(&format!("the header {name}: {value}")))
    })
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_named(name: &str, words: &[&str]) -> bool {
    let name = letters(name);
    words.iter().any(|word| name.contains(word))
}

fn is_one_of(name: &str, words: &[&str]) -> bool {
    words.contains(&letters(name).as_str())
}

/// True of what says nothing, or no.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.trim().to_ascii_lowercase().as_str(), "" | "false" | "no" | "0"),
        Value::Array(items) => items.iter().all(|item| is_nothing(item) || is_style(item)),
        Value::Object(map) => map.values().all(is_nothing),
    }
}

/// A remark about the query's style; before version 3 they came as warnings. They leave nothing out.
fn is_style(item: &Value) -> bool {
    item.as_str().is_some_and(|text| text.starts_with("PromQL info"))
}

/// What the fields beside the result say to the effect that it is not whole.
fn not_whole(fields: &Map<String, Value>) -> Option<String> {
    fields.iter().find_map(|(name, value)| {
        let speaks = match name.as_str() {
            // an error beside a result, and remarks that are not about the query's style
            "error" | "errorType" | "errors" | "infos" => !is_nothing(value),
            _ if is_one_of(name, &WHOLE) => !value.is_null() && is_nothing(value),
            _ => is_named(name, &NOT_WHOLE) && !is_nothing(value),
        };
        // what is told of the answer may stand deeper, as in its statistics
        if !speaks && let Value::Object(deeper) = value {
            return not_whole(deeper);
        }
        speaks.then(|| match value {
            Value::Array(items) if name == "warnings" || name == "infos" => {
                let first = items.iter().find(|item| !is_nothing(item) && !is_style(item));
                excerpt(&first.map_or_else(String::new, |item| item.as_str().map_or(item.to_string(), str::to_owned)))
            }
            _ => excerpt(&format!("{name}: {value}")),
        })
    })
}

/// Reads an answer whose head was good.
pub(super) fn series(body: &[u8]) -> Result<Vec<Series>, Error> {
    let unrecognised =
        |why: &str| Error::Unrecognised(format!("this is no answer of Prometheus: {why}: {}", said(body)));
    let mut answer: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| unrecognised(&error.to_string()))?;
    let (status, data) = (answer.remove("status"), answer.remove("data"));
    let status = status.as_ref().and_then(Value::as_str).unwrap_or_default();
    if is_named(status, &NOT_WHOLE) {
        return Err(Error::Incomplete(format!("status: {status}")));
    }
    if status == "success"
        && let Some(why) = not_whole(&answer)
    {
        return Err(Error::Incomplete(why));
    }
    let data = match (status, data) {
        ("success", Some(data)) => data,
        _ => return Err(unrecognised("its status is not success")),
    };
    let data: Data = serde_json::from_value(data).map_err(|error| unrecognised(&error.to_string()))?;
    if let Some(why) = not_whole(&data.more) {
        return Err(Error::Incomplete(why));
    }
    if data.result_type != "matrix" {
        return Err(unrecognised(&format!("its result is a {}", data.result_type)));
    }
    let lines: Vec<Line> = serde_json::from_value(data.result).map_err(|error| unrecognised(&error.to_string()))?;
    let read = |line: Line| {
        if let Some(why) = not_whole(&line.more) {
            return Err(Error::Incomplete(why));
        }
        if line.values.is_none() && line.histograms.is_empty() {
            return Err(unrecognised("a series has no values"));
        }
        let point = |(seconds, value): (f64, String)| Some((time(seconds)?, value));
        let points: Option<Vec<_>> = line.values.unwrap_or_default().into_iter().map(point).collect();
        let points = points.ok_or_else(|| unrecognised("a time is out of range"))?;
        Ok(Series { labels: line.metric, points, is_histogram: !line.histograms.is_empty() })
    };
    lines.into_iter().map(read).collect()
}

/// Seconds with at most milliseconds behind the point, as Prometheus writes them.
#[allow(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn time(seconds: f64) -> Option<Timestamp> {
    let millis = (seconds * 1000.0).round();
    (millis.abs() < 1e15).then(|| Timestamp::from_millisecond(millis as i64).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Series>, Error> {
        series(body.as_bytes())
    }

    #[test]
    fn b5_a_value_keeps_every_digit_that_was_written() {
        let body = r#"{"status": "success", "data": {"resultType": "matrix", "result": [
            {"metric": {"org": "acme"}, "values": [[1726653600, "0.30000000000000004"], [1726657200.000, "1e-7"]]}]}}"#;
        let series = read(body).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let expected = [(at("2024-09-18T10:00:00Z"), "0.30000000000000004"), (at("2024-09-18T11:00:00Z"), "1e-7")];
        assert_eq!(series[0].points, expected.map(|(at, value)| (at, value.to_owned())));
        assert_eq!(series[0].labels["org"], "acme");
    }

    #[test]
    fn l7_what_says_that_it_is_not_whole_is_no_answer_and_is_quoted() {
        let with = |more: &str, data: &str| {
            read(&format!(r#"{{"status": "success"{more}, "data": {{"resultType": "matrix", "result": []{data}}}}}"#))
        };
        for (more, data, says) in [
            (r#", "warnings": ["PromQL info: x", "store 2 did not answer"]"#, "", "store 2 did not answer"),
            (r#", "warnings": "one store away""#, "", "one store away"),
            (r#", "warnings": [{"msg": "away"}]"#, "", "away"),
            (r#", "warning": "away""#, "", "away"),
            (r#", "infos": ["only 3 of 5 shards"]"#, "", "only 3 of 5 shards"),
            (r#", "isPartial": true"#, "", "isPartial: true"),
            (r#", "is_partial": "true""#, "", "is_partial"),
            (r#", "partialResponse": {"stores": ["a"]}"#, "", "partialResponse"),
            (r#", "errors": ["a"]"#, "", "errors"),
            (r#", "error": "timed out""#, "", "timed out"),
            (r#", "exhaustive": false"#, "", "exhaustive: false"),
            ("", r#", "truncated": true"#, "truncated: true"),
            ("", r#", "isPartial": true"#, "isPartial: true"),
            (r#", "exhaustive": "false""#, "", "exhaustive"),
            (r#", "complete": 0"#, "", "complete: 0"),
            (r#", "timedOut": true"#, "", "timedOut"),
            (r#", "missingShards": 2"#, "", "missingShards: 2"),
            (r#", "stats": {"stores": {"partial": true}}"#, "", "partial: true"),
            ("", r#", "stats": {"seriesFetched": "9", "isComplete": false}"#, "isComplete: false"),
        ] {
            match with(more, data) {
                Err(Error::Incomplete(why)) => assert!(why.contains(says), "{why}"),
                other => panic!("{more} {data}: {other:?}"),
            }
        }
        let partial = read(r#"{"status": "partial", "data": {"resultType": "matrix", "result": []}}"#);
        assert!(matches!(partial, Err(Error::Incomplete(why)) if why == "status: partial"));
        for (more, data) in [
            ("", ""),
            (r#", "warnings": ["PromQL info: metric might not be a counter"]"#, ""),
            (r#", "infos": ["PromQL info: metric might not be a counter"], "warnings": null"#, ""),
            (r#", "isPartial": false, "stats": {"seriesFetched": "1"}, "exhaustive": true"#, r#", "stats": {}"#),
            (r#", "stats": {"partial": false, "timings": {"missing": 0}}, "complete": null"#, ""),
        ] {
            assert_eq!(with(more, data).unwrap(), [], "{more}");
        }
    }

    #[test]
    fn l7_a_series_that_lacks_its_values_or_says_so_is_no_answer() {
        let with = |line: &str| {
            read(&format!(r#"{{"status": "success", "data": {{"resultType": "matrix", "result": [{line}]}}}}"#))
        };
        let partial = with(r#"{"metric": {"partial": "true"}, "values": [[1, "1"]], "isPartial": true}"#);
        assert!(matches!(partial, Err(Error::Incomplete(why)) if why == "isPartial: true"));
        assert_eq!(with(r#"{"metric": {"partial": "true"}, "values": [[1, "1"]]}"#).unwrap().len(), 1);
        for line in [r#"{"metric": {}}"#, r#"{"metric": {}, "value": [1, "1"]}"#] {
            assert!(matches!(with(line), Err(Error::Unrecognised(why)) if why.contains("no values")), "{line}");
        }
    }

    #[test]
    fn l7_a_head_that_says_so_is_heard() {
        let head = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            not_whole_by_head(&headers)
        };
        for (name, value) in [
            ("m3-results-limited", "max_fetch_series_limit_applied"),
            ("x-partial-response", "true"),
            ("warning", "110 - \"Response is Stale\""),
            ("x-exhaustive", "true"),
        ] {
            assert_eq!(head(name, value).is_some(), name != "x-exhaustive", "{name}: {value}");
        }
        for (name, value) in
            [("content-type", "application/json"), ("x-partial", "false"), ("cache-control", "no-store")]
        {
            assert_eq!(head(name, value), None);
        }
    }

    #[test]
    fn anything_else_is_unrecognised_and_quoted() {
        for body in [
            "<html>login</html>",
            "{}",
            r#"{"status": "error", "error": "no"}"#,
            r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#,
            r#"{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1e300, "1"]]}]}}"#,
        ] {
            assert!(matches!(read(body), Err(Error::Unrecognised(_))), "{body}");
        }
    }
}
