-- What is held, why, and since when?
--
-- Usage (units of its metric) and remittances (billing units) by reason, the longest held first. first_deadline: after
-- that the first of it can no longer be sent in its own hour.
--
-- Parameters: none.
--   psql -f sql/operations/held_by_reason.sql
--
--  what  |     reason      | destination | product | metric | items | orgs | quantity |         since          | …
-- -------+-----------------+-------------+---------+--------+-------+------+----------+------------------------+---- …
--  usage | no_subscription |             | db      | cores  |     1 |    1 |        5 | 2024-09-18 11:04:00+00 | 202 …
begin read only;
set local search_path = pg_catalog, pg_temp; -- what somebody put into public answers nothing
-- held_by_reason
select 'usage' as what, h.reason, t.name as destination, h.product, h.metric, count(*) as items,
       count(distinct h.org) as orgs, trim_scale(sum(h.quantity)) as quantity, min(h.held_at) as since,
       min(h.deadline) as first_deadline
from postmeter.held h
left join postmeter.destination t on t.id = h.destination_id
group by h.reason, t.name, h.product, h.metric
union all
select 'remittance', r.reason, r.destination, r.product, r.dimension, count(*), count(distinct r.buyer),
       trim_scale(sum(r.quantity)), min(s.since), min(r.deadline)
from postmeter.stuck s
join postmeter.remittance r on r.delivery_id = s.delivery_id
where s.status = 'held' and not r.shadow
group by r.reason, r.destination, r.product, r.dimension
order by since, what, reason, product, metric;
commit;
