-- What was not sent for this org this month, and why?
--
-- Usage that waits, is held, exempt or given up (in units of its metric); remittances that are not accepted, by the
-- usage they count (in units of the metric); what contracts cover (units of the metric); what is carried, below one
-- more unit (in billing units). What a decision released counts with another hour and is not listed here.
--
-- Parameters: org; month (any day of it; the running month if left out).
--   psql -v org=acme -f sql/operations/not_sent_and_why.sql
--
--      what      | product | metric  |          hour          | quantity |                         why …
-- ---------------+---------+---------+------------------------+----------+------------------------------------------ …
--  remittance    | db      | cores   | 2024-09-18 10:00:00+00 |       20 | due: frozen, waiting to be sent …
--  remittance    | db      | cores   | 2024-09-18 12:00:00+00 |        2 | due: frozen, waiting to be sent …
--  remittance    | db      | cores   | 2024-09-18 13:00:00+00 |        6 | open: its hour is not cut …
--  remittance    | db      | gb      | 2024-09-18 10:00:00+00 |        3 | conflict: they hold another quantity unde …
--  remittance    | db      | sockets | 2024-09-18 10:00:00+00 |        5 | in flight: being sent …
--  waiting usage | db      | cores   | 2024-09-18 13:00:00+00 |        4 | no worker has counted it yet …
\if :{?month}
\else
    \set month ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- not_sent_and_why
with asked as (
    select coalesce(date_trunc('month', nullif(:'month', '')::date)::date,
                    postmeter.month_of(postmeter.clock(), 'UTC')) as month
), span as (
    select a.month::timestamp at time zone 'UTC' as first,
           (a.month + interval '1 month')::timestamp at time zone 'UTC' as until
    from asked a
), contracts as (
    select distinct s.destination_id, s.product,
           coalesce(k.contract, postmeter.contract_name(s.product, s.contract), s.buyer) as contract
    from asked a
    cross join postmeter.subscription s
    left join postmeter.contract_member k on k.subscription_id = s.id and k.month = a.month
    where s.org = :'org' and s.buyer is not null
      and s.destination_id not in (select t.id from postmeter.destination t where t.shadow_of is not null)
), listed as (
    select case when u.kind = 'remittance' then 'remittance' else u.status || ' usage' end as what,
           u.product, u.metric, u.hour, u.quantity, case u.status
               when 'held' then coalesce(u.reason, 'held')
               when 'waiting' then 'no worker has counted it yet'
               when 'open' then 'open: its hour is not cut'
               when 'due' then 'due: frozen, waiting to be sent'
               when 'in_flight' then 'in flight: being sent'
               when 'rejected' then 'rejected: they refused it for good'
               when 'expired' then 'expired: too late for them'
               when 'conflict' then 'conflict: they hold another quantity under this key'
               when 'unknown' then 'unknown: it may have been billed'
               when 'written_off' then 'written off by a person'
               when 'dry_run' then 'the destination is a dry run'
               else u.status end as why, u.deadline as until, u.delivery_id as remittance
    from postmeter.unremitted u
    where u.org = :'org' and u.hour >= (select s.first from span s) and u.hour < (select s.until from span s)
    union all
    select 'exempt usage', u.product, u.metric, postmeter.hour_of(u.used_at), u.quantity, e.reason, null, null
    from postmeter.exemption e
    join postmeter.exempted x on x.exemption_id = e.id
    -- offset 0, here and below: each usage by its id, not all usage for each
    cross join lateral (select v.product, v.metric, v.used_at, v.quantity
                        from postmeter.usage v where v.id = x.usage_id offset 0) u
    where e.org = :'org'
    union all
    select 'given-up usage', u.product, u.metric, postmeter.hour_of(u.used_at), u.quantity, c.who || ': ' || c.why,
           null, null
    from postmeter.usage_written_off w
    cross join lateral (select v.org, v.product, v.metric, v.used_at, v.quantity
                        from postmeter.usage v where v.id = w.usage_id offset 0) u
    join postmeter.decision c on c.id = w.decision_id
    where u.org = :'org'
)
select l.what, l.product, l.metric, l.hour::text as hour, trim_scale(l.quantity) as quantity, l.why,
       to_char(l.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until, l.remittance
from listed l, asked a
where postmeter.month_of(l.hour, 'UTC') = a.month
union all
select 'covered', mm.product, mm.metric, 'the month', mm.covered, 'contracts cover it', null, null
from asked a
join postmeter.meter m on m.month = a.month
join postmeter.meter_metric mm on mm.meter_id = m.id and mm.covered > 0
where exists (select from contracts b
              where b.destination_id = m.destination_id and b.contract = m.buyer and b.product = mm.product)
union all
select 'carried', null, m.dimension, 'the month', trim_scale(round(m.carried / m.denominator, 15)),
       'billing units: less than one more to send', null, null
from asked a
join postmeter.meter m on m.month = a.month and m.carried > 0
where exists (select from contracts b where b.destination_id = m.destination_id and b.contract = m.buyer)
order by 1, 2, 3, 4, 8;
commit;
