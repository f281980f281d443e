//! Rows of exports, good and bad.

use super::*;

const HEAD: &str =
    "Id,SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargeClass,ProviderName,Tags";

fn row_with(line: &str, rules: &Rules) -> Read {
    let columns = Columns::of(HEAD.split(',').collect()).unwrap();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let record = reader.records().next().unwrap().unwrap();
    read(&columns, &record, &Rule::of(&columns, None).unwrap(), rules)
}

fn part(line: &str) -> Part {
    match row_with(line, &Rules::default()) {
        Read::Part(part) => *part,
        other => panic!("{line}: {other:?}"),
    }
}

fn attributes(line: &str) -> Value {
    serde_json::from_str(&part(line).evidence).unwrap()
}

fn listed(line: &str) -> (Kind, String) {
    match row_with(line, &Rules::default()) {
        Read::Other(listed) => (listed.kind, listed.field),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a7_a_row_is_a_part_of_a_usage_with_its_evidence() {
    let line =
        "11,42,AWS Lambda,GB-Months,0.002007490000000,2024-09-18 22:00:00,NULL,AWS,\"{\"\"env\"\": \"\"dev\"\"}\"";
    let part = part(line);
    assert_eq!((part.source.as_str(), part.older.as_str()), ("focus:aws", "11"));
    assert_eq!((part.org.as_str(), part.product.as_str(), part.metric.as_str()), ("42", "aws-lambda", "gb-months"));
    assert_eq!(part.amount.to_string(), "0.00200749");
    assert_eq!(part.used_at, "2024-09-18T22:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(attributes(line)["tags"]["env"], "dev");
    assert_eq!(attributes(line)["unit"], "GB-Months", "the tag loses what the evidence keeps");
}

#[test]
fn l6_nothing_measured_is_skipped_and_what_takes_back_is_refused() {
    assert_eq!(listed("1,42,S,NULL,NULL,2024-09-18T22:00:00Z,,,"), (Kind::Skipped, "ConsumedQuantity".to_owned()));
    assert_eq!(listed("1,42,S,GB,-3,2024-09-18T22:00:00Z,,,"), (Kind::Refused, "ConsumedQuantity".to_owned()));
    assert_eq!(listed("1,42,S,GB,3,2024-09-18T22:00:00Z,Correction,,"), (Kind::Refused, "ChargeClass".to_owned()));
    assert_eq!(part("1,42,S,GB,0.0,2024-09-18T22:00:00Z,,,").amount, Amount::default(), "of zero its group decides");
}

#[test]
fn a7_a_refusal_names_its_column() {
    for (line, field) in [
        ("1,NULL,S,GB,3,2024-09-18T22:00:00Z,,,", "SubAccountId"),
        ("1,-2,S,GB,3,2024-09-18T22:00:00Z,,,", "SubAccountId"),
        ("1,42,,GB,3,2024-09-18T22:00:00Z,,,", "ServiceName"),
        ("1,42,S,(?),3,2024-09-18T22:00:00Z,,,", "ConsumedUnit"),
        ("1,42,S,GB,many,2024-09-18T22:00:00Z,,,", "ConsumedQuantity"),
        ("1,42,S,GB,3,yesterday,,,", "ChargePeriodStart"),
        ("1,42,S,GB,3,2024-09-18 22:00:00 PST,,,", "ChargePeriodStart"),
        ("1,42,S,GB,3,,,,", "ChargePeriodStart"),
        ("1,4\u{0}2,S,GB,3,2024-09-18T22:00:00Z,,,", "(any)"),
    ] {
        assert_eq!(listed(line), (Kind::Refused, field.to_owned()), "{line}");
    }
}

#[test]
fn hours_are_chosen_by_the_file_and_then_shifted() {
    let hour = |text: &str| Some(text.parse().unwrap());
    let shift = SignedDuration::from_hours(24);
    let rules = Rules { from: hour("2024-09-18T22:00Z"), until: hour("2024-09-18T23:00Z"), shift, ..Rules::default() };
    let Read::Part(part) = row_with("1,42,S,GB,3,2024-09-18 22:00:00,,,", &rules) else { panic!("inside") };
    assert_eq!(part.used_at, "2024-09-19T22:00:00Z".parse::<Timestamp>().unwrap());
    assert!(matches!(row_with("1,42,S,GB,3,2024-09-18 23:00:00,,,", &rules), Read::Outside));
}

#[test]
fn huge_tags_are_left_out_and_the_usage_is_not() {
    let line = format!("1,42,S,GB,3,2024-09-18T22:00:00Z,,,{}", "x".repeat(EVIDENCE_MAX + 1));
    assert_eq!(attributes(&line)["tags_left_out"], EVIDENCE_MAX + 1);
}

#[test]
fn l4_tags_that_postgres_could_not_keep_as_json_are_kept_as_text() {
    let tags = |json: &str| {
        let quoted = json.replace('"', "\"\"");
        attributes(&format!("1,42,S,GB,3,2024-09-18T22:00:00Z,,,\"{quoted}\""))["tags"].clone()
    };
    assert_eq!(tags(r#"{"env":"dev"}"#)["env"], "dev");
    for json in [r#"{"env":"a","env":"b"}"#, r#"{"env":"\u0000"}"#, r#"{"env":1e-20000}"#, r#"{"env":"\ud800"}"#] {
        assert_eq!(tags(json), json);
    }
}
