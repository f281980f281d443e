-- What did operators do?
--
-- Decisions (retry, release, write off, resolve, pause, resume) with who and why, and changes of the catalogue with the
-- database role that made them. The newest last. Both are append-only.
--
-- Parameters: since (a time; seven days ago if left out).
--   psql -f sql/operations/what_operators_did.sql
--   psql -v since=2024-09-18 -f sql/operations/what_operators_did.sql
--
--           at           |        who         | what                                  | units | why
-- ------------------------+--------------------+---------------------------------------+-------+-----------------------------
--  2024-09-18 13:40:00+00 | mira (as operator) | retry remittance 7: rejected to due   |     2 | dimension was added there
--  2024-09-18 13:41:00+00 | mira (as operator) | pause destination aws-us              |       | maintenance
--  2024-09-18 13:50:00+00 | catalog (role)     | subscription added: {"id": 9, "org":… |       |
\if :{?since}
\else
    \set since ''
\endif
-- what_operators_did
with asked as (
    select coalesce(nullif(:'since', '')::timestamptz, postmeter.clock() - interval '7 days') as since
)
select x.at, x.who, x.what, x.units, x.why
from (
    select c.decided_at as at, c.id as number, c.who || ' (as ' || c.role_name || ')' as who,
           replace(c.verb, '_', ' ') || case
               when c.delivery_id is not null then ' remittance ' || c.delivery_id || ': ' || replace(c.status_before, '_', ' ')
                                                   || ' to ' || replace(c.status_after, '_', ' ')
               when c.usage_id is not null then ' usage ' || c.usage_id || ': ' || replace(c.status_before, '_', ' ')
                                                || ' to ' || replace(c.status_after, '_', ' ')
               else ' destination ' || coalesce(c.destination, '?') end
           || coalesce(', to remittance ' || c.target_delivery_id, '') as what,
           trim_scale(c.quantity) as units, c.why
    from asked a
    join postmeter.decision_log c on c.decided_at >= a.since
    union all
    select h.changed_at, h.id, h.changed_by || ' (role)',
           h.entry || case when h.old_row is null then ' added: ' when h.new_row is null then ' removed: ' else ' changed: ' end
           || left((case when h.old_row is null then h.new_row when h.new_row is null then h.old_row
                         else (select jsonb_object_agg(n.key, n.value) from jsonb_each(h.new_row) n
                               where n.value is distinct from h.old_row -> n.key or n.key in ('id', 'name', 'org')) end)::text, 200),
           null, null
    from asked a
    join postmeter.catalogue_change h on h.changed_at >= a.since
) x
order by x.at, x.why is not null, x.number;
