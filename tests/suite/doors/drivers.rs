//! What the drivers of several languages make of a time, and what their calls are answered.

use std::process::Command;

use serde_json::{Value, json};
use tests::{Stage, TestDatabase};
use tokio_postgres::types::Type;

use super::root;
use crate::integrate::skip;

/// A stage whose sessions are in New York; the drivers' programs run in Berlin.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    let zone = "do $$ begin execute format('alter database %I set timezone = ''America/New_York''', current_database()); end $$";
    stage.at("2024-09-18T15:00:00Z").await;
    stage.sql(zone).await;
    stage
}

/// Runs a driver's program and returns what it says, with what was recorded of it.
async fn said(stage: &Stage, mut command: Command) -> (Value, Vec<String>) {
    let output = command.env("TZ", "Europe/Berlin").output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let recorded = "select event_id || ': ' || to_char(used_at at time zone 'UTC', 'DD\"T\"HH24:MI')
                    from postmeter.usage order by event_id collate \"C\"";
    (serde_json::from_slice(&output.stdout).expect("JSON"), stage.column(recorded).await)
}

#[tokio::test]
async fn l4_times_of_python_drivers_are_refused_or_recorded_as_the_page_says() {
    let Ok(python) = std::env::var("POSTMETER_TEST_PYTHON") else {
        return skip("l4_times_of_python_drivers_are_refused_or_recorded_as_the_page_says", "POSTMETER_TEST_PYTHON");
    };
    let stage = stage().await;
    let mut command = Command::new(python);
    command.arg(root().join("tests/drivers/times.py")).env("DATABASE_URL", stage.db.tcp_url());
    let (verdicts, recorded) = said(&stage, command).await;
    let typed = json!({"zoned": "recorded", "naive": "PM001", "date": "PM001", "text": "recorded"});
    // pg8000 sends text without a type, which the session reads; asyncpg reads a
    // naive time by the program's own zone, and takes no text
    let expected = json!({"psycopg": typed, "sqlalchemy": typed,
        "pg8000": {"zoned": "recorded", "naive": "recorded", "date": "recorded", "text": "recorded"},
        "asyncpg": {"zoned": "recorded", "naive": "recorded", "date": "recorded", "text": "22000"}});
    assert_eq!(verdicts, expected);
    let recorded: Vec<_> = recorded.iter().filter(|line| !line.starts_with("asyncpg date")).collect();
    assert_eq!(
        recorded,
        [
            "asyncpg naive: 18T07:30",
            "asyncpg zoned: 18T09:30",
            "pg8000 date: 18T04:00",
            "pg8000 naive: 18T13:30",
            "pg8000 text: 18T09:30",
            "pg8000 zoned: 18T09:30",
            "psycopg text: 18T09:30",
            "psycopg zoned: 18T09:30",
            "sqlalchemy text: 18T09:30",
            "sqlalchemy zoned: 18T09:30",
        ]
    );
    stage.close().await;
}

#[tokio::test]
async fn l4_times_of_node_postgres_are_refused_or_recorded_as_the_page_says() {
    let Ok(modules) = std::env::var("POSTMETER_TEST_NODE_MODULES") else {
        return skip(
            "l4_times_of_node_postgres_are_refused_or_recorded_as_the_page_says",
            "POSTMETER_TEST_NODE_MODULES",
        );
    };
    let stage = stage().await;
    // node looks for modules beside the file
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join("times.mjs");
    std::fs::copy(root().join("tests/drivers/times.mjs"), &program).expect("a copy");
    std::os::unix::fs::symlink(modules, place.path().join("node_modules")).expect("a link");
    let mut command = Command::new("node");
    command.arg(program).env("DATABASE_URL", stage.db.tcp_url());
    let (verdicts, recorded) = said(&stage, command).await;
    let expected = json!({"node": {"zoned": "recorded", "text": "recorded", "text without a zone": "recorded",
                                   "cast to timestamp": "PM001"}});
    assert_eq!(verdicts, expected);
    assert_eq!(recorded, ["node text: 18T09:30", "node text without a zone: 18T13:30", "node zoned: 18T09:30"]);
    stage.close().await;
}

#[tokio::test]
async fn l4_times_of_jdbc_are_refused_or_recorded_as_the_page_says() {
    let Ok(driver) = std::env::var("POSTMETER_TEST_JDBC") else {
        return skip("l4_times_of_jdbc_are_refused_or_recorded_as_the_page_says", "POSTMETER_TEST_JDBC");
    };
    let stage = stage().await;
    let url: reqwest::Url = stage.db.tcp_url().parse().expect("a URL");
    let jdbc = format!(
        "jdbc:postgresql://{}:{}{}?user={}&password={}",
        url.host_str().unwrap_or_default(),
        url.port().unwrap_or(5432),
        url.path(),
        url.username(),
        url.password().unwrap_or_default()
    );
    let mut command = Command::new("java");
    command.arg("-cp").arg(driver).arg(root().join("tests/drivers/Times.java")).env("JDBC_URL", jdbc);
    let (verdicts, recorded) = said(&stage, command).await;
    let expected = json!({"jdbc": {"OffsetDateTime": "recorded", "Timestamp": "recorded", "LocalDateTime": "PM001",
                                   "LocalDate": "PM001", "String": "42883"}});
    assert_eq!(verdicts, expected);
    assert_eq!(recorded, ["jdbc OffsetDateTime: 18T09:30", "jdbc Timestamp: 18T09:30"]);
    stage.close().await;
}

#[tokio::test]
async fn l4_what_was_clear_before_the_overloads_is_clear_and_a_time_without_a_zone_says_what_to_do() {
    let db = TestDatabase::fresh().await;
    let client = &db.client;
    let place = "select postmeter.record_usage('s', $1, 'o', 'p', 'm', 1, $2, 'account', $3, null, null, '{}')";
    let named = "select postmeter.record_usage(source => 's', event_id => $1, org => 'o', product => 'p',
                 metric => 'm', quantity => 1, used_at => $2, corrects => $3)";
    for (n, call) in [place, named].into_iter().enumerate() {
        // parameters of no type, as most drivers send them, are what they were
        let types: Vec<Type> = client.prepare(call).await.expect(call).params().to_vec();
        assert_eq!(types, [Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT]);
        for (m, time) in
            ["now()", "'now'", "current_timestamp", "clock_timestamp() - interval '1 hour'"].iter().enumerate()
        {
            let call = call.replace("$1", &format!("'{n} {m}'")).replace("$2", time).replace("$3", "null");
            client.batch_execute(&call).await.expect(&call);
        }
        for time in ["localtimestamp", "now()::timestamp", "current_date", "null::timestamp"] {
            let call = call.replace("$1", "'no'").replace("$2", time).replace("$3", "null");
            let error = client.batch_execute(&call).await.expect_err(&call);
            let error = error.as_db_error().expect("the server's own error");
            let said = (error.code().code(), error.column(), error.constraint());
            assert_eq!(said, ("PM001", Some("used_at"), Some("used_at_zone")), "{call}");
            assert!(error.message().starts_with("usage 'no': used_at is a "), "{}", error.message());
            assert!(error.message().ends_with("pass a timestamptz") && error.hint().is_some());
        }
        let float = call.replace("$1", "'no'").replace("$2", "now()").replace("$3", "null");
        let float = float.replace("=> 1,", "=> 1::float8,").replace("'m', 1,", "'m', 1::float8,");
        let error = client.batch_execute(&float).await.expect_err(&float);
        assert_eq!(error.as_db_error().map(|error| error.code().code()), Some("42883"), "{float}");
    }
    let count = client.query_one("select count(*) from postmeter.usage", &[]).await.expect("a count");
    assert_eq!(count.get::<_, i64>(0), 8);
}
