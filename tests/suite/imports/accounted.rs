//! L6: every row ends somewhere, and so does its quantity.

use tests::Stage;

use super::{Exports, HEAD, Row, line, standing, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_every_row_and_its_quantity_ends_somewhere() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    assert_eq!(exports.rows(&[], &[Row::new("known", "8"), Row::new("changed", "8")]).0, 0);
    let of = |category, quantity: &str| Row { category, ..Row::new("fee", quantity) };
    let skipped = [of("Purchase", "5"), of("Tax", "5"), of("Credit", "-5"), of("Adjustment", ""), of("Usage", "NULL")];
    let refused = [
        Row::new("back", "-3"),
        Row { class: "Correction", ..Row::new("old", "3") },
        Row::new("odd", "many"),
        Row { start: "yesterday".to_owned(), ..Row::new("odd", "1") },
    ];
    let good = [
        Row::new("known", "8"),
        Row::new("changed", "9"),
        Row::new("new", "1"),
        Row::new("new", "2"),
        Row::new("zero", "0"),
    ];
    let all: Vec<Row> = good.iter().chain(&skipped).chain(&refused).cloned().collect();
    let file = exports.write("all.csv", text(&all) + "short,row\n");
    let rejects = exports.path("rejects.csv");
    let (code, report, said) = exports.import(&["--rejects", rejects.to_str().unwrap()], &[&file]);
    assert_eq!(code, 3, "{said}");
    let told =
        ["rows", "recorded", "repeated", "changed", "skipped", "refused"].map(|end| report[end].as_u64().unwrap());
    assert_eq!(told, [15, 2, 1, 1, 6, 5], "{report}");
    let mut listed: Vec<String> = csv::Reader::from_path(&rejects)
        .unwrap()
        .records()
        .map(|line| line.map(|line| format!("{} {} {}", &line[1], &line[3], &line[4])).unwrap())
        .collect();
    listed.sort();
    let expected = [
        "10 skipped ChargeCategory",
        "11 skipped ConsumedQuantity",
        "12 refused ConsumedQuantity",
        "13 refused ChargeClass",
        "14 refused ConsumedQuantity",
        "15 refused ChargePeriodStart",
        "16 refused (row)",
        "3 changed ConsumedQuantity",
        "6 skipped ConsumedQuantity",
        "7 skipped ChargeCategory",
        "8 skipped ChargeCategory",
        "9 skipped ChargeCategory",
    ];
    assert_eq!(listed, expected);
    assert_eq!(standing(&stage).await, "3 19");
    let output = tests::postmeter(&stage.db.url()).args(["import", "focus"]).arg(&file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("15 rows = 0 recorded + 3 repeated (recorded before) + 1 changed + 6 skipped + 5 refused"),
        "{said}"
    );
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_what_was_not_used_needs_nobody() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let unused = |column: &str| {
        format!("{HEAD},{column}\n{},Unused\n{},Used\n", line(&Row::new(column, "5")), line(&Row::new("used", "1")))
    };
    for column in ["CommitmentDiscountStatus", "CapacityReservationStatus"] {
        let file = exports.write("export.csv", unused(column));
        let (code, report, said) = exports.import(&[], &[&file]);
        assert_eq!((code, report["skipped"].as_u64()), (0, Some(1)), "{said}");
    }
    assert_eq!(standing(&stage).await, "1 1");
    // zero is no usage, and no difference when something comes; of what is known zero is a difference
    for (quantity, code, expected) in [("0", 0, "1 1"), ("4", 0, "2 5"), ("0", 3, "2 5")] {
        assert_eq!(exports.rows(&[], &[Row::new("idle", quantity)]).0, code, "{quantity}");
        assert_eq!(standing(&stage).await, expected, "{quantity}");
    }
    stage.close().await;
}
