//! Request + settings + instant → answer, without a socket.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;
use crate::calls::Delivery;
use crate::faults::{FaultKind, FaultRule};
use crate::settings::Settings;
use crate::state::Shared;

const NOW: &str = "2026-07-22T12:05:00Z";
const BUYER: &str = "111122223333";
const ARN: &str = "arn:aws:license-manager::294406891311:license:l-one";
const ARN_OF_ANOTHER: &str = "arn:aws:license-manager::294406891311:license:l-two";

/// A marketplace without sockets.
struct Bench(Shared);

impl Bench {
    fn new(aws: Value) -> Bench {
        let bench = Bench(Shared::new(Settings::default()));
        bench.at(NOW);
        bench.set(aws);
        bench
    }

    fn set(&self, aws: Value) {
        let mut state = self.0.lock();
        let changed = state.settings.changed_by(json!({ "aws": aws })).unwrap();
        state.set(changed);
    }

    fn at(&self, instant: &str) {
        self.0.lock().clock = crate::clock::Clock::frozen_at(instant.parse().unwrap());
    }

    /// Status and body of a call in a region.
    fn send_to(&self, region: &str, batch: &Value) -> (u16, Value) {
        let signature = "0".repeat(64);
        let scope = format!("AKIDEXAMPLE/20260722/{region}/aws-marketplace/aws4_request");
        let mut headers = HeaderMap::new();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}");
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert("x-amz-target", "AWSMPMeteringService.BatchMeterUsage".parse().unwrap());
        headers.insert("content-type", CONTENT_TYPE.parse().unwrap());
        let body = batch.to_string();
        let mut state = self.0.lock();
        let keys = state.settings.aws.access_keys.clone();
        let mut call = MeteringCall::read(Call::default(), &Method::POST, &headers, Some(body.as_bytes()), &keys);
        let plan = state.faults.draw(&call.call.records);
        call.decide(&mut state, &plan.content);
        let (call, body) = call.into_answer();
        let status = call.status;
        state.calls.push(Call { delivery: Delivery::Answered, ..call }, 100);
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn send(&self, batch: &Value) -> (u16, Value) {
        self.send_to("us-east-1", batch)
    }

    /// The error's name, with the proof that nothing was stored.
    fn refused(&self, batch: &Value) -> String {
        let before = self.0.lock().record.len();
        let (status, body) = self.send(batch);
        assert_eq!(status, 400, "{body}");
        assert_eq!(self.0.lock().record.len(), before);
        body["__type"].as_str().unwrap().to_owned()
    }

    fn statuses(&self, batch: &Value) -> Vec<String> {
        let (status, body) = self.send(batch);
        assert_eq!(status, 200, "{body}");
        let results = body["Results"].as_array().unwrap();
        results.iter().map(|result| result["Status"].as_str().unwrap().to_owned()).collect()
    }

    fn stored(&self) -> Vec<Decimal> {
        let filter = crate::record::Filter::default();
        self.0.lock().record.list(&filter, 0).map(|accepted| accepted.quantity).collect()
    }
}

fn seconds(instant: &str) -> i64 {
    instant.parse::<Timestamp>().unwrap().as_second()
}

fn usage(hour: &str, dimension: &str, quantity: i64) -> Value {
    json!({"Timestamp": seconds(hour), "CustomerAWSAccountId": BUYER, "Dimension": dimension, "Quantity": quantity})
}

fn licensed(hour: &str, arn: &str) -> Value {
    let mut record = usage(hour, "cores", 4);
    record["LicenseArn"] = json!(arn);
    record
}

fn batch(records: &[Value]) -> Value {
    json!({"ProductCode": "prod-1", "UsageRecords": records})
}

fn by_license(records: &[Value]) -> Value {
    json!({ "UsageRecords": records })
}

fn with(mut record: Value, field: &str, value: Value) -> Value {
    record[field] = value;
    record
}

const TEN: &str = "2026-07-22T10:00:00Z";

#[test]
fn d1_at_most_25_records_a_call() {
    let bench = Bench::new(json!({}));
    let records: Vec<Value> = (0..26).map(|n| usage(TEN, &format!("d{n}"), 1)).collect();
    assert_eq!(bench.refused(&batch(&records)), "ValidationException");
    assert_eq!(bench.statuses(&batch(&records[..25])).len(), 25);
    assert!(bench.statuses(&batch(&[])).is_empty());
    assert_eq!(bench.refused(&json!({"ProductCode": "prod-1"})), "ValidationException");
}

#[test]
fn d1_one_form_of_customer_and_one_of_quantity() {
    let bench = Bench::new(json!({}));
    let both = with(usage(TEN, "cores", 1), "CustomerIdentifier", json!("abc"));
    assert_eq!(bench.refused(&batch(&[both])), "ValidationException");
    let none = with(usage(TEN, "cores", 1), "CustomerAWSAccountId", Value::Null);
    assert_eq!(bench.refused(&batch(std::slice::from_ref(&none))), "ValidationException");
    assert_eq!(bench.statuses(&batch(&[with(none, "CustomerIdentifier", json!("abc"))])), ["Success"]);
    let both = with(usage(TEN, "cores", 1), "QuantityAsDecimal", json!("1"));
    assert_eq!(bench.refused(&batch(&[both])), "ValidationException");
    for (field, value) in [("Quantity", json!(-1)), ("Quantity", json!(2_147_483_648_i64)), ("Dimension", json!(""))] {
        assert_eq!(bench.refused(&batch(&[with(usage(TEN, "c", 1), field, value)])), "ValidationException");
    }
    for (field, value) in [("Quantity", json!("1")), ("Quantity", json!(1.5)), ("Timestamp", json!(TEN))] {
        assert_eq!(bench.refused(&batch(&[with(usage(TEN, "c", 1), field, value)])), "SerializationException");
    }
}

#[test]
fn d1_product_code_or_license_never_both_nor_neither() {
    let bench = Bench::new(json!({}));
    assert_eq!(bench.refused(&batch(&[licensed(TEN, ARN)])), "ValidationException");
    assert_eq!(bench.refused(&by_license(&[usage(TEN, "cores", 1)])), "InvalidProductCodeException");
    assert_eq!(bench.statuses(&by_license(&[licensed(TEN, ARN)])), ["Success"]);
    bench.set(json!({"product_codes": ["prod-2"]}));
    assert_eq!(bench.refused(&batch(&[usage(TEN, "cores", 1)])), "InvalidProductCodeException");
}

#[test]
fn d1_the_same_hour_by_product_code_and_by_license_is_billed_twice() {
    let bench = Bench::new(json!({}));
    bench.send(&batch(&[usage(TEN, "cores", 4)]));
    bench.send(&by_license(&[licensed(TEN, ARN)]));
    let totals = bench.0.lock().record.totals(&crate::record::Filter::default());
    assert_eq!((totals.records, totals.hours_under_several_keys), (2, 1));
}

#[test]
fn d1_licenses_of_two_products_refuse_the_call() {
    let bench = Bench::new(json!({"licenses": {ARN: "prod-1", ARN_OF_ANOTHER: "prod-2"}}));
    assert_eq!(
        bench.refused(&by_license(&[licensed(TEN, ARN), licensed(TEN, ARN_OF_ANOTHER)])),
        "InvalidLicenseException"
    );
    assert_eq!(bench.statuses(&by_license(&[licensed(TEN, ARN_OF_ANOTHER)])), ["Success"]);
    let unknown = "arn:aws:license-manager::294406891311:license:l-three";
    assert_eq!(bench.refused(&by_license(&[licensed(TEN, unknown)])), "InvalidLicenseException");
}

#[test]
fn d2_one_bad_record_refuses_the_whole_call() {
    let bench = Bench::new(json!({"dimensions": ["cores"]}));
    let mut records: Vec<Value> =
        (0..25).map(|n| usage(&format!("2026-07-21T{:02}:00:00Z", 13 + n % 11), "cores", 1)).collect();
    records[13] = usage(TEN, "typo", 1);
    assert_eq!(bench.refused(&batch(&records)), "InvalidUsageDimensionException");
    records[13] = usage("2026-07-20T10:00:00Z", "cores", 1);
    assert_eq!(bench.refused(&batch(&records)), "TimestampOutOfBoundsException");
    assert!(bench.stored().is_empty());
}

#[test]
fn d3_identical_resend_is_ours_another_quantity_is_not() {
    let bench = Bench::new(json!({}));
    let (_, first) = bench.send(&batch(&[usage(TEN, "cores", 17)]));
    let later_in_the_hour = with(usage("2026-07-22T10:59:59Z", "cores", 0), "Quantity", Value::Null);
    let (_, again) = bench.send(&batch(&[with(later_in_the_hour, "QuantityAsDecimal", json!("17.00"))]));
    let id = |body: &Value| body["Results"][0]["MeteringRecordId"].clone();
    assert_eq!(id(&first), id(&again));
    assert!(id(&first).is_string());
    let (_, other) = bench.send(&batch(&[usage(TEN, "cores", 18)]));
    assert_eq!((other["Results"][0]["Status"].as_str(), id(&other)), (Some("DuplicateRecord"), Value::Null));
    bench.set(json!({"identical_resend": "duplicate"}));
    assert_eq!(bench.statuses(&batch(&[usage(TEN, "cores", 17)])), ["DuplicateRecord"]);
    assert_eq!(bench.stored(), [Decimal::from(17)]);
}

#[test]
fn d3_two_records_of_one_key_in_one_call_and_another_region() {
    let bench = Bench::new(json!({}));
    let records = [usage(TEN, "cores", 1), usage(TEN, "cores", 2), usage(TEN, "cores", 1)];
    assert_eq!(bench.statuses(&batch(&records)), ["Success", "DuplicateRecord", "Success"]);
    bench.send_to("eu-west-1", &batch(&records[1..2]));
    assert_eq!(bench.stored(), [Decimal::ONE, Decimal::TWO]);
}

#[test]
fn d3_unprocessed_records_are_handed_back_and_not_stored() {
    let bench = Bench::new(json!({}));
    let rule = json!({"kind": "unprocessed", "times": 1, "match": {"dimension": "users"}});
    bench.0.lock().faults.add(serde_json::from_value(rule).unwrap()).unwrap();
    let records = [usage(TEN, "cores", 1), usage(TEN, "users", 2)];
    let (_, body) = bench.send(&batch(&records));
    assert_eq!(body["UnprocessedRecords"], json!([records[1]]));
    assert_eq!(body["Results"].as_array().unwrap().len(), 1);
    assert_eq!(bench.statuses(&batch(&records)), ["Success", "Success"]);
    assert_eq!(bench.stored().len(), 2);
}

#[test]
fn d11_twenty_four_hours_from_the_start_of_the_hour() {
    let bench = Bench::new(json!({}));
    let stamp = |at: &str| batch(&[usage(at, "cores", 1)]);
    bench.at("2026-07-23T09:59:59Z");
    assert_eq!(bench.statuses(&stamp("2026-07-22T10:30:00Z")), ["Success"]);
    bench.at("2026-07-23T10:00:00Z");
    assert_eq!(bench.refused(&stamp("2026-07-22T10:30:00Z")), "TimestampOutOfBoundsException");
    assert_eq!(bench.statuses(&stamp("2026-07-23T10:00:00Z")), ["Success"]);
    assert_eq!(bench.refused(&stamp("2026-07-23T10:00:01Z")), "TimestampOutOfBoundsException");
    bench.set(json!({"max_age_hours": 6}));
    assert_eq!(bench.refused(&stamp("2026-07-23T04:00:00Z")), "TimestampOutOfBoundsException");
    assert_eq!(bench.statuses(&stamp("2026-07-23T05:00:00Z")), ["Success"]);
    assert_eq!(
        bench.refused(&with(stamp(TEN), "UsageRecords", json!([with(usage(TEN, "c", 1), "Timestamp", json!(9e18))]))),
        "TimestampOutOfBoundsException"
    );
}

#[test]
fn d11_a_month_closes_at_six_on_the_first() {
    let bench = Bench::new(json!({}));
    let march = batch(&[usage("2026-03-31T23:00:00Z", "cores", 1)]);
    bench.at("2026-04-01T05:59:59Z");
    assert_eq!(bench.statuses(&march), ["Success"]);
    bench.at("2026-04-01T06:00:00Z");
    assert_eq!(bench.refused(&march), "TimestampOutOfBoundsException");
    assert_eq!(bench.statuses(&batch(&[usage("2026-04-01T00:00:00Z", "cores", 1)])), ["Success"]);
    bench.set(json!({"month_cutoff_hours": null}));
    assert_eq!(bench.statuses(&march), ["Success"]);
    bench.at("2027-01-01T06:00:00Z");
    assert_eq!(bench.statuses(&batch(&[usage("2026-12-31T23:00:00Z", "cores", 1)])), ["Success"]);
}

#[test]
fn d3_customers_without_a_subscription_are_told_one_by_one() {
    let subscription = json!({"customer_aws_account_id": BUYER, "product_code": "prod-1",
        "from": "2026-07-22T09:40:00Z", "until": "2026-07-22T11:20:00Z"});
    let bench = Bench::new(json!({"subscriptions": [subscription]}));
    let stranger = with(usage(TEN, "cores", 1), "CustomerAWSAccountId", json!("999900001111"));
    let records = [usage(TEN, "cores", 1), stranger.clone(), usage("2026-07-22T12:00:00Z", "cores", 1)];
    let words = bench.statuses(&batch(&records));
    assert_eq!(words, ["Success", "CustomerNotSubscribed", "CustomerNotSubscribed"]);
    // The hour in which it began counts, unless starts are strict; before it, the call is refused.
    assert_eq!(bench.statuses(&batch(&[usage("2026-07-22T09:00:00Z", "cores", 1)])), ["Success"]);
    assert_eq!(bench.refused(&batch(&[usage("2026-07-22T08:00:00Z", "cores", 1)])), "TimestampOutOfBoundsException");
    // One hour after the end the closing window is over.
    bench.at("2026-07-22T12:19:59Z");
    assert_eq!(bench.statuses(&batch(&[usage("2026-07-22T11:00:00Z", "cores", 1)])), ["Success"]);
    bench.at("2026-07-22T12:20:00Z");
    assert_eq!(bench.statuses(&batch(&[usage("2026-07-22T11:00:00Z", "users", 1)])), ["CustomerNotSubscribed"]);
    bench.set(json!({"strict_subscription_start": true, "unknown_customer": "refuse_call"}));
    assert_eq!(bench.refused(&batch(&[usage("2026-07-22T09:00:00Z", "cores", 1)])), "TimestampOutOfBoundsException");
    assert_eq!(bench.refused(&batch(&[stranger])), "InvalidCustomerIdentifierException");
}

#[test]
fn d2_a_license_must_be_the_customers_and_active() {
    let subscription = json!({"customer_aws_account_id": BUYER, "license_arn": ARN, "from": "2026-07-22T09:00:00Z",
        "until": "2026-07-22T11:30:00Z"});
    let bench = Bench::new(json!({"subscriptions": [subscription]}));
    assert_eq!(bench.statuses(&by_license(&[licensed(TEN, ARN)])), ["Success"]);
    let another = with(licensed(TEN, ARN), "CustomerAWSAccountId", json!("999900001111"));
    for record in [another, licensed(TEN, ARN_OF_ANOTHER), licensed("2026-07-22T08:00:00Z", ARN)] {
        assert_eq!(bench.refused(&by_license(&[record])), "InvalidLicenseException");
    }
    assert_eq!(bench.refused(&by_license(&[licensed("2026-07-22T12:00:00Z", ARN)])), "InvalidLicenseException");
    bench.at("2026-07-22T12:30:00Z");
    assert_eq!(bench.statuses(&by_license(&[licensed("2026-07-22T11:00:00Z", ARN)])), ["CustomerNotSubscribed"]);
}

#[test]
fn d2_allocations_add_up_or_refuse_the_call() {
    let bench = Bench::new(json!({}));
    let share = |quantity: i64, value: &str| {
        let tags = json!([{"Key": "team", "Value": value}]);
        json!({"AllocatedUsageQuantity": quantity, "Tags": tags})
    };
    let sent = |shares: Value| batch(&[with(usage(TEN, "cores", 5), "UsageAllocations", shares)]);
    let wrong = "InvalidUsageAllocationsException";
    assert_eq!(bench.refused(&sent(json!([share(2, "a"), share(2, "b")]))), wrong);
    assert_eq!(bench.refused(&sent(json!([share(2, "a"), share(3, "a")]))), wrong);
    assert_eq!(bench.refused(&sent(json!([{"AllocatedUsageQuantityAsDecimal": "5"}]))), wrong);
    assert_eq!(bench.refused(&sent(json!([{}]))), "ValidationException");
    assert_eq!(bench.refused(&sent(json!([share(5, "#ü")]))), "InvalidTagException");
    assert_eq!(bench.statuses(&sent(json!([share(2, "a"), {"AllocatedUsageQuantity": 3}]))), ["Success"]);
}

#[test]
fn d12_beyond_the_rate_calls_are_throttled_and_cost_nothing() {
    let bench = Bench::new(json!({"rate": {"calls_per_second": 0, "burst": 2}}));
    let one = batch(&[usage(TEN, "cores", 1)]);
    assert_eq!(bench.statuses(&one), ["Success"]);
    assert_eq!(bench.statuses(&one), ["Success"]);
    assert_eq!(bench.refused(&one), "ThrottlingException");
    assert_eq!(bench.send_to("eu-west-1", &one).0, 200);
    bench.set(json!({"rate": null}));
    assert_eq!(bench.statuses(&one), ["Success"]);
}

#[test]
fn d9_expired_credentials_are_a_refusal_on_demand() {
    let bench = Bench::new(json!({"error_type_prefix": "com.amazonaws.marketplacemetering#"}));
    let rule = FaultRule::new(FaultKind::RefuseRecord).error("ExpiredTokenException").status(403).times(1);
    bench.0.lock().faults.add(rule).unwrap();
    let (status, body) = bench.send(&batch(&[usage(TEN, "cores", 1)]));
    let name = body["__type"].as_str().unwrap();
    assert_eq!((status, name), (403, "com.amazonaws.marketplacemetering#ExpiredTokenException"));
    assert_eq!(bench.statuses(&batch(&[usage(TEN, "cores", 1)])), ["Success"]);
}

#[test]
fn a_region_without_the_api_is_disabled() {
    let bench = Bench::new(json!({"regions": ["eu-west-1"]}));
    assert_eq!(bench.refused(&batch(&[usage(TEN, "cores", 1)])), "DisabledApiException");
}
