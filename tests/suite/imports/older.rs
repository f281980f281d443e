//! L6: what an older version imported, under ids of another rule, is recognised or refused, and never billed again.

use tests::Stage;
use uuid::Uuid;

use super::{Exports, HEAD, Row, line, standing};

/// As versions before 0062 did: the id is a hash of all columns of the row.
fn hashed(row: &Row) -> String {
    let namespace = Uuid::from_u128(0x6c0f_3f2c_6f0e_5d0e_9c55_0b7d_7a0c_f0c5);
    let mut bytes = Vec::new();
    for field in line(row).split(',') {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    format!("row:{}", Uuid::new_v5(&namespace, &bytes))
}

/// Records a row as they did.
async fn recorded_then(stage: &Stage, event_id: &str, row: &Row) {
    let sql = format!(
        "select postmeter.record_usage(source => 'focus:aws', event_id => '{event_id}', org => 'acme', product => 'db',
             metric => 'cores', quantity => {}, used_at => '{}',
             attributes => jsonb_build_object('resource', '{}', 'charge_period_start', '{}'))::text",
        row.quantity, row.start, row.resource, row.start
    );
    stage.value(&sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_rows_that_an_older_version_recorded_are_recognised_or_refused() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let at = |hour: u32, resource: &str| Row { start: format!("2024-09-18T0{hour}:00:00Z"), ..Row::new(resource, "8") };
    let (first, last) = (at(3, "a"), at(5, "b"));
    for row in [&first, &last] {
        recorded_then(&stage, &hashed(row), row).await;
    }
    // the same file again, and it goes on: what is known is known, and what is later is new
    let (code, report, said) = exports.rows(&[], &[first.clone(), last.clone(), at(6, "a")]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((report["repeated"].as_u64(), report["recorded"].as_u64()), (Some(2), Some(1)));
    assert_eq!(standing(&stage).await, "3 24");
    // one of two rows of a usage is known, and the other may be a part of it that was counted under another cost
    let other_cost = Row { cost: "2".to_owned(), ..first.clone() };
    let (code, report, _) = exports.rows(&["--apply-differences"], &[first.clone(), other_cost]);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(2)));
    // refreshed: nobody can tell whether it is counted, so it is not, and the sentence says what to do
    let dearer = Row { cost: "99".to_owned(), ..first.clone() };
    for row in [dearer, at(4, "late"), Row { quantity: "9".to_owned(), ..last.clone() }] {
        let (code, report, said) = exports.rows(&["--apply-differences"], &[row, at(6, "a")]);
        assert_eq!((code, report["refused"].as_u64(), report["repeated"].as_u64()), (3, Some(1), Some(1)));
        assert!(
            said.contains("from 2024-09-18T03:00:00Z until before 2024-09-18T05:00:00.000001Z was")
                && said.contains("(--from 2024-09-18T05:00:00.000001Z, or"),
            "{said}"
        );
        assert_eq!(standing(&stage).await, "3 24");
    }
    // and what it says helps
    let (code, ..) = exports.rows(&["--from", "2024-09-18T05:00:00.000001Z"], &[at(4, "late"), at(6, "a"), at(7, "a")]);
    assert_eq!((code, standing(&stage).await.as_str()), (0, "4 32"));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_equal_rows_that_an_older_version_counted_once_are_a_difference() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let row = Row::new("disk", "8");
    recorded_then(&stage, &hashed(&row), &row).await;
    let twice = [row.clone(), row];
    let (code, report, said) = exports.rows(&[], &twice);
    assert_eq!((code, report["changed"].as_u64()), (3, Some(2)), "{said}");
    for _ in 0..2 {
        assert_eq!(exports.rows(&["--apply-differences"], &twice).0, 0);
        assert_eq!(standing(&stage).await, "2 16");
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_rows_that_had_an_id_are_recognised_when_they_are_refreshed() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let file = |cost: &str, quantity: &str| {
        let row = Row { cost: cost.to_owned(), ..Row::new("disk", quantity) };
        exports.write("export.csv", format!("{HEAD},Id\n{},4711\n", line(&row)))
    };
    recorded_then(&stage, "4711", &Row::new("disk", "8")).await;
    let (code, report, said) = exports.import(&[], &[&file("99", "8")]);
    assert_eq!((code, report["repeated"].as_u64()), (0, Some(1)), "{said}");
    for quantity in ["24", "6", "6"] {
        assert_eq!(exports.import(&["--apply-differences"], &[&file("1", quantity)]).0, 0);
        assert_eq!(standing(&stage).await.split_once(' ').unwrap().1, quantity);
    }
    stage.close().await;
}

/// Some providers change the case of an id. What was recorded under older ids is looked for in any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_an_org_in_another_case_is_the_org_that_an_older_version_recorded() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let row = Row::new("a", "8");
    recorded_then(&stage, &hashed(&row), &row).await;
    let shouted = line(&row).replace("acme", "ACME");
    assert_ne!(shouted, line(&row), "the row names its org");
    let path = exports.write("shouted.csv", format!("{HEAD}\n{shouted}\n"));
    let (code, report, said) = exports.import(&[], &[&path]);
    assert_eq!((code, report["recorded"].as_u64()), (3, Some(0)), "{said}");
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}
