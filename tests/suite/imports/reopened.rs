//! L6: a mistaken import can be taken back, and what a producer says of a source closes it for nobody.

use tests::Stage;

use super::periods::{quantity, taken_back};
use super::{Exports, Row};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_an_import_by_a_mistaken_list_is_taken_back() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = [Row::new("a", "8"), Row::new("b", "8")];
    assert_eq!(exports.rows(&["--id", "SubAccountId,SkuId"], &rows).0, 0);
    assert_eq!(exports.rows(&[], &rows).0, 3);
    let list = stage.value("select list from postmeter.import_period").await;
    let reopen = |dry: bool| {
        format!(
            "select trim_scale(standing)::text from postmeter.reopen_import('focus:aws', '{list}', ' ACME', 'me', 'wrong list', {dry})"
        )
    };
    assert_eq!(stage.value(&reopen(true)).await, "16");
    let refused = stage.db.client.query(&reopen(false), &[]).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("correct it to zero first"));
    taken_back(&stage).await;
    assert_eq!(stage.value(&reopen(true)).await, "0", "a dry run changes nothing");
    assert_eq!(exports.rows(&[], &rows).0, 3);
    assert_eq!(stage.value(&reopen(false)).await, "0");
    assert_eq!(exports.rows(&[], &rows).0, 0);
    assert_eq!(quantity(&stage).await, "16");
    let decided =
        "select who || ' ' || verb || ' ' || (detail ->> 'org') from postmeter.decision where verb = 'reopen'";
    assert_eq!(stage.value(decided).await, "me reopen acme");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_unit_that_was_chosen_by_mistake_is_forgotten() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let of = |unit, resource| [Row { unit, ..Row::new(resource, "8") }];
    assert_eq!(exports.rows(&[], &of("Gb", "a")).0, 0);
    assert_eq!(exports.rows(&[], &of("GB", "b")).0, 3);
    let forget = "select postmeter.reopen_import_unit('focus:aws', 'db', 'gb', 'me', 'bits were a mistake')";
    assert_eq!(stage.value(forget).await, "Gb");
    assert_eq!(exports.rows(&[], &of("GB", "b")).0, 0);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_times_that_are_none_close_no_source() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    for (number, begin) in
        ["-infinity ", "4714-11-24 BC", "294276-12-31 23:59", "2024-13-45T00:00:00Z"].iter().enumerate()
    {
        let sql = format!(
            "select postmeter.record_usage(source => 'focus:aws', event_id => 'odd-{number}', org => 'acme', product => 'x',
                 metric => 'y', quantity => 1, used_at => '2024-09-10T00:00:00Z',
                 attributes => jsonb_build_object('charge_period_start', '{begin}', 'charge_period_end', '2024-09-11T00:00:00Z'))::text"
        );
        stage.value(&sql).await;
    }
    assert_eq!(exports.rows(&[], &[Row::new("a", "8")]).0, 0);
    stage.close().await;
}
