//! H9: one message through every door is one row, or refused for one reason: the function, a batch in SQL, an import, and
//! HTTP with one message or with lines. What Postgres decides before us is written down where it differs.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use tests::{Console, Reply, TestDatabase};

use super::tracker;

/// A message, as JSON writes it, and what becomes of it.
struct Case {
    /// Members beside or instead of `service`, `request_id` and `status`; or a whole line.
    message: &'static str,
    /// A row (`request|org|date|source|status_msg`), or the field and what is wrong with it.
    everywhere: &'static str,
    /// Where another type, or Postgres's own reading of JSON, decides first: what a batch in SQL comes to.
    batch: Option<&'static str>,
    /// The same of the function; none, if its parameters cannot say this.
    function: Option<&'static str>,
}

const fn same(message: &'static str, everywhere: &'static str) -> Case {
    Case { message, everywhere, batch: None, function: Some(everywhere) }
}

/// The function has parameters of types: JSON that does not fit cannot be given, and dates are Postgres's.
const fn typed(message: &'static str, everywhere: &'static str, function: &'static str) -> Case {
    Case { message, everywhere, batch: None, function: Some(function) }
}

const fn json(message: &'static str, everywhere: &'static str) -> Case {
    Case { message, everywhere, batch: None, function: None }
}

const fn before_us(message: &'static str, everywhere: &'static str, batch: &'static str) -> Case {
    Case { message, everywhere, batch: Some(batch), function: None }
}

const NOON: &str = "r||2026-03-10T12:00:00Z||";
const ID_LONG: &str = "\u{1}request_id must have 1 to 255 bytes";

/// Every difference between doors that anybody has met.
fn cases() -> Vec<Case> {
    [dates(), ids(), faults(), json_itself()].into_iter().flatten().collect()
}

fn dates() -> Vec<Case> {
    vec![
        same(
            r#""date": "2026-03-10T12:00:00Z", "org": "acme", "source": "S", "status_msg": "m""#,
            "r|acme|2026-03-10T12:00:00Z|s|m",
        ),
        // the old shape
        same(r#""date": "2026-03-10T12:00:00Z", "org_id": "acme""#, "r|acme|2026-03-10T12:00:00Z||"),
        json(r#""date": "2026-03-10T12:00:00Z", "org": "", "org_id": "acme""#, "r|acme|2026-03-10T12:00:00Z||"),
        json(r#""date": "2026-03-10T12:00:00Z", "org": "acme", "org_id": "globex""#, "r|acme|2026-03-10T12:00:00Z||"),
        same(r#""date": "2026-03-10T12:00:00Z", "org_id": null, "source": null"#, NOON),
        // dates: the function takes what Postgres makes of them, in the session's zone
        typed(r#""date": "2026-03-10T12:00:00""#, NOON, "r||2026-03-10T16:00:00Z||"),
        typed(r#""date": "2026-03-10 12:00:00""#, NOON, "r||2026-03-10T16:00:00Z||"),
        typed(r#""date": " 2026-03-10  12:00 ""#, NOON, "r||2026-03-10T16:00:00Z||"),
        same(r#""date": "2026-03-10T14:00:00+02:00""#, NOON),
        same(r#""date": "2026-03-10t12:00z""#, NOON),
        same(r#""date": "2026-03-10 17:30:00+0530""#, NOON),
        same(r#""date": "2026-03-10T12:00:00.123456789Z""#, "r||2026-03-10T12:00:00.123457Z||"),
        typed(r#""date": "tomorrow""#, "date \"tomorrow\" is no time such as 2026-03-10T09:00:00Z", "a row"),
        typed(r#""date": "now""#, "date \"now\" is no time such as 2026-03-10T09:00:00Z", "a row"),
        typed(r#""date": "epoch""#, "date \"epoch\" is no time such as 2026-03-10T09:00:00Z", "a row"),
        typed(r#""date": "2026-03-10""#, "date \"2026-03-10\" is no time such as 2026-03-10T09:00:00Z", "a row"),
        typed(
            r#""date": "10/03/2026 12:00""#,
            "date \"10/03/2026 12:00\" is no time such as 2026-03-10T09:00:00Z",
            "a row",
        ),
        typed(r#""date": "soon""#, "date \"soon\" is no time such as 2026-03-10T09:00:00Z", "22007"),
        typed(
            r#""date": "2026-02-30T12:00:00Z""#,
            "date \"2026-02-30T12:00:00Z\" is no time such as 2026-03-10T09:00:00Z",
            "22008",
        ),
        typed(
            r#""date": "2026-03-10T24:00:00Z""#,
            "date \"2026-03-10T24:00:00Z\" is no time such as 2026-03-10T09:00:00Z",
            "a row",
        ),
        typed(
            r#""date": "2026-03-10T12:00:60Z""#,
            "date \"2026-03-10T12:00:60Z\" is no time such as 2026-03-10T09:00:00Z",
            "a row",
        ),
        typed(
            r#""date": "2026-03-10T12:00:00 UTC""#,
            "date \"2026-03-10T12:00:00 UTC\" is no time such as 2026-03-10T09:00:00Z",
            "a row",
        ),
        typed(r#""date": 1773144000"#, "date \"1773144000\" is no time such as 2026-03-10T09:00:00Z", "22008"),
        same(r#""date": "9999-12-31T00:00:00Z""#, "date must lie in the years 1 to 9999"),
        same(r#""date": "0001-01-01T00:00:00+01:00""#, "date must lie in the years 1 to 9999"),
        same(r#""date": """#, "a row"),
    ]
}

/// Numbers keep every digit, a UUID is one in any form, and noise is none.
fn ids() -> Vec<Case> {
    vec![
        same(r#""date": "2026-03-10T12:00:00Z", "request_id": 7"#, "7||2026-03-10T12:00:00Z||"),
        same(
            r#""date": "2026-03-10T12:00:00Z", "request_id": 18446744073709551617"#,
            "18446744073709551617||2026-03-10T12:00:00Z||",
        ),
        same(
            r#""date": "2026-03-10T12:00:00Z", "request_id": 18446744073709551618, "status_msg": 1e3"#,
            "18446744073709551618||2026-03-10T12:00:00Z||1000",
        ),
        same(r#""date": "2026-03-10T12:00:00Z", "request_id": 1.50, "source": -0"#, "1.50||2026-03-10T12:00:00Z|0|"),
        before_us(
            r#""date": "2026-03-10T12:00:00Z", "source": 1e200000"#,
            "source is a number of more than 9000 digits",
            "22003",
        ),
        same(
            r#""date": "2026-03-10T12:00:00Z", "request_id": "8B7D3A52-0b1c-4e5f-9a6b-7c8d9e0f1a2b""#,
            "8b7d3a520b1c4e5f9a6b7c8d9e0f1a2b||2026-03-10T12:00:00Z||",
        ),
        same(r#""request_id": "-1""#, "request_id names no request: setting.tracker_noise lists it"),
        same(r#""request_id": -1"#, "request_id names no request: setting.tracker_noise lists it"),
        same(r#""request_id": "None""#, "request_id names no request: setting.tracker_noise lists it"),
        same(r#""request_id": "null""#, "request_id names no request: setting.tracker_noise lists it"),
    ]
}

/// What is missing, too long, or no text.
fn faults() -> Vec<Case> {
    vec![
        same(r#""request_id": null"#, "request_id is missing"),
        same(r#""service": null"#, "service is missing"),
        same(r#""status": null"#, "status is missing"),
        same(r#""request_id": """#, "request_id must have 1 to 255 bytes"),
        same(r#""service": """#, "service must have 1 to 255 bytes"),
        same(ID_LONG, "request_id must have 1 to 255 bytes"),
        same("\u{1}org must have at most 255 bytes", "org must have at most 255 bytes"),
        same("\u{1}status_msg has more than 8 KiB", "status_msg has more than 8 KiB"),
        json(r#""source": {}"#, "source must be text"),
        json(r#""request_id": true"#, "request_id must be text"),
        json(r#""date": ["2026-03-10T12:00:00Z"]"#, "date must be text"),
        json(r#""request_id": false, "service": null"#, "request_id must be text"),
    ]
}

/// What `jsonb` takes or refuses as a whole.
fn json_itself() -> Vec<Case> {
    vec![
        before_us(r#""request_id": "a\u0000b""#, "request_id must not contain the character U+0000", "22P05"),
        before_us(r#""date": "2026-03-10T12:00:00Z", "unknown": "\u0000""#, NOON, "22P05"),
        before_us(r#""source": "\ud800""#, "source is no text", "22P02"),
        before_us(
            r#""date": "2026-03-10T12:00:00Z", "source": "a", "source": "b""#,
            "has the key \"source\" twice",
            "r||2026-03-10T12:00:00Z|b|",
        ),
        json("=3", "must be a JSON object"),
        json("=\"text\"", "must be a JSON object"),
        json("=[1]", "must be a JSON object"),
        before_us("={\"service\": ", "is no JSON", "22P02"),
    ]
}

impl Case {
    /// The whole message; no other case has the same.
    fn line(&self, number: usize) -> String {
        if let Some(line) = self.message.strip_prefix('=') {
            return line.to_owned();
        }
        let members = match self.message.strip_prefix('\u{1}') {
            Some(long) => {
                let field = long.split(' ').next().unwrap();
                format!("\"{field}\": \"{}\"", "x".repeat(if field == "status_msg" { 8193 } else { 256 }))
            }
            None => self.message.to_owned(),
        };
        let mut line = String::from("{");
        for (key, value) in [("service", "A"), ("request_id", "r"), ("status", "S")] {
            if !members.contains(&format!("\"{key}\":")) {
                line += &format!("\"{key}\": \"{value}\", ");
            }
        }
        line + &format!("\"inventory_id\": \"case-{number}\", {members}}}")
    }

    fn is_like(&self, expected: &str, got: &str) -> bool {
        match expected {
            "a row" => got.contains('|'),
            _ if expected.contains('|') => got == expected,
            _ => got.starts_with(expected),
        }
    }
}

/// The row that was recorded since it was asked last, if there is one: each case has a database's rows to itself.
async fn row(db: &TestDatabase, seen: &mut i64) -> Option<String> {
    let rows = db
        .client
        .query(
            "select request_key || '|' || org || '|' || replace(to_char(date at time zone 'UTC',
                        'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '.000000', '') || 'Z|' || source || '|' || status_msg
             from postmeter.request_news n join postmeter.request_status using (request_key, date, digest)
             where n.id > $1 order by n.id",
            &[&*seen],
        )
        .await
        .unwrap();
    *seen = db.client.query_one("select coalesce(max(id), 0) from postmeter.request_news", &[]).await.unwrap().get(0);
    assert!(rows.len() <= 1, "one message");
    rows.first().map(|row| row.get(0))
}

fn without_prefix(message: &str) -> &str {
    message.strip_prefix("request status: ").unwrap_or(message)
}

/// Field and sentence, the field once.
fn said(field: Option<&str>, message: &str) -> String {
    let message = without_prefix(message);
    match field.filter(|field| !matches!(*field, "" | "statuses" | "(line)")) {
        Some(field) if !message.starts_with(field) => format!("{field} {message}"),
        _ => message.to_owned(),
    }
}

async fn by_function(db: &TestDatabase, line: &str, seen: &mut i64) -> String {
    let members: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
    let mut parameters = Vec::new();
    for key in members.keys() {
        let name = if key == "org_id" { "org" } else { key };
        let cast = if key == "date" { "nullif(x, '')::timestamptz" } else { "x" };
        parameters.push(format!("{name} => (select {cast} from (select $1::jsonb ->> '{key}' as x) v)"));
    }
    let sql = format!("select postmeter.track({})", parameters.join(", "));
    let sql = sql.replace("$1", &format!("'{}'", line.replace('\'', "''")));
    match db.client.batch_execute(&sql).await {
        Ok(()) => row(db, seen).await.unwrap_or_default(),
        Err(error) => {
            let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
            match error.column() {
                Some(field) => said(Some(field), error.message()),
                None => error.code().code().to_owned(),
            }
        }
    }
}

async fn by_batch(db: &TestDatabase, line: &str, seen: &mut i64) -> String {
    let sql = "select verdict, field, message from postmeter.track_batch(('[' || $1::text || ']')::jsonb)";
    match db.client.query_one(sql, &[&line]).await {
        Ok(verdict) if verdict.get::<_, &str>(0) == "refused" => {
            said(verdict.get::<_, Option<&str>>(1), verdict.get::<_, &str>(2))
        }
        Ok(_) => row(db, seen).await.unwrap_or_default(),
        Err(error) => error.code().expect("the server's answer").code().to_owned(),
    }
}

fn of_http(reply: &Reply) -> Option<String> {
    let answer = reply.json();
    let item = answer["items"].as_array().map_or(&answer, |items| &items[0]);
    if item["verdict"] == "recorded" {
        return None;
    }
    let field = item["field"].as_str();
    let message = item["message"].as_str().or_else(|| item["detail"].as_str()).unwrap_or_default();
    let message = message.strip_prefix("the body ").unwrap_or(message);
    let message = field.and_then(|field| message.strip_prefix(&format!("{field}: "))).unwrap_or(message);
    Some(said(field, message))
}

async fn by_http(db: &TestDatabase, console: &Console, token: &str, path: &str, line: &str, seen: &mut i64) -> String {
    let kind = if path.ends_with("batch") { "application/x-ndjson" } else { "application/json" };
    let request = console.http.post(format!("{}{path}", console.url)).bearer_auth(token);
    let reply = console.send(request.header("content-type", kind).body(line.to_owned())).await;
    match of_http(&reply) {
        Some(refused) => refused,
        None => row(db, seen).await.unwrap_or_default(),
    }
}

/// A line through an import that reads a pipe.
async fn by_import(db: &TestDatabase, line: &str, seen: &mut i64) -> String {
    let folder = tempfile::tempdir().unwrap();
    let rejects = folder.path().join("rejects.csv");
    let mut command = tests::postmeter(&db.url());
    command.args(["import", "requests", "-", "--rejects", &rejects.to_string_lossy()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let line = format!("{line}\n");
    let run = move || {
        let mut import = command.spawn().unwrap();
        import.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        tests::end_of(&mut import)
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    let mut listed = csv::Reader::from_path(&rejects).unwrap();
    match listed.records().next() {
        Some(listed) => {
            let listed = listed.unwrap();
            said(Some(&listed[2]), &listed[3])
        }
        None => row(db, seen).await.unwrap_or_default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h9_one_message_through_every_door_is_one_row_or_one_refusal() {
    let door = || tracker("2026-03-10T12:30:00Z");
    let (sql, batch, http) = tokio::join!(door(), door(), door());
    let (lines, import) = tokio::join!(door(), door());
    // the session's zone is nobody's business but the function's
    for db in [&sql, &batch] {
        db.client.batch_execute("set timezone = 'America/New_York'; set datestyle = 'SQL, DMY'").await.unwrap();
    }
    let (console, other) = (Console::start(&http).await, Console::start(&lines).await);
    let (token, other_token) = (console.token(&["intake"]).await, other.token(&["intake"]).await);
    let mut seen = [0; 5];
    let mut wrong = Vec::new();
    for (number, case) in cases().into_iter().enumerate() {
        let line = case.line(number);
        let mut check = |door: &str, expected: Option<&str>, got: String| {
            if expected.is_some_and(|expected| !case.is_like(expected, &got)) {
                wrong.push(format!("{}\n    {door}: {got}\n    instead of {}", case.message, expected.unwrap()));
            }
        };
        let everywhere = Some(case.everywhere);
        if case.function.is_some() {
            check("function", case.function, by_function(&sql, &line, &mut seen[0]).await);
        }
        check("batch", case.batch.or(everywhere), by_batch(&batch, &line, &mut seen[1]).await);
        let path = "/v1/request-statuses";
        check("http", everywhere, by_http(&http, &console, &token, path, &line, &mut seen[2]).await);
        let path = "/v1/request-statuses/batch";
        check("lines", everywhere, by_http(&lines, &other, &other_token, path, &line, &mut seen[3]).await);
        check("import", everywhere, by_import(&import, &line, &mut seen[4]).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
