-- alert_held_without_subscription: usage that the catalogue does not know where to send, by reason.
-- Reads all of held.
select h.reason as subject, count(*) as count,
       pg_catalog.format('%s of %s held: %s, since %s UTC', postmeter.counted(count(*), 'usage'), postmeter.counted(pg_catalog.count(distinct h.org), 'org') || case when count(*) = 1 then ' is' else ' are' end,
              pg_catalog.replace(h.reason, '_', ' '), pg_catalog.to_char(pg_catalog.min(h.held_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI')) as summary,
       pg_catalog.jsonb_build_object('first_deadline', pg_catalog.min(h.deadline), 'examples', (
           select pg_catalog.jsonb_agg(x.what) from (
               select distinct o.org || ' ' || o.product || ' ' || o.metric as what
               from postmeter.held o where o.reason = h.reason order by 1 limit 5) x)) as details
from postmeter.held h
where h.reason in ('no_subscription', 'ambiguous_subscription', 'unmapped_dimension', 'invalid_subscription')
group by h.reason
having pg_catalog.min(h.held_at) <= postmeter.clock() - (select r.patience from postmeter.alert_rule r where r.name = 'held_without_subscription')
