//! AWS judged by somebody else: moto 5.2.5 (PyPI) checks the framing and the signature of our calls.
//!
//! It knows no deduplication, no windows and no licences, so it says nothing about those; the simulator does.
//! `POSTMETER_TEST_PYTHON` names a Python with `tests/requirements.txt` installed; without it the test is skipped.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use marketplaces::aws::provider::SharedCredentialsProvider;
use marketplaces::aws::{Aws, Credentials};
use marketplaces::{Frozen, Marketplace, OutgoingRecord, Record};
use remittance::{Answer, Outcome, Quantity};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

const NAME: &str = "d1_moto_judges_framing_and_signature";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Starts moto in its own process with one customer, one user who may report usage and one who may not, switches its
/// authorization on, prints all that as one line of JSON, and ends when its input does.
const SERVER: &str = r#"
import json, os, sys, urllib.request
os.environ.update(AWS_ACCESS_KEY_ID="setup", AWS_SECRET_ACCESS_KEY="setup", AWS_DEFAULT_REGION="us-east-1")
import boto3
from moto.core import DEFAULT_ACCOUNT_ID
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://%s:%s" % server.get_host_and_port()
metering = get_backend("meteringmarketplace")[DEFAULT_ACCOUNT_ID]["us-east-1"]
metering.customers_by_product["prod9"].append("customer-1")
iam = boto3.client("iam", endpoint_url=endpoint)
allow = {"Effect": "Allow", "Action": "aws-marketplace:BatchMeterUsage", "Resource": "*"}
users = {}
for name in ("seller", "stranger"):
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    users[name] = [key["AccessKeyId"], key["SecretAccessKey"]]
policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
iam.put_user_policy(UserName="seller", PolicyName="meter", PolicyDocument=policy)
switch_on = urllib.request.Request(endpoint + "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
urllib.request.urlopen(switch_on).read()
print(json.dumps({"endpoint": endpoint, "users": users}), flush=True)
sys.stdin.read()
"#;

fn skip(reason: &str) {
    skip_named(NAME, reason);
}

/// Says that a test did not run, to whoever reads and to whoever counts.
pub fn skip_named(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
    if let Some(path) = std::env::var_os("POSTMETER_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{name}: {reason}")).expect("the list of skipped tests can be written");
    }
}

/// The running server and what it said of itself. It ends with this value: its input closes.
async fn moto(python: &std::ffi::OsStr) -> (Child, Value) {
    let mut server = Command::new(python)
        .args(["-c", SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("POSTMETER_TEST_PYTHON names a Python");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    // The server's log may come before it.
    let said = async {
        loop {
            let line = lines.next_line().await.expect("text").expect("moto says where it is (is moto installed?)");
            if let Ok(said @ Value::Object(_)) = serde_json::from_str(&line) {
                return said;
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(60), said).await.expect("moto starts within a minute");
    (server, said)
}

/// Reports one record with these keys.
async fn report(endpoint: &Value, keys: [&str; 2], identity: Value) -> Answer {
    let settings = json!({ "region": "us-east-1", "endpoint": endpoint });
    let keys = Credentials::new(keys[0], keys[1], None, None, "test");
    let aws = Aws::open_with(&settings, SharedCredentialsProvider::new(keys)).expect("settings");
    let quantity = Quantity::from(7);
    let record = Record {
        identity: &identity,
        product: "cloud",
        dimension: "cores",
        hour: "2024-09-18T22:00:00Z".parse().expect("an hour"),
        ends: None,
        quantity,
        shares: &[],
        decimals: 0,
        idempotency_key: Uuid::nil(),
    };
    let Frozen { body, batch_group } = aws.freeze(&record).expect("freezes");
    let parcel = OutgoingRecord { body, batch_group, quantity, idempotency_key: Uuid::nil() };
    aws.submit(&[parcel], TIMEOUT).await.remove(0)
}

#[tokio::test]
async fn d1_moto_judges_framing_and_signature() {
    let Some(python) = std::env::var_os("POSTMETER_TEST_PYTHON") else {
        return skip("POSTMETER_TEST_PYTHON names no Python with moto");
    };
    let (_server, said) = moto(&python).await;
    let endpoint = &said["endpoint"];
    let key = |user: &str, at: usize| said["users"][user][at].as_str().expect("a key").to_owned();
    let (id, secret) = (key("seller", 0), key("seller", 1));
    let customer = |name: &str| json!({ "product_code": "prod9", "customer_identifier": name });

    let known = report(endpoint, [&id, &secret], customer("customer-1")).await;
    assert_eq!((known.outcome, known.http_status), (Outcome::Accepted, Some(200)));
    assert!(known.receipt.is_some(), "a receipt comes with it");

    let stranger = report(endpoint, [&id, &secret], customer("customer-2")).await;
    assert_eq!(stranger.outcome, Outcome::NotEntitled { code: "CustomerNotSubscribed".to_owned() });
    assert_eq!(stranger.receipt, None);

    // A wrong secret, a key nobody has, a user who may not: all three are refused in XML.
    let (stranger, strangers) = (key("stranger", 0), key("stranger", 1));
    for keys in [[id.as_str(), "wrong"], ["AKIAIOSFODNN7EXAMPLE", &secret], [&stranger, &strangers]] {
        let refused = report(endpoint, keys, customer("customer-1")).await;
        assert!(matches!(refused.outcome, Outcome::Unauthorised { .. }), "{refused:?}");
        assert_eq!(refused.http_status, Some(403));
        assert!(refused.excerpt.is_none_or(|excerpt| !excerpt.contains(keys[0])), "the excerpt shows the key");
    }

    // moto does not know the account form: it fails with a page of HTML.
    let by_account = json!({ "product_code": "prod9", "customer_aws_account_id": "111122223333" });
    let broken = report(endpoint, [&id, &secret], by_account).await;
    assert_eq!(
        (broken.outcome, broken.http_status),
        (Outcome::Unavailable { code: "http_500".to_owned(), after: None }, Some(500))
    );
}
