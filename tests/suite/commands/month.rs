//! `postmeter month`: report, close and reopen.

use tests::Stage;

use super::run;

/// September is over; two cores of its last evening were billed, four came after.
async fn september() -> Stage {
    let stage = Stage::new().await;
    stage.at("2024-09-30T22:10:00Z").await;
    stage.use_cores("on time", "2", "2024-09-30T22:05:00Z").await;
    stage.cut_at("2024-09-30T23:10:00Z").await;
    stage
}

#[tokio::test]
async fn c8_a_month_is_closed_reported_and_reopened_from_the_command_line() {
    let stage = september().await;
    let close = ["month", "close", "aws", "2024-09", "--why", "the books of September"];
    let apply = |words: &[&'static str]| [words, &["--apply"]].concat();
    let closed = "select count(*)::text from postmeter.closed_month";
    let (code, _, error) = run(&stage, &apply(&close));
    assert!(code == 2 && error.contains("can still be sent"), "{error}");
    let (code, text, _) = run(&stage, &close);
    let refused = text.contains("2024-09 of aws would be refused") && text.contains("can still be sent until");
    assert!(code == 0 && refused && !text.contains("would close"), "the dry run says so too: {text}");
    let (_, text, _) = run(&stage, &[&close[..], &["--forced"]].concat());
    assert!(text.contains("would close 2024-09 of aws"), "{text}");
    stage.at("2024-10-01T12:00:00Z").await;
    let (code, text, _) = run(&stage, &close);
    assert!(code == 0 && text.contains("would close 2024-09 of aws, nothing is open. NOTHING WAS CHANGED"), "{text}");
    assert_eq!(stage.value(closed).await, "0", "a dry run");
    let (code, text, _) = run(&stage, &apply(&close));
    assert!(code == 0 && text.contains("2024-09 of aws is closed"), "{text}");
    let (code, text, _) = run(&stage, &apply(&close));
    assert!(code == 0 && text.contains("was closed 2024-10-01 12:00:00 UTC already"), "{text}");
    let decided = "select format('%s %s %s', verb, who, why) from postmeter.decision_log order by id";
    assert_eq!(stage.column(decided).await, ["close ada the books of September"]);

    stage.use_cores("late", "4", "2024-09-30T22:20:00Z").await;
    stage.work().await;
    let (code, text, _) = run(&stage, &["month", "report", "aws", "2024-09"]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("held usage: month closed") && text.contains("4 cores") && text.contains("unpriced"),
        "{text}"
    );
    assert!(text.contains("closed 2024-10-01 12:00:00 UTC, open: 1 item"), "{text}");
    let (_, text, _) = run(&stage, &["--json", "month", "report", "aws", "2024-09"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["items"][0]["quantity"], &json["items"][0]["class"]), (&"4".into(), &"held_usage".into()));

    let reopen = ["month", "reopen", "aws", "2024-09", "--why", "a mistake"];
    let (code, text, _) = run(&stage, &reopen);
    assert!(code == 0 && text.contains("would reopen 2024-09 of aws and return 1 held usage"), "{text}");
    assert_eq!(stage.value(closed).await, "1", "a dry run");
    let (code, text, _) = run(&stage, &apply(&reopen));
    assert!(code == 0 && text.contains("is open again; 1 held usage went back"), "{text}");
    let (code, text, _) = run(&stage, &apply(&reopen));
    assert!(code == 0 && text.contains("is not closed. NOTHING WAS CHANGED"), "{text}");
    assert_eq!(stage.value(closed).await, "0");
    let (code, _, error) = run(&stage, &["month", "report", "asw", "2024-09"]);
    assert!(code == 2 && error.contains("Did you mean 'aws'?"), "{error}");
}

#[tokio::test]
async fn b6_the_report_lists_credit_that_no_later_usage_took() {
    let stage = Stage::new().await;
    stage.sql("update postmeter.dimension set unit_price = 0.25, currency = 'USD'").await;
    stage.at("2024-09-30T20:10:00Z").await;
    stage.use_cores("much", "10", "2024-09-30T20:05:00Z").await;
    stage.cut_at("2024-09-30T21:10:00Z").await;
    stage.correct("less", "much", "-4", "2024-09-30T20:05:00Z").await;
    stage.cut_at("2024-09-30T22:10:00Z").await;
    stage.at("2024-10-01T12:00:00Z").await;
    let (code, text, _) = run(&stage, &["month", "report", "aws", "2024-09"]);
    assert_eq!(code, 3);
    assert!(text.contains("over billed") && text.contains("4 units") && text.contains("1 USD"), "{text}");
    assert!(text.contains("credit the customer by hand"), "{text}");
    stage.close().await;
}
