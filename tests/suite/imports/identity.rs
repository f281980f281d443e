//! L6: which columns tell usages apart, and that another list of them bills nothing again.

use tests::Stage;

use super::{Exports, HEAD, Row, line, standing, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_another_list_of_columns_does_not_bill_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = [Row::new("a", "8"), Row::new("b", "8")];
    assert_eq!(exports.rows(&[], &rows).0, 0);
    let narrower = ["--id", "SubAccountId,ResourceId,ChargePeriodStart"];
    let (code, report, said) = exports.rows(&narrower, &rows);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(2)));
    assert!(said.contains("--id of before"), "{said}");
    // an export that gains an identifying column is another list, too
    let more = format!("{HEAD},AvailabilityZone\n{},eu-1a\n", line(&rows[0]));
    let path = exports.write("more.csv", more);
    let (code, _, said) = exports.import(&[], &[&path]);
    assert_eq!(code, 3, "{said}");
    assert_eq!(standing(&stage).await, "2 16");
    // and goes on with the list of before
    let before = "BillingAccountId,SubAccountId,ResourceId,SkuId,RegionId,ChargePeriodStart,ConsumedUnit";
    let (code, report, said) = exports.import(&["--id", before], &[&path]);
    assert_eq!((code, report["repeated"].as_u64()), (0, Some(1)), "{said}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_tag_keeps_its_unit_from_one_import_to_the_next() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let of = |disk, unit| [Row { unit, ..Row::new(disk, "8") }];
    assert_eq!(exports.rows(&[], &of("a", "GB Months")).0, 0);
    assert_eq!(exports.rows(&[], &of("b", "GB-Months")).0, 0, "the same letters are the same unit");
    // neither new usage nor known usage
    assert_eq!(exports.rows(&[], &of("b", "Gb-Months")).0, 3);
    let (code, report, said) = exports.rows(&[], &of("c", "Gb-Months"));
    assert_eq!((code, report["refused"].as_u64()), (3, Some(1)));
    assert!(said.contains("is Gb-months, and the metric gb-months of db is in GB-months so far"), "{said}");
    assert_eq!(standing(&stage).await, "2 16");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_service_that_was_renamed_is_refused_and_not_billed_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let named = |service: &str, quantity: &str| {
        let whole = text(&[Row::new("disk", quantity)]);
        exports.write("export.csv", whole.replace(",Db,", &format!(",{service},")))
    };
    assert_eq!(exports.import(&[], &[&named("Db", "8")]).0, 0);
    for quantity in ["8", "24"] {
        let (code, report, said) = exports.import(&["--apply-differences"], &[&named("Database", quantity)]);
        assert_eq!((code, report["refused"].as_u64()), (3, Some(1)));
        assert!(said.contains("product"), "{said}");
    }
    assert_eq!(exports.import(&[], &[&named("DB", "8")]).0, 0, "with the same tag it is the same");
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_columns_that_do_not_identify_are_refused() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    for (columns, word) in [("BilledCost", "how much"), ("ConsumedQuantity", "how much"), ("Nothing", "Nothing")] {
        let (code, _, said) = exports.rows(&["--id", columns], &[Row::new("a", "8")]);
        assert!(code == 2 && said.contains(word), "{said}");
    }
    // rows that cannot be one usage are told by the column that is missing
    let hours = Row { unit: "Hours", ..Row::new("a", "8") };
    let (code, report, said) = exports.rows(&["--id", "ResourceId"], &[Row::new("a", "8"), hours]);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(2)));
    assert!(said.contains("ConsumedUnit") && said.contains("--id"), "{said}");
    // two units that fall on one tag: both are refused, whichever comes first
    let of = |resource, unit| Row { unit, ..Row::new(resource, "8") };
    let (code, report, said) = exports.rows(&[], &[of("a", "GB"), of("b", "Gb")]);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(2)), "{said}");
    assert_eq!(standing(&stage).await, "0 0");
    // files of one source that tell rows apart in two ways are not mixed
    let one = exports.write("one.csv", format!("{HEAD}\n{}\n", line(&Row::new("a", "8"))));
    let two = exports.write("two.csv", format!("{HEAD},AvailabilityZone\n{},z\n", line(&Row::new("a", "8"))));
    let (code, _, said) = exports.import(&[], &[&one, &two]);
    assert!(code == 2 && said.contains("AvailabilityZone"), "{said}");
    assert_eq!(standing(&stage).await, "0 0");
    stage.close().await;
}
