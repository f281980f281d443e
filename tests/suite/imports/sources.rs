//! L6: the source is made of the provider's name, and a provider that has another name now is billed once.

use tests::Stage;

use super::periods::{hours_of_a_day, lasting};
use super::{Exports, HEAD, Row, line, standing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_provider_with_another_name_is_not_billed_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let of = |provider| Row { provider, ..Row::new("disk", "8") };
    assert_eq!(exports.rows(&[], &[of("Aws")]).0, 0);
    let (code, report, said) = exports.rows(&[], &[of("Amazon Web Services")]);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(1)));
    assert!(said.contains("ProviderName: the same usage is recorded in the source focus:aws already"), "{said}");
    // so does a file that has no such column, or a source that somebody names
    let without =
        exports.write("without.csv", format!("{}\n{}\n", HEAD.replace("ProviderName", "x_Name"), line(&of("Aws"))));
    for words in [&[][..], &["--source", "billing"]] {
        assert_eq!(exports.import(words, &[&without]).0, 3);
    }
    // what the sentence says helps, and later usage has the new source without a question
    let (code, report, said) = exports.rows(&["--source", "focus:aws"], &[of("Amazon Web Services")]);
    assert_eq!((code, report["repeated"].as_u64()), (0, Some(1)), "{said}");
    let later = Row { start: "2024-09-18T10:00:00Z".to_owned(), ..of("Amazon Web Services") };
    assert_eq!(exports.rows(&[], &[later]).0, 0);
    assert_eq!(standing(&stage).await, "2 16");
    // other hours are other usage: this is how a file is played into another time, where there is some, too
    assert_eq!(exports.rows(&["--source", "demo", "--shift", "-48h"], &[of("Aws")]).0, 0);
    assert_eq!(exports.rows(&["--source", "demo-2", "--shift", "1h"], &[of("Aws")]).0, 0);
    assert_eq!(standing(&stage).await, "4 32");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_provider_with_another_name_and_another_granularity_or_columns_is_not_billed_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let renamed = |row: Row| Row { provider: "Amazon", ..row };
    assert_eq!(exports.rows(&[], &[lasting("disk", "24", "2024-09-17T00:00:00Z", 24)]).0, 0);
    let hours: Vec<Row> = hours_of_a_day("1").into_iter().map(renamed).collect();
    let (code, report, said) = exports.rows(&[], &hours);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(24)), "{said}");
    let day = renamed(lasting("disk", "24", "2024-09-17T00:00:00Z", 24));
    let more = exports.write("more.csv", format!("{HEAD},AvailabilityZone\n{},z\n", line(&day)));
    let (code, _, said) = exports.import(&[], &[&more]);
    assert_eq!(code, 3);
    assert!(said.contains("focus:amazon if it is another provider"), "{said}");
    assert_eq!(standing(&stage).await, "1 24");
    // and what it says helps
    assert_eq!(exports.import(&["--source", "focus:amazon"], &[&more]).0, 0);
    assert_eq!(standing(&stage).await, "2 48");
    stage.close().await;
}

/// Two providers may well have the same ids of one org.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_providers_of_one_org_are_told_apart_by_their_name() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = ["Alpha", "Beta"].map(|provider| Row { provider, ..Row::new("disk", "8") });
    let (code, _, said) = exports.rows(&[], &rows);
    assert!(code == 3 && said.contains("name ProviderName in --id"), "{said}");
    let by_name = "BillingAccountId,SubAccountId,ResourceId,SkuId,RegionId,ConsumedUnit,ProviderName";
    assert_eq!(exports.rows(&["--id", by_name, "--from", "2024-09-18T10:00:00Z"], &later(&rows)).0, 0);
    assert_eq!(standing(&stage).await, "3 24");
    stage.close().await;
}

fn later(rows: &[Row]) -> Vec<Row> {
    rows.iter().map(|row| Row { start: "2024-09-18T10:00:00Z".to_owned(), ..row.clone() }).collect()
}

/// Some providers change the case of an id from one export to the next, or within one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_an_org_in_another_case_is_the_same_org() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let small = line(&Row::new("disk", "8"));
    let large = small.replace("acme", "ACME");
    let both = exports.write("both.csv", format!("{HEAD}\n{small}\n{large}\n"));
    for _ in 0..2 {
        assert_eq!(exports.import(&[], &[&both]).0, 0);
        assert_eq!(standing(&stage).await, "1 16");
    }
    let shouted = exports.write("shouted.csv", format!("{HEAD}\n{}\n", large.replace(",8,", ",20,")));
    assert_eq!(exports.import(&["--apply-differences"], &[&shouted]).0, 0);
    assert_eq!(standing(&stage).await, "2 20");
    assert_eq!(stage.value("select string_agg(distinct org, ' ') from postmeter.usage").await, "acme");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_names_of_a_provider_in_one_command_bill_once() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = ["Aws", "Amazon"].map(|provider| Row { provider, ..Row::new("disk", "8") });
    let (code, report, said) = exports.rows(&[], &rows);
    assert_eq!((code, report["recorded"].as_u64(), report["refused"].as_u64()), (3, Some(1), Some(1)), "{said}");
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_white_space_around_a_value_is_no_part_of_it() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let row = Row::new("NULL", "8");
    assert_eq!(exports.rows(&[], std::slice::from_ref(&row)).0, 0);
    let padded = line(&row).replace(',', " , ");
    let path = exports.write("padded.csv", format!("{HEAD}\n{padded} \n"));
    let (code, report, said) = exports.import(&[], &[&path]);
    assert_eq!((code, report["repeated"].as_u64()), (0, Some(1)), "{said}");
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_row_that_is_refused_says_nothing_of_units() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let of = |unit, resource, start: &str| Row { unit, start: start.to_owned(), ..Row::new(resource, "8") };
    // a month that intake refuses
    assert_eq!(exports.rows(&[], &[of("Gb", "a", "1999-01-01T00:00:00Z")]).0, 3);
    let now = "2024-09-18T09:00:00Z";
    assert_eq!(exports.rows(&[], &[of("GB", "a", now)]).0, 0, "the refused row did not choose the unit");
    assert_eq!(exports.rows(&[], &[of("Gb", "b", now)]).0, 3);
    // long words are the same in any case
    assert_eq!(exports.rows(&[], &[of("Hours", "c", now)]).0, 0);
    assert_eq!(exports.rows(&[], &[of("hours", "d", now)]).0, 0);
    // and the database sees them as the program does
    let keys = stage.value("select string_agg(postmeter.import_unit_key(u), ' ' order by n)
        from unnest('{GB-Months,Hours,Gb,Gbps,GBPS,KiBps,mWh,MWh,bps,Bytes,GigaBytes,MBit,Hrs,GB-Mo,ms,Ms,B,Min,kWh}'::text[]) with ordinality u(u, n)");
    assert_eq!(
        keys.await,
        "GB-months hours Gb Gbps GBPS KiBps mWh MWh bps bytes gigabytes mbit hrs GB-mo ms Ms B min kwh"
    );
    stage.close().await;
}
