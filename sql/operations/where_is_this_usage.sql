-- Where is this usage?
--
-- By the identity under which its service recorded it. waiting: no worker has counted it yet; held: with the reason;
-- allocated: which remittance counted it and where that stands. nowhere should never be seen: it was recorded and
-- nothing has it (see usage_balance). dropped: it went with its month of the ledger, and the export of that month
-- tells of it. No row at all: nothing was ever recorded under this identity.
--
-- Parameters: source and event_id, or usage (its id).
--   psql -v source=billing -v event_id=e1 -f sql/operations/where_is_this_usage.sql
--
--  source  | event_id | org  | product | metric | quantity |        used_at         |      recorded_at       | where …
-- ---------+----------+------+---------+--------+----------+------------------------+------------------------+------ …
--  billing | e1       | acme | db      | cores  |       10 | 2024-09-18 09:10:00+00 | 2024-09-18 09:30:00+00 | alloc …
\if :{?source}
\else
    \set source ''
\endif
\if :{?event_id}
\else
    \set event_id ''
\endif
\if :{?usage}
\else
    \set usage ''
\endif
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- where_is_this_usage
with asked as (
    select g.id as usage_id from (select postmeter.usage_of(:'source', :'event_id') as id) g where g.id is not null
    union
    select g.id from (select nullif(:'usage', '')::uuid as id) g where g.id is not null
), found as materialized (
    select e.* from postmeter.usage_explained e where e.usage_id = any (array(select a.usage_id from asked a))
)
select u.source, u.event_id, u.org, u.product, u.metric, trim_scale(u.quantity) as quantity, u.used_at, u.recorded_at,
       coalesce(f.whereabouts, 'nowhere') as whereabouts, f.reason as why, f.destination, f.delivery_id as remittance,
       f.status, case when f.remitted_hour <> f.hour then f.remitted_hour end as counted_in, u.corrects, u.id as usage
from postmeter.usage u
left join found f on f.usage_id = u.id
where u.id = any (array(select a.usage_id from asked a))
union all
select nullif(:'source', ''), nullif(:'event_id', ''), null, null, null, null, null, null, 'dropped',
       'with the ledger of ' || to_char(d.month, 'YYYY-MM'), null, null, null, null, null, a.usage_id
from asked a
join postmeter.ledger_drop d
  on d.month = date_trunc('month', postmeter.moment_of(a.usage_id) at time zone 'UTC')::date
order by usage, destination;
commit;
