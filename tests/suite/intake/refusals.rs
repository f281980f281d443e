//! What is refused, by name, and what is accepted although the catalogue is late.

use bytes::Bytes;
use futures_util::SinkExt as _;
use tests::Stage;

use super::{call, insert, rows};

/// A field, a value it must not have, and how it is refused.
const BAD: [(&str, &str, &str); 34] = [
    ("source", "null", "23502 source -"),
    ("event_id", "null", "23502 event_id -"),
    ("org", "null", "23502 org -"),
    ("product", "null", "23502 product -"),
    ("metric", "null", "23502 metric -"),
    ("quantity", "null", "23502 quantity -"),
    ("used_at", "null", "23502 used_at -"),
    ("source", "''", "PM001 source source_length"),
    ("event_id", "''", "PM001 event_id event_id_length"),
    ("org", "''", "PM001 org org_length"),
    ("product", "''", "PM001 product product_length"),
    ("metric", "''", "PM001 metric metric_length"),
    ("account", "''", "PM001 account account_length"),
    ("corrects", "''", "PM001 corrects corrects_length"),
    ("request_id", "''", "PM001 request_id request_id_length"),
    ("traceparent", "''", "PM001 traceparent traceparent_length"),
    ("org", "repeat('ö', 128)", "PM001 org org_length"),
    ("event_id", "repeat('x', 256)", "PM001 event_id event_id_length"),
    ("quantity", "'NaN'", "PM001 quantity quantity_range"),
    ("quantity", "'Infinity'", "PM001 quantity quantity_range"),
    ("quantity", "'-Infinity'", "PM001 quantity quantity_range"),
    ("quantity", "1000000000000.000000000000001", "PM001 quantity quantity_range"),
    ("quantity", "'1e1000'", "PM001 quantity quantity_range"),
    ("quantity", "0.0000000000000001", "PM001 quantity quantity_decimals"),
    ("quantity", "-1", "PM001 quantity quantity_negative"),
    ("corrects", "'e0'", "PM001 corrects corrects_negative"),
    ("used_at", "'2024-09-18T11:00:00.000001Z'", "PM006 used_at used_at_too_far_ahead"),
    ("used_at", "'infinity'", "PM006 used_at used_at_too_far_ahead"),
    ("used_at", "'2024-08-04T09:59:59.999999Z'", "PM005 used_at used_at_too_old"),
    ("used_at", "'-infinity'", "PM005 used_at used_at_too_old"),
    ("attributes", "'[]'", "PM001 attributes attributes_object"),
    ("attributes", "'7'", "PM001 attributes attributes_object"),
    // a few bytes as stored, and nine thousand as text
    ("attributes", "'{\"x\": 1e9000}'", "PM001 attributes attributes_object"),
    ("attributes", "jsonb_build_object('x', repeat('x', 9000))", "PM001 attributes attributes_object"),
];

#[tokio::test]
async fn a4_every_bad_field_is_named_and_a_savepoint_goes_on() {
    let stage = Stage::new().await;
    stage.sql("create table orders (id int)").await;
    for (field, value, refusal) in BAD {
        for statement in [insert(&[(field, value)]), call(&[(field, value)])] {
            stage.sql("begin; insert into orders values (1); savepoint usage").await;
            assert_eq!(stage.refusal(&statement).await, refusal, "{field} = {value}");
            stage.sql("rollback to savepoint usage; commit").await;
        }
    }
    assert_eq!(stage.value("select count(*)::text from orders").await, (2 * BAD.len()).to_string());
    assert_eq!(rows(&stage).await, "0 0 0");
    stage.close().await;
}

/// What a database's error says: code, column, table, message and hint.
fn said(error: &tokio_postgres::Error) -> [String; 5] {
    let error = error.as_db_error().expect("the server's own error");
    let text = |part: Option<&str>| part.unwrap_or("-").to_owned();
    [
        error.code().code().to_owned(),
        text(error.column()),
        text(error.table()),
        error.message().to_owned(),
        text(error.hint()),
    ]
}

#[tokio::test]
async fn a4_a_field_that_is_missing_is_named_by_every_door() {
    let stage = Stage::new().await;
    let needs = "Give it: a usage needs source, event_id, org, product, metric, quantity and used_at.";
    for (field, ..) in &BAD[..7] {
        let usage = if *field == "event_id" { "?" } else { "'e1'" };
        let message = format!("usage {usage}: {field} is missing");
        let error = stage.db.client.batch_execute(&call(&[(field, "null")])).await.unwrap_err();
        assert_eq!(said(&error), ["23502", field, "outbox", &message, needs], "record_usage");
        // also where it corrects
        let corrects = [(*field, "null"), ("corrects", "'e0'")];
        let error = stage.db.client.batch_execute(&call(&corrects)).await.unwrap_err();
        assert_eq!(said(&error), ["23502", field, "outbox", &message, needs], "record_usage, a correction");
        let batch = format!(
            "select concat_ws(' ', r.verdict, r.error_code, r.field, r.message) from postmeter.record_usage_batch(jsonb_build_array(
                jsonb_build_object('source', 'billing', 'event_id', 'e1', 'org', 'acme', 'product', 'db', 'metric', 'cores',
                                   'quantity', 1, 'used_at', '2024-09-18T09:30:00Z') || jsonb_build_object('{field}', null))) r"
        );
        assert_eq!(stage.value(&batch).await, format!("refused 23502 {field} {message}"), "the batch");
        // Postgres itself checks these, and names the partition
        let message =
            format!("null value in column \"{field}\" of relation \"outbox_entry\" violates not-null constraint");
        let error = stage.db.client.batch_execute(&insert(&[(field, "null")])).await.unwrap_err();
        assert_eq!(said(&error), ["23502", field, "outbox_entry", &message, "-"], "INSERT");
        let names = ["source", "event_id", "org", "product", "metric", "quantity", "used_at"];
        let cells = ["billing", "e1", "acme", "db", "cores", "1", "2024-09-18T09:30:00Z"];
        let cells = names.iter().zip(cells).map(|(name, cell)| if name == field { "" } else { cell });
        // a session of its own: the driver loses its place after a COPY that failed
        let client = stage.db.connect().await;
        let copy = format!("copy postmeter.outbox ({}) from stdin (format csv)", names.join(", "));
        let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(&copy).await.unwrap());
        sink.send(Bytes::from(cells.collect::<Vec<_>>().join(",") + "\n")).await.unwrap();
        let error = sink.finish().await.unwrap_err();
        assert_eq!(said(&error), ["23502", field, "outbox_entry", &message, "-"], "COPY");
    }
    assert_eq!(rows(&stage).await, "0 0 0");
    stage.close().await;
}

#[tokio::test]
async fn a4_a_message_says_which_event_and_what_is_wrong() {
    let stage = Stage::new().await;
    let error = stage.db.client.batch_execute(&insert(&[("quantity", "'NaN'")])).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "usage 'e1': quantity must be a number between -10^12 and 10^12");
    assert_eq!((error.schema(), error.table()), (Some("postmeter"), Some("outbox")));
    // among a thousand good ones the bad one is named, and none is recorded
    let among = "insert into postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
        select 'billing', 'n' || n, 'acme', 'db', 'cores', case n when 617 then 'NaN'::numeric else 1 end,
               '2024-09-18T09:00Z'
        from generate_series(1, 1000) n";
    let error = stage.db.client.batch_execute(among).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().starts_with("usage 'n617': quantity"), "{error:?}");
    assert_eq!(rows(&stage).await, "0 0 0");
    stage.close().await;
}

#[tokio::test]
async fn a4_the_limits_themselves_are_accepted() {
    let stage = Stage::new().await;
    for (n, (field, value)) in [
        ("quantity", "1000000000000"),
        ("quantity", "0"),
        ("quantity", "0.000000000000001"),
        ("quantity", "1.5000000000000000000000000000000000000000"),
        ("quantity", "1000000000000.00000000000000000000"),
        ("used_at", "'2024-09-18T11:00:00Z'"),
        ("used_at", "'2024-08-04T10:00:00Z'"),
        ("org", "repeat('ö', 127)"),
    ]
    .into_iter()
    .enumerate()
    {
        stage.sql(&call(&[("event_id", &format!("'n{n}'")), (field, value)])).await;
    }
    assert_eq!(rows(&stage).await, "8 8 8");
    stage.fold().await;
    assert_eq!(stage.value("select count(*)::text from postmeter.outbox").await, "0", "and they fold");
    stage.close().await;
}

#[tokio::test]
async fn a4_settings_move_the_limits_of_age() {
    let stage = Stage::new().await;
    stage.sql("update postmeter.setting set usage_age_max = '1 day', usage_lead_max = '0'").await;
    let old = call(&[("used_at", "'2024-09-17T09:59:59Z'")]);
    assert_eq!(stage.refusal(&old).await, "PM005 used_at used_at_too_old");
    let ahead = call(&[("used_at", "'2024-09-18T10:00:01Z'")]);
    assert_eq!(stage.refusal(&ahead).await, "PM006 used_at used_at_too_far_ahead");
    stage.close().await;
}

#[tokio::test]
async fn a4_what_the_catalogue_does_not_know_is_accepted_and_held_by_name() {
    let stage = Stage::new().await;
    stage.sql(&call(&[("event_id", "'1'"), ("org", "'nobody'")])).await;
    stage.sql(&call(&[("event_id", "'2'"), ("product", "'cache'")])).await;
    stage.sql(&call(&[("event_id", "'3'"), ("metric", "'gb'")])).await;
    stage.sql(&call(&[("event_id", "'4'"), ("account", "'other'")])).await;
    stage.work().await;
    assert_eq!(
        stage.column("select event_id || ' ' || reason from postmeter.usage_explained order by 1").await,
        ["1 no_subscription", "2 no_subscription", "3 unmapped_dimension", "4 no_subscription"]
    );
    assert!(stage.aws.calls().is_empty());
    stage.close().await;
}

#[tokio::test]
async fn a4_the_setting_refuse_refuses_what_the_catalogue_does_not_know() {
    let stage = Stage::new().await;
    stage.sql("update postmeter.setting set unresolved = 'refuse'").await;
    for (field, value, refusal) in [
        ("org", "'nobody'", "PM007 org no_subscription"),
        ("product", "'cache'", "PM007 org no_subscription"),
        ("metric", "'gb'", "PM007 metric unmapped_dimension"),
    ] {
        for statement in [insert(&[(field, value)]), call(&[(field, value)])] {
            assert_eq!(stage.refusal(&statement).await, refusal);
        }
    }
    stage.sql("insert into postmeter.exemption (org, reason) values ('ours', 'our own staging')").await;
    stage.sql(&call(&[("event_id", "'exempt'"), ("org", "'ours'")])).await;
    stage.sql(&call(&[])).await;
    assert_eq!(rows(&stage).await, "2 2 2");
    stage.close().await;
}

#[tokio::test]
async fn a4_too_late_for_the_marketplace_is_accepted_and_then_expired() {
    let stage = Stage::new().await;
    stage.use_cores("august", "3", "2024-08-20T09:30:00Z").await;
    stage.cut_at("2024-09-18T10:20:00Z").await;
    assert_eq!(stage.remittances().await, ["20T09 expired 3"]);
    assert!(stage.aws.calls().is_empty(), "no call for what they would refuse");
    assert_eq!(stage.value("select month::text || ' ' || expired from postmeter.balance").await, "2024-08-01 3");
    stage.close().await;
}
