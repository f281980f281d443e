//! L6: a charge period that still runs ends later in the next export, and all of it is known then.

use tests::Stage;

use super::periods::{APPLY, lasting, quantity};
use super::{Exports, HEAD, Row, line};

fn days(days: std::ops::Range<u32>) -> Vec<Row> {
    days.map(|day| lasting("disk", "1", &format!("2024-09-{day:02}T00:00:00Z"), 24)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_days_of_a_month_that_still_ran_are_not_billed_again() {
    for later in ["14", "7"] {
        let stage = Stage::new().await;
        let exports = Exports::of(&stage);
        let begin = "2024-09-01T00:00:00Z";
        assert_eq!(exports.rows(&[], &[lasting("disk", "7", begin, 7 * 24)]).0, 0);
        // the same quantity is no difference, and the period is longer nevertheless
        assert_eq!(exports.rows(APPLY, &[lasting("disk", later, begin, 14 * 24)]).0, 0);
        assert_eq!(quantity(&stage).await, later);
        let (code, report, said) = exports.rows(APPLY, &days(8..14));
        assert_eq!((code, report["refused"].as_u64()), (3, Some(6)), "{said}");
        // nor by other columns
        let more: Vec<String> = days(8..14).iter().map(|row| line(row) + ",eu-1a\n").collect();
        let path = exports.write("more.csv", format!("{HEAD},AvailabilityZone\n{}", more.concat()));
        let (code, report, said) = exports.import(&[], &[&path]);
        assert_eq!((code, report["refused"].as_u64()), (3, Some(6)), "{said}");
        assert_eq!(exports.rows(&[], &days(15..17)).0, 0);
        assert_eq!(quantity(&stage).await, (later.parse::<u32>().unwrap() + 2).to_string());
        stage.close().await;
    }
}

/// Columns A, then B, then A again: what B recorded in between stays known, unchanged or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_what_a_list_recorded_stays_its_own_when_another_one_encloses_it() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let of = |day: &str, quantity: &str| lasting("disk", quantity, &format!("2024-09-{day}T00:00:00Z"), 24);
    let b = |quantity: &str| {
        let path = exports.write("b.csv", format!("{HEAD},AvailabilityZone\n{},z\n", line(&of("11", quantity))));
        exports.import(APPLY, &[&path])
    };
    assert_eq!(exports.rows(&[], &[of("10", "1")]).0, 0);
    assert_eq!(b("1").0, 0);
    assert_eq!(exports.rows(&[], &[of("12", "1")]).0, 0);
    for now in ["1", "5", "2"] {
        let (code, _, said) = b(now);
        assert_eq!(code, 0, "{said}");
        assert_eq!(quantity(&stage).await, (now.parse::<u32>().unwrap() + 2).to_string());
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_period_that_begins_before_from_is_listed() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = [days(10..12), vec![lasting("disk", "1", "2024-09-11T23:00:00Z", 1)]].concat();
    let (code, report, said) = exports.rows(&["--from", "2024-09-11T12:00:00Z"], &rows);
    assert_eq!((code, report["outside"].as_u64(), report["skipped"].as_u64()), (0, Some(1), Some(1)), "{report}");
    assert!(said.contains("begins before --from and ends after it"), "{said}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_row_of_zero_is_in_nobodys_way() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let begin = "2024-09-10T00:00:00Z";
    let rows = [lasting("disk", "0", begin, 24), lasting("disk", "2", "2024-09-10T05:00:00Z", 1)];
    assert_eq!(exports.rows(&[], &rows).0, 0);
    assert_eq!(quantity(&stage).await, "2");
    stage.close().await;
}
