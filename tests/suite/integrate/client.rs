//! A, H: `postmeter-client`, through both of its drivers.

use postmeter_client::jiff::Timestamp;
use postmeter_client::uuid::Uuid;
use postmeter_client::{self as client, Error, NewStatus, NewUsage, Tracked, Verdict};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tests::{TestDatabase, q, t};

use super::text;

const NOW: &str = "2024-09-01T00:10:00Z";
const USAGES: &str = "select count(*)::text from postmeter.usage";
const STATUSES: &str = "select count(*)::text from postmeter.request_status";

/// A service's connection, by its driver.
enum Service {
    Plain(tokio_postgres::Client),
    Sqlx(PgConnection),
}

/// Calls a function of the client in a transaction of its own, which is committed if the function returns a value.
macro_rules! call {
    ($service:expr, $function:ident, $what:expr) => {
        match $service {
            Service::Plain(db) => {
                let tx = db.transaction().await.expect("a transaction");
                let done = client::$function(&tx, $what).await;
                end(done.is_ok(), tx).await;
                done
            }
            Service::Sqlx(db) => {
                let mut tx = db.begin().await.expect("a transaction");
                let done = client::sqlx::$function(&mut tx, $what).await;
                if done.is_ok() { tx.commit().await } else { tx.rollback().await }.expect("an end");
                done
            }
        }
    };
}

async fn end(keep: bool, tx: tokio_postgres::Transaction<'_>) {
    if keep { tx.commit().await } else { tx.rollback().await }.expect("an end");
}

impl Service {
    async fn pid(&mut self) -> i32 {
        let pid = "select pg_backend_pid()";
        match self {
            Self::Plain(db) => db.query_one(pid, &[]).await.expect(pid).get(0),
            Self::Sqlx(db) => sqlx::query_scalar(pid).fetch_one(db).await.expect(pid),
        }
    }

    async fn record_usage(&mut self, usage: &NewUsage) -> Result<Uuid, Error> {
        call!(self, record_usage, usage)
    }

    async fn record_usages(&mut self, usages: &[NewUsage]) -> Vec<Verdict> {
        call!(self, record_usages, usages).expect("verdicts")
    }

    async fn track(&mut self, status: &NewStatus) -> Result<bool, Error> {
        call!(self, track, status)
    }

    async fn track_batch(&mut self, statuses: &[NewStatus]) -> Vec<Tracked> {
        call!(self, track_batch, statuses).expect("verdicts")
    }
}

/// A database whose clock stands at [`NOW`], and a service of each driver with a word for its ids.
async fn services() -> (TestDatabase, [(&'static str, Service); 2]) {
    let db = TestDatabase::fresh().await;
    let frozen = format!("update postmeter.setting set clock_frozen = '{NOW}'");
    db.client.batch_execute(&frozen).await.expect("the clock stands still");
    outbox::requests::tend(&db.database).await.expect("partitions of that day");
    let plain = Service::Plain(db.connect().await);
    let sqlx = Service::Sqlx(PgConnection::connect(&db.tcp_url()).await.expect("a connection"));
    (db, [("plain", plain), ("sqlx", sqlx)])
}

fn usage(event_id: &str) -> NewUsage {
    NewUsage {
        source: "shop".into(),
        event_id: event_id.into(),
        org: "acme".into(),
        product: "compute".into(),
        metric: "hours".into(),
        quantity: q("2.5"),
        used_at: t("2024-08-31T23:00:00Z"),
        ..Default::default()
    }
}

/// Code and field of a refusal.
fn refusal(error: &Error) -> String {
    let refused = error.refused().unwrap_or_else(|| panic!("no refusal: {error:?}"));
    format!("{} {}", refused.code, refused.field.as_deref().unwrap_or("-"))
}

#[tokio::test]
async fn a1_the_client_records_every_field_in_the_callers_transaction() {
    let (db, services) = services().await;
    for (word, mut service) in services {
        let whole = NewUsage {
            quantity: q("999999999999.123456789012345"),
            account: Some("one".into()),
            request_id: Some("req-1".into()),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            attributes: json!({"region": "eu", "sizes": [1, "ü"]}),
            ..usage(word)
        };
        let id = service.record_usage(&whole).await.expect("recorded");
        let row = format!(
            "select concat_ws(' ', org, product, metric, quantity, account, request_id, right(traceparent, 2),
                 attributes, to_json(used_at at time zone 'UTC'))
             from postmeter.usage where id = '{id}' and event_id = '{word}'"
        );
        let expected = "acme compute hours 999999999999.123456789012345 one req-1 01 \
            {\"sizes\": [1, \"ü\"], \"region\": \"eu\"} \"2024-08-31T23:00:00\"";
        assert_eq!(text(&db.client, &row).await, expected, "{word}");
    }
}

#[tokio::test]
async fn a1_what_the_client_records_is_gone_with_the_callers_rollback() {
    let (db, services) = services().await;
    for (word, service) in services {
        match service {
            Service::Plain(mut plain) => {
                let tx = plain.transaction().await.expect("a transaction");
                client::record_usage(&tx, &usage(word)).await.expect("recorded");
                client::track(&tx, &NewStatus::new("shop", word, "received")).await.expect("recorded");
                tx.rollback().await.expect("rolled back");
            }
            Service::Sqlx(mut sqlx) => {
                let mut tx = sqlx.begin().await.expect("a transaction");
                client::sqlx::record_usage(&mut tx, &usage(word)).await.expect("recorded");
                client::sqlx::track(&mut tx, &NewStatus::new("shop", word, "received")).await.expect("recorded");
                tx.rollback().await.expect("rolled back");
            }
        }
        assert_eq!(text(&db.client, USAGES).await, "0", "{word}");
        assert_eq!(text(&db.client, STATUSES).await, "0", "{word}");
    }
}

#[tokio::test]
async fn a2_the_client_returns_the_first_id_again_and_refuses_other_content() {
    let (db, services) = services().await;
    for (word, mut service) in services {
        let first = service.record_usage(&usage(word)).await.expect("recorded");
        assert_eq!(service.record_usage(&usage(word)).await.expect("repeated"), first);
        let other = service.record_usage(&NewUsage { quantity: q("9"), ..usage(word) }).await.expect_err("a conflict");
        assert_eq!(refusal(&other), "PM002 event_id");
        assert!(!other.is_transient());
        assert!(other.to_string().contains("quantity differs"), "{other}");
        let refused = other.refused().expect("a refusal");
        assert_eq!(refused.constraint.as_deref(), Some("usage_identity"));
        assert!(refused.hint.is_some());
    }
    assert_eq!(text(&db.client, USAGES).await, "2");
}

#[tokio::test]
async fn a4_a_field_left_empty_is_refused_by_name() {
    let (db, services) = services().await;
    let empty = NewUsage::default();
    let cases = [
        (NewUsage { source: empty.source.clone(), ..usage("e") }, "PM001 source"),
        (NewUsage { event_id: empty.event_id.clone(), ..usage("e") }, "PM001 event_id"),
        (NewUsage { org: empty.org.clone(), ..usage("e") }, "PM001 org"),
        (NewUsage { product: empty.product.clone(), ..usage("e") }, "PM001 product"),
        (NewUsage { metric: empty.metric.clone(), ..usage("e") }, "PM001 metric"),
        (NewUsage { quantity: empty.quantity, ..usage("e") }, "23502 quantity"),
        (NewUsage { used_at: empty.used_at, ..usage("e") }, "PM005 used_at"),
    ];
    for (word, mut service) in services {
        for (flawed, refused) in &cases {
            let error = service.record_usage(flawed).await.expect_err(refused);
            assert_eq!(refusal(&error), *refused, "{word}");
            let (_, field) = refused.split_once(' ').expect("two words");
            assert!(error.to_string().contains(field), "{word}: {error} does not name {field}");
        }
        let flawed: Vec<NewUsage> = cases.iter().map(|(flawed, _)| flawed.clone()).collect();
        let verdicts = service.record_usages(&flawed).await;
        let refused: Vec<String> = verdicts.into_iter().map(of_verdict).collect();
        assert_eq!(refused, cases.clone().map(|(_, refused)| refused.to_owned()), "{word}");
    }
    assert_eq!(text(&db.client, USAGES).await, "0");
}

fn of_verdict(verdict: Verdict) -> String {
    match verdict {
        Verdict::Refused(refused) => refusal(&refused.into()),
        other => other.word().to_owned(),
    }
}

#[tokio::test]
async fn a4_a_batch_has_a_verdict_for_each_in_order_and_nul_refuses_its_own_item() {
    let (db, services) = services().await;
    for (word, mut service) in services {
        let first = service.record_usage(&usage(word)).await.expect("recorded");
        let new = |n: u32| usage(&format!("{word}-{n}"));
        let batch = [
            NewUsage { org: "ac\0me".into(), ..new(1) },
            new(2),
            NewUsage { quantity: q("-1"), ..new(3) },
            usage(word),
            NewUsage { attributes: json!({"a": [{"b\0": 1}]}), ..new(4) },
            new(5),
        ];
        let verdicts = service.record_usages(&batch).await;
        assert_eq!(verdicts[3], Verdict::Repeated(first));
        let words: Vec<String> = verdicts.into_iter().map(of_verdict).collect();
        let expected = ["22P05 org", "recorded", "PM001 quantity", "repeated", "22P05 attributes", "recorded"];
        assert_eq!(words, expected, "{word}");
        let alone = service.record_usage(&batch[0]).await.expect_err("U+0000");
        assert_eq!(refusal(&alone), "22P05 org", "{word}");
        assert!(alone.to_string().contains("org must not contain the character U+0000"), "{alone}");
        assert!(service.record_usages(&[]).await.is_empty());
    }
    assert_eq!(text(&db.client, USAGES).await, "6");
}

#[tokio::test]
async fn a4_nanoseconds_at_the_end_of_a_month_stay_in_it() {
    let (db, services) = services().await;
    let last: Timestamp = "2024-08-31T23:59:59.999999999Z".parse().expect("a time");
    for (word, mut service) in services {
        let late = |id: &str| NewUsage { used_at: last, ..usage(&format!("{word}-{id}")) };
        service.record_usage(&late("one")).await.expect("recorded");
        let verdicts = service.record_usages(&[late("two"), late("one")]).await;
        assert_eq!(verdicts.iter().map(Verdict::word).collect::<Vec<_>>(), ["recorded", "repeated"], "{word}");
    }
    let times = "select string_agg(distinct (used_at at time zone 'UTC')::text, ' ') from postmeter.usage";
    assert_eq!(text(&db.client, times).await, "2024-08-31 23:59:59.999999");
}

#[tokio::test]
async fn h2_the_client_tracks_one_and_many() {
    let (db, services) = services().await;
    for (word, mut service) in services {
        let received = NewStatus {
            date: Some(t("2024-09-01T00:05:00Z")),
            org: Some("acme".into()),
            ..NewStatus::new("shop", word, "received")
        };
        assert!(service.track(&received).await.expect("recorded"), "{word}");
        assert!(!service.track(&received).await.expect("repeated"), "{word}");
        let empty = NewStatus { service: String::new(), ..received.clone() };
        let nul = NewStatus { status_msg: Some("a\0b".into()), ..received.clone() };
        assert_eq!(refusal(&service.track(&empty).await.expect_err("no service")), "PM001 service", "{word}");
        assert_eq!(refusal(&service.track(&nul).await.expect_err("U+0000")), "22P05 status_msg", "{word}");
        let done = NewStatus { status: "success".into(), ..received.clone() };
        let verdicts = service.track_batch(&[nul, done, received, empty]).await;
        let [Tracked::Refused(nul), Tracked::Recorded, Tracked::Repeated, Tracked::Refused(empty)] = &verdicts[..]
        else {
            panic!("{word}: {verdicts:?}")
        };
        assert_eq!(refusal(&nul.clone().into()), "22P05 status_msg", "{word}");
        assert_eq!(refusal(&empty.clone().into()), "PM001 service", "{word}");
    }
    assert_eq!(text(&db.client, STATUSES).await, "4");
}

#[tokio::test]
async fn a4_the_client_tells_what_may_succeed_later() {
    let (db, services) = services().await;
    for (word, mut service) in services {
        service.record_usage(&usage(word)).await.expect("recorded");
        let pid = service.pid().await;
        // as when the server is restarted; its limit is five seconds
        let ended = format!("select pg_terminate_backend({pid}, 5000)::text");
        assert_eq!(text(&db.client, &ended).await, "true");
        let error = match &mut service {
            Service::Plain(plain) => match plain.transaction().await {
                Ok(tx) => client::record_usage(&tx, &usage(word)).await.expect_err("no connection"),
                Err(error) => error.into(),
            },
            Service::Sqlx(sqlx) => match sqlx.begin().await {
                Ok(mut tx) => client::sqlx::record_usage(&mut tx, &usage(word)).await.expect_err("no connection"),
                Err(error) => error.into(),
            },
        };
        assert!(matches!(error, Error::Unavailable { .. }) && error.is_transient(), "{word}: {error:?}");
    }
}
