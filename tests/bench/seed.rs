//! What a benchmark starts from, written straight into the tables.

use serde_json::json;
use tokio_postgres::Client;

/// An AWS destination that takes so many records a call.
pub async fn destination(client: &Client, port: u16, records_max: i32, in_flight_max: i32) {
    let settings = json!({"region": "us-east-1", "endpoint": format!("http://127.0.0.1:{port}")});
    client
        .execute(
            "with q as (insert into postmeter.quota (name) values ('aws') returning id)
             insert into postmeter.destination (name, kind, settings, quota_id, age_limit, month_cutoff, closing_window,
                                                records_max, bytes_max, in_flight_max, retry_first, retry_max)
             select 'aws', 'aws', $1, q.id, '24 hours', '6 hours', '1 hour',
                    $2, 900000, $3, '100 milliseconds', '1 second' from q",
            &[&settings, &records_max, &in_flight_max],
        )
        .await
        .expect("a destination");
}

/// So many orgs, each with one subscription of its own account, and the dimension that all use.
pub async fn subscriptions(client: &Client, count: i64) {
    client
        .batch_execute(&format!(
            "insert into postmeter.dimension (destination_id, product, metric, name, valid_from)
             select id, 'db', 'cores', 'cores', '2020-01-01' from postmeter.destination;
             insert into postmeter.subscription (org, product, destination_id, identity, buyer, buyer_account,
                                                 identity_form, valid_from)
             select 'org-' || n, 'db', t.id,
                    jsonb_build_object('product_code', 'prod9', 'customer_aws_account_id', lpad(n::text, 12, '0')),
                    'aws/us-east-1/prod9/' || lpad(n::text, 12, '0'), lpad(n::text, 12, '0'), 'product_account',
                    '2020-01-01'
             from postmeter.destination t, generate_series(1, {count}) n"
        ))
        .await
        .expect("subscriptions");
}

/// A backlog of usage that was recorded and not folded: so many entries over so many orgs and four hours. The triggers
/// would take longer to write it than the fold takes to fold it, so they are left out; the rows are what they write.
pub async fn backlog(client: &Client, entries: i64, orgs: i64) {
    client
        .batch_execute(&format!(
            "set session_replication_role = replica;
             set synchronous_commit = off;
             create temp table given as
             select postmeter.new_id() as id, 'e-' || n as event_id,
                    'org-' || ((hashint8(n)::bigint & 2147483647) % {orgs} + 1) as org,
                    (1 + n % 7)::numeric as quantity, clock_timestamp() - (n % 4) * interval '1 hour' as used_at
             from generate_series(1, {entries}) n;
             insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes)
             select id, 'bench', event_id, org, 'db', 'cores', quantity, used_at, '{{}}' from given;
             insert into postmeter.outbox (id, source, event_id, org, product, metric, quantity, used_at)
             select id, 'bench', event_id, org, 'db', 'cores', quantity, used_at from given;
             drop table given;
             reset session_replication_role;
             reset synchronous_commit"
        ))
        .await
        .expect("a backlog");
    client.batch_execute("checkpoint").await.expect("a checkpoint");
}

/// So many remittances that are due, of distinct accounts, their deadlines mixed over twenty hours.
pub async fn due(client: &Client, first: i64, last: i64) {
    client
        .batch_execute(&format!(
            r#"with made as (
                 insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status,
                                                 deadline, round, quantity, body, batch_group, idempotency_key, cut_at)
                 select t.id, a.buyer || '/cores/' || h.hour, n, h.hour,
                        jsonb_build_object('product_code', 'prod9', 'customer_aws_account_id', a.account), 'db', 'due',
                        clock_timestamp() + interval '1 hour'
                            + (hashint8(n)::bigint & 1048575) / 1048575.0 * interval '20 hours',
                        1, 7, format('{{"Timestamp":%s,"CustomerAWSAccountId":"%s","Dimension":"cores","Quantity":7}}',
                                     extract(epoch from h.hour)::bigint, a.account),
                        'product:prod9', gen_random_uuid(), clock_timestamp()
                 from postmeter.destination t, generate_series({first}, {last}) n,
                      lateral (select lpad(n::text, 12, '0') as account,
                                      'aws/us-east-1/prod9/' || lpad(n::text, 12, '0') as buyer) a,
                      lateral (select date_trunc('hour', clock_timestamp()) - interval '2 hours' as hour) h
                 returning id, destination_id, deadline
             )
             insert into postmeter.due (delivery_id, destination_id, deadline)
             select id, destination_id, deadline from made"#
        ))
        .await
        .expect("due remittances");
}
