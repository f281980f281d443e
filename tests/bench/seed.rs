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
            "alter table postmeter.outbox disable trigger arrived;
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
             alter table postmeter.outbox enable always trigger arrived;
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

/// So many usages of the month before this one, over so many orgs and 72 hours, folded, cut and accepted; every fourth org
/// has a contract that covers a hundred. Written as fold, cut and settle would have written it.
pub async fn settled_month(client: &Client, usages: i64, orgs: i64) {
    client
        .batch_execute(&format!(
            "set session_replication_role = replica;
             set synchronous_commit = off;
             set work_mem = '256MB';
             insert into postmeter.cover (subscription_id, metric, quantity)
             select id, 'cores', 100 from postmeter.subscription where id % 4 = 0;
             create temp table span as
             select date_trunc('month', clock_timestamp(), 'UTC') - interval '1 month' as began;
             create temp table given as
             select postmeter.new_id() as id, 'e-' || n as event_id, (hashint8(n)::bigint & 2147483647) % {orgs} + 1 as org,
                    (1 + n % 7)::numeric as quantity, s.began + (n % 72) * interval '1 hour' as hour
             from generate_series(1, {usages}) n, span s;
             insert into postmeter.usage (id, source, event_id, org, product, metric, quantity, used_at, attributes)
             select id, 'bench', event_id, 'org-' || org, 'db', 'cores', quantity, hour + interval '7 minutes', '{{}}' from given;
             insert into postmeter.meter (destination_id, buyer, dimension, month, rounding, decimals, month_end)
             select s.destination_id, s.buyer, 'cores', p.began::date, 'up', 0, 'round_up' from postmeter.subscription s, span p;
             insert into postmeter.meter_metric (meter_id, product, metric, factor_numerator, factor_denominator)
             select id, 'db', 'cores', 1, 1 from postmeter.meter;
             create temp table summed as
             select o.*, m.id as meter_id, mm.id as meter_metric_id, s.id as subscription_id, s.identity, s.buyer,
                    sum(o.used_here) over (partition by o.org order by o.hour) as used_after, coalesce(c.quantity, 0) as cover
             from (select org, hour, sum(quantity) as used_here from given group by 1, 2) o
             join postmeter.subscription s on s.org = 'org-' || o.org
             left join postmeter.cover c on c.subscription_id = s.id
             join postmeter.meter m on m.buyer = s.buyer
             join postmeter.meter_metric mm on mm.meter_id = m.id;
             insert into postmeter.delivery (destination_id, key, meter_id, hour, identity, product, status, confirmed,
                                             deadline, round, quantity, body, batch_group, idempotency_key, cut_at)
             select t.id, s.buyer || '/cores/' || s.hour, s.meter_id, s.hour, s.identity, 'db',
                    case when s.used_after <= s.cover then 'nothing_due' else 'accepted' end, true,
                    s.hour + interval '1 day', 1, greatest(0, s.used_after - s.cover) - greatest(0, s.used_after - s.used_here - s.cover),
                    '{{}}', 'product:prod9', gen_random_uuid(), s.hour + interval '2 hours'
             from summed s, postmeter.destination t;
             insert into postmeter.allocation (usage_id, destination_id, delivery_id, meter_metric_id, round, quantity, hour, subscription_id)
             select g.id, d.destination_id, d.id, s.meter_metric_id, 0, g.quantity, g.hour, s.subscription_id
             from given g join summed s on s.org = g.org and s.hour = g.hour
             join postmeter.delivery d on d.meter_id = s.meter_id and d.hour = s.hour;
             insert into postmeter.cut (delivery_id, meter_id, round, denominator, units, billed_before, to_bill, carried, deferred, metrics)
             select d.id, d.meter_id, 0, 1, greatest(0, s.used_after - s.cover), greatest(0, s.used_after - s.used_here - s.cover),
                    d.quantity, 0, false, '[]'
             from summed s join postmeter.delivery d on d.meter_id = s.meter_id and d.hour = s.hour;
             update postmeter.meter_metric mm set used = x.used, covered = least(x.used, x.cover)
             from (select meter_metric_id, max(used_after) as used, max(cover) as cover from summed group by 1) x
             where mm.id = x.meter_metric_id;
             update postmeter.meter m set billed = mm.used - mm.covered, cuts = 72
             from postmeter.meter_metric mm where mm.meter_id = m.id;
             drop table given, summed, span;
             reset session_replication_role;
             reset synchronous_commit;
             reset work_mem"
        ))
        .await
        .expect("a month");
    for command in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(command).await.expect(command);
    }
}
