//! L6: another quantity for what is known is listed, and recorded once when told.

use serde_json::{Value, json};
use tests::Stage;

use super::{Exports, Row, standing, text};

/// Verdict and standing quantity of one group, by the function itself.
fn asked(quantity: &str) -> String {
    let groups = json!([{ "older": [], "closed": false, "usage": {
        "source": "focus:aws", "event_id": "export:x:1", "org": "acme", "product": "db", "metric": "cores",
        "quantity": quantity, "used_at": "2024-09-18T09:00:00Z", "attributes": {"charge_period_start": "x"} } }]);
    format!("select verdict || coalesce(' ' || trim_scale(standing), '') from postmeter.import_batch('{groups}', true)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_another_quantity_is_listed_and_recorded_once_when_told() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let import = |words: &[&str], quantity: &str| exports.rows(words, &[Row::new("disk", quantity)]);
    assert_eq!(import(&[], "8").0, 0);
    let rejects = exports.path("rejects.csv");
    let (code, report, _) = import(&["--rejects", rejects.to_str().unwrap()], "24");
    assert_eq!((code, report["changed"].as_u64(), &report["usages"]["changed"]), (3, Some(1), &Value::from(1)));
    let listed = std::fs::read_to_string(&rejects).unwrap();
    assert!(listed.contains("8 was recorded, and now it is 24") && listed.contains(",8,24\n"), "{listed}");
    assert_eq!(standing(&stage).await, "1 8", "it is only listed");
    for (turn, (quantity, expected)) in
        [("24", "2 24"), ("24", "2 24"), ("8", "3 8"), ("8", "3 8"), ("24", "4 24"), ("24", "4 24")]
            .into_iter()
            .enumerate()
    {
        let (code, report, said) = import(&["--apply-differences"], quantity);
        assert_eq!(code, 0, "{said}");
        let applied = u64::from(turn % 2 == 0);
        assert_eq!((&report["usages"]["applied"], report["changed"].as_u64()), (&Value::from(applied), Some(applied)));
        assert_eq!(standing(&stage).await, expected, "turn {turn}");
    }
    assert_eq!(import(&[], "24").0, 0, "and it is known as it is");
    let ids = "select string_agg(split_part(event_id, ':r', 2) || ' ' || trim_scale(quantity) ||
                                 coalesce(' of ' || split_part(corrects, ':r', 2), ''), ', ' order by id)
               from postmeter.usage where event_id like '%:r%'";
    assert_eq!(stage.value(ids).await, "1 16, 2 -16 of 1, 3 16");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_what_is_taken_back_is_taken_from_the_newest_first() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let apply = |quantity: &str| exports.rows(&["--apply-differences"], &[Row::new("disk", quantity)]).0;
    for quantity in ["8", "11", "20", "5.5", "0", "3"] {
        assert_eq!(apply(quantity), 0, "{quantity}");
        assert_eq!(standing(&stage).await.split_once(' ').unwrap().1, quantity);
    }
    let parts = "select string_agg(trim_scale(quantity)::text, ' ' order by id) from postmeter.usage";
    assert_eq!(stage.value(parts).await, "8 3 9 -9 -3 -2.5 -5.5 3");
    // what a person corrected by hand counts
    let hand =
        "select postmeter.record_usage(source => 'focus:aws', event_id => 'by-hand', org => 'acme', product => 'db',
        metric => 'cores', quantity => -1, used_at => '2024-09-18T09:00:00Z',
        corrects => (select event_id from postmeter.usage where quantity = 3 order by id desc limit 1))::text";
    stage.value(hand).await;
    let (code, report, _) = exports.rows(&[], &[Row::new("disk", "2")]);
    assert_eq!((code, report["repeated"].as_u64()), (0, Some(1)), "2 are left, and 2 are said");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_what_a_person_corrected_is_a_difference() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let import = |words: &[&str]| exports.rows(words, &[Row::new("disk", "8")]);
    assert_eq!(import(&[]).0, 0);
    let hand =
        "select postmeter.record_usage(source => 'focus:aws', event_id => 'by-hand', org => 'acme', product => 'db',
        metric => 'cores', quantity => -3, used_at => '2024-09-18T09:00:00Z',
        corrects => (select event_id from postmeter.usage))::text";
    stage.value(hand).await;
    let (code, report, said) = import(&[]);
    assert_eq!((code, report["changed"].as_u64()), (3, Some(1)));
    assert!(said.contains("5 was recorded, and now it is 8"), "{said}");
    assert_eq!((import(&["--apply-differences"]).0, standing(&stage).await.as_str()), (0, "3 8"));
    assert_eq!(import(&[]).0, 0);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_imports_of_one_difference_record_it_once() {
    let stage = Stage::new().await;
    let (one, other) = (stage.db.connect().await, stage.db.connect().await);
    assert_eq!(stage.value(&asked("8")).await, "recorded");
    one.batch_execute("begin").await.unwrap();
    let said: String = one.query_one(&asked("24"), &[]).await.unwrap().get(0);
    assert_eq!(said, "applied 8");
    // another one, of a later file, begins before the first has ended
    let asked = asked("30");
    let later = tokio::spawn(async move { other.query_one(&asked, &[]).await.unwrap().get::<_, String>(0) });
    stage.until_waiting(1).await;
    one.batch_execute("commit").await.unwrap();
    assert_eq!(later.await.unwrap(), "applied 24", "it compares with what the first has made of it");
    assert_eq!(standing(&stage).await, "3 30");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l6_imports_side_by_side_record_each_row_once() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let rows = |quantity: &str| (0..1200).map(|n| Row::new(&format!("disk-{n}"), quantity)).collect::<Vec<_>>();
    for (quantity, expected) in [("8", "1200 9600"), ("24", "2400 28800"), ("8", "3600 9600")] {
        let file = exports.write("export.csv", text(&rows(quantity)));
        let start = || {
            tests::postmeter(&stage.db.url())
                .args(["import", "focus", "--apply-differences", "--json"])
                .arg(&file)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut running = [start(), start(), start()];
        for import in &mut running {
            assert_eq!(tests::end_of(import).code(), Some(0));
        }
        assert_eq!(standing(&stage).await, expected);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_producer_is_not_told_what_was_recorded() {
    let stage = Stage::new().await;
    crate::defaults::users(&stage.db).await;
    let exports = Exports { url: stage.db.url().replacen("postgres@", "odd_producer@", 1), ..Exports::of(&stage) };
    assert_eq!(exports.rows(&[], &[Row::new("disk", "8.125")]).0, 0);
    let (code, report, said) = exports.rows(&[], &[Row::new("disk", "24")]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("another quantity than 24 was recorded"), "{said}");
    assert!(!report.to_string().contains("8.125") && !said.contains("8.125"), "{report} {said}");
    assert_eq!(exports.rows(&["--apply-differences"], &[Row::new("disk", "24")]).0, 0);
    assert_eq!(standing(&stage).await, "2 24");
    stage.close().await;
}

/// What a refused row says may belong to any group: a half-read file takes nothing away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_differences_are_only_listed_while_a_row_is_refused() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let parts = [Row::new("disk", "10"), Row { cost: "2".to_owned(), ..Row::new("disk", "14") }];
    assert_eq!(exports.rows(&[], &parts).0, 0);
    assert_eq!(standing(&stage).await, "1 24");
    let damaged = [parts[0].clone(), Row { quantity: "1O4".to_owned(), ..parts[1].clone() }];
    let (code, report, said) = exports.rows(&["--apply-differences"], &damaged);
    assert_eq!((code, report["refused"].as_u64(), report["changed"].as_u64()), (3, Some(1), Some(1)), "{said}");
    assert!(said.contains("rows of these files were refused"), "{said}");
    assert_eq!(standing(&stage).await, "1 24", "nothing is taken away");
    assert_eq!(exports.rows(&["--apply-differences"], &parts[..1]).0, 0);
    assert_eq!(standing(&stage).await, "2 10", "a file that is whole is believed");
    stage.close().await;
}

/// A glob over copies, or a path written twice, must not be twice the usage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_the_same_file_twice_in_one_command_is_refused() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let written = |name: &str| exports.write(name, text(&[Row::new("disk", "8")]));
    let (first, copy) = (written("first.csv"), written("copy.csv"));
    for second in [&first, &copy] {
        let (code, _, said) = exports.import(&[], &[&first, second]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("holds the same as"), "{said}");
    }
    assert_eq!(standing(&stage).await.split_once(' ').unwrap().0, "0", "nothing is recorded");
    stage.close().await;
}
