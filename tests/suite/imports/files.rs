//! L6: a file is told by what it is, and what cannot be read is named for what it is.

use std::io::Write as _;
use std::process::Stdio;

use tests::{Stage, TestDatabase};

use super::{Exports, Row, standing, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_files_are_named_for_what_they_are() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let whole = text(&[Row::new("disk", "8")]);
    let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let other = whole.replace("ProviderName", "ServiceProviderName");
    for (bytes, word) in [
        (utf16, "UTF-16"),
        (whole.replace(',', ";").into_bytes(), "semicolons"),
        (b"PK\x03\x04".to_vec(), "ZIP"),
        (b"PAR1".to_vec(), "Parquet"),
        (other.into_bytes(), "--source"),
    ] {
        let path = exports.write("export.csv", bytes);
        let (code, _, said) = exports.import(&[], &[&path]);
        assert!(code == 2 && said.contains("export.csv") && said.contains(word), "{word}: {said}");
    }
    // of several files none is recorded, if one of them is none
    let (one, two) = (exports.write("one.csv", &whole), exports.write("two.csv", "nothing"));
    assert_eq!(exports.import(&[], &[&one, &two]).0, 2);
    assert_eq!(standing(&stage).await, "0 0");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_compressed_export_is_read_from_standard_input_too() {
    let stage = Stage::new().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text(&[Row::new("disk", "8")]).as_bytes()).unwrap();
    let mut import = tests::postmeter(&stage.db.url())
        .args(["import", "focus", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&gzip.finish().unwrap()).unwrap();
    assert_eq!(tests::end_of(&mut import).code(), Some(0));
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_times_and_numbers_are_read_as_they_are_written() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let at = |resource: &str, start: &str| Row { start: start.to_owned(), ..Row::new(resource, "1") };
    let rows = [
        at("aws", "2024-09-18T08:00:00.000Z"),
        at("azure", "2024-09-18T08:00Z"),
        at("gcp", "2024-09-18 08:00:00 UTC"),
        at("oci", "2024-09-18 08:00:00"),
        at("berlin", "2024-09-18 10:00:00 Europe/Berlin"),
        Row { quantity: ".5".to_owned(), ..at("half", "2024-09-18T08:00Z") },
    ];
    let (code, _, said) = exports.rows(&[], &rows);
    assert_eq!(code, 0, "{said}");
    let hours = "select string_agg(distinct (used_at at time zone 'UTC')::text, ' ') from postmeter.usage";
    assert_eq!((stage.value(hours).await.as_str(), standing(&stage).await.as_str()), ("2024-09-18 08:00:00", "6 5.5"));
    let (code, _, said) = exports.rows(&[], &[at("us", "2024-09-18 08:00:00 PST"), at("slash", "09/18/2024 08:00")]);
    assert!(code == 3 && said.contains("\"PST\"") && said.contains("--dates"), "{said}");
    let slash = [at("slash", "09/18/2024 08:00")];
    assert_eq!(exports.rows(&["--dates", "month-first"], &slash).0, 0);
    let comma = Row { quantity: "\"1,5\"".to_owned(), ..Row::new("comma", "") };
    let (code, _, said) = exports.rows(&[], std::slice::from_ref(&comma));
    assert!(code == 3 && said.contains("--decimals comma"), "{said}");
    assert_eq!(exports.rows(&["--decimals", "comma"], &[comma]).0, 0);
    assert_eq!(standing(&stage).await, "8 8");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_database_that_cannot_keep_every_text_is_named_by_its_encoding() {
    let db = TestDatabase::fresh().await;
    let name = format!("latin_{}", uuid::Uuid::new_v4().simple());
    let made = format!("create database {name} encoding 'LATIN1' locale 'C' template template0");
    db.client.batch_execute(&made).await.unwrap();
    let own: String = db.client.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let exports = Exports { folder: tempfile::tempdir().unwrap(), url: db.url().replace(&own, &name) };
    let migrated = tests::postmeter(&exports.url).arg("migrate").output().unwrap();
    let (code, _, said) = exports.rows(&[], &[Row::new("disk", "8")]);
    for (code, said) in [(migrated.status.code(), String::from_utf8(migrated.stderr).unwrap()), (Some(code), said)] {
        assert!(code == Some(2) && said.contains("LATIN1") && said.contains("UTF8"), "{said}");
    }
    db.client.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
}

/// A folder with an export of each day, each with the whole month so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_deliveries_of_one_export_are_not_added_up() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows: Vec<Row> = (0..10).map(|n| Row::new(&format!("disk-{n}"), "8")).collect();
    let (first, second) = (exports.write("1.csv", text(&rows[..7])), exports.write("2.csv", text(&rows)));
    let (code, _, said) = exports.import(&[], &[&first, &second]);
    assert!(code == 2 && said.contains("two deliveries of one export") && said.contains("--parts"), "{said}");
    assert_eq!(standing(&stage).await, "0 0");
    // parts of one delivery may share some of their usage
    let part = exports.write("3.csv", text(&rows[6..]));
    assert_eq!(exports.import(&[], &[&first, &part]).0, 0);
    assert_eq!(standing(&stage).await, "10 88");
    stage.close().await;
}
