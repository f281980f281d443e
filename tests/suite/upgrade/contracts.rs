//! K3: a database that was filled before there were contracts goes on counting where it counted.

use outbox::migrate::{MIGRATIONS, ROLES};
use serde_json::json;
use simulator::{Clock, Settings, Simulator};
use tests::{Stage, TestDatabase, quick, t};
use tokio::net::TcpListener;
use worker::Worker;

/// What the last release wrote: each org used cores in the hour of ten, and its meter was cut.
/// acme and globex share a buyer, and acme has a licence from eleven on; initech came in mid-month from another buyer.
const FILLED: &str = r#"
    update postmeter.setting set purpose = 'test', clock_frozen = '2024-09-18T10:59Z';
    insert into postmeter.quota (name) values ('aws');
    insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window, records_max, bytes_max)
    select 'aws', 'aws', '{}', id, '24 hours', '6 hours', '1 hour', 25, 900000 from postmeter.quota;
    insert into postmeter.dimension (destination_id, product, metric, name) select id, 'db', 'cores', 'cores' from postmeter.destination;
    insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account, identity_form, valid_from, valid_until)
    select s.org, 'db', t.id, s.identity::jsonb || jsonb_build_object('customer_aws_account_id', s.account),
           'aws/us-east-1/' || s.name || '/' || s.account, s.account, s.form, s.since::timestamptz, s.till::timestamptz
    from postmeter.destination t,
         (values ('acme', '111122223333', 'prod-db', 'product_account', '{"product_code": "prod-db"}', '2024-01-01T00:00Z', '2024-09-18T11:00Z'),
                 ('globex', '111122223333', 'prod-db', 'product_account', '{"product_code": "prod-db"}', '2024-01-01T00:00Z', '2024-09-18T11:00Z'),
                 ('initech', '777700000001', 'prod-db', 'product_account', '{"product_code": "prod-db"}', '2024-01-01T00:00Z', '2024-09-10T00:00Z'),
                 ('initech', '777700000002', 'prod-db', 'product_account', '{"product_code": "prod-db"}', '2024-09-10T00:00Z', null)
         ) s(org, account, name, form, identity, since, till);
    insert into postmeter.cover (subscription_id, metric, quantity) select id, 'cores', 5 from postmeter.subscription where org <> 'initech';
    insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end, billed, carried, cuts)
    select distinct s.destination_id, s.buyer, 'cores', date '2024-09-01', 'up', 0, 'round_up',
           case when s.org = 'initech' then 2 else 0 end, case when s.org = 'initech' then -0.5 else 0 end, 1
    from postmeter.subscription s;
    insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator, used, covered)
    select id, 'db', 'cores', 1, 1, case when billed > 0 then 1.5 else 8 end, case when billed > 0 then 0 else 8 end from postmeter.meter;
"#;

/// The usage behind those totals, counted by remittances that are done with.
const COUNTED: &str = r#"
    select postmeter.record_usage('billing', e.org || e.at, e.org, 'db', 'cores', e.quantity, e.at::timestamptz)
    from (values ('acme', 4, '2024-09-18T10:05Z'), ('globex', 4, '2024-09-18T10:05Z'), ('initech', 1.5, '2024-09-18T10:05Z'),
                 ('initech', 1.5, '2024-09-09T10:05Z')) e(org, quantity, at);
    insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, deadline, round, quantity,
                                    body, batch_group, idempotency_key, cut_at)
    select distinct m.destination_id, postmeter.remittance_key(m.buyer, m.dimension, postmeter.hour_of(u.used_at)), m.id,
           postmeter.hour_of(u.used_at), s.identity, 'db', case when m.billed > 0 then 'dry_run' else 'nothing_due' end,
           u.used_at + interval '20 hours', 1, m.billed, '{}', 'g', gen_random_uuid(), postmeter.clock()
    from postmeter.usage u
    join postmeter.subscription s on s.org = u.org and s.valid_from <= u.used_at and (s.valid_until is null or u.used_at < s.valid_until)
    join postmeter.meter m on m.buyer = s.buyer
    on conflict do nothing;
    insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
    select u.id, d.destination_id, d.id, mm.id, 0, u.quantity, d.hour, s.id
    from postmeter.usage u
    join postmeter.subscription s on s.org = u.org and s.valid_from <= u.used_at and (s.valid_until is null or u.used_at < s.valid_until)
    join postmeter.meter m on m.buyer = s.buyer
    join postmeter.meter_metric mm on mm.meter_id = m.id
    join postmeter.delivery d on d.meter_id = m.id and d.hour = postmeter.hour_of(u.used_at);
    insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
    select d.id, d.meter_id, 0, 1, d.quantity + m.carried, 0, d.quantity, m.carried, false, '[]'
    from postmeter.delivery d join postmeter.meter m on m.id = d.meter_id;
    delete from postmeter.outbox;
"#;

/// A database as the last release left it, migrated by this one, and a worker of this one.
async fn upgraded() -> Stage {
    let db = TestDatabase::empty().await;
    db.client.batch_execute(ROLES).await.unwrap();
    let older = |version: i32| version <= 41;
    for migration in MIGRATIONS.iter().filter(|m| older(m.version)) {
        db.client.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error}", migration.name));
    }
    db.client.batch_execute(FILLED).await.unwrap();
    db.client.batch_execute(COUNTED).await.unwrap();
    // planned before the upgrade: both have a licence from eleven on
    let licence = json!({
        "license_arn": "arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef",
        "customer_aws_account_id": "111122223333",
    });
    for org in ["acme", "globex"] {
        let planned = "insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account, identity_form, valid_from)
                       select $1, 'db', id, $2, 'aws/us-east-1/arn:aws:license-manager::123456789012:license:l-0123456789abcdef0123456789abcdef/111122223333',
                              '111122223333', 'licence_account', '2024-09-18T11:00Z' from postmeter.destination";
        db.client.execute(planned, &[&org, &licence]).await.unwrap();
    }
    db.client
        .batch_execute(
            "insert into postmeter.cover (subscription_id, metric, quantity)
                        select id, 'cores', 5 from postmeter.subscription where identity_form = 'licence_account'",
        )
        .await
        .unwrap();
    for migration in MIGRATIONS.iter().filter(|m| !older(m.version)) {
        db.client.batch_execute(migration.sql).await.unwrap_or_else(|error| panic!("{}: {error}", migration.name));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings { clock: Clock::frozen_at(t("2024-09-18T10:59:00Z")), ..Settings::default() };
    settings.aws.rate = None;
    let aws = Simulator::start(listener, settings).unwrap();
    let endpoint = json!({ "region": "us-east-1", "endpoint": aws.url() });
    db.client.execute("update postmeter.destination set settings = $1", &[&endpoint]).await.unwrap();
    let worker = Worker::start(db.another(), quick()).await.unwrap();
    Stage { db, aws, worker }
}

#[tokio::test]
async fn k3_after_the_upgrade_of_a_filled_database_everybody_is_counted_where_he_was() {
    let stage = upgraded().await;
    assert_eq!(
        stage
            .column(
                "select s.org || ' ' || split_part(m.contract, '/', 3) from postmeter.contract_member m
                 join postmeter.subscription s on s.id = m.subscription_id order by 1"
            )
            .await,
        ["acme prod-db", "globex prod-db", "initech prod-db"]
    );
    stage.at("2024-09-18T11:10:00Z").await;
    for (org, quantity) in [("acme", "4.25"), ("globex", "0.5"), ("initech", "0.5")] {
        stage.record(&format!("{org} at 11"), org, "cores", quantity, "2024-09-18T11:05:00Z").await;
    }
    stage.cut_at("2024-09-18T12:10:00Z").await;
    // acme and globex: 8 + 4.75, 10 covered, 2.75 rounded once; initech: 1.5 + 0.5, of which 2 are billed
    assert_eq!(stage.accepted(), ["18T11 3"]);
    let balance = "select split_part(buyer, '/', 4) || ' ' || recorded || ' ' || covered || ' ' || accepted + dry_run || ' ' || difference
                   from postmeter.balance order by 1";
    assert_eq!(
        stage.column(balance).await,
        ["111122223333 12.75 10 3 0", "777700000001 1.5 0 2 0", "777700000002 2 0 2 0"],
        "initech's earlier buyer keeps what it had"
    );
    stage.close().await;
}

#[tokio::test]
async fn k3_after_the_upgrade_a_contract_s_name_counts_from_the_next_month_on() {
    let stage = upgraded().await;
    stage.sql("update postmeter.subscription set contract = org where org <> 'initech'").await;
    stage.at("2024-09-18T11:10:00Z").await;
    for (org, quantity) in [("acme", "4.25"), ("globex", "0.5")] {
        stage.record(&format!("{org} at 11"), org, "cores", quantity, "2024-09-18T11:05:00Z").await;
    }
    stage.cut_at("2024-09-18T12:10:00Z").await;
    assert_eq!(stage.accepted(), ["18T11 3"], "8 + 4.75, 10 covered: the running month's meter goes on");
    stage.at("2024-10-01T10:10:00Z").await;
    for (org, quantity) in [("acme", "5.25"), ("globex", "4.75")] {
        stage.record(&format!("{org} in october"), org, "cores", quantity, "2024-10-01T10:05:00Z").await;
    }
    stage.cut_at("2024-10-01T11:10:00Z").await;
    assert_eq!(stage.accepted().last().unwrap(), "01T10 1", "acme's 0.25: each has a cover of its own");
    let balance = "select month || ' ' || buyer || ' ' || covered || ' ' || difference from postmeter.balance
                   where buyer like 'contract:%' order by 1";
    assert_eq!(
        stage.column(balance).await,
        ["2024-10-01 contract:db/acme 5 0", "2024-10-01 contract:db/globex 4.75 0"]
    );
    stage.close().await;
}
