//! L6: the same export again, whatever became of its costs, its order and its files, adds nothing.

use std::io::Write as _;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tests::Stage;

use super::{Exports, HEAD, Row, line, standing, text};

/// A day of an export: some rows are equal to the letter, some are one usage in two tiers of price.
fn day(draw: &mut StdRng) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..300 {
        let hour = n % 9;
        let row = Row {
            start: format!("2024-09-18T{hour:02}:00:00Z"),
            ..Row::new(&format!("disk-{}", n % 40), &format!("0.{:09}", draw.random_range(1..1_000_000_000_u32)))
        };
        for _ in 0..draw.random_range(1..4) {
            rows.push(row.clone());
        }
    }
    rows
}

/// The sum of the file, taken by Postgres from the raw text and not by our reader.
async fn sum_of(stage: &Stage, rows: &[Row]) -> String {
    let quantities: Vec<&str> = rows.iter().map(|row| row.quantity.as_str()).collect();
    let sql = "select trim_scale(sum(q::numeric))::text from unnest($1::text[]) q";
    stage.db.client.query_one(sql, &[&quantities]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_an_export_refreshed_ten_times_equals_the_file() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let mut draw = StdRng::seed_from_u64(15);
    let mut rows = day(&mut draw);
    let (code, report, said) = exports.rows(&[], &rows);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        (report["recorded"].as_u64(), report["rows"].as_u64()),
        (Some(rows.len() as u64), Some(rows.len() as u64))
    );
    let first = standing(&stage).await;
    let sum = sum_of(&stage, &rows).await;
    assert_eq!(first.split_once(' ').unwrap().1, sum, "equal rows count, each");
    let evidence = "select sum((attributes ->> 'rows')::numeric)::text from postmeter.usage";
    assert_eq!(stage.value(evidence).await, rows.len().to_string());
    for turn in 0..10 {
        rows.shuffle(&mut draw);
        for row in &mut rows {
            row.cost = draw.random_range(0..1000).to_string();
        }
        let (one, two) = rows.split_at(draw.random_range(1..rows.len()));
        let with_more = |rows: &[Row]| {
            let lines: Vec<String> = rows.iter().map(|row| format!("{},{turn}", line(row))).collect();
            format!("{HEAD},x_Refresh\n{}\n", lines.join("\n"))
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(with_more(one).as_bytes()).unwrap();
        let one = exports.write("one.csv.gz", gzip.finish().unwrap());
        let two = exports.write("two.csv", if turn % 2 == 0 { with_more(two) } else { text(two) });
        let (code, report, said) = exports.import(&["--parts"], &[&two, &one]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(report["repeated"].as_u64(), Some(rows.len() as u64), "{report}");
        assert_eq!(standing(&stage).await, first, "refresh {turn}");
    }
    stage.close().await;
}

#[tokio::test]
async fn l6_an_export_in_parts_is_a_difference_and_never_another_usage() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let (a, b) = (Row::new("disk", "5"), Row { cost: "9".to_owned(), ..Row::new("disk", "3") });
    let (code, ..) = exports.rows(&[], &[a.clone(), b.clone()]);
    assert_eq!((code, standing(&stage).await.as_str()), (0, "1 8"));
    let (code, report, _) = exports.rows(&[], &[a]);
    assert_eq!((code, report["changed"].as_u64()), (3, Some(1)), "half of a group is another quantity");
    let (code, report, _) = exports.rows(&[], &[b]);
    assert_eq!((code, report["changed"].as_u64()), (3, Some(1)));
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}
