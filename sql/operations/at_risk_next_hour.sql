-- What is at risk in the next hour?
--
-- Whatever misses its deadline within an hour unless something happens: remittances that are not settled, held usage,
-- and usage that still waits in the outbox. The most urgent first. After its deadline usage goes to another hour of its
-- month where one is left; at a month's end there is none.
--
-- Parameters: none.
--   psql -f sql/operations/at_risk_next_hour.sql
--
--       what      | destination |                                 of                                 |          hour …
-- ----------------+-------------+--------------------------------------------------------------------+-------------- …
--  held usage (1) |             | umbrella db cores                                                  | 2024-09-18 10 …
--  remittance 3   | aws         | aws/us-east-1/prod-db/111122223333/core_units/2024-09-18T10:00:00Z | 2024-09-18 10 …
--  remittance 5   | aws         | aws/us-east-1/prod-db/111122223333/sockets/2024-09-18T10:00:00Z    | 2024-09-18 10 …
--  remittance 6   | aws         | aws/us-east-1/prod-db/444455556666/gb/2024-09-18T10:00:00Z         | 2024-09-18 10 …
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
set local jit = off; -- compiling it would take longer than answering it
-- at_risk_next_hour
with now as materialized (
    select postmeter.clock() as now
), waiting as materialized (
    select o.org, o.product, o.metric, o.account, postmeter.hour_of(o.used_at) as hour, count(*) as usages,
           sum(o.quantity) as quantity, row_number() over () as item
    from postmeter.outbox o
    group by 1, 2, 3, 4, 5
), resolved as (
    select w.*, r.buyer, r.destination_id
    from (select array_agg(w.org order by w.item) o, array_agg(w.product order by w.item) p,
                 array_agg(w.metric order by w.item) m, array_agg(w.account order by w.item) a,
                 array_agg(w.hour order by w.item) h
          from waiting w) g,
         postmeter.resolve(g.o, g.p, g.m, g.a, g.h) r
    join waiting w on w.item = r.item
), listed as (
    select 'remittance ' || r.delivery_id as what, r.destination, r.key as of, r.hour, r.quantity, r.deadline,
           concat_ws(', ', replace(r.status, '_', ' '), r.reason,
                     case when r.tries > 0 then r.tries || ' tries' end) as why
    from postmeter.at_risk r
    union all
    select 'held usage (' || count(*) || ')', t.name, concat_ws(' ', h.org, h.product, h.metric), h.hour,
           sum(h.quantity), h.deadline, h.reason
    from postmeter.held h
    left join postmeter.destination t on t.id = h.destination_id
    group by t.name, h.org, h.product, h.metric, h.hour, h.deadline, h.reason
    union all
    select 'waiting usage (' || w.usages || ')', t.name, concat_ws(' ', w.org, w.product, w.metric), w.hour, w.quantity,
           postmeter.deadline_of(w.destination_id, w.buyer, w.hour), 'no worker has counted it yet'
    from resolved w
    join postmeter.destination t on t.id = w.destination_id
)
select l.what, l.destination, l.of, l.hour, trim_scale(l.quantity) as quantity, l.deadline - n.now as time_left, l.why
from listed l, now n
where l.deadline < n.now + interval '1 hour'
order by l.deadline, l.what;
commit;
