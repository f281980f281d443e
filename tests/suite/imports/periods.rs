//! L6: the same usage by the hour and by the day is one usage, and what is imported at the same moment is not billed twice.

use tests::Stage;

use super::{Exports, HEAD, Row, line, standing};

/// A row whose charge period lasts so many hours.
pub(super) fn lasting(resource: &str, quantity: &str, start: &str, hours: i64) -> Row {
    let begin: jiff::Timestamp = start.parse().unwrap();
    let end = begin + jiff::SignedDuration::from_hours(hours);
    Row { start: start.to_owned(), end: end.to_string(), ..Row::new(resource, quantity) }
}

pub(super) fn hours_of_a_day(quantity: &str) -> Vec<Row> {
    (0..24).map(|hour| lasting("disk", quantity, &format!("2024-09-17T{hour:02}:00:00Z"), 1)).collect()
}

pub(super) const APPLY: &[&str] = &["--apply-differences"];

/// Corrects all that stands to zero, by hand.
pub(super) async fn taken_back(stage: &Stage) {
    let sql = "select count(postmeter.record_usage(
            source => u.source, event_id => 'by-hand-' || gen_random_uuid(), org => u.org, product => u.product,
            metric => u.metric, quantity => -u.rest, used_at => u.used_at, corrects => u.event_id))::text
        from (select u.*, u.quantity + coalesce((select sum(c.quantity) from postmeter.usage c
                                                 where c.corrects = u.event_id and c.source = u.source), 0) as rest
              from postmeter.usage u where u.corrects is null) u
        where u.rest > 0";
    stage.value(sql).await;
    assert_eq!(quantity(stage).await, "0");
}

pub(super) async fn quantity(stage: &Stage) -> String {
    standing(stage).await.split_once(' ').expect("two words").1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_hours_of_a_day_that_is_recorded_are_not_billed_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    assert_eq!(exports.rows(&[], &[lasting("disk", "24", "2024-09-17T00:00:00Z", 24)]).0, 0);
    // the first hour has the day's id: it is no difference, and nothing is taken back for it
    let (code, report, said) = exports.rows(APPLY, &hours_of_a_day("1"));
    assert_eq!((code, report["refused"].as_u64()), (3, Some(24)), "{said}");
    assert!(said.contains("from 2024-09-17T00:00:00Z until 2024-09-18T00:00:00Z: import one granularity"), "{said}");
    assert!(said.contains("longer charge period"), "{said}");
    assert_eq!(standing(&stage).await, "1 24");
    // another resource, the next day, and what is not written to the hour are other usage
    let half = lasting("disk", "2", "2024-09-18T00:30:00Z", 1);
    let others = [lasting("other", "1", "2024-09-17T05:00:00Z", 1), lasting("disk", "1", "2024-09-18T00:00:00Z", 1)];
    assert_eq!(exports.rows(&[], &others).0, 0);
    assert_eq!(exports.rows(&[], &[half]).0, 3, "half of it is in an hour that is recorded");
    let quarter = |resource, minute: u8, start: &str, hours| {
        let row = lasting(resource, "1", start, hours);
        Row { start: start.replace(":00:00Z", &format!(":{minute}:00Z")), ..row }
    };
    let quarters = [quarter("q", 15, "2024-09-17T06:00:00Z", 1), quarter("q", 30, "2024-09-17T07:00:00Z", 1)];
    assert_eq!(exports.rows(&[], &quarters).0, 0);
    assert_eq!(exports.rows(&[], &[lasting("q", "4", "2024-09-17T07:00:00Z", 1)]).0, 3, "it holds the later one");
    assert_eq!(standing(&stage).await, "5 28");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_day_or_a_month_whose_hours_are_recorded_is_not_billed_again() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let hours = hours_of_a_day("1");
    assert_eq!(exports.rows(&[], &hours[..6]).0, 0);
    let day = lasting("disk", "24", "2024-09-17T00:00:00Z", 24);
    for row in [day.clone(), lasting("disk", "24", "2024-09-01T00:00:00Z", 30 * 24)] {
        let (code, report, said) = exports.rows(APPLY, &[row]);
        assert_eq!((code, report["refused"].as_u64()), (3, Some(1)), "{said}");
        assert!(said.contains("import one granularity of a time"), "{said}");
    }
    assert_eq!(standing(&stage).await, "6 6");
    // whoever wants the day takes the hours back first
    taken_back(&stage).await;
    assert_eq!(exports.rows(APPLY, &[day]).0, 0);
    assert_eq!(quantity(&stage).await, "24");
    // and then the hours are within the day
    let (code, report, said) = exports.rows(APPLY, &hours);
    assert_eq!((code, report["refused"].as_u64()), (3, Some(24)), "{said}");
    assert_eq!(quantity(&stage).await, "24");
    // and back again
    taken_back(&stage).await;
    for _ in 0..2 {
        assert_eq!(exports.rows(APPLY, &hours).0, 0);
        assert_eq!(quantity(&stage).await, "24");
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_granularities_in_one_command_are_billed_once() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let mut rows = hours_of_a_day("1");
    rows.push(lasting("disk", "24", "2024-09-17T00:00:00Z", 24));
    rows.push(lasting("disk", "24", "2024-09-01T00:00:00Z", 30 * 24));
    let (code, report, said) = exports.rows(&[], &rows);
    // the month comes first; the day and its first hour cannot be told apart, and the rest is within the month
    assert_eq!((code, report["recorded"].as_u64(), report["refused"].as_u64()), (3, Some(1), Some(25)), "{said}");
    assert_eq!(standing(&stage).await, "1 24");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_day_that_still_runs_grows_and_is_a_difference() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    for (quantity, hours) in [("5", 5), ("12", 12), ("24", 24)] {
        assert_eq!(exports.rows(APPLY, &[lasting("disk", quantity, "2024-09-17T00:00:00Z", hours)]).0, 0);
        assert_eq!(self::quantity(&stage).await, quantity);
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_hours_of_a_day_that_an_older_version_recorded_are_refused() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    stage
        .value(
            "select postmeter.record_usage(source => 'focus:aws', event_id => 'row:1', org => 'acme', product => 'db',
                 metric => 'cores', quantity => 24, used_at => '2024-09-17T00:00:00Z',
                 attributes => '{\"charge_period_start\": \"2024-09-17 00:00:00 UTC\", \"unit\": \"Cores\",
                                 \"charge_period_end\": \"2024-09-18 00:00:00 UTC\"}')::text",
        )
        .await;
    let (code, report, said) = exports.rows(&[], &hours_of_a_day("1"));
    assert_eq!((code, report["refused"].as_u64()), (3, Some(24)), "{said}");
    assert!(said.contains("(--from 2024-09-18T00:00:00Z, or"), "{said}");
    // and a period that began before is not free of it
    assert_eq!(exports.rows(&[], &[lasting("disk", "720", "2024-09-01T00:00:00Z", 30 * 24)]).0, 3);
    assert_eq!(standing(&stage).await, "1 24");
    // its unit is known, too
    let next_day = "2024-09-18T00:00:00Z";
    assert_eq!(exports.rows(&[], &[lasting("disk", "1", next_day, 1)]).0, 0);
    assert_eq!(stage.value("select string_agg(unit, ' ') from postmeter.import_unit").await, "cores");
    stage.close().await;
}

/// Both read what was recorded before either records: the later one must see what the first recorded meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_two_lists_of_columns_at_the_same_moment_bill_once() {
    let stage = Stage::new().await;
    let exports = Exports::of(&stage);
    let row = Row::new("disk", "8");
    let more = exports.write("more.csv", format!("{HEAD},AvailabilityZone\n{},eu-1a\n", line(&row)));
    let url = stage.db.url();
    // both have begun, and stand at the gate
    let blocker = stage.db.connect().await;
    blocker.batch_execute("begin; select postmeter.take_gate('import')").await.unwrap();
    let spawn = |file: &std::path::Path| {
        let (url, file) = (url.clone(), file.to_owned());
        tokio::task::spawn_blocking(move || {
            tests::postmeter(&url).args(["import", "focus", "--json"]).arg(&file).output().unwrap().status.code()
        })
    };
    let (one, two) = (spawn(&exports.write("one.csv", super::text(&[row]))), spawn(&more));
    let waiting = "select count(*) >= 2 from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock' and query like '%import%'";
    tests::until_true(&stage.db.client, waiting).await;
    blocker.batch_execute("commit").await.unwrap();
    let mut codes = [one.await.unwrap(), two.await.unwrap()];
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(3)]);
    assert_eq!(standing(&stage).await, "1 8");
    stage.close().await;
}

/// Nothing but the groups themselves can say it here: a caller that began long ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_a_batch_sees_the_periods_of_a_batch_before_it() {
    let stage = Stage::new().await;
    let batch = |mark: &str, begins: &str, ends: &str| {
        let text = begins.replace(['-', ':'], "");
        format!(
            "select verdict from postmeter.import_batch('[{{\"older\": [],
                 \"begins\": \"{begins}\", \"ends\": \"{ends}\", \"usage\": {{\"source\": \"s\",
                 \"event_id\": \"export:{mark}:{text}:1\", \"org\": \"acme\", \"product\": \"db\",
                 \"metric\": \"cores\", \"quantity\": \"8\", \"used_at\": \"{begins}\"}}}}]', false)"
        )
    };
    let day = ["2024-09-17T00:00:00Z", "2024-09-18T00:00:00Z"];
    assert_eq!(stage.value(&batch("a", day[0], day[1])).await, "recorded");
    let hour = ["2024-09-17T23:00:00Z", "2024-09-18T00:00:00Z"];
    assert_eq!(stage.value(&batch("b", hour[0], hour[1])).await, "other_rule");
    // and what a batch adds to them, before and behind
    for [begins, ends] in [["2024-09-16T23:00:00Z", day[0]], [day[1], "2024-09-18T01:00:00Z"]] {
        assert_eq!(stage.value(&batch("a", begins, ends)).await, "recorded");
        assert_eq!(stage.value(&batch("b", begins, ends)).await, "other_rule");
    }
    assert_eq!(stage.value(&batch("b", "2024-09-18T01:00:00Z", "2024-09-18T02:00:00Z")).await, "recorded");
    // who cannot see what others have just recorded is told so
    let client = stage.db.connect().await;
    client.batch_execute("begin isolation level repeatable read").await.unwrap();
    let refused = client.batch_execute(&batch("c", day[0], day[1])).await.unwrap_err();
    assert_eq!(refused.as_db_error().unwrap().code().code(), "25001");
    stage.close().await;
}
