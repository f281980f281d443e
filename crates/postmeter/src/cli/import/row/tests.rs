//! Rows of exports, good and bad.

use super::*;

const HEAD: &str =
    "Id,SubAccountId,ServiceName,ConsumedUnit,ConsumedQuantity,ChargePeriodStart,ChargeClass,ProviderName,Tags";

fn row_with(line: &str, rules: &Rules) -> Row {
    let headers = StringRecord::from(HEAD.split(',').collect::<Vec<_>>());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    let record = reader.records().next().unwrap().unwrap();
    read(&record, &headers, Places::of(&headers), 7, rules)
}

fn usage(line: &str) -> NewUsage {
    match row_with(line, &Rules::default()) {
        Row::Usage(usage) => *usage,
        other => panic!("{line}: {other:?}"),
    }
}

fn listed(line: &str) -> (Kind, String) {
    match row_with(line, &Rules::default()) {
        Row::Listed(listed) => (listed.kind, listed.field),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a7_a_row_becomes_a_usage_with_its_evidence() {
    let usage = usage(
        "11,42,AWS Lambda,GB-Months,0.002007490000000,2024-09-18 22:00:00,NULL,AWS,\"{\"\"env\"\": \"\"dev\"\"}\"",
    );
    assert_eq!((usage.source.as_str(), usage.event_id.as_str()), ("focus:aws", "11"));
    assert_eq!((usage.org.as_str(), usage.product.as_str(), usage.metric.as_str()), ("42", "aws-lambda", "gb-months"));
    assert_eq!(usage.quantity.to_string(), "0.00200749");
    assert_eq!(usage.used_at, "2024-09-18T22:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(usage.attributes["tags"]["env"], "dev");
    assert_eq!(usage.attributes["unit"], "GB-Months", "the tag loses what the evidence keeps");
}

#[test]
fn a7_zero_is_recorded_and_nothing_is_listed() {
    assert!(usage("1,42,S,GB,0.0,2024-09-18T22:00:00Z,,,").quantity.is_zero());
    assert_eq!(listed("1,42,S,NULL,NULL,2024-09-18T22:00:00Z,,,"), (Kind::NotUsage, "ConsumedQuantity".to_owned()));
}

#[test]
fn a7_what_corrects_without_saying_what_is_listed() {
    assert_eq!(listed("1,42,S,GB,-3,2024-09-18T22:00:00Z,,,").0, Kind::Correction);
    assert_eq!(listed("1,42,S,GB,3,2024-09-18T22:00:00Z,Correction,,"), (Kind::Correction, "ChargeClass".to_owned()));
}

#[test]
fn a7_a_reject_names_its_column() {
    for (line, field) in [
        ("1,NULL,S,GB,3,2024-09-18T22:00:00Z,,,", "SubAccountId"),
        ("1,42,,GB,3,2024-09-18T22:00:00Z,,,", "ServiceName"),
        ("1,42,S,(?),3,2024-09-18T22:00:00Z,,,", "ConsumedUnit"),
        ("1,42,S,GB,many,2024-09-18T22:00:00Z,,,", "ConsumedQuantity"),
        ("1,42,S,GB,0.1234567890123456,2024-09-18T22:00:00Z,,,", "ConsumedQuantity"),
        ("1,42,S,GB,3,yesterday,,,", "ChargePeriodStart"),
        ("1,42,S,GB,3,,,,", "ChargePeriodStart"),
        ("1,4\u{0}2,S,GB,3,2024-09-18T22:00:00Z,,,", "(any)"),
    ] {
        assert_eq!(listed(line), (Kind::Rejected, field.to_owned()), "{line}");
    }
}

#[test]
fn a7_a_row_without_an_id_is_known_by_its_content() {
    let (a, b) = (",42,S,GB,3,2024-09-18T22:00:00Z,,,", ",42,S,GB,4,2024-09-18T22:00:00Z,,,");
    assert_eq!(usage(a).event_id, usage(a).event_id);
    assert_ne!(usage(a).event_id, usage(b).event_id);
    assert!(usage(a).event_id.starts_with("row:"));
}

#[test]
fn exponents_are_written_out_to_the_letter() {
    for (text, expected) in [
        ("1.5E-7", "0.00000015"),
        ("3e2", "300"),
        ("-2.5e+1", "-25"),
        ("1.25e1", "12.5"),
        ("0e0", "0"),
        ("12", "12"),
        ("7.50", "7.5"),
        ("1e0", "1"),
    ] {
        assert_eq!(plain(text).parse::<Quantity>().unwrap().to_string(), expected, "{text}");
    }
    for text in ["e5", "1e", "1e99", "1.2.3e4", "NaN", "--1e2", "1e-40"] {
        assert!(plain(text).parse::<Quantity>().is_err(), "{text}");
    }
}

#[test]
fn hours_are_chosen_by_the_file_and_then_shifted() {
    let hour = |text: &str| Some(text.parse().unwrap());
    let shift = SignedDuration::from_hours(24);
    let rules = Rules { from: hour("2024-09-18T22:00Z"), until: hour("2024-09-18T23:00Z"), shift, ..Rules::default() };
    let Row::Usage(usage) = row_with("1,42,S,GB,3,2024-09-18 22:00:00,,,", &rules) else { panic!("inside") };
    assert_eq!(usage.used_at, "2024-09-19T22:00:00Z".parse::<Timestamp>().unwrap());
    assert!(matches!(row_with("1,42,S,GB,3,2024-09-18 23:00:00,,,", &rules), Row::Outside));
}

#[test]
fn huge_tags_are_left_out_and_the_usage_is_not() {
    let line = format!("1,42,S,GB,3,2024-09-18T22:00:00Z,,,{}", "x".repeat(EVIDENCE_MAX + 1));
    assert_eq!(usage(&line).attributes["tags_left_out"], EVIDENCE_MAX + 1);
}

#[test]
fn l4_tags_that_postgres_could_not_keep_as_json_are_kept_as_text() {
    let tags = |json: &str| {
        let quoted = json.replace('"', "\"\"");
        usage(&format!("1,42,S,GB,3,2024-09-18T22:00:00Z,,,\"{quoted}\"")).attributes["tags"].clone()
    };
    assert_eq!(tags(r#"{"env":"dev"}"#)["env"], "dev");
    for json in [r#"{"env":"a","env":"b"}"#, r#"{"env":"\u0000"}"#, r#"{"env":1e-20000}"#, r#"{"env":"\ud800"}"#] {
        assert_eq!(tags(json), json);
    }
}
