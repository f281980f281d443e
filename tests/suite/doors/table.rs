//! The table of `docs/integrate/doors.md`, filled by sending each odd input through each door.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tests::{Console, Stage};
use tokio_postgres::Client;

use super::cases::{CASES, Case};
use super::page;

/// Fields of a usage, as SQL.
const USUAL: [(&str, &str); 7] = [
    ("source", "'odd'"),
    ("event_id", "'ID'"),
    ("org", "'acme'"),
    ("product", "'db'"),
    ("metric", "'cores'"),
    ("quantity", "1"),
    ("used_at", "'2024-09-18T09:00:00Z'"),
];

/// What is not odd at all.
const GOOD: Case = Case { field: "source", json: Some("\"source\":\"odd\""), ..super::cases::NOTHING };

/// A usage with one field changed or added.
fn changed(field: &str, value: &str, id: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> =
        USUAL.iter().map(|(name, value)| ((*name).to_owned(), value.replace("ID", id))).collect();
    match fields.iter_mut().find(|(name, _)| name == field) {
        Some((_, usual)) => value.clone_into(usual),
        None => fields.push((field.to_owned(), value.to_owned())),
    }
    fields
}

/// The same as a JSON object; what is there before stands twice then, if it is the org.
fn object(case: &Case, id: &str) -> Option<String> {
    let usage = json!({"source": "odd", "event_id": id, "org": "acme", "product": "db", "metric": "cores",
        "quantity": "1", "used_at": "2024-09-18T09:00:00Z"});
    let mut usage = usage.as_object().cloned().expect("an object");
    if !case.name.contains("twice in the object") {
        usage.remove(case.field);
    }
    let rest = Value::Object(usage).to_string();
    Some(format!("{{{},{}", case.json?, &rest[1..]))
}

/// What stands in the database of a usage of ours: of the odd field, what cannot be taken for granted.
async fn recorded(client: &Client, case: &Case, source: &str, id: &str) -> String {
    let row = client
        .query_one(
            "select to_char(used_at at time zone 'UTC', 'DD\"T\"HH24:MI:SS.US'), quantity::text, attributes::text
             from postmeter.usage where source = $1 and event_id = $2",
            &[&source, &if case.field == "event_id" { "4711" } else { id }],
        )
        .await
        .unwrap_or_else(|error| panic!("{}: {id} is not recorded: {error}", case.name));
    let text: fn(&tokio_postgres::Row, usize) -> String = |row, place| row.get(place);
    let shown = match case.field {
        "used_at" => text(&row, 0).trim_end_matches('0').trim_end_matches('.').to_owned(),
        "quantity" => text(&row, 1),
        "attributes" if case.name.contains("twice") => match text(&row, 2).as_str() {
            r#"{"a": 2}"# => "the last".to_owned(),
            _ => "as text".to_owned(),
        },
        _ => return "recorded".to_owned(),
    };
    format!("recorded: {shown}")
}

/// What a database's error says.
fn refused(error: &tokio_postgres::Error) -> String {
    let error = error.as_db_error().expect("the server's own error");
    // Postgres's own errors name no column
    format!("{} {}", error.code().code(), error.column().unwrap_or("")).trim_end().to_owned()
}

async fn by_sql(client: &Client, case: &Case, id: &str, statement: String) -> String {
    let result = client.batch_execute(&statement).await;
    let said = match result {
        Ok(()) => recorded(client, case, "odd", id).await,
        Err(error) => refused(&error),
    };
    client.batch_execute("rollback").await.expect("a transaction's end");
    said
}

async fn by_function(client: &Client, case: &Case, value: Option<&str>) -> Option<String> {
    let fields = changed(case.field, value?, "function");
    let arguments: Vec<String> = fields.iter().map(|(name, value)| format!("{name} => {value}")).collect();
    let call = format!("begin; select postmeter.record_usage({})", arguments.join(", "));
    Some(by_sql(client, case, "function", call).await)
}

async fn by_insert(client: &Client, case: &Case) -> Option<String> {
    let (names, values): (Vec<_>, Vec<_>) = changed(case.field, case.insert?, "insert").into_iter().unzip();
    let insert = format!("begin; insert into postmeter.outbox ({}) values ({})", names.join(", "), values.join(", "));
    Some(by_sql(client, case, "insert", insert).await)
}

async fn by_copy(stage: &Stage, case: &Case) -> Option<String> {
    let fields = changed(case.field, "ODD", "copy");
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let odd = case.copy?;
    // a session of its own, because the driver loses its place after a COPY that failed
    let client = stage.db.connect().await;
    let cells: Vec<String> = fields.iter().map(|(_, value)| value.trim_matches('\'').replace("ODD", odd)).collect();
    client.batch_execute("begin").await.expect("a transaction");
    let copy =
        format!("copy postmeter.outbox ({}) from stdin (format csv, delimiter '|', quote '~')", names.join(", "));
    let result = async {
        let mut sink = Box::pin(client.copy_in::<_, Bytes>(&copy).await?);
        sink.send(Bytes::from(cells.join("|") + "\n")).await?;
        sink.as_mut().finish().await
    };
    let said = match result.await {
        Ok(_) => recorded(&client, case, "odd", "copy").await,
        Err(error) => refused(&error),
    };
    Some(said)
}

/// Alone, and in company that makes the batch go row by row: the verdict must be the same.
async fn by_batch(client: &Client, case: &Case) -> Option<String> {
    let odd = object(case, "batch")?;
    let good = object(&GOOD, "batch-good")?;
    let mut said = Vec::new();
    for (batch, place) in [(format!("[{odd}]"), 0), (format!("[{good}, {{}}, {odd}, {good}]"), 2)] {
        client.batch_execute("begin").await.expect("a transaction");
        let call = "select verdict, error_code, field from postmeter.record_usage_batch($1::text::jsonb) order by item";
        said.push(match client.query(call, &[&batch]).await {
            Err(error) => format!("{}, the whole batch", refused(&error)),
            Ok(rows) => {
                let verdict = |row: &tokio_postgres::Row| row.get::<_, String>(0);
                if place == 2 {
                    assert_eq!([verdict(&rows[0]), verdict(&rows[3])], ["recorded", "repeated"], "{}", case.name);
                }
                match (verdict(&rows[place]).as_str(), rows[place].get::<_, Option<String>>(1)) {
                    ("refused", Some(code)) => {
                        format!("{code} {}", rows[place].get::<_, Option<String>>(2).unwrap_or_default())
                    }
                    _ => recorded(client, case, "odd", "batch").await,
                }
            }
        });
        client.batch_execute("rollback").await.expect("a transaction's end");
    }
    assert_eq!(said[0], said[1], "{}: alone, and beside what is wrong", case.name);
    said.pop()
}

/// Alone, and among good ones, which are recorded.
async fn by_http(client: &Client, console: &Console, token: &str, case: &Case, id: &str) -> Option<String> {
    let odd = object(case, id)?;
    let good = object(&GOOD, &format!("{id}-good"))?;
    let post = |body: String| {
        let request = console.http.post(format!("{}/v1/usage", console.url)).bearer_auth(token);
        console.send(request.header("content-type", "application/json").body(body))
    };
    let one = post(odd.clone()).await;
    let many = post(format!("[{good}, {odd}, {good}]")).await.json();
    assert_eq!([&many["items"][0]["verdict"], &many["items"][2]["verdict"]], ["recorded", "recorded"], "{many}");
    let item = &many["items"][1];
    let said = if item["verdict"] == "refused" {
        let alone = one.json();
        assert_eq!((one.status, &alone["code"], &alone["field"]), (422, &item["code"], &item["field"]), "{}", one.text);
        let word = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let (code, field, message) = (word("code"), word("field"), word("message"));
        assert!(message.contains(&field), "{}: the sentence names the field: {message}", case.name);
        format!("{code} {field}")
    } else {
        assert_eq!(one.status, 202, "{}", one.text);
        recorded(client, case, "odd", id).await
    };
    Some(said)
}

/// All cases in one export; verdicts by the case's name.
async fn by_import(stage: &Stage, client: &Client) -> BTreeMap<&'static str, String> {
    let folder = tempfile::tempdir().unwrap();
    let (export, rejects) = (folder.path().join("export.csv"), folder.path().join("rejects.csv"));
    let usual = [
        ("Id", "ID"),
        ("SubAccountId", "acme"),
        ("ServiceName", "Db"),
        ("ConsumedUnit", "Cores"),
        ("ConsumedQuantity", "1"),
        ("ChargePeriodStart", "2024-09-18T09:00:00Z"),
        ("Tags", ""),
        ("Acount", ""),
    ];
    let mut writer = csv::Writer::from_path(&export).unwrap();
    writer.write_record(usual.map(|(name, _)| name)).unwrap();
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.focus.is_some()).collect();
    for (number, case) in cases.iter().enumerate() {
        let (column, odd) = case.focus.unwrap();
        let id = format!("import-{number}");
        let cell = |(name, value): (&str, &str)| {
            if name == column { odd.to_owned() } else { value.replace("ID", &id) }
        };
        writer.write_record(usual.map(cell)).unwrap();
    }
    writer.flush().unwrap();
    let output = tests::postmeter(&stage.db.url())
        .args(["import", "focus", "--id", "Id", "--rejects"])
        .args([&rejects, &export])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let mut listed = BTreeMap::new();
    for line in csv::Reader::from_path(&rejects).unwrap().records() {
        let line = line.unwrap();
        listed.insert(line[1].parse::<usize>().unwrap(), format!("rejected: {}", &line[4]));
    }
    let mut said = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let verdict = match listed.get(&(number + 2)) {
            Some(rejected) => rejected.clone(),
            None => imported(client, case, &format!("import-{number}")).await,
        };
        said.insert(case.name, verdict);
    }
    said
}

/// Tags are evidence inside the attributes of what is imported.
async fn imported(client: &Client, case: &Case, id: &str) -> String {
    let event_id = "select event_id from postmeter.usage where attributes ->> 'row_id' = $1";
    if case.field == "event_id" {
        client.query_one(event_id, &[&"4711"]).await.unwrap();
        return "recorded".to_owned();
    }
    let event_id: String = client.query_one(event_id, &[&id]).await.unwrap().get(0);
    let said = recorded(client, case, "focus", &event_id).await;
    if case.field != "attributes" {
        return said;
    }
    let tags = "select coalesce(jsonb_typeof(attributes -> 'tags'), 'none') from postmeter.usage where event_id = $1";
    match client.query_one(tags, &[&event_id]).await.unwrap().get::<_, String>(0).as_str() {
        "string" => "recorded: as text".to_owned(),
        _ => "recorded".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_every_door_answers_odd_inputs_as_the_page_says() {
    let stage = Stage::new().await;
    // a session that would read days as months and hours as New York's
    let odd = "do $$ begin execute format('alter database %I set timezone = ''America/New_York''', current_database());
               execute format('alter database %I set datestyle = ''SQL, DMY''', current_database()); end $$";
    stage.sql(odd).await;
    let client = stage.db.connect().await;
    let console = Console::start_on(stage.db.another(), stage.db.another(), console::Options::default()).await;
    let token = console.token(&["intake"]).await;
    let imports = by_import(&stage, &client).await;
    let mut lines = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let cells = [
            by_function(&client, case, case.literal).await,
            by_function(&client, case, case.typed).await,
            by_insert(&client, case).await,
            by_copy(&stage, case).await,
            by_batch(&client, case).await,
            imports.get(case.name).cloned(),
            by_http(&client, &console, &token, case, &format!("http-{number}")).await,
        ];
        let cells = cells.map(|cell| cell.map_or_else(|| "–".to_owned(), |said| shown(&said)));
        lines.push(format!("| {} | {} |", case.name, cells.join(" | ")));
    }
    let page = page("docs/integrate/doors.md");
    let written: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| input")).collect();
    assert_eq!(written, lines, "the page's table should be:\n{}", lines.join("\n"));
}

/// Codes and values as the page writes them.
fn shown(said: &str) -> String {
    match said.split_once(": ") {
        Some((word, value)) if value != "as text" && value != "the last" => format!("{word} `{value}`"),
        Some((word, value)) => format!("{word}, {value}"),
        None if said == "recorded" => said.to_owned(),
        None => match said.split_once(", ") {
            Some((code, whole)) => format!("`{code}`, {whole}"),
            None => format!("`{said}`"),
        },
    }
}
